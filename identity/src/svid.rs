//! Our own SVID: what we present to others.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsLibError, InconsistentKeys};
use rustls_pki_types::pem::Error as PemError;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

use crate::id::SpiffeId;
use crate::x509::error::VerifyError;
use crate::x509::leaf::{self, Purpose};
use crate::x509::{self, CHAIN_BYTES_MAX, INTERMEDIATES_MAX, Window};

/// Why a certificate and a key do not make an SVID of our own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SvidError {
    /// The certificate file.
    #[error("the certificate is not PEM with certificates: {0}")]
    CertificatePem(PemError),
    /// The key file.
    #[error("the private key is not PEM with an unencrypted PKCS#8, PKCS#1 or SEC1 key: {0}")]
    KeyPem(PemError),
    /// The concatenated DER of a chain.
    #[error("the certificate chain cannot be read: {0}")]
    Chain(String),
    /// More certificates or bytes than a peer would read.
    #[error("the certificate chain is too long: at most 7 certificates in 64 KiB")]
    ChainTooLarge,
    /// The leaf breaks the rules of X509-SVID; no peer should accept it.
    #[error("the certificate is not an SVID: {0}")]
    Leaf(#[from] VerifyError),
    /// The key cannot be used.
    #[error("the private key cannot be used: {0}")]
    Key(TlsLibError),
    /// The key is of another certificate.
    #[error("the private key does not match the certificate")]
    KeyMismatch,
}

/// Our own certificate chain and private key, checked against each other and against the rules that a peer applies.
/// Its `Debug` shows no key.
pub struct X509Svid {
    spiffe_id: SpiffeId,
    window: Window,
    key: Arc<CertifiedKey>,
}

impl X509Svid {
    /// From a chain, leaf first, and its key.
    ///
    /// # Errors
    /// No certificate, a leaf that is not an SVID good for both client and server, or a key that is not its own.
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, SvidError> {
        let bytes: usize = chain.iter().map(|der| der.len()).sum();
        if chain.len() > INTERMEDIATES_MAX + 1 || bytes > CHAIN_BYTES_MAX {
            return Err(SvidError::ChainTooLarge);
        }
        let first = chain.first().ok_or(VerifyError::NoCertificate)?;
        let leaf = leaf::check(first, Purpose::Own)?;
        let key = certified(chain, key)?;
        Ok(Self { spiffe_id: leaf.spiffe_id, window: leaf.window, key: Arc::new(key) })
    }

    /// From PEM: the chain, leaf first, and the key.
    ///
    /// # Errors
    /// As [`X509Svid::from_der`], and PEM that is damaged or empty.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, SvidError> {
        let chain = crate::pem::certificates(certificates).map_err(SvidError::CertificatePem)?;
        let key = crate::pem::private_key(key).map_err(SvidError::KeyPem)?;
        Self::from_der(chain, key)
    }

    /// From the Workload API: concatenated DER, leaf first, and a PKCS#8 key (Workload_API §5.1).
    ///
    /// # Errors
    /// As [`X509Svid::from_der`].
    pub fn from_workload_api(chain: &[u8], key_pkcs8: Vec<u8>) -> Result<Self, SvidError> {
        if chain.len() > CHAIN_BYTES_MAX {
            return Err(SvidError::ChainTooLarge);
        }
        let chain = x509::split(chain).map_err(SvidError::Chain)?;
        Self::from_der(chain, PrivatePkcs8KeyDer::from(key_pkcs8).into())
    }

    /// Who we are.
    #[must_use]
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The chain that we present, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// The beginning of the leaf's validity.
    #[must_use]
    pub fn not_before(&self) -> UnixTime {
        self.window.not_before
    }

    /// The end of the leaf's validity. After it we are nobody.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.window.not_after
    }

    /// The half of the leaf's life: when a replacement should have come.
    #[must_use]
    pub fn half_life(&self) -> UnixTime {
        let begin = self.window.not_before.as_secs();
        let half = self.window.not_after.as_secs().saturating_sub(begin) / 2;
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(begin.saturating_add(half)))
    }

    /// Chain and key as rustls takes them.
    #[must_use]
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }
}

impl fmt::Debug for X509Svid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("X509Svid")
            .field("spiffe_id", &self.spiffe_id)
            .field("not_after", &self.window.not_after)
            .finish_non_exhaustive()
    }
}

/// `CertifiedKey::from_der` lets a key pass whose public half it cannot name; here that is a mismatch.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, SvidError> {
    let provider: CryptoProvider = rustls::crypto::aws_lc_rs::default_provider();
    let signer = provider.key_provider.load_private_key(key).map_err(SvidError::Key)?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(TlsLibError::InconsistentKeys(InconsistentKeys::KeyMismatch | InconsistentKeys::Unknown)) => {
            Err(SvidError::KeyMismatch)
        }
        Err(TlsLibError::InvalidCertificate(error)) => Err(SvidError::Chain(error.to_string())),
        Err(error) => Err(SvidError::Key(error)),
    }
}

#[cfg(test)]
mod tests;
