//! `postern capture`: rules of the kernel's packet filter that lead connections to the listeners, applied so that a mistake
//! undoes itself. The sidecar never applies any; it has no right to.
//!
//! A [`Plan`] comes of the configuration, [`rules`] make text of it, [`backend`] hands the text to the tools of the system,
//! and [`keeper`] remembers what was applied and takes it back unless somebody confirms it ([`timer`]). Whether it holds what
//! it promises is tried by [`probe`].

pub mod backend;
pub mod keeper;
pub mod plan;
pub mod probe;
pub mod rules;
pub mod sockets;
pub mod state;
pub mod timer;
mod tool;

pub use self::backend::Backend;
pub use self::plan::Plan;
