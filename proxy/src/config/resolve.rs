//! From what was written to what is meant. Collects every finding instead of stopping at the first:
//! a person mends a file once.

mod adaptive_concurrency;
mod answers;
mod capture;
mod captured;
mod context;
mod endpoints;
mod faults;
mod federation;
mod files;
mod forwarded_headers;
mod handshakes;
mod hidden;
mod identity;
mod identity_headers;
mod leads;
mod local_endpoint;
mod mirror;
mod operations;
mod outbound;
mod permissive;
mod policy;
mod proxy_version;
mod rate_limits;
mod retry;
mod rewrite;
mod routes;
mod service;
mod tcp;
mod traffic;
mod upgrade;
mod upstreams;
mod without_effect;
mod workload_api;
mod workload_tokens;

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use super::file::ConfigFile;
use super::findings::{Finding, Findings};
use super::parse::{FILE_BYTES_MAX, parse};
use super::places::Places;
use super::rules;
use super::settings::{Config, Workers};
use context::{Context, Reported};

#[cfg(test)]
mod tests;

/// A configuration that was taken.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is meant.
    pub config: Config,
    /// What somebody should know about it. Never refuses.
    pub warnings: Findings,
}

/// The variables that have a say in what a configuration means. Read once, with the file.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `SPIFFE_ENDPOINT_SOCKET` (SPIFFE_Workload_Endpoint §4).
    pub spiffe_endpoint_socket: Option<OsString>,
}

impl Environment {
    /// This process's.
    #[must_use]
    pub fn of_process() -> Self {
        Self { spiffe_endpoint_socket: std::env::var_os("SPIFFE_ENDPOINT_SOCKET") }
    }
}

/// Reads a configuration file of at most 1 MiB, resolves it, and looks at the files it names: whether
/// they are there, can be read and, where they are secret, are kept so. Their content is not judged.
///
/// # Errors
/// All findings, at least one of which refuses.
pub fn load(path: &Path) -> Result<Loaded, Findings> {
    let refused = |what: String, mend: &str| {
        Findings::new(path.to_owned(), String::new(), Places::default(), vec![Finding::error("", what, mend)])
    };
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(|error| {
        refused(
            format!("cannot read the configuration: {error}"),
            "name a file that is there and readable: `-c FILE`",
        )
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| refused("the configuration is not UTF-8".to_owned(), "save it as UTF-8"))?;
    resolve_text(&text, path, &Environment::of_process(), files::check)
}

/// The same for a text that is already there, and without a look at the files it names or at this process's
/// variables. Relative paths are joined to the folder of `file`.
///
/// # Errors
/// All findings, at least one of which refuses.
pub fn load_text(text: &str, file: &Path) -> Result<Loaded, Findings> {
    load_text_in(text, file, &Environment::default())
}

/// As [`load_text`], with these variables.
///
/// # Errors
/// All findings, at least one of which refuses.
pub fn load_text_in(text: &str, file: &Path, environment: &Environment) -> Result<Loaded, Findings> {
    resolve_text(text, file, environment, |_| Vec::new())
}

fn resolve_text(
    text: &str,
    file: &Path,
    environment: &Environment,
    check_files: impl Fn(&[files::FileReference]) -> Vec<Finding>,
) -> Result<Loaded, Findings> {
    let (parsed, places) = parse(text);
    let findings = |list| Findings::new(file.to_owned(), text.to_owned(), places.clone(), list);
    let parsed = parsed.map_err(|finding| findings(vec![finding]))?;
    let mut context = Context::new(file.parent().unwrap_or(Path::new("")), environment);
    let resolved = resolve(&mut context, &parsed);
    let (mut list, references) = context.finish();
    list.extend(check_files(&references));
    let warnings = findings(list);
    match resolved {
        Ok(config) if !warnings.refused() => Ok(Loaded { config, warnings }),
        Ok(_) | Err(Reported) => Err(warnings),
    }
}

fn resolve(context: &mut Context<'_>, file: &ConfigFile) -> Result<Config, Reported> {
    if file.version != 1 {
        context.error(
            "version",
            format!("version `{}` of the format is not known", file.version),
            "write `version: 1`",
        );
    }
    let identity = identity::identity(context, &file.identity);
    let tokens = identity::issuers(context, &file.tokens);
    let workload_tokens = workload_tokens::workload_tokens(context, file.workload_tokens.as_ref());
    let policy = policy::policy(context, &file.policy);
    let upstreams = upstreams::upstreams(context, &file.upstreams);
    without_effect::upstreams(context, file);
    let listeners = traffic::listeners(context, file);
    let first_listener = file.listeners.keys().next().map_or("", String::as_str);
    let audit = operations::audit(context, &file.audit, first_listener);
    let telemetry = operations::telemetry(context, &file.telemetry);
    let status = operations::status(context, file.status.as_ref());
    let admin = operations::admin(context, file.admin.as_ref());
    let capture = capture::capture(context, file);
    let workers = workers(context, file.workers.as_deref());
    let config = Config {
        identity: identity?,
        tokens: tokens?,
        workload_tokens: workload_tokens?,
        policy: policy?,
        listeners: listeners?,
        upstreams: upstreams?,
        audit: audit?,
        telemetry: telemetry?,
        status: status?,
        admin: admin?,
        capture: capture?,
        workers: workers?,
        memory_max: operations::memory_max(context, &file.limits),
    };
    traffic::check_together(context, &config);
    identity::check_together(context, &config);
    Ok(config)
}

fn workers(context: &mut Context<'_>, text: Option<&str>) -> Result<Workers, Reported> {
    match text {
        None | Some("auto") => Ok(Workers::Auto),
        Some(text) => {
            let range = 1..=rules::WORKERS_MAX;
            match text.parse::<u64>() {
                Ok(count) if range.contains(&count) => {
                    Ok(Workers::Count(usize::try_from(count).unwrap_or(1)))
                }
                Ok(_) | Err(_) => Err(context.error(
                    "workers",
                    format!("`{text}` is not a number of workers"),
                    format!("write `auto`, or a number from 1 to {}", rules::WORKERS_MAX),
                )),
            }
        }
    }
}
