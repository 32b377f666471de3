//! The suite over the journal on a SQLite file.

use orion_store::suite;

orion_store::suite!(async || {
    let folder = tempfile::tempdir().expect("a folder");
    let store = orion_store::sqlite(folder.path().join("state.sqlite"), suite::registry()).await.expect("it opens");
    (store.client(), folder)
});
