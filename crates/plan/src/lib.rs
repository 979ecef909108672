//! drover-plan
