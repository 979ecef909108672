//! Stopping early, in good order.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Asks every stage to stop. Cheap to clone; set by a signal, or by the first stage that fails.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    outer: Option<Arc<Cancel>>,
}

impl Cancel {
    /// Not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that is set when this is, or by itself: a verb whose stages stop each other must not
    /// stop the verb that its caller runs next.
    pub fn nested(&self) -> Self {
        Self { flag: Arc::default(), outer: Some(Arc::new(self.clone())) }
    }

    /// Asks to stop.
    pub fn set(&self) {
        self.flag.store(true, Ordering::SeqCst);
    }

    /// Whether to stop.
    pub fn is_set(&self) -> bool {
        self.flag.load(Ordering::SeqCst) || self.outer.as_ref().is_some_and(|outer| outer.is_set())
    }

    /// The flag itself, for a signal handler.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.flag.clone()
    }
}
