//! The client against a real server on the real memory store, and against servers that misbehave.

mod failing;
mod objects;
mod seed;
mod support;
mod watching;
