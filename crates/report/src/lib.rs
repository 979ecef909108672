//! drover-report
