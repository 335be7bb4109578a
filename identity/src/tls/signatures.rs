//! The signature by which the other end of a handshake proves that it holds its certificate's key.

/// What rustls asks of a verifier about that signature. It asks the same of both sides, in a trait for each, and the
/// traits have nothing in common where the answers could stand: they are written here for both. TLS 1.2 is never
/// offered, so its signatures prove nothing. Takes the path from `self` to the crypto provider.
macro_rules! by_tls13_alone {
    ($($provider:ident).+) => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &rustls_pki_types::CertificateDer<'_>,
            _dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Err(rustls::PeerIncompatible::Tls12NotOffered.into())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &rustls_pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.$($provider).+.signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.$($provider).+.signature_verification_algorithms.supported_schemes()
        }
    };
}

pub(super) use by_tls13_alone;
