//! `identity:` and `tokens:`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use postern_identity::token::SenderConstraint;
use postern_identity::{RevocationMode, TrustDomain};

use super::context::{Context, Reported};
use super::files::FileKind;
use crate::config::file::{
    CrlModeFile, DiscoveryFile, FederationKeysFile, IdentityFile, IdentityFilesFile, IdentitySourceFile,
    IssuerFile, KeysFile, SenderConstraintFile, TokenProfileFile, WorkloadApiKeysFile,
};
use crate::config::findings::{nearest, one_of};
use crate::config::places::{entry, member};
use crate::config::rules;
use crate::config::settings::{
    Config, IdentityConfig, IdentitySource, IssuerConfig, KeyFreshness, KeySource, ListenerTls,
    RevocationRule, TokenAlgorithm, TokenProfile,
};

/// Longest `iss` and `aud`, in bytes.
const CLAIM_BYTES_MAX: usize = 2048;

pub(super) fn identity(context: &mut Context<'_>, file: &IdentityFile) -> Result<IdentityConfig, Reported> {
    let source = match &file.source {
        IdentitySourceFile::WorkloadApi(file) => super::workload_api::source(context, file),
        IdentitySourceFile::Files(file) => files(context, file),
    };
    let source = source?;
    let revocation = revocation(context, file, &source);
    let federation = super::federation::relationships(context, file);
    let directory = super::federation::directory(context, file);
    Ok(IdentityConfig { source, revocation, federation: federation?, federation_directory: directory? })
}

/// A mode that refuses everybody, or changes nothing, is a mistake where it can be seen from here; over the Workload API
/// lists may yet come.
fn revocation(context: &mut Context<'_>, file: &IdentityFile, source: &IdentitySource) -> RevocationRule {
    let Some(mode) = file.crl.mode else { return RevocationRule::WhereListed };
    let key = "identity.crl.mode";
    let mode = match mode {
        CrlModeFile::Off => RevocationMode::Off,
        CrlModeFile::Soft => RevocationMode::Soft,
        CrlModeFile::Hard => RevocationMode::Hard,
    };
    if let IdentitySource::Files { trust_bundles, revocation_lists, .. } = source {
        let is_listed = |name: &TrustDomain| revocation_lists.iter().any(|(known, _)| known == name);
        match mode {
            RevocationMode::Hard => {
                for (name, _) in trust_bundles.iter().filter(|(name, _)| !is_listed(name)) {
                    let what = format!("`hard` refuses everybody of `{name}`: it has no revocation lists");
                    let mend =
                        format!("add `{name}: FILE` to `identity.source.files.crls`, or leave the mode out");
                    context.error(key, what, mend);
                }
            }
            RevocationMode::Soft if revocation_lists.is_empty() => {
                let what = "`soft` has no effect: there are no revocation lists";
                context.error(key, what, "name them in `identity.source.files.crls`, or leave the mode out");
            }
            RevocationMode::Soft | RevocationMode::Off => {}
        }
    }
    RevocationRule::Everywhere(mode)
}

fn files(context: &mut Context<'_>, file: &IdentityFilesFile) -> Result<IdentitySource, Reported> {
    let key = "identity.source.files";
    let certificate = context.file(&member(key, "certificate"), &file.certificate, FileKind::Public);
    let private_key = context.file(&member(key, "key"), &file.key, FileKind::Secret);
    let bundles_key = member(key, "trust_bundles");
    let some = context.some(&bundles_key, file.trust_bundles.len(), "trust bundle");
    let trust_bundles = by_trust_domain(context, &bundles_key, &file.trust_bundles);
    let lists_key = member(key, "crls");
    let few = context.few(&lists_key, file.crls.len(), "file with revocation lists");
    let revocation_lists = by_trust_domain(context, &lists_key, &file.crls);
    some?;
    few?;
    let (trust_bundles, revocation_lists) = (trust_bundles?, revocation_lists?);
    for (name, _) in &revocation_lists {
        if trust_bundles.iter().all(|(known, _)| known != name) {
            let what = format!("`{name}` has revocation lists and no trust bundle");
            let mend = format!("add `{name}: FILE` to `trust_bundles`, or leave its lists out");
            return Err(context.error(&member(&lists_key, name.as_str()), what, mend));
        }
    }
    Ok(IdentitySource::Files {
        certificate: certificate?,
        key: private_key?,
        trust_bundles,
        revocation_lists,
    })
}

