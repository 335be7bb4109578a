//! What the upstream is told of the caller.

/// By which headers a route tells its upstream who calls. All of them are taken off requests from outside first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// What becomes of `x-forwarded-client-cert`.
    pub xfcc: XfccMode,
    /// What it says of the caller besides the digest of its certificate, each once.
    pub xfcc_details: Vec<XfccDetail>,
    /// Whether `client-cert` is set (RFC 9440).
    pub client_cert: ClientCert,
    /// Whether the caller's token goes on.
    pub token: TokenPassage,
    /// Header names, lower-case, and the claim that each carries. Sorted by name, each once.
    pub claims: Vec<(String, String)>,
}

/// What becomes of `x-forwarded-client-cert`, by the names that Envoy gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XfccMode {
    /// It is not sent.
    #[default]
    Sanitize,
    /// What the caller sent goes on, since the caller has proven who it is.
    ForwardOnly,
    /// What the caller sent goes on, and the caller is added at its end.
    AppendForward,
    /// Only the caller is named.
    SanitizeSet,
    /// As [`XfccMode::ForwardOnly`], also where a caller has proven nothing; every caller here has.
    AlwaysForwardOnly,
}

/// What `x-forwarded-client-cert` says of the caller, in the order in which it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum XfccDetail {
    /// Its certificate, PEM, percent-encoded.
    Cert,
    /// Its whole chain, likewise.
    Chain,
    /// Its certificate's subject (RFC 2253).
    Subject,
    /// Its SPIFFE ID.
    Uri,
    /// Its certificate's DNS names.
    Dns,
}

/// Whether `authorization` goes on with the caller's token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenPassage {
    /// It does, as it came.
    #[default]
    Forward,
    /// It is taken off once policy has judged it.
    Strip,
}

/// Whether the caller's certificate is sent on by RFC 9440.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCert {
    /// It is not.
    #[default]
    None,
    /// `client-cert` with the leaf.
    Leaf,
    /// Besides, `client-cert-chain` with the intermediates.
    Chain,
}
