//! Tables of cases: who asks what, and what the answer must be. The same for Rego and Cedar.
use crate::Tls;
use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The name of the file beside a bundle's folder.
pub const CASES_FILE: &str = "cases.yaml";

/// The most bytes of a table.
pub const TABLE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The moment of decisions for which a table names none: 2023-11-14, 22:13:20 UTC.
pub const NOW_NS: u64 = 1_700_000_000_000_000_000;

/// Why a table cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{file}`: {what}")]
pub struct CasesError {
    /// The file.
    pub file: String,
    /// What is wrong, with its line where there is one.
    pub what: String,
}

/// A table of cases. Keys that it does not know are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Who decides.
    pub decision: Decides,
    /// Another table whose cases count here too, relative to this one. If that one says who decides, its `reason`,
    /// `policies` and `code` do not: another language names those in its own way. A table that does not say it is one
    /// for several languages, and all of it counts.
    pub cases_from: Option<String>,
    /// The moment of the decisions, in nanoseconds since the Unix epoch.
    pub now_ns: Option<u64>,
    /// The cases.
    pub cases: Vec<Case>,
}

/// A table as another one takes it over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Taken {
    decision: Option<Decides>,
    now_ns: Option<u64>,
    cases: Vec<Case>,
}

/// Who decides.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Decides {
    /// A Rego rule: `postern/authz/decision`.
    Rego(String),
    /// The Cedar policies.
    Cedar(NoOptions),
}

/// `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

impl Decides {
    /// The entry point.
    pub fn entry(&self) -> crate::Entry {
        match self {
            Self::Rego(path) => crate::Entry::Rego { path: path.clone() },
            Self::Cedar(NoOptions {}) => crate::Entry::Cedar,
        }
    }

    /// The language.
    pub fn language(&self) -> Language {
        match self {
            Self::Rego(_) => Language::Rego,
            Self::Cedar(_) => Language::Cedar,
        }
    }
}

/// A language of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// Rego.
    Rego,
    /// Cedar.
    Cedar,
}

/// What is expected in one language alone, where a table is for several.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wording {
    /// As in [`Case`].
    pub code: Option<String>,
    /// As in [`Case`].
    pub reason: Option<String>,
    /// As in [`Case`].
    pub policies: Option<Vec<String>>,
    /// As in [`Case`].
    pub sets: Option<BTreeMap<String, String>>,
}

/// One case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: Spanned<String>,
    /// The caller's SPIFFE ID; nobody if left out.
    pub who: Option<String>,
    /// That the caller comes in plain text, where that is taken yet.
    pub tls: Option<PlainText>,
    /// `METHOD /path?query`, or `connect` for a raw stream.
    #[serde(rename = "do")]
    pub does: String,
    /// Header fields.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, as text.
    pub body: Option<String>,
    /// The host that is asked for.
    pub host: Option<String>,
    /// The address and port of the caller's end of the connection; some port of this machine if left out.
    pub source: Option<SocketAddr>,
    /// The address and port that were dialled; port 8443 of this machine if left out.
    pub destination: Option<SocketAddr>,
    /// The name of the route.
    pub route: Option<String>,
    /// The name of the service.
    pub service: Option<String>,
    /// The claims of a verified token. `iss` is who issued it.
    pub claims: Option<Map<String, Value>>,
    /// The trust domain that issued the token, for a JWT-SVID.
    pub token_trust_domain: Option<String>,
    /// The claims of a verified transaction token.
    pub transaction: Option<Map<String, Value>>,
    /// The moment of the decision, in nanoseconds since the Unix epoch.
    pub now_ns: Option<u64>,
    /// What the decision must be.
    pub expect: Expect,
    /// The code that it must have, where that is not `policy.allowed` or `policy.denied`.
    pub code: Option<String>,
    /// The message that it must have.
    pub reason: Option<String>,
    /// The policies that must have determined it, in order.
    pub policies: Option<Vec<String>>,
    /// The header fields that the decision must set on the request (allow) or on the answer (deny).
    pub sets: Option<BTreeMap<String, String>>,
    /// The language that the case is for, if not for all, with the reason.
    pub only: Option<BTreeMap<Language, String>>,
    /// What is expected in Rego alone.
    pub rego: Option<Wording>,
    /// What is expected in Cedar alone.
    pub cedar: Option<Wording>,
    /// The table that the case stands in, if it is another.
    #[serde(skip)]
    pub from: Option<String>,
}

/// A request in the words of a case, without what is expected of the decision.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    who: Option<String>,
    tls: Option<PlainText>,
    #[serde(rename = "do")]
    does: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    host: Option<String>,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    route: Option<String>,
    service: Option<String>,
    claims: Option<Map<String, Value>>,
    token_trust_domain: Option<String>,
    transaction: Option<Map<String, Value>>,
    now_ns: Option<u64>,
}

