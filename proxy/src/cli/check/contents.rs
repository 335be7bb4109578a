//! What the files of a configuration hold: keys that match their certificates, keys of the right kind,
//! trust bundles that are some.

use std::path::{Path, PathBuf};

use postern_audit::{Signer, VerifyingKey, signer_from_pem};
use postern_identity::token::KeySet;
use postern_identity::{
    BUNDLE_BYTES_MAX, REVOCATION_LIST_BYTES_MAX, RevocationList, RevocationMode, TrustBundle, TrustDomain,
    UnixTime, X509Svid,
};
use postern_policy::SignerKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::config::{
    AuditSigner, BundleSource, BundleTrust, Config, EndpointProfile, EndpointProof, FederationConfig,
    Finding, IdentitySource, KeySource, Otlp, TokenProfile, TrustRoots, member,
};
use crate::sources::watched_file::read;

/// A chain, a key or a key set, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// An SVID that ends sooner is worth a word.
const SOON_S: u64 = 3600;

/// Findings about what keys, certificates and key sets hold. None of them depends on the time, or on a
/// policy: a sidecar that is refused here could not even begin.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    identity(&config.identity.source, &mut findings);
    for (index, relationship) in config.identity.federation.iter().enumerate() {
        federation(&format!("identity.federation[{index}].profile"), relationship, &mut findings);
    }
    for (index, issuer) in config.tokens.iter().enumerate() {
        let key = format!("tokens[{index}]");
        match &issuer.keys {
            KeySource::File(path) => {
                key_set(&format!("{key}.keys.file"), path, &issuer.profile, &mut findings);
            }
            KeySource::WorkloadApi | KeySource::Federation => {}
            KeySource::Url(source) | KeySource::Discovery(source) => {
                roots(&key, &source.trust_roots, &mut findings);
            }
        }
    }
    for (domain, path) in &config.workload_tokens.bundles {
        wit_bundle(&member("workload_tokens.bundles", domain.as_str()), path, &mut findings);
    }
    for bundle in &config.policy.bundles {
        let key = member("policy.bundles", &bundle.name);
        match &bundle.source {
            BundleSource::Http { server, .. } => {
                roots(&format!("{key}.source.http"), &server.trust_roots, &mut findings);
            }
            BundleSource::Directory { .. } => {}
        }
        match &bundle.trust {
            BundleTrust::Signers(files) => signers(&format!("{key}.signers"), files, &mut findings),
            BundleTrust::UnsignedForDevelopment => {}
        }
    }
    audit(&config.audit.signer, &mut findings);
    match &config.telemetry.otlp {
        Otlp::Off => {}
        Otlp::Grpc(source) => roots("telemetry.otlp", &source.trust_roots, &mut findings),
    }
    findings
}

/// Findings about the time left to a certificate and to revocation lists in files.
pub(super) fn check_validity(config: &Config, now: UnixTime) -> Vec<Finding> {
    let IdentitySource::Files { certificate, key, revocation_lists, .. } = &config.identity.source else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let files = (read(certificate, FILE_BYTES_MAX), read(key, FILE_BYTES_MAX));
    // What cannot be read was said by `check`.
    if let (Ok(chain), Ok(private)) = files
        && let Ok(svid) = X509Svid::from_pem(&chain, &private)
    {
        findings.extend(validity(&svid, "identity.source.files.certificate", now));
    }
    if config.identity.revocation.mode(true) == RevocationMode::Hard {
        let key = |domain: &TrustDomain| member("identity.source.files.crls", domain.as_str());
        findings
            .extend(revocation_lists.iter().filter_map(|(domain, path)| expired(&key(domain), path, now)));
    }
    findings
}

fn expired(key: &str, path: &Path, now: UnixTime) -> Option<Finding> {
    let content = read(path, u64::try_from(REVOCATION_LIST_BYTES_MAX).unwrap_or(u64::MAX)).ok()?;
    let lists = RevocationList::from_file(&content).ok()?;
    let until = lists.iter().map(RevocationList::next_update).max().filter(|until| now >= *until)?;
    let what =
        format!("the last list in `{}` expired at {}: nobody is let in", path.display(), until.as_secs());
    Some(Finding::warning(key, what, "bring the next one; the file is followed while the sidecar runs"))
}

