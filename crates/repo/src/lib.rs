//! drover-repo
