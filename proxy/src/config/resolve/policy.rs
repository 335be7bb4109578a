//! `policy:`.

use super::context::{Context, Reported};
use super::files::FileKind;
use crate::config::file::{
    BuiltinErrorsFile, BundleFile, BundleLimitsFile, BundleSourceFile, DecisionFile, HttpBundleFile,
    PolicyFile, UnsignedFile,
};
use crate::config::places::member;
use crate::config::rules;
use crate::config::settings::{
    BundleConfig, BundleLimits, BundleSource, BundleTrust, PolicyConfig, PolicyDecision,
};

pub(super) fn policy(context: &mut Context<'_>, file: &PolicyFile) -> Result<PolicyConfig, Reported> {
    let bundles = bundles(context, file);
    let decision = decision(context, &file.decision);
    let limits = limits(context, &file.limits);
    let last_good = file.last_good_directory.as_deref().unwrap_or(rules::LAST_GOOD_DIRECTORY);
    let last_good = context.file("policy.last_good_directory", last_good, FileKind::OwnDirectory);
    let decision_timeout =
        context.duration("policy.decision_timeout", file.decision_timeout.as_ref(), &rules::DECISION_TIMEOUT);
    let decision_steps_max =
        context.count("policy.decision_steps_max", file.decision_steps_max, &rules::DECISION_STEPS_MAX);
    Ok(PolicyConfig {
        bundles: bundles?,
        decision: decision?,
        limits,
        last_good_directory: last_good?,
        decision_timeout,
        decision_steps_max,
        strict_builtin_errors: matches!(file.builtin_errors, Some(BuiltinErrorsFile::Deny)),
    })
}

fn bundles(context: &mut Context<'_>, file: &PolicyFile) -> Result<Vec<BundleConfig>, Reported> {
    let mut result = context.some("policy.bundles", file.bundles.len(), "policy bundle");
    let mut bundles = Vec::new();
    for (name, written) in &file.bundles {
        match bundle(context, &member("policy.bundles", name), name, written) {
            Ok(bundle) => bundles.push(bundle),
            Err(reported) => result = Err(reported),
        }
    }
    result.map(|()| bundles)
}

fn bundle(
    context: &mut Context<'_>,
    key: &str,
    name: &str,
    file: &BundleFile,
) -> Result<BundleConfig, Reported> {
    let name = context.name(key, name);
    let source_key = member(key, "source");
    let source = match &file.source {
        BundleSourceFile::Directory(directory) => {
            let key = member(&source_key, "directory");
            let path = context.file(&member(&key, "path"), &directory.path, FileKind::Bundle);
            let poll_interval = context.duration(
                &member(&key, "poll_interval"),
                directory.poll_interval.as_ref(),
                &rules::DIRECTORY_POLL_INTERVAL,
            );
            path.map(|path| BundleSource::Directory { path, poll_interval })
        }
        BundleSourceFile::Http(http) => http_source(context, &member(&source_key, "http"), http),
    };
    let trust = trust(context, key, file);
    Ok(BundleConfig { name: name?, source: source?, trust: trust? })
}

fn http_source(
    context: &mut Context<'_>,
    key: &str,
    file: &HttpBundleFile,
) -> Result<BundleSource, Reported> {
    let options = (file.trust_roots.as_ref(), file.plaintext);
    let server = context.http_source(key, &member(key, "url"), &file.url, options);
    let long_poll = context.duration(&member(key, "long_poll"), file.long_poll.as_ref(), &rules::LONG_POLL);
    let poll_interval = context.duration(
        &member(key, "poll_interval"),
        file.poll_interval.as_ref(),
        &rules::HTTP_POLL_INTERVAL,
    );
    Ok(BundleSource::Http { server: server?, long_poll, poll_interval })
}

fn trust(context: &mut Context<'_>, key: &str, file: &BundleFile) -> Result<BundleTrust, Reported> {
    let signers_key = member(key, "signers");
    match (file.signers.as_slice(), file.unsigned) {
        ([], None) => Err(context.error(
            key,
            "nobody is named who must have signed this bundle",
            "add `signers: [KEY.pem]`; on a developer's machine, `unsigned: development_only` takes it as it is",
        )),
        ([], Some(UnsignedFile::DevelopmentOnly)) if matches!(file.source, BundleSourceFile::Http(_)) => {
            Err(context.error(
                &member(key, "unsigned"),
                "a bundle from a server is never taken without a signature",
                "name the key in `signers`, or take the bundle from a `directory`",
            ))
        }
        ([], Some(UnsignedFile::DevelopmentOnly)) => {
            context.warn(
                &member(key, "unsigned"),
                "this bundle is taken without a signature: whoever can write it decides who is let in",
                "sign it with `postern bundle sign` and name the key in `signers`",
            );
            Ok(BundleTrust::UnsignedForDevelopment)
        }
        (signers, None) => {
            context.file_list(&signers_key, signers, FileKind::Public).map(BundleTrust::Signers)
        }
        (_, Some(UnsignedFile::DevelopmentOnly)) => Err(context.error(
            &member(key, "unsigned"),
            "`signers` and `unsigned` contradict each other",
            "leave `unsigned` out",
        )),
    }
}

fn decision(context: &mut Context<'_>, file: &DecisionFile) -> Result<PolicyDecision, Reported> {
    match file {
        DecisionFile::Cedar(_) => Ok(PolicyDecision::Cedar),
        DecisionFile::Rego(path) => {
            let names: Vec<&str> = path.split('/').collect();
            if names.first() == Some(&"data") {
                let mend = format!("write `{}`", names.get(1..).unwrap_or_default().join("/"));
                return Err(context.error("policy.decision.rego", "the path starts below `data`", mend));
            }
            if names.len() < 2 || !names.iter().all(|name| is_rego_name(name)) {
                return Err(context.error(
                    "policy.decision.rego",
                    format!("`{path}` is not the path of a rule"),
                    "write package and rule with slashes, like `postern/authz/decision`",
                ));
            }
            Ok(PolicyDecision::Rego { path: path.clone() })
        }
    }
}

fn is_rego_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn limits(context: &mut Context<'_>, file: &BundleLimitsFile) -> BundleLimits {
    let key = |name| member("policy.limits", name);
    let limits = BundleLimits {
        archive_bytes_max: context.memory(
            &key("archive_bytes_max"),
            file.archive_bytes_max.as_ref(),
            &rules::ARCHIVE_BYTES_MAX,
        ),
        bytes_max: context.memory(&key("bytes_max"), file.bytes_max.as_ref(), &rules::BUNDLE_BYTES_MAX),
        file_bytes_max: context.memory(
            &key("file_bytes_max"),
            file.file_bytes_max.as_ref(),
            &rules::BUNDLE_FILE_BYTES_MAX,
        ),
        files_max: context.count(&key("files_max"), file.files_max, &rules::FILES_MAX),
    };
    // A smaller total lowers the limit of each file, unless somebody wrote both.
    if limits.file_bytes_max > limits.bytes_max && file.file_bytes_max.is_some() {
        context.error(
            &key("file_bytes_max"),
            "one file may be larger than the whole bundle",
            "write at most `bytes_max`",
        );
    }
    BundleLimits { file_bytes_max: limits.file_bytes_max.min(limits.bytes_max), ..limits }
}
