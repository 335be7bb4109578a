//! `postern policy check`.
use super::{CommandError, Place};
use crate::sources::watched_file;
use postern_policy::Entry;
use postern_policy::tooling::{
    Findings, Severity, check, findings_json, findings_junit, findings_plain, findings_sarif, shown_json,
};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Arguments of `policy check`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("decides").args(["entry", "cedar"]))]
pub(super) struct Args {
    /// A bundle's folder, the folder around it with its `cases.yaml`, an archive, or one `.rego` or `.cedar` file
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The Rego rule that decides, such as `postern/authz/decision`, where no `cases.yaml` names it
    #[arg(long, value_name = "PATH")]
    entry: Option<String>,
    /// The Cedar policies decide
    #[arg(long)]
    cedar: bool,
    /// Warnings end it with exit code 1 too
    #[arg(long)]
    strict: bool,
    /// One JSON object instead of a report
    #[arg(long)]
    json: bool,
    /// Write the findings as SARIF as well
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// Write JUnit's XML as well
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// Whether there is nothing that refuses.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<bool, CommandError> {
    let mut all = Findings::default();
    for path in &args.paths {
        all.extend(of_path(args, path)?);
    }
    let refused = if args.strict { Severity::Warning } else { Severity::Error };
    if let Some(file) = &args.junit {
        super::write_file(file, &findings_junit(&all, refused))?;
    }
    if let Some(file) = &args.sarif {
        super::write_file(file, &format!("{:#}\n", findings_sarif(&all)))?;
    }
    if args.json {
        writeln!(out, "{}", shown_json(&findings_json(&all).to_string()))?;
    } else {
        write!(out, "{}", findings_plain(&all))?;
    }
    Ok(all.all.iter().all(|finding| finding.code.severity > refused))
}

fn of_path(args: &Args, path: &Path) -> Result<Findings, CommandError> {
    let asked = match &args.entry {
        Some(entry) => Some(Entry::Rego { path: entry.clone() }),
        None => args.cedar.then_some(Entry::Cedar),
    };
    let is_policy = |name: &str| name.ends_with(".rego") || name.ends_with(".cedar");
    if let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| is_policy(name))
        && path.is_file()
    {
        let content = watched_file::read(path, super::FILES_BYTES_MAX as u64)?;
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let files = BTreeMap::from([(name.to_owned(), content)]);
        let folder = folder.display().to_string();
        let mut found = check(&folder, &files, asked.as_ref());
        // What is said of the whole is said of this file.
        for finding in found.all.iter_mut().filter(|finding| finding.file == folder) {
            finding.file = path.display().to_string();
        }
        return Ok(found);
    }
    let place = Place::of(path, None);
    let entry = match asked {
        Some(entry) => Some(entry),
        None => place.entry()?,
    };
    let files = place.files()?;
    Ok(check(&place.bundle.display().to_string(), &files, entry.as_ref()))
}
