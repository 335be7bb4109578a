//! Tokens with any header and any claims, signed by aws-lc-rs itself, so that nothing between tidies them up.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self as sig, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_identity::UnixTime;
use postern_identity::token::{Algorithm, Claims, Issuer, KeySet, Profile, TokenError, verify};
use serde_json::{Value, json};

/// The time of all tokens, in seconds.
pub(crate) const NOW_S: u64 = 2_000_000_000;
pub(crate) const ISSUER: &str = "https://idp.example.org";
/// Of the JWT-SVIDs.
pub(crate) const TRUST_DOMAIN: &str = "example.org";

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

enum Secret {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

/// A private key, the algorithm it signs with, and its public half as a JWK without `kid`, `use` and `alg`.
pub(crate) struct Signer {
    pub(crate) algorithm: &'static str,
    pub(crate) jwk: Value,
    secret: Secret,
}

impl Signer {
    fn ec(algorithm: &'static str, curve: &str, how: &'static EcdsaSigningAlgorithm) -> Self {
        let pair = EcdsaKeyPair::generate(how).unwrap();
        let point = pair.public_key().as_ref()[1..].to_vec();
        let (x, y) = point.split_at(point.len() / 2);
        let jwk = json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)});
        Self { algorithm, jwk, secret: Secret::Ec(pair) }
    }

    fn ed25519(algorithm: &'static str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key())});
        Self { algorithm, jwk, secret: Secret::Ed(pair) }
    }

    fn rsa(algorithm: &'static str, how: &'static dyn RsaEncoding) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        // RSAPublicKey of 2048 bits: 9 bytes of heads and a zero, 256 of `n`, then `e`, which is 65537.
        let modulus = pair.public_key().as_ref()[9..265].to_vec();
        let jwk = json!({"kty": "RSA", "n": base64url(modulus), "e": "AQAB"});
        Self { algorithm, jwk, secret: Secret::Rsa(pair, how) }
    }

    pub(crate) fn sign(&self, message: &str) -> Vec<u8> {
        let (random, message) = (SystemRandom::new(), message.as_bytes());
        match &self.secret {
            Secret::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Secret::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Secret::Rsa(pair, how) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(*how, &random, message, &mut out).unwrap();
                out
            }
        }
    }

    /// Any bytes as header and payload, under a true signature.
    pub(crate) fn mint(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(payload));
        let signature = base64url(self.sign(&signed));
        format!("{signed}.{signature}")
    }

    /// The public half under a name.
    pub(crate) fn named(&self, kid: &str) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = json!(kid);
        jwk
    }
}

/// The signer of an algorithm, always the same one.
pub(crate) fn signer(algorithm: &str) -> &'static Signer {
    static ALL: LazyLock<Vec<Signer>> = LazyLock::new(|| {
        vec![
            Signer::ec("ES256", "P-256", &sig::ECDSA_P256_SHA256_FIXED_SIGNING),
            Signer::ec("ES384", "P-384", &sig::ECDSA_P384_SHA384_FIXED_SIGNING),
            Signer::ec("ES512", "P-521", &sig::ECDSA_P521_SHA512_FIXED_SIGNING),
            Signer::ed25519("EdDSA"),
            Signer::ed25519("Ed25519"),
            Signer::rsa("RS256", &sig::RSA_PKCS1_SHA256),
            Signer::rsa("RS384", &sig::RSA_PKCS1_SHA384),
            Signer::rsa("RS512", &sig::RSA_PKCS1_SHA512),
            Signer::rsa("PS256", &sig::RSA_PSS_SHA256),
            Signer::rsa("PS384", &sig::RSA_PSS_SHA384),
            Signer::rsa("PS512", &sig::RSA_PSS_SHA512),
        ]
    });
    ALL.iter().find(|signer| signer.algorithm == algorithm).unwrap()
}

/// Another key for ES256, which nobody has published.
pub(crate) fn stranger() -> &'static Signer {
    static STRANGER: LazyLock<Signer> =
        LazyLock::new(|| Signer::ec("ES256", "P-256", &sig::ECDSA_P256_SHA256_FIXED_SIGNING));
    &STRANGER
}

/// Why a token was refused, with the code in front.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) TokenError);

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.0.code(), self.0)
    }
}

/// One token on its way to one issuer's terms and keys.
pub(crate) struct Token {
    pub(crate) issuer: Issuer,
    pub(crate) signer: &'static Signer,
    pub(crate) header: Value,
    pub(crate) claims: Value,
    /// The issuer's key set; none when it cannot be had.
    pub(crate) keys: Option<Value>,
}

