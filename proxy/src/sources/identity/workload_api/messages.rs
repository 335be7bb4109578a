//! The messages of the SPIFFE Workload API, as its `workload.proto` numbers them. They are written by hand: a handful
//! of fields that cannot change, against a compiler for them in every build.

use std::collections::HashMap;

/// Every call carries it, so that nothing that can only send plain HTTP requests reaches the socket
/// (SPIFFE_Workload_Endpoint §3).
pub const SECURITY_HEADER: &str = "workload.spiffe.io";
/// The stream of SVIDs and bundles.
pub const FETCH_X509_SVID: &str = "/SpiffeWorkloadAPI/FetchX509SVID";
/// The stream of bundles alone.
pub const FETCH_X509_BUNDLES: &str = "/SpiffeWorkloadAPI/FetchX509Bundles";
/// The stream of the keys that prove JWT-SVIDs.
pub const FETCH_JWT_BUNDLES: &str = "/SpiffeWorkloadAPI/FetchJWTBundles";

/// Asks for nothing in particular.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct X509SvidRequest {}

/// The whole state of a workload.
#[derive(Clone, PartialEq, prost::Message)]
pub struct X509SvidResponse {
    /// Its SVIDs, the default one first.
    #[prost(message, repeated, tag = "1")]
    pub svids: Vec<X509SvidMessage>,
    /// Revocation lists in DER.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub crl: Vec<Vec<u8>>,
    /// Bundles of other trust domains, concatenated DER by trust domain.
    #[prost(map = "string, bytes", tag = "3")]
    pub federated_bundles: HashMap<String, Vec<u8>>,
}

/// One SVID with its key and the bundle of its trust domain.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct X509SvidMessage {
    /// Who it is.
    #[prost(string, tag = "1")]
    pub spiffe_id: String,
    /// Concatenated DER, leaf first.
    #[prost(bytes = "vec", tag = "2")]
    pub x509_svid: Vec<u8>,
    /// PKCS#8 DER.
    #[prost(bytes = "vec", tag = "3")]
    pub x509_svid_key: Vec<u8>,
    /// Concatenated DER.
    #[prost(bytes = "vec", tag = "4")]
    pub bundle: Vec<u8>,
    /// What the operator calls it.
    #[prost(string, tag = "5")]
    pub hint: String,
}

/// Shows no key.
impl std::fmt::Debug for X509SvidMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("X509SvidMessage").field("spiffe_id", &self.spiffe_id).finish_non_exhaustive()
    }
}

/// Asks for nothing in particular.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct X509BundlesRequest {}

/// All bundles of a workload.
#[derive(Clone, PartialEq, prost::Message)]
pub struct X509BundlesResponse {
    /// Revocation lists in DER.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub crl: Vec<Vec<u8>>,
    /// Concatenated DER by trust domain.
    #[prost(map = "string, bytes", tag = "2")]
    pub bundles: HashMap<String, Vec<u8>>,
}

/// Asks for nothing in particular.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct JwtBundlesRequest {}

/// All JWT bundles of a workload.
#[derive(Clone, PartialEq, prost::Message)]
pub struct JwtBundlesResponse {
    /// JWK sets by trust domain.
    #[prost(map = "string, bytes", tag = "1")]
    pub bundles: HashMap<String, Vec<u8>>,
}
