//! What `drover demo` needs: a made-up clinic, a day in its life, a damage, and the story around
//! them.
//!
//! Somebody who judges a tool wants to see it work on something that looks like their own servers,
//! without lending it a patient. So the demo writes a small clinic's server of its own, changes it
//! as a working day does, breaks the repository on purpose, and compares what comes back by means
//! that share no code with the rest of drover.
//!
//! `make_clinic → (init, sync) → one_day_later → (sync, verify) → Damage → (verify) → repair →
//! (restore) → differences`; [`story::STEPS`] has the same order, with what is said at each step.

mod clinic;
mod compare;
mod damage;
mod dicom;
mod documents;
mod draw;
mod hl7;
mod people;
pub mod story;
#[cfg(test)]
mod tests;
mod tree;

pub use self::{
    clinic::{make_clinic, one_day_later},
    compare::differences,
    damage::Damage,
    tree::Summary,
};