/// The issuer's terms with these algorithms and this profile.
pub(crate) fn terms(profile: Profile, algorithms: &[Algorithm]) -> Issuer {
    let name = match &profile {
        Profile::JwtSvid(domain) => format!("spiffe://{domain}"),
        _ => ISSUER.to_owned(),
    };
    Issuer::new(name, vec!["orders".to_owned()], algorithms.to_vec()).unwrap().with_profile(profile).unwrap()
}

fn token(issuer: Issuer, typ: &str, claims: Value) -> Token {
    let signer = signer("ES256");
    Token {
        issuer,
        signer,
        header: json!({"alg": "ES256", "kid": "k1", "typ": typ}),
        claims,
        keys: Some(json!({"keys": [signer.named("k1")]})),
    }
}

/// An access token that is right (RFC 9068).
pub(crate) fn access() -> Token {
    let claims = json!({
        "iss": ISSUER, "aud": "orders", "sub": "alice", "client_id": "shop", "jti": "1",
        "iat": NOW_S - 10, "exp": NOW_S + 60,
    });
    token(terms(Profile::AccessToken, &Algorithm::ALL), "at+jwt", claims)
}

/// A token that is right, of an issuer that marks its tokens `JWT`.
pub(crate) fn generic() -> Token {
    let claims = json!({"iss": ISSUER, "aud": "orders", "exp": NOW_S + 60});
    token(terms(Profile::Generic, &Algorithm::ALL), "JWT", claims)
}

/// A JWT-SVID that is right, and the SPIFFE bundle document of its trust domain.
pub(crate) fn svid() -> Token {
    let algorithms: Vec<_> = Algorithm::ALL.into_iter().filter(|name| *name != Algorithm::EdDsa).collect();
    let profile = Profile::JwtSvid(TRUST_DOMAIN.parse().unwrap());
    let claims = json!({"sub": "spiffe://example.org/web", "aud": ["orders"], "exp": NOW_S + 60});
    let mut token = token(terms(profile, &algorithms), "JWT", claims);
    token.keys = Some(json!({"keys": [authority(token.signer, "k1")]}));
    token
}

/// A signer as a JWT authority of a SPIFFE bundle document.
pub(crate) fn authority(signer: &Signer, kid: &str) -> Value {
    let mut jwk = signer.named(kid);
    jwk["use"] = json!("jwt-svid");
    jwk
}

impl Token {
    /// Replaces a claim, or removes it by `null`.
    pub(crate) fn claim(mut self, name: &str, value: Value) -> Self {
        put(&mut self.claims, name, value);
        self
    }

    /// Replaces a member of the header, or removes it by `null`.
    pub(crate) fn header(mut self, name: &str, value: Value) -> Self {
        put(&mut self.header, name, value);
        self
    }

    /// Signs with another key, which says so in the header and is the issuer's only one.
    pub(crate) fn signed_with(mut self, algorithm: &str) -> Self {
        self.signer = signer(algorithm);
        let published = match self.issuer.trust_domain() {
            Some(_) => authority(self.signer, "k1"),
            None => self.signer.named("k1"),
        };
        self.keys = Some(json!({"keys": [published]}));
        self.header("alg", json!(algorithm))
    }

    /// Replaces the issuer's keys.
    pub(crate) fn keys(mut self, keys: Vec<Value>) -> Self {
        self.keys = Some(json!({ "keys": keys }));
        self
    }

    /// Changes a member of the issuer's only key, or removes it by `null`.
    pub(crate) fn key(mut self, name: &str, value: Value) -> Self {
        if let Some(keys) = &mut self.keys {
            put(&mut keys["keys"][0], name, value);
        }
        self
    }

    pub(crate) fn compact(&self) -> String {
        self.signer.mint(&self.header.to_string(), &self.claims.to_string())
    }

    pub(crate) fn verify(&self) -> Result<Claims, Refused> {
        self.verify_text(&self.compact())
    }

    /// Another text on the same terms.
    pub(crate) fn verify_text(&self, compact: &str) -> Result<Claims, Refused> {
        let set = self.keys.as_ref().map(|keys| Arc::new(self.key_set(keys)));
        let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW_S));
        verify(compact, std::slice::from_ref(&self.issuer), &|_| set.clone(), now).map_err(Refused)
    }

    /// By the rules of where the set comes from. A set without a usable key verifies nothing.
    fn key_set(&self, keys: &Value) -> KeySet {
        let document = keys.to_string();
        match self.issuer.trust_domain() {
            Some(_) => KeySet::parse_spiffe_bundle(document.as_bytes()).unwrap(),
            None => KeySet::parse(document.as_bytes()).unwrap_or_default(),
        }
    }
}

/// Replaces a member, or removes it by `null`.
pub(crate) fn put(of: &mut Value, name: &str, value: Value) {
    let members = of.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
}
