//! Supervises plain processes on one machine for an Orion server.
