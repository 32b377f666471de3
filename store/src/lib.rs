//! A versioned object store: a state machine over a journal.
