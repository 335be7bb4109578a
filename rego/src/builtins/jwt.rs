//! JSON Web Tokens (RFC 7519) in the compact form: decoding, verification, and signing.
mod sign;
#[cfg(test)]
mod tests;
mod token;
mod verify;

use super::Builtin;
use super::pki::signature::{Hash, Scheme};

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("io.jwt.decode", 1, token::decode),
    Builtin { name: "io.jwt.decode_verify", arity: 2, nondeterministic: true, call: verify::decode_verify },
    Builtin { name: "io.jwt.encode_sign", arity: 3, nondeterministic: true, call: sign::encode_sign },
    Builtin { name: "io.jwt.encode_sign_raw", arity: 3, nondeterministic: true, call: sign::encode_sign_raw },
    Builtin::pure("io.jwt.verify_eddsa", 2, |context, args| verify::with_key(context, args, Scheme::Ed25519)),
    Builtin::pure("io.jwt.verify_es256", 2, |context, args| {
        verify::with_key(context, args, Scheme::EcdsaHalves(Hash::Sha256))
    }),
    Builtin::pure("io.jwt.verify_es384", 2, |context, args| {
        verify::with_key(context, args, Scheme::EcdsaHalves(Hash::Sha384))
    }),
    Builtin::pure("io.jwt.verify_es512", 2, |context, args| {
        verify::with_key(context, args, Scheme::EcdsaHalves(Hash::Sha512))
    }),
    Builtin::pure("io.jwt.verify_hs256", 2, |context, args| verify::with_secret(context, args, Hash::Sha256)),
    Builtin::pure("io.jwt.verify_hs384", 2, |context, args| verify::with_secret(context, args, Hash::Sha384)),
    Builtin::pure("io.jwt.verify_hs512", 2, |context, args| verify::with_secret(context, args, Hash::Sha512)),
    Builtin::pure("io.jwt.verify_ps256", 2, |context, args| {
        verify::with_key(context, args, Scheme::PssAnySalt(Hash::Sha256))
    }),
    Builtin::pure("io.jwt.verify_ps384", 2, |context, args| {
        verify::with_key(context, args, Scheme::PssAnySalt(Hash::Sha384))
    }),
    Builtin::pure("io.jwt.verify_ps512", 2, |context, args| {
        verify::with_key(context, args, Scheme::PssAnySalt(Hash::Sha512))
    }),
    Builtin::pure("io.jwt.verify_rs256", 2, |context, args| {
        verify::with_key(context, args, Scheme::Pkcs1(Hash::Sha256))
    }),
    Builtin::pure("io.jwt.verify_rs384", 2, |context, args| {
        verify::with_key(context, args, Scheme::Pkcs1(Hash::Sha384))
    }),
    Builtin::pure("io.jwt.verify_rs512", 2, |context, args| {
        verify::with_key(context, args, Scheme::Pkcs1(Hash::Sha512))
    }),
];

/// How a token is signed, by the name in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signing {
    Secret(Hash),
    Key(Scheme),
}

impl Signing {
    /// The names of RFC 7518, and the others under which OPA's library keeps the same algorithms.
    fn of(algorithm: &str) -> Option<Self> {
        use Hash::{Sha256, Sha384, Sha512};
        Some(match algorithm {
            "HS256" | "HMAC_WITH_SHA256" => Self::Secret(Sha256),
            "HS384" | "HMAC_WITH_SHA384" => Self::Secret(Sha384),
            "HS512" | "HMAC_WITH_SHA512" => Self::Secret(Sha512),
            "RS256" | "RSA_PKCS1v15_WITH_SHA256" => Self::Key(Scheme::Pkcs1(Sha256)),
            "RS384" | "RSA_PKCS1v15_WITH_SHA384" => Self::Key(Scheme::Pkcs1(Sha384)),
            "RS512" | "RSA_PKCS1v15_WITH_SHA512" => Self::Key(Scheme::Pkcs1(Sha512)),
            "PS256" | "RSA_PSS_WITH_SHA256" => Self::Key(Scheme::Pss(Sha256)),
            "PS384" | "RSA_PSS_WITH_SHA384" => Self::Key(Scheme::Pss(Sha384)),
            "PS512" | "RSA_PSS_WITH_SHA512" => Self::Key(Scheme::Pss(Sha512)),
            "ES256" | "ECDSA_WITH_P256_AND_SHA256" => Self::Key(Scheme::EcdsaFixed(Sha256)),
            "ES384" | "ECDSA_WITH_P384_AND_SHA384" => Self::Key(Scheme::EcdsaFixed(Sha384)),
            "ES512" | "ECDSA_WITH_P521_AND_SHA512" => Self::Key(Scheme::EcdsaFixed(Sha512)),
            "EdDSA" | "Ed25519" => Self::Key(Scheme::Ed25519),
            _ => return None,
        })
    }

    /// The same, but only the names that OPA admits for keys and for signing.
    fn registered(algorithm: &str) -> Option<Self> {
        Self::of(algorithm).filter(|_| !algorithm.contains('_') && algorithm != "Ed25519")
    }
}
