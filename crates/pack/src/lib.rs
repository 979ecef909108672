//! drover-pack
