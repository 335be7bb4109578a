//! What the end-to-end journeys are made of: the real binary in a process of its own, an authority that mints
//! identities, an upstream that tells what reached it, callers with client certificates, and the peers' paths.
//!
//! Everything here either works or panics with what it waited for and what the processes printed: a journey reads as
//! the story it tells.

pub mod authority;
pub mod caller;
pub mod envoy;
pub mod held;
pub mod load;
pub mod netns;
pub mod peer;
pub mod port;
pub mod process;
pub mod raw;
pub mod served;
pub mod sidecar;
pub mod spire;
pub mod upstream;

pub use authority::{Authority, Identity};
pub use caller::{Answer, Caller, Version};
pub use held::Held;
pub use load::{Load, Report};
pub use netns::Netns;
pub use peer::peer;
pub use process::{Output, Running, run};
pub use served::Served;
pub use sidecar::{Scene, Sidecar};
pub use upstream::Upstream;
