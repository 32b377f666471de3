//! The suite over the journal in memory.

use orion_store::suite;

orion_store::suite!(async || orion_store::memory(suite::registry()).await.expect("it opens").client());
