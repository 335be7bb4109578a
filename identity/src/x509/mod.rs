//! X.509-SVIDs: the rules of the leaf, the path to the trust bundle, and what comes out when both hold.

pub(crate) mod chain;
pub(crate) mod constraints;
pub(crate) mod der;
pub(crate) mod error;
pub(crate) mod issuer;
pub(crate) mod leaf;
pub(crate) mod revocation;
pub(crate) mod subject;

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::{Validity, X509Certificate};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// The most intermediate certificates a peer may present.
pub const INTERMEDIATES_MAX: usize = 6;
/// The largest certificate, in bytes of DER.
pub const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;
/// The largest chain, leaf and intermediates together, in bytes of DER.
pub const CHAIN_BYTES_MAX: usize = 64 * 1024;

/// Parses one certificate and refuses what follows it.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(format!("{} bytes, at most {CERTIFICATE_BYTES_MAX} are read", der.len()));
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok((rest, _)) => Err(format!("{} bytes follow the certificate", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// The window in which a certificate is valid, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
}

impl Window {
    pub(crate) fn of(validity: &Validity) -> Self {
        Self { not_before: unix_time(validity.not_before), not_after: unix_time(validity.not_after) }
    }

    /// The time in which both are valid.
    pub(crate) fn overlap(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }
}

/// A time before 1970 becomes 1970: it has passed either way.
fn unix_time(time: ASN1Time) -> UnixTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// Splits concatenated DER certificates (Workload_API §5.1: no intermediate padding).
pub(crate) fn split(mut der: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut certificates = Vec::new();
    while !der.is_empty() {
        let (rest, _) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let (certificate, _) = der.split_at(der.len().saturating_sub(rest.len()));
        certificates.push(CertificateDer::from(certificate.to_vec()));
        der = rest;
    }
    Ok(certificates)
}
