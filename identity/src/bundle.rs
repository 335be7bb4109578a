//! Trust bundles: the authorities of one trust domain, and the map that keeps trust domains apart.

mod document;

use std::collections::BTreeMap;
use std::time::Duration;

use rustls_pki_types::pem::Error as PemError;
use rustls_pki_types::{CertificateDer, Der, TrustAnchor, UnixTime};

pub use self::document::BundleMap;
use self::document::Document;
use crate::id::TrustDomain;
use crate::x509::constraints::UriConstraints;
use crate::x509::revocation::{
    REVOCATION_LISTS_MAX, Revocation, RevocationError, RevocationList, RevocationMode,
};
use crate::x509::{self, Window, issuer, leaf};

/// The most authorities that one trust domain may have.
pub const AUTHORITIES_MAX: usize = 256;
/// The largest bundle that is read, in bytes of PEM, DER or JSON.
pub const BUNDLE_BYTES_MAX: usize = 1024 * 1024;

/// Why a bundle was refused. A bundle is taken whole or not at all: an authority that silently fell out would be an
/// outage that nobody can explain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Not PEM, or PEM without a certificate.
    #[error("the trust bundle of `{0}` is not PEM with certificates: {1}")]
    Pem(TrustDomain, PemError),
    /// Not the JSON document of Trust_Domain_and_Bundle §4.
    #[error("the trust bundle of `{0}` is not a SPIFFE bundle document: {1}")]
    Document(TrustDomain, String),
    /// One certificate cannot be read.
    #[error("authority {index} of `{trust_domain}` cannot be read: {detail}")]
    Authority {
        /// Whose bundle it is.
        trust_domain: TrustDomain,
        /// Its place in the bundle, from 1.
        index: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// More than [`AUTHORITIES_MAX`] authorities or [`BUNDLE_BYTES_MAX`] bytes.
    #[error("the trust bundle of `{0}` is too large: at most 256 authorities in 1 MiB")]
    TooLarge(TrustDomain),
    /// Not the JSON document of Trust_Domain_and_Bundle §5.
    #[error("this is not a SPIFFE bundle map: {0}")]
    Map(String),
    /// Older than the one in force.
    #[error(
        "the trust bundle of `{trust_domain}` has the sequence number {found} and the one in force has {known}: \
         it is an earlier one; write the newest, or remove `spiffe_sequence`"
    )]
    Superseded {
        /// Whose bundle it is.
        trust_domain: TrustDomain,
        /// Its sequence number.
        found: u64,
        /// That of the bundle that it would replace.
        known: u64,
    },
}

/// One authority of a trust domain: a CA certificate that its SVIDs lead to.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    der: CertificateDer<'static>,
    window: Window,
    uri_constraints: Option<UriConstraints>,
    may_sign_lists: bool,
}

impl Authority {
    /// The CA certificate.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// When it begins to be one.
    #[must_use]
    pub fn not_before(&self) -> UnixTime {
        self.window.not_before
    }

    /// When it ceases to be one. Unlike most X.509 libraries this crate holds authorities to it.
    #[must_use]
    pub fn not_after(&self) -> UnixTime {
        self.window.not_after
    }

    /// What URIs it may speak for, when it is restricted. Its anchor does not tell.
    pub(crate) fn uri_constraints(&self) -> Option<&UriConstraints> {
        self.uri_constraints.as_ref()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Authority")
            .field("bytes", &self.der.len())
            .field("not_after", &self.window.not_after)
            .finish_non_exhaustive()
    }
}

/// The authorities of one trust domain. An empty bundle is legal and trusts nobody (Trust_Domain_and_Bundle §4.1.3).
#[derive(Clone)]
pub struct TrustBundle {
    trust_domain: TrustDomain,
    authorities: Box<[Authority]>,
    /// Converted once, since every handshake needs them; same order as `authorities`.
    anchors: Box<[TrustAnchor<'static>]>,
    sequence: Option<u64>,
    refresh_interval: Duration,
    revocation: Revocation,
}

impl TrustBundle {
    /// From DER certificates.
    ///
    /// # Errors
    /// A certificate that cannot be read, is not a CA or may not sign certificates; too many of them.
    pub fn from_der(
        trust_domain: TrustDomain,
        certificates: &[CertificateDer<'_>],
    ) -> Result<Self, BundleError> {
        let bytes: usize = certificates.iter().map(|der| der.len()).sum();
        if certificates.len() > AUTHORITIES_MAX || bytes > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge(trust_domain));
        }
        let mut authorities: Vec<Authority> = Vec::with_capacity(certificates.len());
        let mut anchors = Vec::with_capacity(certificates.len());
        for (index, der) in certificates.iter().enumerate() {
            if authorities.iter().any(|known| known.der == *der) {
                continue;
            }
            let (authority, anchor) = authority(der).map_err(|detail| BundleError::Authority {
                trust_domain: trust_domain.clone(),
                index: index + 1,
                detail,
            })?;
            authorities.push(authority);
            anchors.push(anchor);
        }
        Ok(Self {
            trust_domain,
            authorities: authorities.into(),
            anchors: anchors.into(),
            sequence: None,
            refresh_interval: document::REFRESH_DEFAULT,
            revocation: Revocation::off(),
        })
    }

