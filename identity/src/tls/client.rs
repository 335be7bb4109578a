//! The side that calls.

use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{ExpectedPeers, Material, OwnSvid, TlsError, provider, refused};
use crate::x509::chain::{Role, verify_chain};
use crate::x509::error::VerifyError;

/// The TLS of an upstream: we present our SVID, and the server proves one of the expected identities. Its DNS names
/// play no part, so the server name of the connection only fills the SNI.
///
/// TLS 1.3 only, no resumption, no 0-RTT. ALPN is empty: the caller, who knows the protocol of the upstream, sets it.
///
/// # Errors
/// When the crypto provider cannot do TLS 1.3.
pub fn client_config(
    material: Arc<dyn Material>,
    expected: ExpectedPeers,
    time: Arc<dyn TimeProvider>,
) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = Verifier { material: Arc::clone(&material), expected, provider: Arc::clone(&provider) };
    let own = OwnSvid { material, time: Arc::clone(&time) };
    let mut config = ClientConfig::builder_with_details(provider, time)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(own));
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    super::require_fips(config.fips())?;
    Ok(config)
}

#[derive(Debug)]
struct Verifier {
    material: Arc<dyn Material>,
    expected: ExpectedPeers,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = super::chain_of(end_entity, intermediates);
        let peer = verify_chain(&chain, &self.material.trust(), Role::Server, now).map_err(refused)?;
        if !self.expected.contains(&peer.spiffe_id) {
            return Err(refused(VerifyError::PeerNotExpected(peer.spiffe_id)));
        }
        Ok(ServerCertVerified::assertion())
    }

    super::signatures::by_tls13_alone!(provider);
}

impl ResolvesClientCert for OwnSvid {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.current().map(|svid| svid.certified_key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
