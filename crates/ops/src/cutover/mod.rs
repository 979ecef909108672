//! Cutovers: where each source stands, what its passes foretell, and whether it rests.
//!
//! `chain.rs` reads and extends the signed chain of steps that any engineer's machine can go on
//! from; `passes.rs` tells how long passes took and how much changed between them; `rest.rs` shows
//! that nothing writes to a source any more; `back.rs` brings to the source what the target took
//! since the switch.

mod back;
mod chain;
mod passes;
mod rest;

pub use back::{Back, Brought, bring_back, check_write_back};
pub use chain::{ACCEPTED, Chain, SETTING, Taken, step};
pub use drover_repo::cutover::{Move, State};
pub use passes::{Pass, exceptions, passes, seconds};
pub use rest::{Rest, Scan, scan};
