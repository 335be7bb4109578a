//! What a caller has proven of itself, and for how long that counts.
use super::handshakes::who;
use super::permissive::Permissive;
use crate::pipeline::Refusal;
use crate::standing::Standing;
use crate::state::Trust;
use postern_audit::{Remote, Tls};
use postern_identity::{Peer, UnixTime};
use rustls_pki_types::CertificateDer;
use std::sync::Arc;

/// What a caller has proven of itself.
#[derive(Debug)]
pub(crate) enum Proven {
    /// Which workload it is: by its SVID, or as the one beside this sidecar.
    Workload {
        /// What its certificate says.
        peer: Arc<Peer>,
        /// Whether that is still believed.
        standing: Arc<Standing>,
    },
    /// Nothing: it came in plain text to a listener that takes that for a while.
    Nothing(Arc<Permissive>),
}

impl Proven {
    /// The workload, where it is one.
    pub(super) fn peer(&self) -> Option<&Arc<Peer>> {
        match self {
            Self::Workload { peer, .. } => Some(peer),
            Self::Nothing(_) => None,
        }
    }

    /// What it presented, leaf first.
    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::Workload { standing, .. } => standing.chain(),
            Self::Nothing(_) => &[],
        }
    }

    /// How the log is to say it.
    pub(super) fn tls(&self) -> Tls {
        match self {
            Self::Workload { .. } => Tls::AsAsked,
            Self::Nothing(_) => Tls::None,
        }
    }

    /// Whose budget of refusals it spends: a workload's own, or that of whoever is at an address.
    pub(super) fn payer(&self, source: Remote) -> Arc<str> {
        match self {
            Self::Workload { peer, .. } => Arc::from(peer.spiffe_id.as_str()),
            Self::Nothing(_) => Arc::from(source.ip().map_or_else(String::new, |ip| who(ip).to_string())),
        }
    }

    /// The last second in which it counts, since 1970.
    pub(super) fn last_unix_s(&self) -> u64 {
        match self {
            Self::Workload { peer, .. } => peer.not_after.as_secs(),
            Self::Nothing(permissive) => permissive.until_unix_s().saturating_sub(1),
        }
    }

    /// Why it does not count any more after that.
    pub(super) fn ended(&self) -> Refusal {
        match self {
            Self::Workload { .. } => Refusal::PeerExpired,
            Self::Nothing(_) => Refusal::PeerPlaintext,
        }
    }

    /// Whether what is in force vouches for it.
    pub(super) fn check(&self, trust: &Trust, now: UnixTime) -> Result<(), Refusal> {
        match self {
            Self::Workload { standing, .. } => standing.check(trust, now),
            Self::Nothing(_) => Ok(()),
        }
    }

    /// When it has to be looked at again, in seconds since 1970, unless it ends before or trust changes.
    pub(super) fn due_unix_s(&self, now: UnixTime) -> Option<u64> {
        match self {
            Self::Workload { standing, .. } => standing.until().map(|until| until.as_secs()),
            // A reload may have set another end.
            Self::Nothing(_) => Some(now.as_secs().saturating_add(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_in_plain_text_pays_for_refusals_by_address_and_with_ipv6_by_network() {
        let payer = |source: &str| Proven::Nothing(Arc::default()).payer(source.parse().unwrap());
        for (source, expected) in [
            ("192.0.2.7:1", "192.0.2.7"),
            ("[::ffff:192.0.2.7]:2", "192.0.2.7"),
            ("[2001:db8:1:2:3:4:5:6]:3", "2001:db8:1:2::"),
            ("[2001:db8:1:2::7]:4", "2001:db8:1:2::"),
        ] {
            assert_eq!(&*payer(source), expected, "{source}");
        }
    }
}
