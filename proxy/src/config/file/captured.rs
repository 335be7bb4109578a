//! `captured:` of a listener.

use serde::Deserialize;

/// How connections come to a listener that were going elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CapturedFile {
    /// By REDIRECT of nftables or iptables: the kernel remembers where they were going (`SO_ORIGINAL_DST`).
    Redirect,
    /// By TPROXY: they keep where they were going as the address of our own side. The listener's socket is transparent (`IP_TRANSPARENT`), which takes the capability CAP_NET_ADMIN.
    Transparent,
}
