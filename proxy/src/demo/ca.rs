//! The demo's certificate authority: in memory, for one trust domain, gone with the process.

mod jwt;

use std::time::Duration;

use postern_identity::{BundleError, SpiffeId, SvidError, TrustBundle, TrustDomain, UnixTime, X509Svid};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// How long the authority lasts: longer than anybody leaves a demo running.
const AUTHORITY_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// Certificates begin a little in the past, for clocks that are a little behind.
const BACKDATE: Duration = Duration::from_secs(10);

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Another trust domain's identity.
    #[error("`{id}` is not of the trust domain `{trust_domain}`")]
    OtherTrustDomain {
        /// Whom it was asked for.
        id: SpiffeId,
        /// Whom it speaks for.
        trust_domain: TrustDomain,
    },
    /// Key or certificate could not be made.
    #[error("the certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    /// The system gives no key.
    #[error("no key could be made")]
    Key(#[from] aws_lc_rs::error::Unspecified),
    /// What was made is not an SVID.
    #[error(transparent)]
    Svid(#[from] SvidError),
    /// What was made is not an authority.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// The authority of one trust domain.
pub struct Ca {
    trust_domain: TrustDomain,
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
    jwt: jwt::Authority,
}

/// A certificate with its key, as it leaves the authority.
pub struct Issued {
    certificate: Certificate,
    key: KeyPair,
}

impl Ca {
    /// Makes a new authority, valid from now.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(trust_domain: TrustDomain, now: UnixTime) -> Result<Self, CaError> {
        let key = KeyPair::generate()?;
        let mut params = params(&format!("{trust_domain} demo authority"), AUTHORITY_TTL, now);
        params.subject_alt_names =
            vec![SanType::URI(format!("spiffe://{trust_domain}").as_str().try_into()?)];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Ok(Self { trust_domain, certificate, issuer: Issuer::new(params, key), jwt: jwt::Authority::new()? })
    }

    /// Whom it speaks for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its own certificate, which is the whole trust bundle.
    pub fn bundle_der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// The trust bundle in PEM.
    pub fn bundle_pem(&self) -> String {
        self.certificate.pem()
    }

    /// The trust bundle.
    ///
    /// # Errors
    /// Never for an authority made here; the judgement is the library's.
    pub fn bundle(&self) -> Result<TrustBundle, CaError> {
        Ok(TrustBundle::from_der(self.trust_domain.clone(), std::slice::from_ref(self.bundle_der()))?)
    }

    /// Issues an SVID with a new key, valid from now for `ttl`, in whole seconds.
    ///
    /// # Errors
    /// For an ID of another trust domain.
    pub fn issue(&self, id: &SpiffeId, ttl: Duration, now: UnixTime) -> Result<Issued, CaError> {
        if *id.trust_domain() != self.trust_domain {
            return Err(CaError::OtherTrustDomain {
                id: id.clone(),
                trust_domain: self.trust_domain.clone(),
            });
        }
        let key = KeyPair::generate()?;
        let mut params = params("demo workload", ttl, now);
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate, key })
    }

    /// Issues a JWT-SVID for these audiences, valid from now for `ttl`, in whole seconds.
    ///
    /// # Errors
    /// For an ID of another trust domain.
    pub fn issue_jwt(
        &self,
        id: &SpiffeId,
        audiences: &[String],
        ttl: Duration,
        now: UnixTime,
    ) -> Result<String, CaError> {
        self.check(id)?;
        Ok(self.jwt.mint(id, audiences, ttl, now)?)
    }

    /// A revocation list in DER, good for a minute.
    #[cfg(test)]
    pub(crate) fn revocation_list(&self, revoked: &[&Issued], now: UnixTime) -> Vec<u8> {
        use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams};
        let times = params("", Duration::from_secs(60), now);
        let serial = |issued: &&Issued| -> Vec<u8> {
            let mut bundles = postern_identity::TrustBundles::default();
            bundles.insert(self.bundle().unwrap());
            let svid = issued.svid().unwrap();
            let role = postern_identity::Role::Client;
            let peer =
                postern_identity::verify_chain(svid.chain(), &bundles, role, svid.not_after()).unwrap();
            let digits = peer.serial.as_bytes().chunks(2);
            digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
        };
        let list = CertificateRevocationListParams {
            this_update: times.not_before,
            next_update: times.not_after,
            crl_number: now.as_secs().into(),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|issued| RevokedCertParams {
                    serial_number: serial(issued).into(),
                    revocation_time: times.not_before,
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().der().to_vec()
    }

    /// The JWK set that proves JWT-SVIDs.
    pub fn jwt_bundle(&self) -> String {
        self.jwt.jwks()
    }

    fn check(&self, id: &SpiffeId) -> Result<(), CaError> {
        if *id.trust_domain() == self.trust_domain {
            return Ok(());
        }
        Err(CaError::OtherTrustDomain { id: id.clone(), trust_domain: self.trust_domain.clone() })
    }
}

