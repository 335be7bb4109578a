//! `workload_tokens:`

use super::context::{Context, Reported};
use super::files::FileKind;
use super::identity::trust_domain;
use crate::config::file::WorkloadTokensFile;
use crate::config::places::member;
use crate::config::settings::WorkloadTokens;
use crate::pipeline::spell_target;

const KEY: &str = "workload_tokens";

pub(super) fn workload_tokens(
    context: &mut Context<'_>,
    file: Option<&WorkloadTokensFile>,
) -> Result<WorkloadTokens, Reported> {
    let Some(file) = file else { return Ok(WorkloadTokens::default()) };
    if !file.incubating {
        let what = "workload identity tokens are incubating, and have to be asked for as such";
        let mend = "write `incubating: true`, or leave `workload_tokens` out";
        return Err(context.error(&member(KEY, "incubating"), what, mend));
    }
    let authorities_key = member(KEY, "authorities");
    let named = context.some(&authorities_key, file.authorities.len(), "authority");
    context.distinct(&authorities_key, &file.authorities, String::clone);
    let authorities =
        context.each(&authorities_key, &file.authorities, |context, key, text| authority(context, key, text));
    let bundles_key = member(KEY, "bundles");
    let mut failed = context.some(&bundles_key, file.bundles.len(), "bundle");
    let mut bundles = Vec::new();
    for (name, path) in &file.bundles {
        let key = member(&bundles_key, name);
        let domain = trust_domain(context, &key, name);
        let path = context.file(&key, path, FileKind::Public);
        match (domain, path) {
            (Ok(domain), Ok(path)) => bundles.push((domain, path)),
            (Err(reported), _) | (_, Err(reported)) => failed = Err(reported),
        }
    }
    named?;
    failed?;
    Ok(WorkloadTokens { authorities: authorities?, bundles })
}

/// Targets are compared in one spelling; an authority in another would match none.
fn authority(context: &mut Context<'_>, key: &str, text: &str) -> Result<String, Reported> {
    match spell_target(text) {
        Some(spelled) if spelled.strip_suffix('/') == Some(text) => Ok(text.to_owned()),
        Some(_) | None => {
            let what = format!("`{text}` is not an authority in its one spelling");
            let mend =
                "write it like `https://orders.example.org`: lower-case, without path, and without port 443";
            Err(context.error(key, what, mend))
        }
    }
}
