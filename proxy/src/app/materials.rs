//! From the configuration to what the parts are made of: issuers, signers, limits, TLS.
use super::StartError;
use crate::clock::{Clock, TlsTime};
use crate::compile::Terms;
use crate::config::{
    AuditSigner, BundleTrust, Config, HttpSource, IssuerConfig, ListenerConfig, ListenerTls, PolicyConfig,
    TokenAlgorithm, TokenProfile,
};
use crate::listener::Callers;
use crate::sources::fetch;
use crate::state::{Shared, Workloads};
use crate::telemetry::otlp::Transport;
use postern_identity::tls::{AcceptedTrustDomains, ServerTls};
use postern_identity::token::{Algorithm, Issuer, Profile};
use postern_policy::{SignerKey, Signers};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// A key file is short.
const KEY_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a small file that must be there at start.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    let failed = |error| StartError::File { path: path.to_owned(), error };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > KEY_FILE_BYTES_MAX {
        let error = std::io::Error::other(format!("{length} bytes is no key's length"));
        return Err(failed(error));
    }
    fs::read(path).map_err(failed)
}

/// The issuers, in the order of the configuration.
pub(super) fn issuers(config: &Config) -> Result<Vec<Issuer>, StartError> {
    // Each listener refuses longer tokens by its own limit; the largest of them bounds the parser.
    let bytes_max = config.listeners.iter().map(|listener| listener.limits.token_bytes_max).max();
    config
        .tokens
        .iter()
        .map(|of| issuer(of, bytes_max.unwrap_or(postern_identity::token::TOKEN_BYTES_DEFAULT)))
        .collect()
}

fn issuer(config: &IssuerConfig, token_bytes_max: usize) -> Result<Issuer, StartError> {
    let algorithms = config.algorithms.iter().map(|algorithm| self::algorithm(*algorithm)).collect();
    let profile = match &config.profile {
        TokenProfile::AccessToken => Profile::AccessToken,
        TokenProfile::Generic => Profile::Generic,
        TokenProfile::JwtSvid(trust_domain) => Profile::JwtSvid(trust_domain.clone()),
        TokenProfile::KubernetesServiceAccount => Profile::KubernetesServiceAccount,
        TokenProfile::TransactionToken => Profile::TransactionToken,
    };
    let issuer = Issuer::new(config.issuer.clone(), config.audiences.clone(), algorithms)?
        .with_profile(profile)?
        .with_leeway_s(config.leeway.as_secs())?
        .with_token_bytes_max(token_bytes_max)?
        .with_sender_constraint(config.sender_constraint);
    Ok(match config.lifetime_max {
        std::time::Duration::MAX => issuer,
        lifetime => issuer.with_lifetime_s_max(lifetime.as_secs()),
    })
}

fn algorithm(written: TokenAlgorithm) -> Algorithm {
    match written {
        TokenAlgorithm::Es256 => Algorithm::Es256,
        TokenAlgorithm::Es384 => Algorithm::Es384,
        TokenAlgorithm::Es512 => Algorithm::Es512,
        TokenAlgorithm::EdDsa => Algorithm::EdDsa,
        TokenAlgorithm::Rs256 => Algorithm::Rs256,
        TokenAlgorithm::Rs384 => Algorithm::Rs384,
        TokenAlgorithm::Rs512 => Algorithm::Rs512,
        TokenAlgorithm::Ps256 => Algorithm::Ps256,
        TokenAlgorithm::Ps384 => Algorithm::Ps384,
        TokenAlgorithm::Ps512 => Algorithm::Ps512,
    }
}

/// What workloads' own tokens are verified by, before any bundle was read.
pub(super) fn workloads(config: &Config) -> Workloads {
    let of = &config.workload_tokens;
    let keys = of.bundles.iter().map(|(domain, _)| (domain.clone(), None)).collect();
    Workloads { authorities: of.authorities.clone(), keys }
}

/// What the compile thread holds to. Signers' keys are read now: a missing one is found at start.
pub(super) fn terms(config: &PolicyConfig) -> Result<Terms, StartError> {
    let signers = config.bundles.iter().map(|bundle| Ok((bundle.name.clone(), signers(&bundle.trust)?)));
    Ok(Terms::of(config, signers.collect::<Result<_, StartError>>()?))
}

fn signers(trust: &BundleTrust) -> Result<Signers, StartError> {
    match trust {
        BundleTrust::UnsignedForDevelopment => Ok(Signers::UnsignedAllowedForDevelopment),
        BundleTrust::Signers(files) => {
            let key = |path: &std::path::PathBuf| {
                Ok(SignerKey::from_pem(&path.display().to_string(), &read(path)?)?)
            };
            Ok(Signers::Keys(files.iter().map(key).collect::<Result<_, StartError>>()?))
        }
    }
}

/// What signs the log's checkpoints.
pub(super) fn signer(config: &AuditSigner) -> Result<Box<dyn postern_audit::Signer>, StartError> {
    let (AuditSigner::Ed25519 { key } | AuditSigner::EcdsaP256 { key }) = config;
    let signer = postern_audit::signer_from_pem(&read(key)?)
        .map_err(|error| StartError::Source(format!("audit signer `{}`: {error}", key.display())))?;
    Ok(signer)
}

/// How spans travel.
pub(super) fn otlp_transport(server: &HttpSource, clock: &Arc<dyn Clock>) -> Result<Transport, StartError> {
    if server.url.starts_with("http://") {
        return Ok(Transport::Plaintext);
    }
    let time = Arc::new(TlsTime(Arc::clone(clock)));
    let config = fetch::client_config(&server.trust_roots, time)
        .map_err(|error| StartError::Source(format!("telemetry `{}`: {error}", server.url)))?;
    Ok(Transport::Tls(Arc::new(config)))
}

/// Who calls on one listener, and how that is known.
pub(super) fn callers(
    config: &ListenerConfig,
    shared: &Shared,
    clock: &Arc<dyn Clock>,
) -> Result<Callers, StartError> {
    let ListenerTls::Mutual { trust_domains, .. } = &config.tls else { return Ok(Callers::Local) };
    let accepted = AcceptedTrustDomains::new(trust_domains.clone())?;
    let time = Arc::new(TlsTime(Arc::clone(clock)));
    Ok(Callers::Mutual(Box::new(ServerTls::new(Arc::new(shared.clone()), accepted, time)?)))
}
