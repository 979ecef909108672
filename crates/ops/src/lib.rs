//! drover-ops
