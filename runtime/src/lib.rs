//! A watch and workqueue runtime for controllers.

pub mod rate_limiter;
pub mod workqueue;
