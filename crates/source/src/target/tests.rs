//! Tests of the landing; each runs with and without `openat2`.
