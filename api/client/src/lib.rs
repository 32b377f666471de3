//! The HTTP client of an Orion API server.
