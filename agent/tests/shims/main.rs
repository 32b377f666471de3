//! Shims and their processes for real: started, stopped, killed, lost and found again.
//!
//! The test binary is its own shim and its own agent, as `orion` is: started with `shim` or `agent` as its first
//! argument it branches off before the harness. That is why it has a `main` of its own.

mod ending;
mod launching;
mod logging;
mod recovering;
mod server;
mod supervising;
mod world;

use std::{env, future::Future, process::ExitCode};

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("shim") => orion_agent::shim::main(),
        Some("agent") => recovering::agent(),
        _ => libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
    }
}

fn trials() -> Vec<Trial> {
    [launching::trials(), ending::trials(), recovering::trials(), logging::trials(), supervising::trials()]
        .into_iter()
        .flatten()
        .collect()
}

/// A test that is async, on a runtime of its own.
fn trial<Test: Future<Output = ()>>(name: &str, test: impl FnOnce() -> Test + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(test());
        Ok(())
    })
}

/// The trials named like their functions.
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
            vec![$(crate::trial(stringify!($test), $test)),*]
        }
    };
}
pub(crate) use tests;
