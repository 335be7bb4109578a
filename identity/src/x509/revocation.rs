//! Revocation lists (RFC 5280 §5), and what they say about a path.
//!
//! webpki reads the lists, and is strict about it. It does not judge by them here: it asks the first list whose issuer
//! has the right name, and a trust domain that renews its authority has two of one name, each with its own list. A list
//! speaks for a certificate when it is signed with the key of that certificate's issuer, wherever it lies.

use std::cell::Cell;
use std::sync::Arc;

use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateRevocationListDer, UnixTime};
use webpki::{Cert, CertRevocationList, OwnedCertRevocationList, VerifiedPath};
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::chain::SIGNATURE_ALGORITHMS;
use super::error::VerifyError;
use super::{der, leaf, unix_time};

/// The most revocation lists that one trust domain may have.
pub const REVOCATION_LISTS_MAX: usize = 256;
/// The largest revocation list that is read, in bytes of DER or PEM: room for some hundred thousand certificates.
pub const REVOCATION_LIST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many signatures of lists one chain may cost. Lists of authorities are checked when they are loaded; what is
/// left are those that intermediates signed.
const SIGNATURES_MAX: usize = 32;

/// Why a revocation list was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// Neither DER nor PEM.
    #[error("this is neither a revocation list in DER nor PEM with revocation lists: {0}")]
    Pem(PemError),
    /// Not a list of RFC 5280 §5 that can be judged by.
    #[error(
        "the revocation list cannot be read: {0}; a complete X.509 list of version 2 with `nextUpdate` and number is needed"
    )]
    Malformed(String),
    /// Larger than [`REVOCATION_LIST_BYTES_MAX`], or more than [`REVOCATION_LISTS_MAX`].
    #[error("there are too many revocation lists or too large ones: at most 256 of at most 8 MiB")]
    TooLarge,
}

/// What becomes of a certificate that no list calls good. One that a list calls revoked is refused, unless lists are
/// not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationMode {
    /// Lists are not looked at.
    Off,
    /// It is taken: no list of its issuer is there, or the newest has expired.
    Soft,
    /// It is refused.
    Hard,
}

/// One revocation list, read and not yet believed: it counts only beneath the authority whose key signed it.
#[derive(Clone, PartialEq, Eq)]
pub struct RevocationList(Arc<List>);

struct List {
    list: CertRevocationList<'static>,
    next_update: UnixTime,
    scope: Scope,
    /// What is signed, with which algorithm, and the signature.
    signed: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

/// Which of its issuer's certificates a list is about (RFC 5280 §5.2.5).
#[derive(Debug, Default)]
struct Scope {
    leaves_only: bool,
    issuers_only: bool,
    /// The places where it is published, when it is one of several parts.
    points: Vec<String>,
}

impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        self.signed == other.signed && self.signature == other.signature && self.algorithm == other.algorithm
    }
}

impl Eq for List {}

impl RevocationList {
    /// From the content of a file: one list in DER, or one or more in PEM.
    ///
    /// # Errors
    /// No list, a damaged one, or one that cannot be judged by: a delta, an indirect one, one without `nextUpdate`.
    pub fn from_file(content: &[u8]) -> Result<Vec<Self>, RevocationError> {
        if content.len() > REVOCATION_LIST_BYTES_MAX {
            return Err(RevocationError::TooLarge);
        }
        if content.first() == Some(&der::SEQUENCE) {
            return Ok(vec![Self::from_der(content)?]);
        }
        let found: Vec<_> = CertificateRevocationListDer::pem_slice_iter(content)
            .collect::<Result<_, _>>()
            .map_err(RevocationError::Pem)?;
        if found.is_empty() {
            return Err(RevocationError::Pem(PemError::NoItemsFound));
        }
        found.iter().map(|der| Self::from_der(der)).collect()
    }

    /// From DER.
    ///
    /// # Errors
    /// As [`RevocationList::from_file`].
    pub fn from_der(der: &[u8]) -> Result<Self, RevocationError> {
        if der.len() > REVOCATION_LIST_BYTES_MAX {
            return Err(RevocationError::TooLarge);
        }
        List::read(der).map(|list| Self(Arc::new(list))).map_err(RevocationError::Malformed)
    }

    /// When the next list should be there. After it this one no longer shows that a certificate is good.
    #[must_use]
    pub fn next_update(&self) -> UnixTime {
        self.0.next_update
    }

    /// True when this name and key are those of whom the list is from. `key` is the content of a `SubjectPublicKeyInfo`.
    pub(crate) fn is_by(&self, name: &[u8], key: &[u8]) -> bool {
        self.has_issuer(name) && self.is_signed_with(key)
    }

    fn has_issuer(&self, name: &[u8]) -> bool {
        self.0.list.issuer() == name
    }