/// The bytes of a file, or a finding about it.
fn bytes(key: &str, path: &Path, bytes_max: u64, findings: &mut Vec<Finding>) -> Option<Vec<u8>> {
    match read(path, bytes_max) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            findings.push(Finding::error(key, error.to_string(), "put a file there that can be read"));
            None
        }
    }
}

fn identity(source: &IdentitySource, findings: &mut Vec<Finding>) {
    let IdentitySource::Files { certificate, key, trust_bundles, revocation_lists } = source else { return };
    let at = |name: &str| format!("identity.source.files.{name}");
    let chain = bytes(&at("certificate"), certificate, FILE_BYTES_MAX, findings);
    let private = bytes(&at("key"), key, FILE_BYTES_MAX, findings);
    let mut own = None;
    if let (Some(chain), Some(private)) = (chain, private) {
        match X509Svid::from_pem(&chain, &private) {
            Ok(svid) => own = Some(svid),
            Err(error) => {
                let what = format!("`{}` with `{}`: {error}", certificate.display(), key.display());
                let mend = "name the X.509-SVID and the private key that was made with it";
                findings.push(Finding::error(at("certificate"), what, mend));
            }
        }
    }
    for (domain, path) in trust_bundles {
        trust_bundle(&member(&at("trust_bundles"), domain.as_str()), domain, path, findings);
    }
    for (domain, path) in revocation_lists {
        revocation_list(&member(&at("crls"), domain.as_str()), path, findings);
    }
    if let Some(svid) = own {
        let domain = svid.spiffe_id().trust_domain();
        if trust_bundles.iter().all(|(known, _)| known != domain) {
            let what = format!("there is no trust bundle for `{domain}`, the sidecar's own trust domain");
            findings.push(Finding::warning(at("trust_bundles"), what, format!("add `{domain}: FILE`")));
        }
    }
}

fn validity(svid: &X509Svid, key: &str, now: UnixTime) -> Option<Finding> {
    let id = svid.spiffe_id();
    let mend = "issue a new one; the file is followed while the sidecar runs";
    if now < svid.not_before() {
        return Some(Finding::error(key, format!("the certificate of `{id}` is not valid yet"), mend));
    }
    let left_s = svid.not_after().as_secs().saturating_sub(now.as_secs());
    match left_s {
        0 => Some(Finding::error(key, format!("the certificate of `{id}` has expired"), mend)),
        1..=SOON_S => {
            Some(Finding::warning(key, format!("the certificate of `{id}` expires in {left_s} s"), mend))
        }
        _ => None,
    }
}

fn trust_bundle(key: &str, domain: &TrustDomain, path: &Path, findings: &mut Vec<Finding>) {
    let limit = u64::try_from(BUNDLE_BYTES_MAX).unwrap_or(u64::MAX);
    let Some(content) = bytes(key, path, limit, findings) else { return };
    // A SPIFFE bundle document is a JSON object, and PEM never begins with a brace.
    let json = content.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let read = if json {
        TrustBundle::from_spiffe_json(domain.clone(), &content)
    } else {
        TrustBundle::from_pem(domain.clone(), &content)
    };
    if let Err(error) = read {
        let what = format!("`{}`: {error}", path.display());
        let mend = format!("name the authorities of `{domain}` in PEM, or its SPIFFE bundle in JSON");
        findings.push(Finding::error(key, what, mend));
    }
}

fn revocation_list(key: &str, path: &Path, findings: &mut Vec<Finding>) {
    let limit = u64::try_from(REVOCATION_LIST_BYTES_MAX).unwrap_or(u64::MAX);
    let Some(content) = bytes(key, path, limit, findings) else { return };
    if let Err(error) = RevocationList::from_file(&content) {
        let what = format!("`{}`: {error}", path.display());
        findings.push(Finding::error(key, what, "name one revocation list in DER, or several in PEM"));
    }
}

fn key_set(key: &str, path: &Path, profile: &TokenProfile, findings: &mut Vec<Finding>) {
    let Some(content) = bytes(key, path, FILE_BYTES_MAX, findings) else { return };
    let path = path.display();
    match profile {
        TokenProfile::JwtSvid(_) => {
            let mend = "name the trust domain's SPIFFE bundle in JSON, with its JWT authorities";
            match KeySet::parse_spiffe_bundle(&content) {
                Ok(keys) if keys.is_empty() => {
                    let what = format!("`{path}` has no key whose `use` is `jwt-svid`");
                    findings.push(Finding::warning(key, what, mend));
                }
                Ok(_) => {}
                Err(error) => findings.push(Finding::error(key, format!("`{path}`: {error}"), mend)),
            }
        }
        TokenProfile::AccessToken
        | TokenProfile::Generic
        | TokenProfile::KubernetesServiceAccount
        | TokenProfile::TransactionToken => {
            if let Err(error) = KeySet::parse(&content) {
                let mend = "name the issuer's JWKS (RFC 7517 §5) with its public keys";
                findings.push(Finding::error(key, format!("`{path}`: {error}"), mend));
            }
        }
    }
}

