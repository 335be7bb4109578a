//! Making the signature that [`super::signature`] and OPA verify.
use super::signature::{HashAlgorithm, digest_of};
use super::{BundleError, Files, SIGNATURES, SignatureAlgorithm};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use std::fmt;

/// Why a bundle cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// No private key in the text.
    #[error("no private key in the PEM text (PKCS#8 `PRIVATE KEY`, `EC PRIVATE KEY` or `RSA PRIVATE KEY`)")]
    NoKey,
    /// The key's kind cannot sign bundles.
    #[error("only EC keys on P-256 or P-384 and RSA keys of 2048 bits and more can sign bundles")]
    Kind,
    /// The library failed to sign.
    #[error("the signature could not be made")]
    Failed,
    /// A file cannot be signed as it is.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

enum Key {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>, SignatureAlgorithm),
}

/// A private key that signs bundles.
pub struct SigningKey {
    key: Key,
    id: Option<String>,
    scope: Option<String>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm())
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a private key from PEM. EC keys sign with ES256 or ES384 by their curve, RSA keys with RS256.
    ///
    /// # Errors
    /// [`SigningError`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, SigningError> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| SigningError::NoKey)?;
        let key = match &der {
            PrivateKeyDer::Pkcs8(der) => {
                let bytes = der.secret_pkcs8_der();
                ecdsa(|algorithm| EcdsaKeyPair::from_pkcs8(algorithm, bytes).ok())
                    .or_else(|| rsa(RsaKeyPair::from_pkcs8(bytes).ok()))
            }
            PrivateKeyDer::Sec1(der) => {
                let bytes = der.secret_sec1_der();
                ecdsa(|algorithm| EcdsaKeyPair::from_private_key_der(algorithm, bytes).ok())
            }
            PrivateKeyDer::Pkcs1(der) => rsa(RsaKeyPair::from_der(der.secret_pkcs1_der()).ok()),
            _ => None,
        };
        Ok(Self { key: key.ok_or(SigningError::Kind)?, id: None, scope: None })
    }

    /// A new P-256 key, for demonstrations and tests.
    ///
    /// # Errors
    /// [`SigningError::Failed`] when the system has no randomness.
    pub fn generate_p256() -> Result<Self, SigningError> {
        let key =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SigningError::Failed)?;
        Ok(Self { key: Key::P256(key), id: None, scope: None })
    }

    /// Names the key in the signature (`kid`), so that verifiers with several keys find theirs.
    #[must_use]
    pub fn with_id(mut self, id: &str) -> Self {
        self.id = Some(id.to_owned());
        self
    }

    /// States what the bundle is good for; a verifier must expect the same scope.
    #[must_use]
    pub fn with_scope(mut self, scope: &str) -> Self {
        self.scope = Some(scope.to_owned());
        self
    }

    /// Signs RSA bundles with PS256 instead of RS256; no effect on EC keys.
    #[must_use]
    pub fn with_rsa_pss(mut self) -> Self {
        if let Key::Rsa(_, algorithm) = &mut self.key {
            *algorithm = SignatureAlgorithm::Ps256;
        }
        self
    }

    /// The algorithm the key signs with.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match &self.key {
            Key::P256(_) => SignatureAlgorithm::Es256,
            Key::P384(_) => SignatureAlgorithm::Es384,
            Key::Rsa(_, algorithm) => *algorithm,
        }
    }

    /// The public half as a PEM `PUBLIC KEY`, for [`super::SignerKey::from_pem`] and `opa --verification-key`.
    ///
    /// # Errors
    /// [`SigningError::Failed`] when the library cannot encode it.
    pub fn public_pem(&self) -> Result<String, SigningError> {
        use aws_lc_rs::encoding::AsDer as _;
        let der = match &self.key {
            Key::P256(key) | Key::P384(key) => key.public_key().as_der().map(|der| der.as_ref().to_vec()),
            Key::Rsa(key, _) => key.public_key().as_der().map(|der| der.as_ref().to_vec()),
        };
        let text = STANDARD.encode(der.map_err(|_| SigningError::Failed)?);
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        Ok(pem)
    }

    /// The `.signatures.json` for these files.
    pub(super) fn signatures_of(&self, files: &Files) -> Result<Vec<u8>, SigningError> {
        let mut listed = Vec::new();
        for (name, content) in files.iter().filter(|(name, _)| *name != SIGNATURES) {
            let hash = digest_of(name, content, HashAlgorithm::Sha256)?;
            listed.push(serde_json::json!({"name": name, "hash": hash, "algorithm": "SHA-256"}));
        }
        let mut header = serde_json::json!({"alg": self.algorithm().jws_name(), "typ": "JWT"});
        let mut payload = serde_json::json!({ "files": listed });
        if let (Some(id), Some(members)) = (&self.id, header.as_object_mut()) {
            members.insert("kid".to_owned(), id.as_str().into());
        }
        if let (Some(scope), Some(members)) = (&self.scope, payload.as_object_mut()) {
            members.insert("scope".to_owned(), scope.as_str().into());
        }
        let token = self.token(&header, &payload)?;
        Ok(serde_json::json!({ "signatures": [token] }).to_string().into_bytes())
    }

    fn token(&self, header: &serde_json::Value, payload: &serde_json::Value) -> Result<String, SigningError> {
        let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = format!("{}.{}", encode(header), encode(payload));
        let signature = self.sign(head.as_bytes())?;
        Ok(format!("{head}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    #[cfg(test)]
    pub(super) fn token_for_tests(&self, payload: &serde_json::Value) -> String {
        self.token(&serde_json::json!({"alg": self.algorithm().jws_name()}), payload).unwrap()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        let random = SystemRandom::new();
        match &self.key {
            Key::P256(key) | Key::P384(key) => {
                key.sign(&random, message).map(|s| s.as_ref().to_vec()).map_err(|_| SigningError::Failed)
            }
            Key::Rsa(key, algorithm) => {
                let padding: &dyn aws_lc_rs::signature::RsaEncoding = match algorithm {
                    SignatureAlgorithm::Ps256 => &RSA_PSS_SHA256,
                    SignatureAlgorithm::Rs256 | SignatureAlgorithm::Es256 | SignatureAlgorithm::Es384 => {
                        &RSA_PKCS1_SHA256
                    }
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(padding, &random, message, &mut signature).map_err(|_| SigningError::Failed)?;
                Ok(signature)
            }
        }
    }
}

fn ecdsa(
    read: impl Fn(&'static aws_lc_rs::signature::EcdsaSigningAlgorithm) -> Option<EcdsaKeyPair>,
) -> Option<Key> {
    read(&ECDSA_P256_SHA256_FIXED_SIGNING)
        .map(Key::P256)
        .or_else(|| read(&ECDSA_P384_SHA384_FIXED_SIGNING).map(Key::P384))
}

fn rsa(key: Option<RsaKeyPair>) -> Option<Key> {
    const MODULUS_BYTES_MIN: usize = 256;
    key.filter(|key| key.public_modulus_len() >= MODULUS_BYTES_MIN)
        .map(|key| Key::Rsa(Box::new(key), SignatureAlgorithm::Rs256))
}
