//! What `drover demo` needs: a made-up clinic, a day in its life, a damage, and the story around
//! them.
//!
//! Somebody who judges a tool wants to see it work on something that looks like their own servers,
//! without lending it a patient. So the demo writes a small clinic's server of its own, changes it
//! as a working day does, breaks the repository on purpose, and compares what comes back by means
//! that share no code with the rest of drover.
//!
//! [`play()`] goes through it, as [`story::STEPS`] tells it: `make_clinic → (init, sync) →
//! one_day_later → (sync, verify) → Damage → (verify) → repair → (restore) → differences`. Who
//! calls it brings a [`Stage`], which shows the steps and runs drover.

mod clinic;
mod compare;
mod damage;
mod dicom;
mod documents;
mod draw;
mod hl7;
mod people;
mod play;
mod story;
#[cfg(test)]
mod tests;
mod tree;

pub use self::{
    play::{PlayError, Stage, play},
    story::{Places, Step},
};
