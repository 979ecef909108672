//! drover-chunk
