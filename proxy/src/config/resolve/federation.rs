//! `identity.federation:`.

use std::path::PathBuf;

use postern_identity::{SpiffeId, TrustDomain};

use super::context::{Context, Reported};
use super::files::FileKind;
use super::identity::trust_domain;
use crate::config::file::{EndpointProfileFile, FederationFile, HttpsSpiffeFile, IdentityFile};
use crate::config::places::{entry, member};
use crate::config::rules;
use crate::config::settings::{EndpointProfile, EndpointProof, FederationConfig};
use crate::config::url::{ControlUrl, Scheme};

const KEY: &str = "identity.federation";

pub(super) fn relationships(
    context: &mut Context<'_>,
    file: &IdentityFile,
) -> Result<Vec<FederationConfig>, Reported> {
    let list = &file.federation;
    context.few(KEY, list.len(), "relationship")?;
    for (index, relationship) in list.iter().enumerate() {
        let name = &relationship.trust_domain;
        if list.iter().take(index).any(|earlier| earlier.trust_domain == *name) {
            let key = member(&entry(KEY, index), "trust_domain");
            let what = format!("the trust domain `{name}` stands here twice, and bundles are never merged");
            context.error(&key, what, "leave one of the two out");
        }
    }
    context.each(KEY, list, relationship)
}

/// Where bundles are kept. It counts without a relationship, too: what ended ones left there is removed.
pub(super) fn directory(context: &mut Context<'_>, file: &IdentityFile) -> Result<PathBuf, Reported> {
    let written = file.federation_directory.as_deref().unwrap_or(rules::FEDERATION_DIRECTORY);
    context.file("identity.federation_directory", written, FileKind::OwnDirectory)
}

fn relationship(
    context: &mut Context<'_>,
    key: &str,
    file: &FederationFile,
) -> Result<FederationConfig, Reported> {
    let name = trust_domain(context, &member(key, "trust_domain"), &file.trust_domain);
    let url = url(context, &member(key, "url"), &file.url);
    let trust_domain = name?;
    let key = member(key, "profile");
    let profile = match &file.profile {
        EndpointProfileFile::HttpsWeb(web) => {
            let trust_roots = context.trust_roots(&member(&key, "https_web"), web.trust_roots.as_ref())?;
            EndpointProfile::HttpsWeb { trust_roots }
        }
        EndpointProfileFile::HttpsSpiffe(file) => {
            spiffe(context, &member(&key, "https_spiffe"), file, &trust_domain)?
        }
    };
    Ok(FederationConfig { trust_domain, url: url?, profile })
}

/// SPIFFE_Federation §5.2.1.1 and §5.2.2.1.
fn url(context: &mut Context<'_>, key: &str, text: &str) -> Result<String, Reported> {
    let mend = "write it like `https://host/path`";
    match ControlUrl::parse(text) {
        Ok(url) if url.scheme == Scheme::Https => Ok(text.to_owned()),
        Ok(url) => {
            let what =
                format!("`{}` goes without TLS, and bundles are fetched over https alone", url.redacted());
            Err(context.error(key, what, mend))
        }
        Err(error) => Err(context.error(key, error.to_string(), mend)),
    }
}

fn spiffe(
    context: &mut Context<'_>,
    key: &str,
    file: &HttpsSpiffeFile,
    served: &TrustDomain,
) -> Result<EndpointProfile, Reported> {
    let endpoint = file.endpoint_spiffe_id.parse::<SpiffeId>().map_err(|error| {
        let what = format!("`{}` is not a SPIFFE ID: {error}", file.endpoint_spiffe_id);
        context.error(
            &member(key, "endpoint_spiffe_id"),
            what,
            "write it like `spiffe://other.org/spire/server`",
        )
    })?;
    let bundle_key = member(key, "bootstrap_bundle");
    let other = endpoint.trust_domain();
    let proof = match &file.bootstrap_bundle {
        Some(path) if other == served => {
            let bootstrap_bundle = context.file(&bundle_key, path, FileKind::Public)?;
            EndpointProof::SelfServing { bootstrap_bundle }
        }
        None if other == served => {
            let what = format!("nothing proves `{endpoint}` at the first fetch");
            return Err(context.error(
                &bundle_key,
                what,
                format!("name a file with the bundle of `{served}`"),
            ));
        }
        Some(_) => {
            let what = format!("`{endpoint}` is proven by the bundle of `{other}` that is in force");
            let mend =
                format!("leave this out, and federate with `{other}` or have the identity source bring it");
            return Err(context.error(&bundle_key, what, mend));
        }
        None => EndpointProof::InForce,
    };
    Ok(EndpointProfile::HttpsSpiffe { endpoint, proof })
}