    fn is_signed_with(&self, key: &[u8]) -> bool {
        let Ok(parts) = der::elements(key) else { return false };
        let [algorithm, bits] = parts.as_slice() else { return false };
        let Some((0, public)) = bits.content.split_first() else { return false };
        SIGNATURE_ALGORITHMS
            .iter()
            .filter(|known| known.signature_alg_id().as_ref() == self.0.algorithm)
            .filter(|known| known.public_key_alg_id().as_ref() == algorithm.content)
            .any(|known| known.verify_signature(public, &self.0.signed, &self.0.signature).is_ok())
    }

    fn revokes(&self, certificate: &Cert<'_>) -> bool {
        // An owned list was read to its end when it was made: there is no error left to find.
        !matches!(self.0.list.find_serial(certificate.serial()), Ok(None))
    }

    fn is_about(&self, certificate: &Cert<'_>, is_leaf: bool) -> bool {
        let scope = &self.0.scope;
        let of_kind = if is_leaf { !scope.issuers_only } else { !scope.leaves_only };
        of_kind && (scope.points.is_empty() || shares_point(&certificate.der(), &scope.points))
    }
}

impl std::fmt::Debug for RevocationList {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RevocationList")
            .field("bytes", &self.0.signed.len())
            .field("next_update", &self.0.next_update)
            .field("scope", &self.0.scope)
            .finish_non_exhaustive()
    }
}

impl List {
    fn read(der: &[u8]) -> Result<Self, String> {
        let list = OwnedCertRevocationList::from_der(der).map_err(|error| error.to_string())?;
        let (outer, rest) = der::element(der)?;
        let parts: [der::Element<'_>; 3] = match (rest, der::elements(outer.content)?.try_into()) {
            ([], Ok(parts)) => parts,
            _ => return Err("it does not have three parts".to_owned()),
        };
        let [signed, algorithm, signature] = parts;
        let Some((0, signature)) = signature.content.split_first() else {
            return Err("its signature has a part of an octet".to_owned());
        };
        let (_, parsed) = CertificateRevocationList::from_der(der).map_err(|error| error.to_string())?;
        if parsed.crl_number().is_none() {
            return Err("it has no number (RFC 5280 §5.2.3)".to_owned());
        }
        let next_update = parsed.next_update().ok_or("it has no `nextUpdate`")?;
        Ok(Self {
            list: list.into(),
            next_update: unix_time(next_update),
            scope: Scope::of(&parsed)?,
            signed: signed.whole.to_vec(),
            algorithm: algorithm.content.to_vec(),
            signature: signature.to_vec(),
        })
    }
}

impl Scope {
    fn of(list: &CertificateRevocationList<'_>) -> Result<Self, String> {
        let oid = x509_parser::oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT;
        let Some(extension) = list.extensions().iter().find(|extension| extension.oid == oid) else {
            return Ok(Self::default());
        };
        let ParsedExtension::IssuingDistributionPoint(point) = extension.parsed_extension() else {
            return Err("its distribution point cannot be read".to_owned());
        };
        let points = point.distribution_point.as_ref().map_or_else(Vec::new, point_uris);
        if point.distribution_point.is_some() && points.is_empty() {
            return Err("its distribution point has no URI".to_owned());
        }
        let points = points.into_iter().map(str::to_owned).collect();
        let (leaves_only, issuers_only) = (point.only_contains_user_certs, point.only_contains_ca_certs);
        Ok(Self { leaves_only, issuers_only, points })
    }
}

fn point_uris<'a>(name: &'a DistributionPointName<'a>) -> Vec<&'a str> {
    let DistributionPointName::FullName(names) = name else { return Vec::new() };
    let uri = |name: &'a GeneralName<'a>| if let GeneralName::URI(uri) = name { Some(*uri) } else { None };
    names.iter().filter_map(uri).collect()
}

/// Whether a certificate leaves the choice of its list open, or names one of these places (RFC 5280 §6.3.3).
fn shares_point(certificate: &[u8], points: &[String]) -> bool {
    let Ok(certificate) = super::parse(certificate) else { return false };
    let mut named = certificate.extensions().iter().filter_map(|extension| {
        if let ParsedExtension::CRLDistributionPoints(own) = extension.parsed_extension() {
            Some(own)
        } else {
            None
        }
    });
    let Some(own) = named.next() else { return true };
    let uris = own.points.iter().filter_map(|point| point.distribution_point.as_ref()).flat_map(point_uris);
    uris.into_iter().any(|uri| points.iter().any(|point| point == uri))
}

/// The lists of a trust domain and how they are judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revocation {
    mode: RevocationMode,
    lists: Box<[Listed]>,
}

/// A list, and which of the trust domain's authorities it is from, by their places.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    list: RevocationList,
    authorities: Box<[usize]>,
}

