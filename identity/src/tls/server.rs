//! The side that is called.

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{DistinguishedName, Error};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{AcceptedTrustDomains, Material, OwnSvid, TlsError, provider, refused};
use crate::bundle::TrustBundles;
use crate::svid::X509Svid;
use crate::x509::chain::{Peer, Role, verify_chain};
use crate::x509::error::VerifyError;

/// The TLS of a listener: a client certificate is required, and it is an SVID of an accepted trust domain.
///
/// TLS 1.3 only; no tickets, no resumption, no 0-RTT; ALPN offers `h2` and `http/1.1`; the request for a certificate
/// names no authorities.
#[derive(Clone, Debug)]
pub struct ServerTls {
    material: Arc<dyn Material>,
    accepted: Arc<AcceptedTrustDomains>,
    provider: Arc<CryptoProvider>,
    time: Arc<dyn TimeProvider>,
}

/// Where the handshake of one connection leaves whom it proved: rustls itself hands nothing over.
#[derive(Clone, Debug, Default)]
pub struct Proven {
    peer: Arc<OnceLock<(Peer, Arc<TrustBundles>)>>,
    own: Arc<OnceLock<Arc<X509Svid>>>,
}

impl Proven {
    /// The peer, and the bundles that it was proven by. `None` before the handshake has ended well.
    #[must_use]
    pub fn get(&self) -> Option<&(Peer, Arc<TrustBundles>)> {
        self.peer.get()
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
        let tls = Self { material, accepted: Arc::new(accepted), provider: provider(), time };
        // Made once to find out now rather than at the first connection.
        tls.connection()?;
        Ok(tls)
    }

    /// The configuration for one connection, and where its peer will be found.
    ///
    /// # Errors
    /// When the crypto provider cannot do TLS 1.3.
    pub fn connection(&self) -> Result<(ServerConfig, Proven), TlsError> {
        let proven = Proven::default();
        let (provider, time) = (Arc::clone(&self.provider), Arc::clone(&self.time));
        let verifier = Verifier { tls: self.clone(), proven: proven.clone() };
        let own = OwnSvid { material: Arc::clone(&self.material), time: Arc::clone(&time) };
        let own = Presented { own, proven: proven.clone() };
        let mut config = ServerConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(own));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        super::require_fips(config.fips())?;
        Ok((config, proven))
    }
}

#[derive(Debug)]
struct Verifier {
    tls: ServerTls,
    proven: Proven,
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
        let chain = super::chain_of(end_entity, intermediates);
        let trust = self.tls.material.trust();
        let peer = verify_chain(&chain, &trust, Role::Client, now).map_err(refused)?;
        let trust_domain = peer.spiffe_id.trust_domain();
        if !self.tls.accepted.contains(trust_domain) {
            return Err(refused(VerifyError::TrustDomainNotAccepted(trust_domain.clone())));
        }
        // A handshake asks once; were it to ask again, the first answer would stand for the first chain.
        self.proven.peer.set((peer, trust)).map_err(|_| Error::General("asked twice".to_owned()))?;
        Ok(ClientCertVerified::assertion())
    }

    super::signatures::by_tls13_alone!(tls.provider);
}

/// Hands out our SVID and remembers which one it was.
#[derive(Debug)]
struct Presented {
    own: OwnSvid,
    proven: Proven,
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let svid = self.own.current()?;
        // A handshake asks once; were it to ask again, it would be given the same.
        Some(self.proven.own.get_or_init(|| svid).certified_key())
    }
}
