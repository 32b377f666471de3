//! The commands that speak to a server, or to nobody.

pub(crate) mod agent;
pub(crate) mod apply;
pub(crate) mod change;
pub(crate) mod delete;
pub(crate) mod down;
pub(crate) mod events;
pub(crate) mod get;
pub(crate) mod init;
pub(crate) mod logs;
pub(crate) mod server;
pub(crate) mod validate;
pub(crate) mod version;
pub(crate) mod why;