/// A file for each of some trust domains.
fn by_trust_domain(
    context: &mut Context<'_>,
    key: &str,
    files: &BTreeMap<String, String>,
) -> Result<Vec<(TrustDomain, PathBuf)>, Reported> {
    let mut found = Ok(Vec::new());
    for (name, path) in files {
        let key = member(key, name);
        let domain = trust_domain(context, &key, name);
        let path = context.file(&key, path, FileKind::Public);
        match (domain, path, &mut found) {
            (Ok(domain), Ok(path), Ok(found)) => found.push((domain, path)),
            (Err(reported), ..) | (_, Err(reported), _) => found = Err(reported),
            (Ok(_), Ok(_), Err(_)) => {}
        }
    }
    found
}

/// A trust domain's name, without scheme and path.
pub(super) fn trust_domain(
    context: &mut Context<'_>,
    key: &str,
    text: &str,
) -> Result<TrustDomain, Reported> {
    text.parse::<TrustDomain>().map_err(|error| {
        let what = format!("`{text}` is not a trust domain: {error}");
        context.error(key, what, "write the bare name in lower case, like `example.org`")
    })
}

pub(super) fn issuers(context: &mut Context<'_>, list: &[IssuerFile]) -> Result<Vec<IssuerConfig>, Reported> {
    let issuers: Vec<&str> = list.iter().map(|issuer| issuer.issuer.as_str()).collect();
    for (index, issuer) in issuers.iter().enumerate() {
        if issuers.iter().take(index).any(|earlier| earlier == issuer) {
            let key = member(&entry("tokens", index), "issuer");
            context.error(&key, format!("the issuer `{issuer}` is named twice"), "put both into one entry");
        }
    }
    context.few("tokens", list.len(), "issuer")?;
    context.each("tokens", list, issuer)
}

fn issuer(context: &mut Context<'_>, key: &str, file: &IssuerFile) -> Result<IssuerConfig, Reported> {
    let name = claim(context, &member(key, "issuer"), &file.issuer);
    let audiences_key = member(key, "audiences");
    let audiences = context.some(&audiences_key, file.audiences.len(), "audience").and_then(|()| {
        context.each(&audiences_key, &file.audiences, |context, key, text| claim(context, key, text))
    });
    context.distinct(&audiences_key, &file.audiences, String::clone);
    let algorithms_key = member(key, "algorithms");
    let algorithms = context.some(&algorithms_key, file.algorithms.len(), "algorithm").and_then(|()| {
        context.each(&algorithms_key, &file.algorithms, |context, key, text| algorithm(context, key, text))
    });
    context.distinct(&algorithms_key, &file.algorithms, String::clone);
    let keys = keys(context, key, file);
    let freshness = freshness(context, key, file);
    let profile = profile(context, key, file);
    if let (Ok(TokenProfile::JwtSvid(_)), Ok(algorithms)) = (&profile, &algorithms)
        && let Some(place) = algorithms.iter().position(|algorithm| *algorithm == TokenAlgorithm::EdDsa)
    {
        let mend = "use RS, PS or ES with 256, 384 or 512 (JWT-SVID §2.1)";
        context.error(&entry(&algorithms_key, place), "no JWT-SVID is signed with EdDSA", mend);
    }
    let sender_constraint = match file.sender_constraint {
        None | Some(SenderConstraintFile::None) => SenderConstraint::None,
        Some(SenderConstraintFile::Mtls) => SenderConstraint::Mtls,
        Some(SenderConstraintFile::Dpop) => SenderConstraint::Dpop,
        Some(SenderConstraintFile::Any) => SenderConstraint::Any,
    };
    let leeway = context.duration(&member(key, "leeway"), file.leeway.as_ref(), &rules::LEEWAY);
    let lifetime_max = match &file.lifetime_max {
        None => Duration::MAX,
        written => context.duration(&member(key, "lifetime_max"), written.as_ref(), &rules::LIFETIME_MAX),
    };
    Ok(IssuerConfig {
        issuer: name?,
        audiences: audiences?,
        algorithms: algorithms?,
        keys: keys?,
        profile: profile?,
        leeway,
        lifetime_max,
        sender_constraint,
        freshness: freshness?,
    })
}

