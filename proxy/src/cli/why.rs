//! `postern why`: what was decided, by what, and what would mend it, from the audit log.
use super::audit;
use crate::pipeline::Refusal;
use postern_policy::tooling::shown;
use serde_json::Value;
use std::io::{self, Write};
use std::path::PathBuf;

/// Arguments of `why`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The decision's id, as the refused caller got it, or `last`
    id: String,
    /// The audit log's directory; the running demo's if left out
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Print the records' exact lines
    #[arg(long)]
    json: bool,
}

/// What a reason code means and how to mend it; `None` for a code that is not published.
pub(super) type Explain<'e> = &'e dyn Fn(&str) -> Option<(String, String)>;

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    explain(args, &published, out, err)
}

/// Looks a published code up.
fn published(code: &str) -> Option<(String, String)> {
    Refusal::from_code(code).map(|refusal| (refusal.meaning().to_owned(), refusal.mend().to_owned()))
}

fn explain(args: &Args, meaning: Explain<'_>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let records = match audit::records_of(args.dir.as_deref(), &args.id) {
        Ok(records) => records,
        Err(error) => return super::fail(err, &error),
    };
    let shown = if args.json {
        records.iter().try_for_each(|(_, record)| out.write_all(record).and_then(|()| writeln!(out)))
    } else {
        show(&records, meaning, out)
    };
    match shown {
        Ok(()) => 0,
        Err(error) => super::fail(err, &error),
    }
}

fn show(records: &[(u64, Vec<u8>)], meaning: Explain<'_>, out: &mut dyn Write) -> io::Result<()> {
    for (index, record) in records {
        let Ok(record) = serde_json::from_slice::<Value>(record) else { continue };
        let record = Record(&record);
        match record.text("kind").as_str() {
            "decision" => decision(&record, *index, meaning, out)?,
            "outcome" => outcome(&record, meaning, out)?,
            "conn" => connection(&record, *index, meaning, out)?,
            kind => writeln!(out, " {kind}   {}", shown(&record.0.to_string()))?,
        }
    }
    Ok(())
}

/// A record whose members are read as text.
struct Record<'r>(&'r Value);

impl Record<'_> {
    fn text(&self, name: &str) -> String {
        text(self.0.get(name))
    }

    /// Members that are there, joined.
    fn joined(&self, names: &[&str], separator: &str) -> String {
        let texts = names.iter().map(|name| self.text(name)).filter(|text| !text.is_empty());
        texts.collect::<Vec<_>>().join(separator)
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => shown(text),
        Some(Value::Array(items)) => items.iter().map(|item| text(Some(item))).collect::<Vec<_>>().join(", "),
        // A value that was too long for the record: its length and hash are there.
        Some(value @ (Value::Object(_) | Value::Bool(_) | Value::Number(_))) => shown(&value.to_string()),
    }
}

fn row(out: &mut dyn Write, name: &str, value: &str) -> io::Result<()> {
    if value.is_empty() { Ok(()) } else { writeln!(out, "   {name:<10} {value}") }
}

fn reason(record: &Record<'_>, meaning: Explain<'_>, out: &mut dyn Write) -> io::Result<()> {
    let code = record.text("reason");
    match meaning(&code) {
        Some((meaning, mend)) => {
            row(out, "reason", &format!("{code}: {meaning}"))?;
            row(out, "mend", &mend)
        }
        None => row(out, "reason", &code),
    }
}

fn decision(record: &Record<'_>, index: u64, meaning: Explain<'_>, out: &mut dyn Write) -> io::Result<()> {
    let caller = match record.joined(&["peer", "src"], "") {
        none if none.is_empty() => "unknown caller".to_owned(),
        _ if record.text("tls") == "none" => format!("nobody from {}", record.text("src")),
        _ if record.text("peer").is_empty() => record.text("src"),
        _ => record.text("peer"),
    };
    let request = record.joined(&["method", "path"], " ");
    let verdict = record.text("decision").to_uppercase();
    let observed = if record.text("enforcement") == "observe" {
        format!("   (observed only: policy said {})", record.text("would"))
    } else {
        String::new()
    };
    writeln!(out, " {verdict}  {caller} → {request}{observed}")?;
    row(out, "decision", &format!("{}   record {index}   {}", record.text("id"), record.text("ts")))?;
    row(out, "from", &record.joined(&["src", "listener"], "   listener "))?;
    row(out, "tls", &record.text("tls"))?;
    if let Some(token) = record.0.get("token") {
        let token = Record(token);
        row(out, "token", &token.joined(&["iss", "sub", "jti"], "   "))?;
    }
    row(out, "host", &record.text("host"))?;
    row(out, "route", &record.joined(&["route", "upstream"], " → "))?;
    reason(record, meaning, out)?;
    row(out, "message", &record.text("message"))?;
    row(out, "rules", &record.text("rules"))?;
    row(out, "policy", &record.joined(&["bundle_rev", "engine", "bundle"], "   "))?;
    row(out, "trace", &record.text("trace_id"))?;
    row(out, "answered", &record.text("status"))
}

