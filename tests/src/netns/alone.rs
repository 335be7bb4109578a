//! A network of its own for a whole test: packet rules that are made in it are nobody else's.

use std::path::PathBuf;

use super::Namespace;
use crate::peer::peer;

/// A namespace in which only loopback is up, and a story plays; gone with it.
#[derive(Debug)]
pub struct Netns {
    namespace: Namespace,
    ip: PathBuf,
    nft: PathBuf,
}

impl Netns {
    /// Plays `story` in a new namespace. Threads and processes that it starts are there with it. Where namespaces cannot be
    /// made or a tool is missing, prints the line by which the suite counts this test as skipped.
    ///
    /// # Panics
    /// When `story` does, or when a namespace that was made cannot be entered.
    pub fn play(story: impl FnOnce(&Self) + Send) {
        let (Some(ip), Some(nft)) = (peer("POSTERN_IP"), peer("POSTERN_NFT")) else { return };
        if !super::can_be_made() {
            return;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let netns = Self { namespace: Namespace::new("alone", folder.path()), ip, nft };
        netns.ip("link set lo up");
        netns.namespace.within(0, || story(&netns));
    }

    /// Runs `ip` with these arguments.
    ///
    /// # Panics
    /// When it fails.
    pub fn ip(&self, arguments: &str) {
        self.namespace.ip(&self.ip, arguments);
    }

    /// Puts these rules in force instead of any others.
    ///
    /// # Panics
    /// When they are not taken.
    pub fn nft(&self, rules: &str) {
        self.namespace.run(&self.nft, &[&format!("flush ruleset\n{rules}")]).expect_code(0);
    }
}
