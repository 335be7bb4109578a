//! Tokens with any header and any claims, signed by aws-lc-rs itself, so that nothing between tidies them up.

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self as sig, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

enum Secret {
    Ec(EcdsaKeyPair),
    Ed(Box<Ed25519KeyPair>),
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
}

pub(crate) struct Signer {
    pub(crate) algorithm: &'static str,
    pub(crate) jwk: Value,
    secret: Secret,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Replaces a member, or removes it by `null`.
pub(crate) fn put(object: &mut Value, name: &str, value: Value) {
    let members = object.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
}

impl Signer {
    pub(crate) fn es256(kid: &str) -> Self {
        Self::ec(kid, "ES256", "P-256", &sig::ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    fn ec(kid: &str, algorithm: &'static str, curve: &str, how: &'static EcdsaSigningAlgorithm) -> Self {
        let pair = EcdsaKeyPair::generate(how).unwrap();
        let point = pair.public_key().as_ref()[1..].to_vec();
        let (x, y) = point.split_at(point.len() / 2);
        let jwk =
            json!({"kty": "EC", "kid": kid, "use": "sig", "crv": curve, "x": encode(x), "y": encode(y)});
        Self { algorithm, jwk, secret: Secret::Ec(pair) }
    }

    pub(crate) fn ed25519(kid: &str, algorithm: &'static str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let jwk = json!({"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": encode(pair.public_key())});
        Self { algorithm, jwk, secret: Secret::Ed(Box::new(pair)) }
    }

    pub(crate) fn rsa(kid: &str, algorithm: &'static str) -> Self {
        let how: &'static dyn RsaEncoding = match algorithm {
            "RS256" => &sig::RSA_PKCS1_SHA256,
            "RS384" => &sig::RSA_PKCS1_SHA384,
            "RS512" => &sig::RSA_PKCS1_SHA512,
            "PS256" => &sig::RSA_PSS_SHA256,
            "PS384" => &sig::RSA_PSS_SHA384,
            "PS512" => &sig::RSA_PSS_SHA512,
            other => panic!("{other}"),
        };
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let public: &sig::RsaSubjectPublicKey = pair.public_key();
        let (n, e) = components(public.as_ref());
        let jwk = json!({"kty": "RSA", "kid": kid, "n": encode(n), "e": encode(e)});
        Self { algorithm, jwk, secret: Secret::Rsa(Box::new(pair), how) }
    }

    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![
            Self::es256("a"),
            Self::ec("b", "ES384", "P-384", &sig::ECDSA_P384_SHA384_FIXED_SIGNING),
            Self::ec("c", "ES512", "P-521", &sig::ECDSA_P521_SHA512_FIXED_SIGNING),
            Self::ed25519("d", "EdDSA"),
            Self::ed25519("e", "Ed25519"),
        ];
        all.extend(
            ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map(|algorithm| Self::rsa("f", algorithm)),
        );
        all
    }

    pub(crate) fn mint(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = match &self.secret {
            Secret::Ec(pair) => pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
            Secret::Ed(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
            Secret::Rsa(pair, how) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(*how, &SystemRandom::new(), signed.as_bytes(), &mut out).unwrap();
                out
            }
        };
        format!("{signed}.{}", encode(signature))
    }

    /// The private scalar, to prove that a JWK with private parts is still only a public key here.
    pub(crate) fn secret_scalar(&self) -> Option<String> {
        match &self.secret {
            Secret::Ec(pair) => {
                let scalar = pair.private_key().as_be_bytes().ok()?;
                Some(encode(scalar.as_ref()))
            }
            Secret::Ed(_) | Secret::Rsa(..) => None,
        }
    }
}

/// `n` and `e` out of an RSAPublicKey: SEQUENCE { INTEGER n, INTEGER e } with lengths as 2048-bit keys have them.
fn components(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (_, public) = x509_parser::der_parser::der::parse_der(der).unwrap();
    let parts: Vec<Vec<u8>> =
        public.as_sequence().unwrap().iter().map(|part| part.as_bigint().unwrap().to_bytes_be().1).collect();
    let [n, e] = <[Vec<u8>; 2]>::try_from(parts).unwrap();
    (n, e)
}
