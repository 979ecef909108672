//! What threads meet by in [`crate::ordered`] and [`crate::pool`]: the standard library's.
//! `tests/schedules` has a model checker's in this place.

pub(crate) use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

pub(crate) use drover_types::lock;
