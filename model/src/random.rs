//! Where a program takes its chance from: names' suffixes, uids, jitter.
//!
//! It travels in the [`Client`](crate::Client) as the [`Clock`](crate::Clock) does. Seeded, a program that asks in the
//! same order gets the same answers, so a failing simulation can be run again. It is not for secrets: what follows can
//! be computed from what was seen.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
};

use fastrand::Rng;

/// What Kubernetes builds generated names from: no vowels, and no digit that reads as one, so that no word comes out.
const NAME_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A source of chance. Clones draw from the same sequence.
#[derive(Clone)]
pub struct Randomness(Arc<Mutex<Rng>>);

impl Randomness {
    /// A source that the operating system seeds: each has a sequence of its own.
    pub fn system() -> Self {
        // Each RandomState is keyed from the system's entropy; fastrand's own seed is a hash of the time alone, which
        // machines started together might share.
        Self::seeded(RandomState::new().hash_one(std::process::id()))
    }

    /// A source that gives the same sequence for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Rng::with_seed(seed))))
    }

    /// Any number.
    pub fn u64(&self) -> u64 {
        self.draw(|rng| rng.u64(..))
    }

    /// A number from 0 up to, not including, 1.
    pub fn fraction(&self) -> f64 {
        self.draw(Rng::f64)
    }

    /// A number below `bound`, each as likely as the others; 0 if there is none.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.draw(|rng| rng.u64(..bound)) }
    }

    /// The end of a generated name: `length` of the characters Kubernetes uses for it.
    pub fn suffix(&self, length: usize) -> String {
        let pick = |rng: &mut Rng| char::from(NAME_ALPHABET[rng.usize(..NAME_ALPHABET.len())]);
        self.draw(|rng| (0..length).map(|_| pick(rng)).collect())
    }

    /// A version 4 UUID as RFC 9562 writes it.
    pub fn uuid(&self) -> String {
        const VERSION: u128 = 0x4 << 76;
        const VARIANT: u128 = 0b10 << 62;
        let random = self.draw(|rng| rng.u128(..));
        let hex = format!("{:032x}", random & !(0xf << 76 | 0b11 << 62) | VERSION | VARIANT);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    fn draw<T>(&self, with: impl FnOnce(&mut Rng) -> T) -> T {
        // A generator is whole between any two draws, so a panic elsewhere has not spoilt it.
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Randomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Randomness").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn draws(from: &Randomness) -> (u64, f64, u64, String, String) {
        (from.u64(), from.fraction(), from.below(1000), from.suffix(5), from.uuid())
    }

    #[test]
    fn the_same_seed_gives_the_same_sequence_and_another_seed_another() {
        let (one, two, other) = (Randomness::seeded(7), Randomness::seeded(7), Randomness::seeded(8));
        let first = draws(&one);
        assert_eq!(first, draws(&two));
        assert_ne!(first, draws(&other));
        assert_ne!(first, draws(&one), "the sequence moves on");
    }

    #[test]
    fn clones_draw_from_one_sequence() {
        let (one, alone) = (Randomness::seeded(1), Randomness::seeded(1));
        let expected = [alone.u64(), alone.u64()];
        assert_eq!([one.u64(), one.clone().u64()], expected);
    }

    #[test]
    fn system_sources_differ() {
        assert_ne!(Randomness::system().u64(), Randomness::system().u64());
    }

    #[test]
    fn numbers_stay_in_their_range_and_reach_all_of_it() {
        let random = Randomness::seeded(3);
        let seen: BTreeSet<u64> = (0..200).map(|_| random.below(5)).collect();
        assert_eq!(seen, BTreeSet::from([0, 1, 2, 3, 4]));
        assert_eq!(random.below(0), 0);
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random.fraction())));
    }

    #[test]
    fn suffixes_use_kubernetes_alphabet() {
        let suffix = Randomness::seeded(5).suffix(500);
        assert_eq!(suffix.len(), 500);
        assert!(suffix.bytes().all(|byte| NAME_ALPHABET.contains(&byte)), "{suffix}");
        assert_eq!(suffix.bytes().collect::<BTreeSet<_>>().len(), NAME_ALPHABET.len());
        assert_eq!(Randomness::seeded(5).suffix(0), "");
    }

    #[test]
    fn uuids_have_the_form_of_version_4_and_do_not_repeat() {
        let random = Randomness::seeded(9);
        let uuids: BTreeSet<String> = (0..1000).map(|_| random.uuid()).collect();
        assert_eq!(uuids.len(), 1000);
        for uuid in uuids {
            let groups: Vec<usize> = uuid.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{uuid}");
            assert!(uuid.bytes().all(|byte| byte == b'-' || b"0123456789abcdef".contains(&byte)), "{uuid}");
            assert_eq!(uuid.as_bytes()[14], b'4', "version: {uuid}");
            assert!(b"89ab".contains(&uuid.as_bytes()[19]), "variant: {uuid}");
        }
    }
}