fn wit_bundle(key: &str, path: &Path, findings: &mut Vec<Finding>) {
    let Some(content) = bytes(key, path, FILE_BYTES_MAX, findings) else { return };
    let mend = "name the trust domain's SPIFFE bundle in JSON, with keys for the use `wit-svid`";
    match KeySet::parse_wit_bundle(&content) {
        Ok(keys) if keys.is_empty() => {
            let what = format!("`{}` has no key for workload identity tokens", path.display());
            findings.push(Finding::warning(key, what, mend));
        }
        Ok(_) => {}
        Err(error) => findings.push(Finding::error(key, format!("`{}`: {error}", path.display()), mend)),
    }
}

fn signers(key: &str, files: &[PathBuf], findings: &mut Vec<Finding>) {
    for (index, path) in files.iter().enumerate() {
        let key = format!("{key}[{index}]");
        let Some(pem) = bytes(&key, path, FILE_BYTES_MAX, findings) else { continue };
        if let Err(error) = SignerKey::from_pem(&path.display().to_string(), &pem) {
            let what = format!("`{}`: {error}", path.display());
            findings.push(Finding::error(key, what, "name the public key of who signs the bundle, in PEM"));
        }
    }
}

fn audit(signer: &AuditSigner, findings: &mut Vec<Finding>) {
    let (key, path, kind) = match signer {
        AuditSigner::Ed25519 { key } => ("audit.signer.ed25519.key", key, "Ed25519"),
        AuditSigner::EcdsaP256 { key } => ("audit.signer.ecdsa_p256.key", key, "ECDSA P-256"),
    };
    let Some(pem) = bytes(key, path, FILE_BYTES_MAX, findings) else { return };
    let wrong = match signer_from_pem(&pem) {
        Ok(found) => (!is_kind(&*found, signer)).then(|| "it is a key of another kind".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(wrong) = wrong {
        let what = format!("`{}`: {wrong}", path.display());
        findings.push(Finding::error(key, what, format!("name an {kind} private key, PKCS#8 in PEM")));
    }
}

fn is_kind(found: &dyn Signer, wanted: &AuditSigner) -> bool {
    match (found.verifying_key(), wanted) {
        (VerifyingKey::Ed25519(_), AuditSigner::Ed25519 { .. })
        | (VerifyingKey::EcdsaP256(_), AuditSigner::EcdsaP256 { .. }) => true,
        (VerifyingKey::Ed25519(_), AuditSigner::EcdsaP256 { .. })
        | (VerifyingKey::EcdsaP256(_), AuditSigner::Ed25519 { .. }) => false,
    }
}

fn federation(key: &str, relationship: &FederationConfig, findings: &mut Vec<Finding>) {
    match &relationship.profile {
        EndpointProfile::HttpsWeb { trust_roots } => {
            roots(&format!("{key}.https_web"), trust_roots, findings);
        }
        EndpointProfile::HttpsSpiffe { endpoint, proof: EndpointProof::SelfServing { bootstrap_bundle } } => {
            let key = format!("{key}.https_spiffe.bootstrap_bundle");
            trust_bundle(&key, endpoint.trust_domain(), bootstrap_bundle, findings);
        }
        EndpointProfile::HttpsSpiffe { proof: EndpointProof::InForce, .. } => {}
    }
}

fn roots(key: &str, roots: &TrustRoots, findings: &mut Vec<Finding>) {
    let TrustRoots::Files(files) = roots else { return };
    for (index, path) in files.iter().enumerate() {
        let key = format!("{key}.trust_roots.files[{index}]");
        let Some(pem) = bytes(&key, path, FILE_BYTES_MAX, findings) else { continue };
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let wrong = match certificates {
            Ok(certificates) if certificates.is_empty() => "it holds no certificate".to_owned(),
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        let what = format!("`{}`: {wrong}", path.display());
        findings.push(Finding::error(key, what, "name the certificates of the server's authority, in PEM"));
    }
}
