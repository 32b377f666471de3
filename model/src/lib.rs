//! Orion's object model: objects, kinds, keys, versions, commits and the backend they go to.
