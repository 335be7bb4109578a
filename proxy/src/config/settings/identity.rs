//! `identity:` as it is meant.

use std::path::PathBuf;

use postern_identity::{RevocationMode, SpiffeId, TrustDomain};

use super::TrustRoots;
use crate::config::workload_endpoint::WorkloadEndpoint;

/// Who this sidecar is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityConfig {
    /// Where its X.509-SVID and the trust bundles come from.
    pub source: IdentitySource,
    /// How certificates are judged by revocation lists.
    pub revocation: RevocationRule,
    /// Other trust domains, whose bundles are fetched from their own endpoints. Trust domains are unique.
    pub federation: Vec<FederationConfig>,
    /// Where the newest bundle of each of them is kept for a start without its endpoint.
    pub federation_directory: PathBuf,
}

/// What becomes of certificates that no revocation list in force calls good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationRule {
    /// They are refused in trust domains that have lists; in others nobody asks.
    WhereListed,
    /// The same in every trust domain.
    Everywhere(RevocationMode),
}

impl RevocationRule {
    /// The mode for a trust domain that has lists, or has none.
    #[must_use]
    pub fn mode(self, has_lists: bool) -> RevocationMode {
        match (self, has_lists) {
            (Self::WhereListed, true) => RevocationMode::Hard,
            (Self::WhereListed, false) => RevocationMode::Off,
            (Self::Everywhere(mode), _) => mode,
        }
    }
}

/// A relationship with another trust domain. All of it is written, nothing inferred (SPIFFE_Federation §7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederationConfig {
    /// The trust domain that the bundle is for.
    pub trust_domain: TrustDomain,
    /// The endpoint: `https://…`, without user information and fragment.
    pub url: String,
    /// How the endpoint proves who it is.
    pub profile: EndpointProfile,
}

/// How a bundle endpoint proves who it is (SPIFFE_Federation §5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointProfile {
    /// By a certificate for the host of its URL.
    HttpsWeb {
        /// What the certificate must chain to.
        trust_roots: TrustRoots,
    },
    /// By an X.509-SVID.
    HttpsSpiffe {
        /// Whose.
        endpoint: SpiffeId,
        /// What proves it.
        proof: EndpointProof,
    },
}

/// Which bundle proves the X.509-SVID of an endpoint (SPIFFE_Federation §5.2.2.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointProof {
    /// The endpoint is of the trust domain that it serves: the bundle that was fetched last, and before the first fetch
    /// the one in this file.
    SelfServing {
        /// PEM or SPIFFE JSON.
        bootstrap_bundle: PathBuf,
    },
    /// The endpoint is of another trust domain: the bundle of that one that is in force.
    InForce,
}

/// Where the sidecar's own X.509-SVID and the trust bundles come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentitySource {
    /// The SPIFFE Workload API.
    WorkloadApi {
        /// Where it is served.
        endpoint: WorkloadEndpoint,
        /// Who said so.
        origin: EndpointOrigin,
        /// Which of several SVIDs to take.
        selection: SvidSelection,
    },
    /// PEM files, watched for change.
    Files {
        /// Certificate chain, leaf first, PEM.
        certificate: PathBuf,
        /// Private key of the leaf, PKCS#8, SEC1 or PKCS#1 PEM.
        key: PathBuf,
        /// One bundle per trust domain, PEM or SPIFFE JSON. At least one; trust domains are unique.
        trust_bundles: Vec<(TrustDomain, PathBuf)>,
        /// A file with revocation lists for some of these trust domains, DER or PEM.
        revocation_lists: Vec<(TrustDomain, PathBuf)>,
    },
}

/// Who said where the Workload API is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointOrigin {
    /// The configuration, which comes first.
    Configuration,
    /// The variable `SPIFFE_ENDPOINT_SOCKET`, as it was when the configuration was read
    /// (SPIFFE_Workload_Endpoint §4).
    Environment,
}

/// Which of several SVIDs to take. One that was chosen and is gone is not replaced by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SvidSelection {
    /// The first, which is the default identity (SPIFFE_Workload_API §8).
    First,
    /// The first of this SPIFFE ID.
    SpiffeId(SpiffeId),
    /// The first that carries this hint (SPIFFE_Workload_API §5.2.1).
    Hint(String),
}

impl std::fmt::Display for SvidSelection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SvidSelection::First => f.write_str("its first SVID"),
            SvidSelection::SpiffeId(id) => write!(f, "`{id}`"),
            SvidSelection::Hint(hint) => write!(f, "an SVID with the hint `{hint}`"),
        }
    }
}