    /// From a PEM file with one or more certificates.
    ///
    /// # Errors
    /// As [`TrustBundle::from_der`], and PEM that is damaged or holds no certificate.
    pub fn from_pem(trust_domain: TrustDomain, text: &[u8]) -> Result<Self, BundleError> {
        if text.len() > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge(trust_domain));
        }
        match crate::pem::certificates(text) {
            Ok(certificates) => Self::from_der(trust_domain, &certificates),
            Err(error) => Err(BundleError::Pem(trust_domain, error)),
        }
    }

    /// From concatenated DER, as the Workload API delivers bundles (Workload_API §5.1).
    ///
    /// # Errors
    /// As [`TrustBundle::from_der`].
    pub fn from_concatenated_der(trust_domain: TrustDomain, der: &[u8]) -> Result<Self, BundleError> {
        if der.len() > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge(trust_domain));
        }
        match x509::split(der) {
            Ok(certificates) => Self::from_der(trust_domain, &certificates),
            Err(detail) => Err(BundleError::Document(trust_domain, detail)),
        }
    }

    /// From a SPIFFE bundle document, a JWK set (Trust_Domain_and_Bundle §4). Keys with another `use` than `x509-svid`
    /// are passed over, as §4.2.2 asks; so are those without `x5c` (X509-SVID §6.2).
    ///
    /// # Errors
    /// As [`TrustBundle::from_der`], and a document that is not JSON, repeats a member, has no `keys`, or whose
    /// `spiffe_sequence` or `spiffe_refresh_hint` is no whole number.
    pub fn from_spiffe_json(trust_domain: TrustDomain, document: &[u8]) -> Result<Self, BundleError> {
        if document.len() > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge(trust_domain));
        }
        match Document::parse(document) {
            Ok(document) => Self::from_document(trust_domain, document),
            Err(detail) => Err(BundleError::Document(trust_domain, detail)),
        }
    }

    fn from_document(trust_domain: TrustDomain, document: Document) -> Result<Self, BundleError> {
        let Document { certificates, sequence, refresh_interval } = document;
        let bundle = Self::from_der(trust_domain, &certificates)?;
        Ok(Self { sequence, refresh_interval, ..bundle })
    }

    /// The document's own number, which grows with every change (Trust_Domain_and_Bundle §4.1.1).
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// How long to wait before the bundle is fetched again: the document's hint, no less than 30 s and no more than a
    /// day, or five minutes without one (Trust_Domain_and_Bundle §4.1.2).
    #[must_use]
    pub fn refresh_interval(&self) -> Duration {
        self.refresh_interval
    }

    /// Whether this bundle may take the place of an earlier one from the same source: a lower sequence number never
    /// replaces a higher one (Trust_Domain_and_Bundle §4.1.1). Bundles without a number are taken as they come.
    ///
    /// # Errors
    /// [`BundleError::Superseded`].
    pub fn check_succeeds(&self, earlier: &Self) -> Result<(), BundleError> {
        match (self.sequence, earlier.sequence) {
            (Some(found), Some(known)) if found < known => {
                Err(BundleError::Superseded { trust_domain: self.trust_domain.clone(), found, known })
            }
            _ => Ok(()),
        }
    }

    /// The same authorities, with revocation lists beside them (RFC 5280 §5) and what is to be made of certificates
    /// about which they say nothing. Lists that none of the authorities signed count for intermediates.
    ///
    /// # Errors
    /// More than [`REVOCATION_LISTS_MAX`] lists.
    pub fn with_revocation(
        self,
        lists: Vec<RevocationList>,
        mode: RevocationMode,
    ) -> Result<Self, RevocationError> {
        if lists.len() > REVOCATION_LISTS_MAX {
            return Err(RevocationError::TooLarge);
        }
        let revocation = Revocation::new(lists, mode, |list| self.issuers_of(list));
        Ok(Self { revocation, ..self })
    }

    /// The same authorities without revocation lists: nobody is known to be good.
    #[must_use]
    pub fn without_revocation_lists(self, mode: RevocationMode) -> Self {
        let revocation = Revocation::new(Vec::new(), mode, |_| Box::default());
        Self { revocation, ..self }
    }

    /// Whether a list is from one of the authorities.
    #[must_use]
    pub fn has_issued(&self, list: &RevocationList) -> bool {
        !self.issuers_of(list).is_empty()
    }

    fn issuers_of(&self, list: &RevocationList) -> Box<[usize]> {
        let places = self.authorities.iter().zip(&self.anchors).enumerate();
        places
            .filter(|(_, (authority, anchor))| {
                authority.may_sign_lists && list.is_by(&anchor.subject, &anchor.subject_public_key_info)
            })
            .map(|(place, _)| place)
            .collect()
    }

    /// What becomes of certificates that no list calls good.
    #[must_use]
    pub fn revocation_mode(&self) -> RevocationMode {
        self.revocation.mode()
    }

    /// The revocation lists, each once, in the order given.
    pub fn revocation_lists(&self) -> impl Iterator<Item = &RevocationList> {
        self.revocation.lists()
    }

    /// When the last of the revocation lists expires, in a trust domain where a certificate that none of them vouches
    /// for is refused: after it nobody of the trust domain is let in.
    #[must_use]
    pub fn revocation_until(&self) -> Option<UnixTime> {
        match self.revocation.mode() {
            RevocationMode::Hard => self.revocation_lists().map(RevocationList::next_update).max(),
            RevocationMode::Soft | RevocationMode::Off => None,
        }
    }

    /// When the first of the revocation lists in force expires, in a trust domain where a certificate that none of them
    /// vouches for is refused: until then what they say of a certificate does not change.
    pub(crate) fn revocation_settled_until(&self, now: UnixTime) -> Option<UnixTime> {
        match self.revocation.mode() {
            RevocationMode::Hard => {
                self.revocation_lists().map(RevocationList::next_update).filter(|until| now < *until).min()
            }
            RevocationMode::Soft | RevocationMode::Off => None,
        }
    }

    pub(crate) fn revocation(&self) -> &Revocation {
        &self.revocation
    }

    /// Whose bundle it is.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The authorities, each once, in the order given.
    #[must_use]
    pub fn authorities(&self) -> &[Authority] {
        &self.authorities
    }

    pub(crate) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// The authority behind an anchor that was lent by this bundle: by place, since a renewed authority has the name
    /// and the key of the one before, and another validity.
    pub(crate) fn authority_of(&self, anchor: &TrustAnchor<'_>) -> Option<(usize, &Authority)> {
        let place = self.anchors.iter().position(|own| {
            std::ptr::eq(std::ptr::from_ref(own).cast::<()>(), std::ptr::from_ref(anchor).cast())
        })?;
        Some((place, self.authorities.get(place)?))
    }
}