fn profile(context: &mut Context<'_>, key: &str, file: &IssuerFile) -> Result<TokenProfile, Reported> {
    Ok(match file.profile {
        None | Some(TokenProfileFile::AccessToken) => TokenProfile::AccessToken,
        Some(TokenProfileFile::Generic) => TokenProfile::Generic,
        Some(TokenProfileFile::K8sSa) => TokenProfile::KubernetesServiceAccount,
        Some(TokenProfileFile::TxnToken) => TokenProfile::TransactionToken,
        Some(TokenProfileFile::JwtSvid) => {
            let key = member(key, "issuer");
            match file.issuer.strip_prefix("spiffe://") {
                Some(name) => TokenProfile::JwtSvid(trust_domain(context, &key, name)?),
                None => {
                    let what = format!("`{}` is not a trust domain's SPIFFE ID", file.issuer);
                    return Err(context.error(&key, what, "write it like `spiffe://example.org`"));
                }
            }
        }
    })
}

/// What has an effect on fetched keys only must not stand beside a file.
fn freshness(context: &mut Context<'_>, key: &str, file: &IssuerFile) -> Result<KeyFreshness, Reported> {
    let mut useless = Ok(());
    let from = match file.keys {
        KeysFile::File(_) => Some("from a file"),
        KeysFile::WorkloadApi(_) => Some("from the Workload API"),
        KeysFile::Federation(_) => Some("that come by federation"),
        KeysFile::Url(_) | KeysFile::Discovery(_) => None,
    };
    if let Some(from) = from {
        for (name, written) in [
            ("refresh_interval", file.refresh_interval.is_some()),
            ("stale_max", file.stale_max.is_some()),
            ("last_good_directory", file.last_good_directory.is_some()),
            ("trust_roots", file.trust_roots.is_some()),
            ("plaintext", file.plaintext.is_some()),
        ] {
            if written {
                let what = format!("`{name}` has no effect on keys {from}");
                useless = Err(context.error(&member(key, name), what, format!("leave `{name}` out")));
            }
        }
    }
    useless?;
    let directory_key = member(key, "last_good_directory");
    let directory = file.last_good_directory.as_ref();
    let directory = directory.map(|path| context.file(&directory_key, path, FileKind::OwnDirectory));
    let interval_key = member(key, "refresh_interval");
    Ok(KeyFreshness {
        refresh_interval: context.duration(
            &interval_key,
            file.refresh_interval.as_ref(),
            &rules::KEY_REFRESH_INTERVAL,
        ),
        stale_max: context.duration(
            &member(key, "stale_max"),
            file.stale_max.as_ref(),
            &rules::KEY_STALE_MAX,
        ),
        last_good_directory: directory.transpose()?,
    })
}

fn claim(context: &mut Context<'_>, key: &str, text: &str) -> Result<String, Reported> {
    if text.is_empty() || text.len() > CLAIM_BYTES_MAX || text.chars().any(char::is_control) {
        let mend =
            format!("write the claim's exact value, 1 to {CLAIM_BYTES_MAX} bytes without control characters");
        return Err(context.error(key, "this cannot be the value of a claim", mend));
    }
    Ok(text.to_owned())
}

fn algorithm(context: &mut Context<'_>, key: &str, text: &str) -> Result<TokenAlgorithm, Reported> {
    let names = || TokenAlgorithm::ALL.map(TokenAlgorithm::as_str);
    if let Some(algorithm) = TokenAlgorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == text) {
        return Ok(algorithm);
    }
    let what = match text {
        "none" => "`none` is no signature".to_owned(),
        "HS256" | "HS384" | "HS512" => format!("`{text}` would let this sidecar's key mint tokens"),
        _ => format!("`{text}` is not an algorithm that is verified here"),
    };
    let likely = nearest(text, names()).map_or(String::new(), |name| format!("did you mean `{name}`? "));
    Err(context.error(key, what, format!("{likely}known here: {}", one_of(names()))))
}

