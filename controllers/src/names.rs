//! How children are called.

use orion_model::Randomness;

/// How many random characters end a Replica's name.
const SUFFIX: usize = 5;
/// How much of a Run's name an attempt's keeps.
const RUN_IN_ATTEMPT: usize = 50;

/// `<service>-<template hash>`.
pub(crate) fn revision(service: &str, hash: &str) -> String {
    format!("{service}-{hash}")
}

/// `<job>-<template hash>`.
pub(crate) fn run(job: &str, hash: &str) -> String {
    format!("{job}-{hash}")
}

/// `<service>-<index>-<5 characters>`.
pub(crate) fn replica(service: &str, index: u32, randomness: &Randomness) -> String {
    format!("{service}-{index}-{}", randomness.suffix(SUFFIX))
}

/// `<run, cut to 50>-<attempt>-<5 characters>`.
pub(crate) fn attempt(run: &str, number: u32, randomness: &Randomness) -> String {
    let cut: String = run.chars().take(RUN_IN_ATTEMPT).collect();
    format!("{}-{number}-{}", cut.trim_end_matches('-'), randomness.suffix(SUFFIX))
}

/// `<replica's uid>-<hash of the hook>`: the same call has the same name, whoever makes it and however often.
pub(crate) fn hook_run(replica_uid: &str, hook: &str) -> String {
    format!("{replica_uid}-{:08x}", fnv(hook.as_bytes()))
}

/// FNV-1a: stable over versions and machines, which the standard library's hashes do not promise.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels_of_at_most_63_characters() {
        let random = Randomness::seeded(1);
        let long = "a".repeat(50);
        let uid = random.uuid();
        for name in [
            revision(&long, "abcdefghij"),
            replica(&long, 999_999, &random),
            attempt(&format!("{long}-abcdefghij"), 7, &random),
            attempt(&format!("{}-b", "a".repeat(49)), 1, &random),
            hook_run(&uid, "@orion/plugin-x:check"),
        ] {
            assert!(orion_types::dns_label::is_dns_label(&name), "{name}");
        }
        assert_ne!(hook_run(&uid, "a:b"), hook_run(&uid, "a:c"));
        assert_eq!(hook_run("u", "a"), "u-e40c292c");
    }
}
