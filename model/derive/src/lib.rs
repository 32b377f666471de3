//! The derive macro behind Orion's resources.