/// Bundles are the same when they trust the same, which is how a source tells a change from a repetition.
impl PartialEq for TrustBundle {
    fn eq(&self, other: &Self) -> bool {
        self.trust_domain == other.trust_domain
            && self.authorities == other.authorities
            && self.revocation == other.revocation
    }
}

impl Eq for TrustBundle {}

impl std::fmt::Debug for TrustBundle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("TrustBundle")
            .field("trust_domain", &self.trust_domain)
            .field("authorities", &self.authorities)
            .field("revocation", &self.revocation)
            .finish_non_exhaustive()
    }
}

fn authority(der: &CertificateDer<'_>) -> Result<(Authority, TrustAnchor<'static>), String> {
    let certificate = x509::parse(der)?;
    match certificate.basic_constraints() {
        Ok(Some(constraints)) if constraints.value.ca => {}
        Ok(_) => return Err("not a CA certificate".to_owned()),
        Err(error) => return Err(error.to_string()),
    }
    match certificate.key_usage() {
        Ok(Some(usage)) if !usage.value.key_cert_sign() => {
            return Err("its key usage lacks keyCertSign".to_owned());
        }
        Ok(_) => {}
        Err(error) => return Err(error.to_string()),
    }
    issuer::check_names(&certificate).map_err(|uri| {
        format!("its name `{uri}` is a workload's, an authority bears that of a trust domain")
    })?;
    let window = Window::of(certificate.validity());
    let may_sign_lists = leaf::may_sign_lists(&certificate);
    let der = der.clone().into_owned();
    let mut anchor = webpki::anchor_from_trusted_cert(&der).map_err(|error| error.to_string())?.to_owned();
    let mut uri_constraints = None;
    if let Some(constraints) = &anchor.name_constraints {
        let (uris, rest) = UriConstraints::take_from(constraints)
            .map_err(|detail| format!("its name constraints cannot be read: {detail}"))?;
        uri_constraints = Some(uris);
        anchor.name_constraints = rest.map(Der::from);
    }
    Ok((Authority { der, window, uri_constraints, may_sign_lists }, anchor))
}

/// The bundles in force, by trust domain. Bundles are never merged (Federation §4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustBundles {
    by_trust_domain: BTreeMap<TrustDomain, TrustBundle>,
}

impl TrustBundles {
    /// Adds a bundle and returns the one it replaces.
    pub fn insert(&mut self, bundle: TrustBundle) -> Option<TrustBundle> {
        self.by_trust_domain.insert(bundle.trust_domain.clone(), bundle)
    }

    /// The bundle of a trust domain.
    #[must_use]
    pub fn get(&self, trust_domain: &TrustDomain) -> Option<&TrustBundle> {
        self.by_trust_domain.get(trust_domain)
    }

    /// All bundles, by the name of their trust domain.
    pub fn iter(&self) -> impl Iterator<Item = &TrustBundle> {
        self.by_trust_domain.values()
    }

    /// How many trust domains there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_trust_domain.len()
    }

    /// True when nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_trust_domain.is_empty()
    }
}

#[cfg(test)]
mod tests;