impl Request {
    /// Reads a request; JSON is YAML.
    ///
    /// # Errors
    /// [`CasesError`]: what is wrong, with its place.
    pub fn read(file: &str, content: &[u8]) -> Result<Case, CasesError> {
        let request: Self = read(file, content)?;
        let unknown = serde_saphyr::Location::UNKNOWN;
        let case = Case {
            name: Spanned { value: "request".to_owned(), referenced: unknown, defined: unknown },
            who: request.who,
            tls: request.tls,
            does: request.does,
            headers: request.headers,
            body: request.body,
            host: request.host,
            source: request.source,
            destination: request.destination,
            route: request.route,
            service: request.service,
            claims: request.claims,
            token_trust_domain: request.token_trust_domain,
            transaction: request.transaction,
            now_ns: request.now_ns,
            expect: Expect::Deny,
            code: None,
            reason: None,
            policies: None,
            sets: None,
            only: None,
            rego: None,
            cedar: None,
            from: None,
        };
        case.refuse_what_cannot_be(file)?;
        Ok(case)
    }
}

/// What can be said of a caller's TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlainText {
    /// It speaks none.
    None,
}

impl PlainText {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::None => Tls::NONE,
        }
    }
}

/// What a decision must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// Let through.
    Allow,
    /// Refused.
    Deny,
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    /// [`CasesError`]: what is wrong, with its place.
    pub fn read(file: &str, content: &[u8]) -> Result<Self, CasesError> {
        read(file, content)
    }

    /// All cases, those of the other table first. `read` reads a file by its name relative to this table.
    ///
    /// # Errors
    /// [`CasesError`] of the other table.
    pub fn all_cases(
        &self,
        read: &dyn Fn(&str) -> Result<Vec<u8>, CasesError>,
    ) -> Result<Vec<Case>, CasesError> {
        let language = self.decision.language();
        let mut cases = Vec::new();
        if let Some(other) = &self.cases_from {
            let taken: Taken = self::read(other, &read(other)?)?;
            let foreign = taken.decision.is_some();
            for case in taken.cases {
                case.refuse_what_cannot_be(other)?;
                let from = Some(other.clone());
                let now_ns = case.now_ns.or(taken.now_ns);
                let case = Case { from, now_ns, ..case };
                cases.push(if foreign {
                    Case { reason: None, policies: None, code: None, ..case }
                } else {
                    case
                });
            }
        }
        for case in &self.cases {
            case.refuse_what_cannot_be(CASES_FILE)?;
            cases.push(case.clone());
        }
        Ok(cases.into_iter().filter(|case| case.is_for(language)).map(|case| case.worded(language)).collect())
    }
}

impl Case {
    /// Whether it is one for a language.
    fn is_for(&self, language: Language) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains_key(&language))
    }

    /// With what is expected in one language.
    fn worded(mut self, language: Language) -> Self {
        let wording = match language {
            Language::Rego => self.rego.take(),
            Language::Cedar => self.cedar.take(),
        };
        let Wording { code, reason, policies, sets } = wording.unwrap_or_default();
        self.code = code.or(self.code);
        self.reason = reason.or(self.reason);
        self.policies = policies.or(self.policies);
        self.sets = sets.or(self.sets);
        self
    }

    /// A case that shows what never happens shows nothing.
    fn refuse_what_cannot_be(&self, file: &str) -> Result<(), CasesError> {
        let refuse = |what| Err(CasesError { file: file.to_owned(), what });
        if let Some(key) = self.proof_in_plain_text() {
            let name = &self.name.value;
            return refuse(format!(
                "case `{name}`: `tls: none` is a caller that has proven nothing: leave out `{key}`"
            ));
        }
        if self.leaves_out_silently() {
            let name = &self.name.value;
            return refuse(format!(
                "case `{name}`: `only` names one language and says why: `only: {{ rego: because … }}`"
            ));
        }
        Ok(())
    }

    /// A case that one language leaves out says why: nothing is missing silently.
    fn leaves_out_silently(&self) -> bool {
        self.only
            .as_ref()
            .is_some_and(|only| only.len() != 1 || only.values().any(|why| why.trim().is_empty()))
    }

    /// What it says to be proven of a caller in plain text, who proves nothing and whose tokens are not taken.
    fn proof_in_plain_text(&self) -> Option<&'static str> {
        let proofs = [
            ("who", self.who.is_some()),
            ("claims", self.claims.is_some()),
            ("token_trust_domain", self.token_trust_domain.is_some()),
            ("transaction", self.transaction.is_some()),
        ];
        let said = proofs.into_iter().find(|(_, is_said)| *is_said)?;
        self.tls.is_some().then_some(said.0)
    }
}

fn read<T: serde::de::DeserializeOwned>(file: &str, content: &[u8]) -> Result<T, CasesError> {
    let refuse = |what: String| CasesError { file: file.to_owned(), what };
    if content.len() > TABLE_BYTES_MAX {
        return Err(refuse(format!("holds more than {TABLE_BYTES_MAX} bytes")));
    }
    let text = std::str::from_utf8(content).map_err(|_| refuse("is not UTF-8 text".to_owned()))?;
    serde_saphyr::from_str(text).map_err(|error| refuse(one_line(&error.to_string())))
}

/// The reader shows the lines around the place; what it says first is enough.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.take(1).collect::<Vec<_>>().join(" ")
}
