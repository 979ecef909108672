//! drover-source
