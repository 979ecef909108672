//! SIGINT and SIGTERM: the first asks to stop in good order, the second ends at once.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM, SIGXFSZ},
    flag,
};

/// The exit code of an interrupted run.
pub const EXIT: u8 = 130;

/// Has the signals set `stop`. A file that may not grow is an error of its write, and no signal's end.
pub fn install(stop: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset, the second finds it set.
        flag::register_conditional_shutdown(signal, i32::from(EXIT), stop.clone())?;
        flag::register(signal, stop.clone())?;
    }
    flag::register(SIGXFSZ, Arc::default())?;
    Ok(())
}
