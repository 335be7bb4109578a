//! `postern bundle`: building, signing, verifying and looking into policy bundles. What it writes, `opa` verifies;
//! what `opa build` and `opa sign` write, it verifies.
use crate::sources::policy::{DirectoryError, archive_at};
use postern_policy::bundle::{archive_of, files_of, signed_archive_of};
use postern_policy::tooling::{shown, shown_json};
use postern_policy::{
    BundleError, BundleLimits, Engine, Entry, LoadError, Pdp, PdpLimits, PolicyBundle, SignerKey,
    SignerKeyError, Signers, SigningError, SigningKey,
};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Arguments of `bundle`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Pack a folder of policies and data into an archive, signed if a key is given
    Build(Build),
    /// Sign an archive, replacing the signature that it may carry
    Sign(Sign),
    /// Verify a bundle's signature, and that it loads if a decision is named
    Verify(Verify),
    /// Show what a bundle holds, without verifying it
    Inspect(Inspect),
}

#[derive(Debug, clap::Args)]
struct Build {
    /// The folder with the bundle's sources
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Where the archive is written
    #[arg(short, long, value_name = "FILE", default_value = "bundle.tar.gz")]
    out: PathBuf,
    #[command(flatten)]
    signing: Signing,
}

#[derive(Debug, clap::Args)]
struct Sign {
    /// The archive, or a folder with the bundle's sources
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// Where the signed archive is written
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    signing: Signing,
}

