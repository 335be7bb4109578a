//! `identity:` as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{PlaintextFile, TrustRootsFile};

/// Who this sidecar is.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct IdentityFile {
    /// Where its X.509-SVID and the trust bundles come from.
    pub source: IdentitySourceFile,
    /// How certificates are judged by revocation lists.
    #[serde(default)]
    pub crl: CrlFile,
    /// Other trust domains, whose bundles are fetched from their own endpoints (SPIFFE Federation).
    #[serde(default)]
    pub federation: Vec<FederationFile>,
    /// Folder where the newest bundle of each of them is kept for a start while its endpoint is away. Without it, `/var/lib/postern/federation`.
    #[serde(default)]
    pub federation_directory: Option<String>,
}

/// How certificates are judged by revocation lists (CRLs).
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CrlFile {
    /// What becomes of a certificate that no list in force calls good. One that a list calls revoked is refused by `soft` and `hard`. Without a mode: `hard` in trust domains that have lists, `off` in others.
    pub mode: Option<CrlModeFile>,
}

/// What becomes of a certificate that no revocation list in force calls good.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CrlModeFile {
    /// Lists are not looked at.
    Off,
    /// It is taken: its issuer has no list, or the newest has expired.
    Soft,
    /// It is refused, in every trust domain.
    Hard,
}

/// A relationship with another trust domain.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FederationFile {
    /// The trust domain whose bundle the endpoint serves, a bare name.
    pub trust_domain: String,
    /// Its bundle endpoint, `https://host/path`.
    pub url: String,
    /// How the endpoint proves who it is.
    pub profile: EndpointProfileFile,
}

/// How a bundle endpoint proves who it is. One profile never stands in for the other.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum EndpointProfileFile {
    /// By a certificate for the host of its URL.
    HttpsWeb(HttpsWebFile),
    /// By an X.509-SVID.
    HttpsSpiffe(HttpsSpiffeFile),
}

/// An endpoint with a certificate for its host.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HttpsWebFile {
    /// What the certificate must chain to; `system` is the default.
    #[serde(default)]
    pub trust_roots: Option<TrustRootsFile>,
}

/// An endpoint with an X.509-SVID.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HttpsSpiffeFile {
    /// The SPIFFE ID that it proves, like `spiffe://other.org/spire/server`.
    pub endpoint_spiffe_id: String,
    /// The bundle that proves it at the first fetch, PEM or SPIFFE JSON; afterwards the bundle fetched last does. Needed where the endpoint is of the trust domain that it serves; for one of another trust domain, that one's bundle in force is used.
    #[serde(default)]
    pub bootstrap_bundle: Option<String>,
}

/// Where the X.509-SVID and the trust bundles come from.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum IdentitySourceFile {
    /// The SPIFFE Workload API, as SPIRE's agent serves it.
    WorkloadApi(WorkloadApiFile),
    /// PEM files, watched for change.
    Files(IdentityFilesFile),
}

/// The SPIFFE Workload API.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkloadApiFile {
    /// Where it is served: `unix:///path`, an absolute path, or `tcp://ADDRESS:PORT`. Without it, the variable `SPIFFE_ENDPOINT_SOCKET` says.
    #[serde(default)]
    pub socket: Option<String>,
    /// Which SVID to take when the agent gives several, by its SPIFFE ID. Without it and `hint`, the first.
    #[serde(default)]
    pub spiffe_id: Option<String>,
    /// Which SVID to take when the agent gives several, by the hint that its entry carries.
    #[serde(default)]
    pub hint: Option<String>,
    /// Where `tcp://` may lead, private keys and all; `loopback_only` is the default.
    #[serde(default)]
    pub plaintext: Option<PlaintextFile>,
}

/// PEM files with the SVID and the trust bundles.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct IdentityFilesFile {
    /// Certificate chain in PEM, leaf first.
    pub certificate: String,
    /// Private key of the leaf in PEM.
    pub key: String,
    /// One file per trust domain: its authorities in PEM, or its SPIFFE bundle in JSON.
    pub trust_bundles: BTreeMap<String, String>,
    /// One file per trust domain with the revocation lists of its authorities and intermediates: one in DER, or any number in PEM.
    #[serde(default)]
    pub crls: BTreeMap<String, String>,
}
