//! Makes `Refusal` out of `schema/reasons.json`, so that a code, its status and its texts stand in one place.
use std::{env, fmt::Write, fs, path::Path};

#[derive(serde::Deserialize)]
struct Reason {
    code: String,
    status: u16,
    grpc: u8,
    meaning: String,
    mend: String,
    /// Whose doing it is; without it, the caller's where the status says so. A refusal by the budget of refusals counts
    /// as ours, or the budget would never fill again under a steady stream.
    #[serde(default)]
    fault: Option<Fault>,
    /// The error type of RFC 9209 §2.3, where the status alone does not tell it.
    #[serde(default)]
    proxy_status: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fault {
    Caller,
    Ours,
}

impl Reason {
    fn is_callers(&self) -> bool {
        match self.fault {
            Some(Fault::Caller) => true,
            Some(Fault::Ours) => false,
            None => (400..500).contains(&self.status),
        }
    }

    fn error_type(&self) -> &str {
        match (&self.proxy_status, self.status) {
            (Some(error), _) => error,
            (None, 403) => "http_request_denied",
            (None, 400..500) => "http_request_error",
            (None, _) => "proxy_internal_error",
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let source = "../schema/reasons.json";
    println!("cargo:rerun-if-changed={source}");
    println!("cargo:rerun-if-changed=build.rs");
    let reasons: Vec<Reason> = serde_json::from_str(&fs::read_to_string(source)?)?;
    let target = Path::new(&env::var("OUT_DIR")?).join("refusal.rs");
    fs::write(target, generate(&reasons)?)?;
    Ok(())
}

fn generate(reasons: &[Reason]) -> Result<String, std::fmt::Error> {
    let mut out = String::from(
        "/// Why this proxy answered, or closed, by itself: one variant, one status, one code, one metric label.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]\n\
         pub enum Refusal {\n",
    );
    for reason in reasons {
        writeln!(out, "/// `{}`: {}.\n{},", reason.code, reason.meaning, variant(&reason.code))?;
    }
    writeln!(out, "}}\n\nimpl Refusal {{")?;
    writeln!(out, "/// Every refusal, in the order of the schema.")?;
    let all: Vec<_> = reasons.iter().map(|r| format!("Self::{}", variant(&r.code))).collect();
    writeln!(out, "pub const ALL: [Self; {}] = [{}];", all.len(), all.join(", "))?;
    let text = "&'static str";
    let code = Table { doc: "The stable dotted code.", name: "code", kind: text };
    table(&mut out, reasons, &code, |r| format!("{:?}", r.code))?;
    let status =
        Table { doc: "The HTTP status; 0 where no request is answered.", name: "status", kind: "u16" };
    table(&mut out, reasons, &status, |r| r.status.to_string())?;
    let grpc = Table { doc: "The gRPC status.", name: "grpc_status", kind: "u8" };
    table(&mut out, reasons, &grpc, |r| r.grpc.to_string())?;
    let doc = "The error type for `Proxy-Status` (RFC 9209 §2.3).";
    let proxy_status = Table { doc, name: "proxy_status", kind: text };
    table(&mut out, reasons, &proxy_status, |r| format!("{:?}", r.error_type()))?;
    let doc = "Whether it counts against the caller that it happened.";
    let is_callers = Table { doc, name: "is_callers", kind: "bool" };
    table(&mut out, reasons, &is_callers, |r| r.is_callers().to_string())?;
    let meaning = Table { doc: "What happened.", name: "meaning", kind: text };
    table(&mut out, reasons, &meaning, |r| format!("{:?}", r.meaning))?;
    let mend = Table { doc: "What to do about it.", name: "mend", kind: text };
    table(&mut out, reasons, &mend, |r| format!("{:?}", r.mend))?;
    writeln!(
        out,
        "/// The refusal that has this code.\n{LONG}\npub fn from_code(code: &str) -> Option<Self> {{"
    )?;
    writeln!(out, "match code {{")?;
    for reason in reasons {
        writeln!(out, "{:?} => Some(Self::{}),", reason.code, variant(&reason.code))?;
    }
    writeln!(out, "_ => None,\n}}\n}}\n}}")?;
    Ok(out)
}

/// What is generated is a table, as long as the schema is.
const LONG: &str = "#[expect(clippy::too_many_lines, reason = \"a table\")]";

/// One method that looks a member up.
struct Table {
    doc: &'static str,
    name: &'static str,
    kind: &'static str,
}

fn table(
    out: &mut String,
    reasons: &[Reason],
    Table { doc, name, kind }: &Table,
    cell: impl Fn(&Reason) -> String,
) -> std::fmt::Result {
    writeln!(out, "/// {doc}\n{LONG}\npub const fn {name}(self) -> {kind} {{\nmatch self {{")?;
    for reason in reasons {
        writeln!(out, "Self::{} => {},", variant(&reason.code), cell(reason))?;
    }
    writeln!(out, "}}\n}}")
}

/// `token.key_unknown` becomes `TokenKeyUnknown`.
fn variant(code: &str) -> String {
    code.split(['.', '_'])
        .map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
                .unwrap_or_default()
        })
        .collect()
}
