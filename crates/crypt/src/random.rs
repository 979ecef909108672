//! The one door to randomness.
//!
//! Nothing here relies on it alone where a repeated value would repeat a key with its nonces:
//! such values are hedged with what they protect (see [`crate::seal`]), because virtual machines
//! are cloned and random generators have failed. A test can replace the generator of its thread
//! to show that (feature `test-random`).

/// Fills `buffer` with random bytes from the operating system.
///
/// # Panics
/// Where the operating system has no random bytes to give. Nothing can be encrypted then.
pub fn fill(buffer: &mut [u8]) {
    #[cfg(any(test, feature = "test-random"))]
    if replaced::fill(buffer) {
        return;
    }
    system(buffer);
}

/// `N` random bytes from the operating system.
///
/// # Panics
/// As [`fill`].
pub fn array<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

#[allow(clippy::disallowed_methods)]
fn system(buffer: &mut [u8]) {
    getrandom::fill(buffer).expect("the operating system gives random bytes");
}

#[cfg(any(test, feature = "test-random"))]
pub use replaced::{with_constant, with_seed};

#[cfg(any(test, feature = "test-random"))]
mod replaced {
    use std::cell::RefCell;

    enum Generator {
        Constant(u8),
        Stream(Box<blake3::OutputReader>),
    }

    thread_local! {
        static GENERATOR: RefCell<Option<Generator>> = const { RefCell::new(None) };
    }

    /// Puts the thread's former generator back, after a panic too.
    struct Restore(Option<Generator>);

    impl Drop for Restore {
        fn drop(&mut self) {
            GENERATOR.set(self.0.take());
        }
    }

    fn with<T>(generator: Generator, run: impl FnOnce() -> T) -> T {
        let _restore = Restore(GENERATOR.replace(Some(generator)));
        run()
    }

    /// Runs `run` on this thread with a dead generator: every random byte is `byte`.
    pub fn with_constant<T>(byte: u8, run: impl FnOnce() -> T) -> T {
        with(Generator::Constant(byte), run)
    }

    /// Runs `run` on this thread with random bytes that depend on `seed` alone: the extended
    /// output of its BLAKE3.
    pub fn with_seed<T>(seed: &[u8], run: impl FnOnce() -> T) -> T {
        let stream = blake3::Hasher::new().update(seed).finalize_xof();
        with(Generator::Stream(Box::new(stream)), run)
    }

    pub(super) fn fill(buffer: &mut [u8]) -> bool {
        GENERATOR.with_borrow_mut(|generator| {
            match generator {
                None => return false,
                Some(Generator::Constant(byte)) => buffer.fill(*byte),
                Some(Generator::Stream(stream)) => stream.fill(buffer),
            }
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_generator_ends_with_its_scope() {
        with_constant(7, || {
            assert_eq!(array::<4>(), [7; 4]);
            let seeded = with_seed(b"seed", array::<32>);
            assert_eq!(with_seed(b"seed", array::<32>), seeded);
            assert_eq!(array::<4>(), [7; 4]);
        });
        assert_ne!(array::<32>(), array::<32>());
    }
}