#[derive(Debug, clap::Args)]
struct Signing {
    /// The private key (PEM): EC on P-256 or P-384, or RSA
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The key's id in the signature
    #[arg(long, value_name = "ID", requires = "key")]
    key_id: Option<String>,
    /// What the bundle is good for; verifiers must expect the same
    #[arg(long, value_name = "SCOPE", requires = "key")]
    scope: Option<String>,
    /// Sign with PS256 instead of RS256, for RSA keys
    #[arg(long, requires = "key")]
    pss: bool,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The archive, or a folder with the bundle's files
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// A public key (PEM) that may have signed it; may be given several times
    #[arg(long = "signer", value_name = "FILE", required = true)]
    signers: Vec<PathBuf>,
    /// The scope that it must have been signed for
    #[arg(long, value_name = "SCOPE", default_value = "")]
    scope: String,
    /// Load it with this Rego decision, such as `postern/authz/decision`
    #[arg(long, value_name = "PATH", conflicts_with = "cedar")]
    rego: Option<String>,
    /// Load it as Cedar policies
    #[arg(long)]
    cedar: bool,
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// The archive, or a folder with the bundle's files
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// One JSON object instead of a report
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("`{}`: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Source(#[from] DirectoryError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error("`{}`: {error}", .path.display())]
    Key { path: PathBuf, error: SigningError },
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error(transparent)]
    Signer(#[from] SignerKeyError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("name the key to sign with: `--key FILE`")]
    NoKey,
    #[error("cannot write the report: {0}")]
    Report(#[from] io::Error),
}

/// A key file is short.
const KEY_BYTES_MAX: usize = 64 * 1024;
/// A bundle as it lies on disk.
const ARCHIVE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Exit code 0 as asked, 1 refused or failed.
pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let outcome = match &args.action {
        Action::Build(build) => write_archive(&build.folder, &build.out, &build.signing, out),
        Action::Sign(sign) if sign.signing.key.is_none() => Err(CommandError::NoKey),
        Action::Sign(sign) => write_archive(&sign.bundle, &sign.out, &sign.signing, out),
        Action::Verify(verify) => self::verify(verify, out),
        Action::Inspect(inspect) => self::inspect(inspect, out),
    };
    match outcome {
        Ok(()) => 0,
        Err(error) => super::fail(err, &error),
    }
}

fn read(path: &Path) -> Result<bytes::Bytes, CommandError> {
    Ok(archive_at(path, ARCHIVE_BYTES_MAX)?)
}

fn read_key(path: &Path) -> Result<bytes::Bytes, CommandError> {
    Ok(crate::sources::watched_file::read(path, KEY_BYTES_MAX as u64).map_err(DirectoryError::from)?.into())
}

fn signing_key(signing: &Signing) -> Result<Option<SigningKey>, CommandError> {
    let Some(path) = &signing.key else { return Ok(None) };
    let failed = |error| CommandError::Key { path: path.clone(), error };
    let mut key = SigningKey::from_pem(&read_key(path)?).map_err(failed)?;
    if let Some(id) = &signing.key_id {
        key = key.with_id(id);
    }
    if let Some(scope) = &signing.scope {
        key = key.with_scope(scope);
    }
    Ok(Some(if signing.pss { key.with_rsa_pss() } else { key }))
}

/// What is written is read back first: an archive that would be refused later is refused here.
fn write_archive(from: &Path, to: &Path, signing: &Signing, out: &mut dyn Write) -> Result<(), CommandError> {
    let limits = BundleLimits::default();
    let files = files_of(&read(from)?, &limits)?;
    let named = files.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
    let (archive, signed) = match signing_key(signing)? {
        Some(key) => (signed_archive_of(named, &key)?, key.algorithm().jws_name()),
        None => (archive_of(named)?, "not"),
    };
    let bundle = PolicyBundle::open(&archive, &limits, &Signers::UnsignedAllowedForDevelopment)?;
    let unfinished = to.with_extension("unfinished");
    let failed = |error| CommandError::Io { path: to.to_owned(), error };
    fs::write(&unfinished, &archive).and_then(|()| fs::rename(&unfinished, to)).map_err(failed)?;
    let revision = shown_revision(&bundle);
    writeln!(out, "{}: {} files, revision {revision}, signed: {signed}", to.display(), files.len())?;
    Ok(())
}

fn shown_revision(bundle: &PolicyBundle) -> String {
    if bundle.revision().is_empty() { "(none)".to_owned() } else { shown(bundle.revision()) }
}

fn verify(args: &Verify, out: &mut dyn Write) -> Result<(), CommandError> {
    let signer = |path: &PathBuf| {
        let key = SignerKey::from_pem(&path.display().to_string(), &read_key(path)?)?;
        Ok::<_, CommandError>(key.with_scope(&args.scope))
    };
    let keys = args.signers.iter().map(signer).collect::<Result<_, _>>()?;
    let bundle = PolicyBundle::open(&read(&args.bundle)?, &BundleLimits::default(), &Signers::Keys(keys))?;
    let signer = bundle.signer().unwrap_or("nobody").to_owned();
    writeln!(out, "revision {}, signed by {signer}", shown_revision(&bundle))?;
    let entry = match (&args.rego, args.cedar) {
        (Some(path), _) => Entry::Rego { path: path.clone() },
        (None, true) => Entry::Cedar,
        (None, false) => return Ok(()),
    };
    let pdp = Pdp::load(&[("bundle", bundle)], &entry, &PdpLimits::default())?;
    writeln!(out, "loads as {}; {}", pdp.engine().as_str(), shown_reads(&pdp))?;
    Ok(())
}

fn shown_reads(pdp: &Pdp) -> String {
    let reads = pdp.reads();
    match (pdp.engine(), reads.as_slice()) {
        (Engine::Rego, []) => "reads nothing of the input".to_owned(),
        (Engine::Rego, parts) => format!("reads {}", parts.join(", ")),
        // The rest of the context costs nothing, is always there, and nobody looks who reads it.
        (Engine::Cedar, []) => "of headers, query and claims it reads none".to_owned(),
        (Engine::Cedar, parts) => format!("of headers, query and claims it reads {}", parts.join(", ")),
    }
}

fn inspect(args: &Inspect, out: &mut dyn Write) -> Result<(), CommandError> {
    let limits = BundleLimits::default();
    let archive = read(&args.bundle)?;
    let files = files_of(&archive, &limits)?;
    let bundle = PolicyBundle::open(&archive, &limits, &Signers::UnsignedAllowedForDevelopment)?;
    let digest: String = bundle.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    let signed = files.contains_key(".signatures.json");
    if args.json {
        let listed: Vec<_> = files
            .iter()
            .map(|(name, content)| serde_json::json!({"name": name, "bytes": content.len()}))
            .collect();
        let report = serde_json::json!({
            "revision": bundle.revision(),
            "sequence": bundle.sequence(),
            "roots": bundle.roots().collect::<Vec<_>>(),
            "sha256": digest,
            "carries_signature": signed,
            "files": listed,
        });
        writeln!(out, "{}", shown_json(&report.to_string()))?;
        return Ok(());
    }
    writeln!(out, "revision   {}", shown_revision(&bundle))?;
    if let Some(sequence) = bundle.sequence() {
        writeln!(out, "sequence   {sequence}")?;
    }
    let roots: Vec<String> = bundle.roots().map(|root| format!("/{root}")).collect();
    writeln!(out, "roots      {}", shown(&roots.join(", ")))?;
    writeln!(out, "sha256     {digest}")?;
    writeln!(out, "signature  {}", if signed { "carried, not verified here" } else { "none" })?;
    for (name, content) in &files {
        writeln!(out, "{:>10}  {}", content.len(), shown(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