impl Issued {
    /// The chain in DER: the leaf alone, for the authority signs it itself.
    pub fn chain_der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// The chain in PEM.
    pub fn chain_pem(&self) -> String {
        self.certificate.pem()
    }

    /// The private key, PKCS#8 DER.
    pub fn key_pkcs8(&self) -> Vec<u8> {
        self.key.serialize_der()
    }

    /// The private key in PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The SVID, judged as any other.
    ///
    /// # Errors
    /// Never for one made here; the judgement is the library's.
    pub fn svid(&self) -> Result<X509Svid, CaError> {
        let key = PrivatePkcs8KeyDer::from(self.key_pkcs8());
        Ok(X509Svid::from_der(vec![self.chain_der().clone()], key.into())?)
    }
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

fn params(name: &str, ttl: Duration, now: UnixTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(now.as_secs());
    params.not_before = now - BACKDATE;
    params.not_after = now + ttl;
    params
}

#[cfg(test)]
mod tests {
    use postern_identity::{Role, TrustBundles, verify_chain};

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn what_it_issues_is_proven_by_its_bundle() {
        let ca = Ca::new("demo.postern".parse().unwrap(), at(2_000_000_000)).unwrap();
        let id: SpiffeId = "spiffe://demo.postern/web".parse().unwrap();
        let issued = ca.issue(&id, Duration::from_secs(60), at(2_000_000_000)).unwrap();
        let mut trust = TrustBundles::default();
        trust.insert(ca.bundle().unwrap());
        for role in [Role::Client, Role::Server] {
            let chain = [issued.chain_der().clone()];
            let peer = verify_chain(&chain, &trust, role, at(2_000_000_060)).unwrap();
            assert_eq!((peer.spiffe_id, peer.not_after), (id.clone(), at(2_000_000_060)));
            assert!(verify_chain(&chain, &trust, role, at(2_000_000_061)).is_err());
        }
        assert_eq!(*issued.svid().unwrap().spiffe_id(), id);
        let from_pem =
            X509Svid::from_pem(issued.chain_pem().as_bytes(), issued.key_pem().as_bytes()).unwrap();
        assert_eq!(*from_pem.spiffe_id(), id);
        let pem = TrustBundle::from_pem("demo.postern".parse().unwrap(), ca.bundle_pem().as_bytes()).unwrap();
        assert_eq!(pem, ca.bundle().unwrap());
    }

    #[test]
    fn it_speaks_for_its_own_trust_domain_only() {
        let ca = Ca::new("demo.postern".parse().unwrap(), at(2_000_000_000)).unwrap();
        let id: SpiffeId = "spiffe://other.org/web".parse().unwrap();
        let refused = ca.issue(&id, Duration::from_secs(60), at(2_000_000_000));
        assert!(matches!(refused, Err(CaError::OtherTrustDomain { .. })));
    }
}
