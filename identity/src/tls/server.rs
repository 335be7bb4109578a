//! The side that is called.

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{DistinguishedName, Error};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::memory::Memory;
use super::{AcceptedTrustDomains, Material, OwnSvid, TlsError, provider, refused};
use crate::bundle::TrustBundles;
use crate::svid::X509Svid;
use crate::x509::chain::{Peer, Role};
use crate::x509::error::VerifyError;

/// The TLS of a listener: a client certificate is required, and it is an SVID of an accepted trust domain.
///
/// TLS 1.3 only; no tickets, no resumption, no 0-RTT; ALPN offers `h2` and `http/1.1`; the request for a certificate
/// names no authorities.
#[derive(Clone, Debug)]
pub struct ServerTls {
    verifier: Arc<Verifier>,
    /// Of every connection, but for what it presents: the TLS library makes tables for each one that is built anew.
    config: ServerConfig,
}

/// Whom the handshake of one connection proves: rustls itself hands nothing over.
#[derive(Clone, Debug)]
pub struct Proven {
    verifier: Arc<Verifier>,
    own: Arc<OnceLock<Arc<X509Svid>>>,
}

impl Proven {
    /// Who presented this chain in a handshake that has ended well, and the bundles by which it is so. Those are the
    /// ones in force: where they have changed since the handshake, the chain is verified once more.
    ///
    /// # Errors
    /// The peer is not trusted any more.
    pub fn peer(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(Arc<Peer>, Arc<TrustBundles>), VerifyError> {
        self.verifier.judge(chain, now)
    }

    /// The SVID that we presented. `None` where the handshake did not get so far.
    #[must_use]
    pub fn own(&self) -> Option<&Arc<X509Svid>> {
        self.own.get()
    }
}

impl ServerTls {
    /// A listener's TLS from what is in force at each handshake.
    ///
    /// # Errors
    /// When the crypto provider cannot do TLS 1.3.
    pub fn new(
        material: Arc<dyn Material>,
        accepted: AcceptedTrustDomains,
        time: Arc<dyn TimeProvider>,
    ) -> Result<Self, TlsError> {
        let provider = provider();
        let own = OwnSvid { material: Arc::clone(&material), time: Arc::clone(&time) };
        let memory = Memory::of(Role::Client);
        let verifier =
            Arc::new(Verifier { material, accepted, provider: Arc::clone(&provider), memory, own });
        let mut config = ServerConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(Arc::new(Nothing));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        super::require_fips(config.fips())?;
        Ok(Self { verifier, config })
    }

    /// The configuration for one connection, and what tells whom it proves.
    #[must_use]
    pub fn connection(&self) -> (ServerConfig, Proven) {
        let proven = Proven { verifier: Arc::clone(&self.verifier), own: Arc::default() };
        let mut config = self.config.clone();
        config.cert_resolver = Arc::new(Presented(proven.clone()));
        (config, proven)
    }
}

#[derive(Debug)]
struct Verifier {
    material: Arc<dyn Material>,
    accepted: AcceptedTrustDomains,
    provider: Arc<CryptoProvider>,
    memory: Memory,
    own: OwnSvid,
}

impl Verifier {
    fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(Arc<Peer>, Arc<TrustBundles>), VerifyError> {
        let trust = self.material.trust();
        let peer = self.memory.verify(chain, &trust, now)?;
        let trust_domain = peer.spiffe_id.trust_domain();
        if !self.accepted.contains(trust_domain) {
            return Err(VerifyError::TrustDomainNotAccepted(trust_domain.clone()));
        }
        Ok((peer, trust))
    }
}

impl ClientCertVerifier for Verifier {
    /// No hints: they would tell every caller whom we trust, and cost bytes in each handshake.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(&super::chain_of(end_entity, intermediates), now).map_err(refused)?;
        Ok(ClientCertVerified::assertion())
    }

    super::signatures::by_tls13_alone!(provider);
}

/// Hands out our SVID and remembers which one it was.
#[derive(Debug)]
struct Presented(Proven);

impl ResolvesServerCert for Presented {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let svid = self.0.verifier.own.current()?;
        // A handshake asks once; were it to ask again, it would be given the same.
        Some(self.0.own.get_or_init(|| svid).certified_key())
    }
}

/// In the place of what one connection presents.
#[derive(Debug)]
struct Nothing;

impl ResolvesServerCert for Nothing {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}