fn outcome(record: &Record<'_>, meaning: Explain<'_>, out: &mut dyn Write) -> io::Result<()> {
    let micros = record.0.get("duration_ns").and_then(Value::as_u64).unwrap_or_default() / 1000;
    let (end, status) = (record.text("end"), record.text("status"));
    let attempts = record.text("attempts");
    let sent = format!(
        "{end} {status}   {micros} µs   attempts {attempts}   {} bytes out",
        record.text("response_bytes")
    );
    row(out, "outcome", &sent)?;
    row(out, "endpoint", &record.joined(&["endpoint", "server"], "   "))?;
    reason(record, meaning, out)
}

fn connection(record: &Record<'_>, index: u64, meaning: Explain<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, " CONNECTION  {}   record {index}   {}", record.text("src"), record.text("ts"))?;
    row(out, "peer", &record.text("peer"))?;
    row(out, "tls", &record.text("tls"))?;
    row(out, "sni", &record.text("sni"))?;
    reason(record, meaning, out)?;
    row(out, "detail", &record.text("detail"))?;
    row(out, "protocol", &record.text("protocol_errors"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(record: &str, expected: &[&str]) {
        let mut out = Vec::new();
        let meaning = |code: &str| {
            (code == "policy.denied").then(|| ("policy says no".to_owned(), "ask policy".to_owned()))
        };
        show(&[(7, record.as_bytes().to_vec())], &meaning, &mut out).unwrap();
        let shown = String::from_utf8(out).unwrap();
        for line in expected {
            assert!(shown.contains(line), "{line:?} is not in:\n{shown}");
        }
    }

    #[test]
    fn a_denied_decision_is_told_with_caller_reason_and_mend() {
        check(
            include_str!("../../../audit/tests/golden/decision.json"),
            &[
                " DENY  spiffe://example.org/web → POST /accounts/42/payments\n",
                "record 7",
                "policy.denied: policy says no\n",
                "mend       ask policy\n",
                "rules      bank.payments_only\n",
                "policy     bank@2   rego   sha256:",
                "token      https://idp.example.org   alice\n",
            ],
        );
    }

    #[test]
    fn a_caller_in_plain_text_is_told_as_one_that_has_proven_nothing() {
        let record = r#"{"kind":"decision","decision":"deny","src":"10.1.2.3:51234","listener":"app","tls":"none","method":"GET","path":"/x"}"#;
        check(record, &[" DENY  nobody from 10.1.2.3:51234 → GET /x\n", "   tls        none\n"]);
    }

    #[test]
    fn what_a_caller_wrote_commands_no_terminal() {
        let said = "a\\u001b]0;pwn\\u0007\\n   reason     none\\u202e";
        let record = format!(r#"{{"kind":"decision","decision":"deny","path":"/x","message":"{said}"}}"#);
        check(&record, &["message    a\\u{1b}]0;pwn\\u{7}\\n   reason     none\\u{202e}\n"]);
        check(r#"{"kind":"gap","reason":"\u202e\u009b2J"}"#, &["gap   {", r"\u{202e}\u{9b}2J"]);
    }

    #[test]
    fn outcomes_and_refused_connections_are_told() {
        check(
            include_str!("../../../audit/tests/golden/outcome.json"),
            &["done 200   1234 µs   attempts 1   3456 bytes out"],
        );
        check(
            include_str!("../../../audit/tests/golden/conn.json"),
            &[" CONNECTION  10.1.2.3:51234", "tls.certificate_expired"],
        );
    }

    #[test]
    fn every_published_code_has_a_meaning_and_a_mend() {
        assert!(published("policy.denied").is_some());
        assert!(published("no.such_code").is_none());
    }
}
