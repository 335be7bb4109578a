//! `postern policy diff`.
use super::{CommandError, Place, read_input};
use postern_policy::Entry;
use postern_policy::tooling::{Asked, Kind, NOW_NS, Side, compared, over, requests_of, shown_json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Arguments of `policy diff`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The policy as it is: a bundle's folder, the folder around it with its `cases.yaml`, or an archive
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The policy as it will be; it may be in the other language
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// The Rego rule that decides, such as `postern/authz/decision`, where no `cases.yaml` names it
    #[arg(long, value_name = "PATH")]
    entry: Option<String>,
    /// Requests to compare over, a line of JSON each: in the words of a case, in the shape of `postern schema query`, or
    /// decision records; `-` is standard input. Without it they are made of what both policies say
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,
    /// End with exit code 1 if something is newly allowed
    #[arg(long)]
    fail_on_widening: bool,
    /// One JSON object instead of a report
    #[arg(long)]
    json: bool,
}

/// Whether nothing is newly allowed, where that is asked. Fails where nothing was compared.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<bool, CommandError> {
    let (old, old_cases) = side(args, &args.old)?;
    let (new, new_cases) = side(args, &args.new)?;
    let difference = match &args.requests {
        None => compared(&old, &new, &[old_cases, new_cases].concat()),
        Some(file) => {
            let content = read_input(file)?;
            let failed = |what| CommandError::Other(format!("`{}`: {what}", file.display()));
            let (all, not_replayable) = requests_of(&content, &old, &new).map_err(failed)?;
            if all.is_empty() && not_replayable == 0 {
                return Err(CommandError::Other(format!("`{}` holds no requests", file.display())));
            }
            let mut difference = over(&old, &new, &all, format!("of `{}`", file.display()));
            difference.not_replayable = not_replayable;
            difference
        }
    };
    if args.json {
        writeln!(out, "{}", shown_json(&difference.json().to_string()))?;
    } else {
        write!(out, "{}", difference.plain())?;
    }
    if difference.compared() == 0 {
        let what = "no request was compared: take requests that hold what both policies read, or leave out `--requests`";
        return Err(CommandError::Other(what.to_owned()));
    }
    Ok(!args.fail_on_widening || difference.count(Kind::Allowed) == 0)
}

/// A policy, and the cases of its table.
fn side(args: &Args, path: &Path) -> Result<(Side, Vec<Asked>), CommandError> {
    let place = Place::of(path, None);
    let files = place.files()?;
    let entry = decides(args, &place, &files)?;
    let failed = |error| CommandError::Other(format!("`{}`: {error}", path.display()));
    let side = Side::load(&place.bundle.display().to_string(), &files, &entry).map_err(failed)?;
    let mut asked = Vec::new();
    if place.cases.is_some() {
        let suite = place.suite()?;
        let now_ns = suite.table.as_ref().and_then(|(_, table)| table.now_ns).unwrap_or(NOW_NS);
        asked.extend(suite.cases.iter().map(|case| Asked::of_case(case, now_ns)));
    }
    Ok((side, asked))
}

/// What decides: as named, else by the table, else Cedar where there is nothing else.
pub(super) fn decides_of(
    named: Option<&str>,
    place: &Place,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<Entry, CommandError> {
    let holds = |ending: &str| files.keys().any(|name| name.ends_with(ending));
    match (named, place.entry()?) {
        (None, Some(entry)) => Ok(entry),
        (Some(path), _) if holds(".rego") => Ok(Entry::Rego { path: path.to_owned() }),
        _ if holds(".cedar") && !holds(".rego") => Ok(Entry::Cedar),
        _ => {
            let bundle = place.bundle.display();
            let what =
                format!("`{bundle}`: say what decides: `--entry a/b/c`, or a `cases.yaml` beside the bundle");
            Err(CommandError::Other(what))
        }
    }
}

fn decides(args: &Args, place: &Place, files: &BTreeMap<String, Vec<u8>>) -> Result<Entry, CommandError> {
    decides_of(args.entry.as_deref(), place, files)
}
