//! `postern policy eval`.
use super::{CommandError, Place, read_input};
use crate::clock::{Clock, SystemClock};
use postern_policy::Entry;
use postern_policy::tooling::{Inquiry, Question, Request, shown_json};
use std::io::Write;
use std::path::PathBuf;

/// Arguments of `policy eval`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("question").args(["query", "entry", "cedar"]))]
pub(super) struct Args {
    /// A bundle's folder, the folder around it, or an archive. Its `cases.yaml` says what decides, where nothing else does
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// A Rego query, such as `data.postern.authz.decision`
    #[arg(long, value_name = "QUERY")]
    query: Option<String>,
    /// A Rego rule, such as `postern/authz/decision`
    #[arg(long, value_name = "PATH")]
    entry: Option<String>,
    /// The Cedar policies
    #[arg(long)]
    cedar: bool,
    /// The input as a JSON document, for Rego; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "request")]
    input: Option<PathBuf>,
    /// A request in the words of a case (`who`, `do`, `headers`, `claims` and so on), JSON or YAML; `-` is standard input
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// The moment of the decision in nanoseconds since the Unix epoch; now if left out
    #[arg(long, value_name = "NS")]
    now_ns: Option<u64>,
    /// Tell which definitions or policies were tried, and the first condition of each that does not hold
    #[arg(long)]
    explain: bool,
    /// One JSON object instead of a report
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<bool, CommandError> {
    let place = Place::of(&args.path, None);
    let files = place.files()?;
    let request = match &args.request {
        Some(path) => Some(Request::read(&path.display().to_string(), &read_input(path)?)?),
        None => None,
    };
    let input = args.input.as_ref().map(|path| read_input(path)).transpose()?;
    let from_table = entry_of_table(args, &place)?;
    let question = match (&args.query, &args.entry, args.cedar, &from_table) {
        (Some(query), _, _, _) => Question::Query(query),
        (_, Some(entry), _, _) | (_, _, false, Some(Entry::Rego { path: entry })) => Question::Entry(entry),
        (_, _, true, _) | (_, _, _, Some(Entry::Cedar)) => Question::Cedar,
        (None, None, false, None) => {
            let what = "say what is asked: `--entry a/b/c`, `--query QUERY` or `--cedar`";
            return Err(CommandError::Other(what.to_owned()));
        }
    };
    let root = place.bundle.display().to_string();
    let now_ns = args.now_ns.unwrap_or_else(|| SystemClock::new().unix_ns());
    let inquiry = Inquiry {
        root: &root,
        files: &files,
        question,
        input: input.as_deref(),
        request: request.as_ref(),
        now_ns,
    };
    let answer = inquiry.answer()?;
    if args.json {
        writeln!(out, "{}", shown_json(&answer.json(args.explain).to_string()))?;
    } else {
        write!(out, "{}", answer.plain(args.explain))?;
    }
    Ok(true)
}

fn entry_of_table(args: &Args, place: &Place) -> Result<Option<Entry>, CommandError> {
    let asked = args.query.is_some() || args.entry.is_some() || args.cedar;
    if asked { Ok(None) } else { place.entry() }
}
