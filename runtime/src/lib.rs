//! A watch and workqueue runtime for controllers.
