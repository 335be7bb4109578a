//! The keys that sign checkpoints: Ed25519, and ECDSA over P-256 where only that is approved.
//!
//! Never the SVID's key: it lives an hour and the record must be checkable for years, and a key that signs TLS
//! handshakes should sign nothing else.
use crate::hash::{hex, sha256};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{self, KeyPair as _, UnparsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::fmt::Debug;

/// Everything before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Everything before the 65 bytes of an uncompressed P-256 point in a SubjectPublicKeyInfo (RFC 5480).
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const PEM_BYTES_MAX: usize = 16 * 1024;

/// What was wrong with a key or a signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM block of that label.
    #[error("no `{0}` block found; write the key with `openssl genpkey -algorithm ed25519`")]
    NoPem(&'static str),
    /// The PEM block or the base64 in it is damaged.
    #[error("the key's base64 is damaged")]
    Base64,
    /// Not an Ed25519 or P-256 key.
    #[error("the key is neither Ed25519 nor ECDSA over P-256 in PKCS#8")]
    Unsupported,
    /// Not a verifier key of a signed note.
    #[error("a verifier key reads `<name>+<key id>+<base64>`")]
    VerifierKey,
    /// The key id of a verifier key is not that of its key.
    #[error("the verifier key's id is not the id of its key")]
    KeyId,
    /// The signature is not of this key over these bytes.
    #[error("the signature does not match")]
    Signature,
    /// The signing key could not sign.
    #[error("the key could not sign")]
    Signing,
}

/// What signs checkpoints.
pub trait Signer: Debug + Send + Sync {
    /// The public half.
    fn verifying_key(&self) -> &VerifyingKey;
    /// Signs `message`.
    ///
    /// # Errors
    /// [`KeyError::Signing`] when the key cannot be used now.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;
}

/// A public key that checkpoints are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyingKey {
    /// Ed25519, signature type 0x01 of C2SP signed-note.
    Ed25519([u8; 32]),
    /// ECDSA over P-256 with SHA-256, signature type 0x02: the uncompressed point.
    EcdsaP256([u8; 65]),
}

impl VerifyingKey {
    fn signature_type(&self) -> u8 {
        match self {
            Self::Ed25519(_) => 0x01,
            Self::EcdsaP256(_) => 0x02,
        }
    }

    fn encoded(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.to_vec(),
            Self::EcdsaP256(point) => [P256_SPKI.as_slice(), point].concat(),
        }
    }

    /// The name of the algorithm.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "ed25519",
            Self::EcdsaP256(_) => "ecdsa-p256",
        }
    }

    /// The id of this key under `name`, as C2SP signed-note derives it for each signature type.
    pub fn key_id(&self, name: &str) -> [u8; 4] {
        let hash = match self {
            Self::Ed25519(key) => sha256(&[name.as_bytes(), b"\n\x01", key].concat()),
            Self::EcdsaP256(_) => sha256(&self.encoded()),
        };
        hash.first_chunk().copied().unwrap_or_default()
    }

    /// The verifier key text: `<name>+<key id>+<base64>`.
    pub fn to_vkey(&self, name: &str) -> String {
        let typed = [&[self.signature_type()], self.encoded().as_slice()].concat();
        format!("{name}+{}+{}", hex(&self.key_id(name)), STANDARD.encode(typed))
    }

    /// Reads a verifier key: the key and the name it signs under.
    ///
    /// # Errors
    /// The text is no verifier key, or its id is not its key's.
    pub fn from_vkey(text: &str) -> Result<(String, Self), KeyError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(KeyError::VerifierKey);
        };
        let bytes = STANDARD.decode(key).map_err(|_| KeyError::Base64)?;
        let key = match bytes.split_first() {
            Some((0x01, key)) => Self::Ed25519(key.try_into().map_err(|_| KeyError::Unsupported)?),
            Some((0x02, spki)) => Self::from_spki(spki)?,
            Some(_) | None => return Err(KeyError::Unsupported),
        };
        if hex(&key.key_id(name)) == id { Ok((name.to_owned(), key)) } else { Err(KeyError::KeyId) }
    }

    /// Reads a `PUBLIC KEY` in PEM.
    ///
    /// # Errors
    /// The PEM is damaged or holds another kind of key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        Self::from_spki(&der_of(pem, "PUBLIC KEY")?)
    }

    fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        if let Some(key) = spki.strip_prefix(&ED25519_SPKI) {
            return key.try_into().map(Self::Ed25519).map_err(|_| KeyError::Unsupported);
        }
        let point = spki.strip_prefix(&P256_SPKI).ok_or(KeyError::Unsupported)?;
        point.try_into().map(Self::EcdsaP256).map_err(|_| KeyError::Unsupported)
    }

    /// Checks a signature.
    ///
    /// # Errors
    /// [`KeyError::Signature`] when it does not match.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let verified = match self {
            Self::Ed25519(key) => UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature),
            Self::EcdsaP256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
        };
        verified.map_err(|_| KeyError::Signature)
    }
}

