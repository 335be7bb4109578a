//! PEM in, DER out, with the two sharp edges taken off: a file with no section of the wanted kind is an error, and so
//! is a damaged one.

use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// All `CERTIFICATE` sections in order; sections of other kinds are passed over.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>()?;
    if found.is_empty() { Err(PemError::NoItemsFound) } else { Ok(found) }
}

/// The first private key section: PKCS#8, PKCS#1 or SEC1, unencrypted.
pub(crate) fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(text)
}