fn keys(context: &mut Context<'_>, key: &str, file: &IssuerFile) -> Result<KeySource, Reported> {
    let keys_key = member(key, "keys");
    match &file.keys {
        KeysFile::Url(url) => {
            let options = (file.trust_roots.as_ref(), file.plaintext);
            context.http_source(key, &member(&keys_key, "url"), url, options).map(KeySource::Url)
        }
        KeysFile::File(path) => {
            context.file(&member(&keys_key, "file"), path, FileKind::Public).map(KeySource::File)
        }
        KeysFile::WorkloadApi(WorkloadApiKeysFile {}) => {
            let what = "the Workload API knows the keys of JWT-SVIDs alone";
            of_jwt_svids(context, file, (&member(&keys_key, "workload_api"), what), KeySource::WorkloadApi)
        }
        KeysFile::Federation(FederationKeysFile {}) => {
            let what = "federation brings the keys of JWT-SVIDs alone";
            of_jwt_svids(context, file, (&member(&keys_key, "federation"), what), KeySource::Federation)
        }
        KeysFile::Discovery(DiscoveryFile {}) => {
            let discovery_key = member(&keys_key, "discovery");
            if let Some(TokenProfileFile::JwtSvid) = file.profile {
                let what =
                    "a trust domain has no OpenID metadata, and its keys no other document than its bundle";
                let mend = "name the SPIFFE bundle with `file` or `url`, or choose `profile: generic`";
                return Err(context.error(&discovery_key, what, mend));
            }
            // OpenID Connect Discovery §4.1: behind the issuer without its last slash. A query would stand before it.
            if file.issuer.contains('?') {
                let what = "the metadata of an issuer with a query cannot be found";
                return Err(context.error(&discovery_key, what, "name the issuer's keys with `url`"));
            }
            let issuer = file.issuer.trim_end_matches('/');
            let url = format!("{issuer}/.well-known/openid-configuration");
            let options = (file.trust_roots.as_ref(), file.plaintext);
            context.http_source(key, &member(key, "issuer"), &url, options).map(KeySource::Discovery)
        }
    }
}

fn of_jwt_svids(
    context: &mut Context<'_>,
    file: &IssuerFile,
    (key, what): (&str, &str),
    source: KeySource,
) -> Result<KeySource, Reported> {
    match file.profile {
        Some(TokenProfileFile::JwtSvid) => Ok(source),
        None | Some(_) => {
            let mend = "choose `profile: jwt_svid`, or name the issuer's keys with `url`";
            Err(context.error(key, what, mend))
        }
    }
}

/// Whose tokens, and with trust bundles from files whose members, can never be taken. No mistake that refuses: it is also
/// what is left when a relationship has ended.
pub(super) fn check_together(context: &mut Context<'_>, config: &Config) {
    for (index, issuer) in config.tokens.iter().enumerate() {
        let TokenProfile::JwtSvid(domain) = &issuer.profile else { continue };
        let mut federation = config.identity.federation.iter();
        if issuer.keys == KeySource::Federation && federation.all(|of| of.trust_domain != *domain) {
            let key = member(&member(&entry("tokens", index), "keys"), "federation");
            let what = format!("there is no relationship with `{domain}`: its tokens are refused");
            context.warn(
                &key,
                what,
                format!("add `{domain}` to `identity.federation`, or take the issuer out"),
            );
        }
    }
    let IdentitySource::Files { trust_bundles, .. } = &config.identity.source else { return };
    for (index, issuer) in config.tokens.iter().enumerate() {
        if issuer.keys == KeySource::WorkloadApi {
            let key = member(&member(&entry("tokens", index), "keys"), "workload_api");
            let what = "the identity does not come from a Workload API that could know these keys";
            context.error(&key, what, "name the trust domain's SPIFFE bundle with `file` or `url`");
        }
    }
    let federation = &config.identity.federation;
    for (index, relationship) in federation.iter().enumerate() {
        let name = &relationship.trust_domain;
        if trust_bundles.iter().any(|(known, _)| known == name) {
            let key = member(&entry("identity.federation", index), "trust_domain");
            let what =
                format!("`{name}` has a bundle in `identity.source.files.trust_bundles`, which counts alone");
            context.error(&key, what, "leave one of the two out");
        }
    }
    for listener in &config.listeners {
        let ListenerTls::Mutual { trust_domains, .. } = &listener.tls else { continue };
        for (index, domain) in trust_domains.iter().enumerate() {
            let known = trust_bundles.iter().map(|(known, _)| known);
            let mut known = known.chain(federation.iter().map(|relationship| &relationship.trust_domain));
            if known.all(|known| known != domain) {
                let key = format!("{}.inbound.tls.mutual.trust_domains", member("listeners", &listener.name));
                let what =
                    format!("the trust domain `{domain}` has no trust bundle: its members are refused");
                let mend = format!(
                    "add `{domain}: FILE` to `identity.source.files.trust_bundles`, or federate with it"
                );
                context.warn(&entry(&key, index), what, mend);
            }
        }
    }
}