/// Signs with Ed25519.
#[derive(Debug)]
pub struct Ed25519Signer {
    pair: signature::Ed25519KeyPair,
    public: VerifyingKey,
}

impl Ed25519Signer {
    /// Reads a PKCS#8 key, with or without its public half.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] when it is another kind of key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair =
            signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError::Unsupported)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Unsupported)?;
        Ok(Self { pair, public: VerifyingKey::Ed25519(public) })
    }

    /// Makes a key: for demonstrations and tests.
    ///
    /// # Errors
    /// [`KeyError::Signing`] when the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = signature::Ed25519KeyPair::generate().map_err(|_| KeyError::Signing)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Unsupported)?;
        Ok(Self { pair, public: VerifyingKey::Ed25519(public) })
    }
}

impl Signer for Ed25519Signer {
    fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.pair
            .try_sign(message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| KeyError::Signing)
    }
}

/// Signs with ECDSA over P-256 and SHA-256.
#[derive(Debug)]
pub struct EcdsaP256Signer {
    pair: signature::EcdsaKeyPair,
    random: SystemRandom,
    public: VerifyingKey,
}

impl EcdsaP256Signer {
    /// Reads a PKCS#8 key.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] when it is another kind of key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = signature::EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .map_err(|_| KeyError::Unsupported)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Unsupported)?;
        Ok(Self { pair, random: SystemRandom::new(), public: VerifyingKey::EcdsaP256(public) })
    }
}

impl Signer for EcdsaP256Signer {
    fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.sign(&self.random, message).map_err(|_| KeyError::Signing)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// Reads a signing key from a PKCS#8 `PRIVATE KEY` in PEM: what `openssl genpkey` writes.
///
/// # Errors
/// The PEM is damaged, or the key is neither Ed25519 nor P-256.
pub fn signer_from_pem(pem: &[u8]) -> Result<Box<dyn Signer>, KeyError> {
    let der = der_of(pem, "PRIVATE KEY")?;
    match Ed25519Signer::from_pkcs8(&der) {
        Ok(signer) => Ok(Box::new(signer)),
        Err(_) => Ok(Box::new(EcdsaP256Signer::from_pkcs8(&der)?)),
    }
}

/// The bytes of the first PEM block labelled `label` (RFC 7468).
fn der_of(pem: &[u8], label: &'static str) -> Result<Vec<u8>, KeyError> {
    let text = pem.get(..pem.len().min(PEM_BYTES_MAX)).and_then(|pem| std::str::from_utf8(pem).ok());
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let body = text
        .and_then(|text| text.split_once(&begin))
        .and_then(|(_, rest)| rest.split_once(&end))
        .map(|(body, _)| body.split_ascii_whitespace().collect::<String>())
        .ok_or(KeyError::NoPem(label))?;
    STANDARD.decode(body).map_err(|_| KeyError::Base64)
}

#[cfg(test)]
mod tests;
