//! Keys that prove, tokens that are bound to them, and the certificates that tokens may be bound to.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_identity::token::{Algorithm, Claims, Issuer, KeySet, TokenError};
use postern_identity::{Peer, Role, TrustBundle, TrustBundles, UnixTime, verify_chain};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose, SanType, date_time_ymd};
use serde_json::{Value, json};

/// The time of all proofs, in seconds.
pub(crate) const NOW_S: u64 = 2_000_000_000;
const ISSUER: &str = "https://idp.example.org";

pub(crate) fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(NOW_S))
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The digest by which a proof or another token speaks of a token.
pub(crate) fn sha256(text: &str) -> String {
    base64url(digest(&SHA256, text.as_bytes()))
}

/// A P-256 key.
pub(crate) struct Key(EcdsaKeyPair);

impl Key {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// One that is always the same.
    pub(crate) fn of_holder() -> &'static Self {
        static HOLDER: LazyLock<Key> = LazyLock::new(Key::new);
        &HOLDER
    }

    /// Another one that is always the same.
    pub(crate) fn of_issuer() -> &'static Self {
        static ISSUER: LazyLock<Key> = LazyLock::new(Key::new);
        &ISSUER
    }

    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
    }

    /// RFC 7638.
    pub(crate) fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        sha256(&format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]))
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64url(signature))
    }
}

/// The verified claims of an access token that is confirmed so, where its verifier takes it.
pub(crate) fn access_token(cnf: Option<Value>) -> Result<Claims, TokenError> {
    accepted(&minted("at+jwt", cnf))
}

/// What becomes of a right token of another type where an access token is expected.
pub(crate) fn bearer_of_type(typ: &str) -> Result<Claims, String> {
    accepted(&minted(typ, None)).map_err(|error| format!("{}: {error}", error.code()))
}

fn minted(typ: &str, cnf: Option<Value>) -> String {
    let mut claims = json!({
        "iss": ISSUER, "aud": "orders", "sub": "alice", "client_id": "shop", "jti": "1", "iat": NOW_S,
        "exp": NOW_S + 60,
    });
    if let Some(cnf) = cnf {
        claims["cnf"] = cnf;
    }
    Key::of_issuer().sign(&json!({"alg": "ES256", "typ": typ, "kid": "k"}), &claims)
}

fn accepted(token: &str) -> Result<Claims, TokenError> {
    let mut jwk = Key::of_issuer().jwk();
    jwk["kid"] = json!("k");
    let keys = Arc::new(KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap());
    let issuer = Issuer::new(ISSUER.to_owned(), vec!["orders".to_owned()], vec![Algorithm::Es256]).unwrap();
    postern_identity::token::verify(token, &[issuer], &|_| Some(Arc::clone(&keys)), now())
}

/// A proven peer with a certificate of its own.
pub(crate) fn peer() -> Arc<Peer> {
    let (root_key, leaf_key) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![SanType::URI("spiffe://example.org/web".try_into().unwrap())];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    for params in [&mut root, &mut leaf] {
        let start = date_time_ymd(1970, 1, 1) + Duration::from_secs(NOW_S - 60);
        (params.not_before, params.not_after) = (start, start + Duration::from_secs(120));
    }
    let authority = root.self_signed(&root_key).unwrap().der().clone();
    let chain = [leaf.signed_by(&leaf_key, &rcgen::Issuer::new(root, root_key)).unwrap().der().clone()];
    let mut bundles = TrustBundles::default();
    bundles.insert(TrustBundle::from_der("example.org".parse().unwrap(), &[authority]).unwrap());
    Arc::new(verify_chain(&chain, &bundles, Role::Client, now()).unwrap())
}
