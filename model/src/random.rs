//! Random numbers that a test can seed.

use std::sync::{Arc, Mutex, PoisonError};

/// A source of random numbers; clones share it.
#[derive(Clone, Debug)]
pub struct Randomness(Arc<Mutex<fastrand::Rng>>);

impl Randomness {
    /// Seeded by the machine.
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::new())))
    }

    /// The same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// A number.
    pub fn u64(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).u64(..)
    }
}
