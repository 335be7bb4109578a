//! `postern audit inspect`, and how a record is found.
use super::{AuditError, Source, Visit};
use postern_audit::{Class, Files, Id, RecordHead};
use postern_policy::tooling::shown;
use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;

/// The most that `--last` prints.
const LAST_MAX: usize = 10_000;
/// An id begins with this many characters of time.
const TIME_CHARS: usize = 10;
const RECORDS_OF_ONE_MAX: usize = 1000;

/// Arguments of `audit inspect`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The log's directory, or a copy of it; the running demo's if left out
    directory: Option<PathBuf>,
    /// Only records of this exchange, connection or event
    #[arg(long, value_name = "ID", conflicts_with = "last")]
    id: Option<Id>,
    /// Only the last so many records
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    last: usize,
    /// Print the records' exact lines
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<Class, AuditError> {
    let source = Source::open(args.directory.as_deref())?;
    let records = match &args.id {
        Some(id) => of_id(&source, id.as_str())?,
        None => last(&source, args.last.min(LAST_MAX))?,
    };
    for (index, record) in &records {
        if args.json {
            out.write_all(record)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{index:>10}  {}", line(record))?;
        }
    }
    Ok(Class::Whole)
}

/// A record in one line for human eyes.
fn line(record: &[u8]) -> String {
    let Ok(record) = serde_json::from_slice::<serde_json::Value>(record) else {
        return "not a record".to_owned();
    };
    let member = |name: &str| match record.get(name) {
        Some(serde_json::Value::String(text)) => shown(text),
        Some(value) => shown(&value.to_string()),
        None => String::new(),
    };
    let time: String = member("ts").chars().take(23).collect();
    let rest = match member("kind").as_str() {
        "decision" => {
            let (decision, peer, method, path, reason) =
                (member("decision"), member("peer"), member("method"), member("path"), member("reason"));
            format!("{decision:<5} {peer} {method} {path} {reason}")
        }
        "outcome" => format!("{} {} bytes {}", member("status"), member("response_bytes"), member("end")),
        "conn" => format!("{} {} {}", member("src"), member("reason"), member("detail")),
        "gap" => format!(
            "lane {} numbers {} to {} {}",
            member("of"),
            member("from"),
            member("to"),
            member("reason")
        ),
        "refused_summary" => format!("{} refused {}", member("count"), member("reasons")),
        _ => ["event", "name", "bundle_rev", "reason", "mode", "detail"]
            .map(&member)
            .join(" ")
            .trim()
            .to_owned(),
    };
    format!("{time}  {}  {:<9} {rest}", member("id"), member("kind"))
}

fn last(source: &Source, count: usize) -> Result<Vec<(u64, Vec<u8>)>, AuditError> {
    let segments = source.read(source.files.segments())?;
    // Later segments first, until there is enough.
    for first in segments.iter().rev() {
        let mut kept = VecDeque::new();
        source.visit(*first, &mut |index, record| {
            if kept.len() >= count {
                kept.pop_front();
            }
            kept.push_back((index, record.to_vec()));
            Visit::More
        })?;
        if kept.len() >= count || first == segments.first().unwrap_or(first) {
            return Ok(kept.into_iter().take(count).collect());
        }
    }
    Ok(Vec::new())
}

/// The records of the newest decision.
pub(super) fn newest_decision(source: &Source) -> Result<Vec<(u64, Vec<u8>)>, AuditError> {
    for first in source.read(source.files.segments())?.into_iter().rev() {
        let mut newest = None;
        source.visit(first, &mut |_, record| {
            if let Some(head) = RecordHead::parse(record).filter(|head| head.kind() == "decision") {
                newest = Some(head.id().to_owned());
            }
            Visit::More
        })?;
        if let Some(id) = newest {
            return of_id(source, &id);
        }
    }
    Err(AuditError::NoRecord("last".to_owned()))
}

/// The records of an id, in order: searched from the segment that was being written when the id was given.
pub(super) fn of_id(source: &Source, id: &str) -> Result<Vec<(u64, Vec<u8>)>, AuditError> {
    let segments = source.read(source.files.segments())?;
    let time = id.get(..TIME_CHARS).unwrap_or_default();
    let mut from = 0;
    for first in &segments {
        let mut begins_later = false;
        source.visit(*first, &mut |_, record| {
            let head = RecordHead::parse(record);
            begins_later = head.is_some_and(|head| head.id().get(..TIME_CHARS).unwrap_or_default() > time);
            Visit::Enough
        })?;
        if begins_later {
            break;
        }
        from = *first;
    }
    let found = search(source, from, id)?;
    // The clock may have been set back in between.
    let found = if found.is_empty() && from > 0 { search(source, 0, id)? } else { found };
    if found.is_empty() { Err(AuditError::NoRecord(id.to_owned())) } else { Ok(found) }
}

fn search(source: &Source, from: u64, id: &str) -> Result<Vec<(u64, Vec<u8>)>, AuditError> {
    let mut found = Vec::new();
    source.visit(from, &mut |index, record| {
        // Reading every record as JSON would be ten times slower than looking for the text first.
        let mentions = record.windows(id.len().max(1)).any(|window| window == id.as_bytes());
        let Some(head) = mentions.then(|| RecordHead::parse(record)).flatten().filter(|head| head.id() == id)
        else {
            return Visit::More;
        };
        let ends = head.kind() == "outcome" || found.len() >= RECORDS_OF_ONE_MAX;
        found.push((index, record.to_vec()));
        if ends { Visit::Enough } else { Visit::More }
    })?;
    Ok(found)
}
