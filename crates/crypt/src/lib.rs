//! drover-crypt