impl Revocation {
    pub(crate) fn off() -> Self {
        Self { mode: RevocationMode::Off, lists: Box::default() }
    }

    /// `authorities_of` says which authorities a list is from.
    pub(crate) fn new(
        lists: Vec<RevocationList>,
        mode: RevocationMode,
        authorities_of: impl Fn(&RevocationList) -> Box<[usize]>,
    ) -> Self {
        if mode == RevocationMode::Off {
            return Self::off();
        }
        let mut listed: Vec<Listed> = Vec::with_capacity(lists.len());
        for list in lists {
            if listed.iter().all(|known| known.list != list) {
                let authorities = authorities_of(&list);
                listed.push(Listed { list, authorities });
            }
        }
        Self { mode, lists: listed.into() }
    }

    pub(crate) fn mode(&self) -> RevocationMode {
        self.mode
    }

    pub(crate) fn lists(&self) -> impl Iterator<Item = &RevocationList> {
        self.lists.iter().map(|listed| &listed.list)
    }

    /// Whether every certificate of a path is one that is not revoked, and until when the lists show that: until the
    /// first of those expires that are needed, for ever where none is. `authority` is the place of the path's authority;
    /// `signatures` counts what all paths of one chain have cost.
    pub(crate) fn check(
        &self,
        path: &VerifiedPath<'_>,
        authority: usize,
        signatures: &Signatures,
        now: UnixTime,
    ) -> Result<Option<UnixTime>, VerifyError> {
        if self.mode == RevocationMode::Off {
            return Ok(None);
        }
        let leaf: &Cert<'_> = path.end_entity();
        let mut certificate = leaf;
        let mut is_leaf = true;
        let mut until = None;
        for issuer in path.intermediate_certificates() {
            let lists = self.by_intermediate(issuer, signatures)?;
            until = sooner(until, self.judge(certificate, is_leaf, &lists, now)?);
            (certificate, is_leaf) = (issuer, false);
        }
        let own = self.lists.iter().filter(|listed| listed.authorities.contains(&authority));
        let lists: Vec<_> = own.map(|listed| &listed.list).collect();
        Ok(sooner(until, self.judge(certificate, is_leaf, &lists, now)?))
    }

    fn by_intermediate(
        &self,
        issuer: &Cert<'_>,
        signatures: &Signatures,
    ) -> Result<Vec<&RevocationList>, VerifyError> {
        let mut found = Vec::new();
        let mut named = self.lists().filter(|list| list.has_issuer(issuer.subject())).peekable();
        if named.peek().is_none() || !may_sign_lists(issuer) {
            return Ok(found);
        }
        let key = issuer.subject_public_key_info();
        let (key, _) = der::element(&key).map_err(VerifyError::ChainMalformed)?;
        for list in named {
            signatures.spend()?;
            if list.is_signed_with(key.content) {
                found.push(list);
            }
        }
        Ok(found)
    }

    fn judge(
        &self,
        certificate: &Cert<'_>,
        is_leaf: bool,
        lists: &[&RevocationList],
        now: UnixTime,
    ) -> Result<Option<UnixTime>, VerifyError> {
        let lists: Vec<_> = lists.iter().filter(|list| list.is_about(certificate, is_leaf)).collect();
        // Revoked by an old list is revoked.
        if lists.iter().any(|list| list.revokes(certificate)) {
            return Err(VerifyError::Revoked { serial: leaf::hex(certificate.serial()) });
        }
        let newest = lists.iter().map(|list| list.next_update()).max();
        match (newest, self.mode) {
            (_, RevocationMode::Off | RevocationMode::Soft) => Ok(None),
            (Some(next_update), RevocationMode::Hard) if now < next_update => Ok(Some(next_update)),
            (expired, RevocationMode::Hard) => {
                Err(VerifyError::RevocationUnknown { serial: leaf::hex(certificate.serial()), expired })
            }
        }
    }
}

/// The sooner of two ends; nothing never ends.
fn sooner(one: Option<UnixTime>, other: Option<UnixTime>) -> Option<UnixTime> {
    [one, other].into_iter().flatten().min()
}

fn may_sign_lists(issuer: &Cert<'_>) -> bool {
    let der = issuer.der();
    super::parse(&der).is_ok_and(|parsed| leaf::may_sign_lists(&parsed))
}

/// What is left of [`SIGNATURES_MAX`].
#[derive(Debug)]
pub(crate) struct Signatures(Cell<usize>);

impl Default for Signatures {
    fn default() -> Self {
        Self(Cell::new(SIGNATURES_MAX))
    }
}

impl Signatures {
    fn spend(&self) -> Result<(), VerifyError> {
        let left = self.0.get().checked_sub(1).ok_or(VerifyError::RevocationTooCostly)?;
        self.0.set(left);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
