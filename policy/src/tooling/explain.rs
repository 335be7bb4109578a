//! One decision, with its reasons: for whoever asks why.
use super::ask;
use super::cases::Case;
use super::cedar::{WatchError, Watched};
use super::files::is_test_file;
use super::shown::{shown, shown_json};
use super::suite::bundle_of;
use super::value;
use crate::engine::rego::examine::Examined;
use crate::verdict::truncated;
use crate::{BundleError, Decision, Entry, LoadError, Pdp, PdpLimits, Scratch, Verdict};
use postern_rego::{Attempt, Halt};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The most attempts that are told.
const ATTEMPTS_MAX: usize = 200;
/// The most characters of one value that are told.
const VALUE_CHARS_MAX: usize = 160;
/// The most steps of a query.
const STEPS_MAX: u64 = 10_000_000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The files are no bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The policies do not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The question cannot be asked.
    #[error("{0}")]
    Question(String),
    /// The evaluation ended.
    #[error("{0}")]
    Halted(String),
}

/// What is asked.
#[derive(Debug)]
pub enum Question<'q> {
    /// A Rego query.
    Query(&'q str),
    /// The document at `a/b/c`.
    Entry(&'q str),
    /// The Cedar policies.
    Cedar,
}

/// The question with what it is asked over.
#[derive(Debug)]
pub struct Inquiry<'q> {
    /// What the files are called in messages: a folder.
    pub root: &'q str,
    /// The files of the bundle.
    pub files: &'q BTreeMap<String, Vec<u8>>,
    /// What is asked.
    pub question: Question<'q>,
    /// The input as a document, for Rego.
    pub input: Option<&'q [u8]>,
    /// A request in the words of a case.
    pub request: Option<&'q Case>,
    /// The moment of the decision.
    pub now_ns: u64,
}

/// The answer.
#[derive(Debug)]
pub struct Answer {
    /// The value; `None` is undefined. Of a query with variables, an array of its solutions.
    pub value: Option<Value>,
    /// What was decided, if the question was one for a decision.
    pub verdict: Option<Verdict>,
    /// What `print` said.
    pub printed: String,
    /// The attempts to make definitions hold.
    pub attempts: Vec<Attempt>,
    /// The one of them that came nearest to another answer.
    pub nearest: Option<usize>,
}

impl Inquiry<'_> {
    /// Answers.
    ///
    /// # Errors
    /// [`EvalError`]: why there is no answer.
    pub fn answer(&self) -> Result<Answer, EvalError> {
        let bundle = bundle_of(self.files)?;
        let examined = || Examined::load(self.root, &bundle, &is_test_file);
        match self.question {
            Question::Cedar => self.seen(),
            Question::Entry(path) => {
                let examined = examined()?;
                let entry = examined.entry(path).ok_or_else(|| {
                    EvalError::Question(format!(
                        "no rule stands at `{path}`; write it as `package/path/rule`"
                    ))
                })?;
                self.watched(&examined, &entry, Some(path))
            }
            Question::Query(text) => {
                let mut examined = examined()?;
                match plain_path(text).and_then(|path| examined.entry(&path)) {
                    Some(entry) => self.watched(&examined, &entry, None),
                    None => self.queried(&mut examined, text),
                }
            }
        }
    }

    fn watched(
        &self,
        examined: &Examined,
        entry: &postern_rego::Entry,
        path: Option<&str>,
    ) -> Result<Answer, EvalError> {
        let input = self.input(examined, Some(entry))?;
        let watched = examined.watch(entry, input, self.now_ns, STEPS_MAX);
        let value = watched.value.map_err(|halt| halted(examined, &halt))?;
        let mut answer = Answer {
            value: value.as_ref().map(value::json),
            verdict: None,
            printed: watched.printed,
            nearest: nearest(&watched.attempts),
            attempts: watched.attempts,
        };
        // A request is what production is asked: what it would answer is told with the value.
        if let (Some(path), Some(_)) = (path, self.request) {
            answer.verdict = self.decided(&Entry::Rego { path: path.to_owned() }, None)?.verdict;
        }
        Ok(answer)
    }

    fn queried(&self, examined: &mut Examined, text: &str) -> Result<Answer, EvalError> {
        const VALUE: &str = "postern_value";
        let input = self.input(examined, None)?;
        let refused = |error: postern_rego::QueryError| EvalError::Question(truncated(error.to_string()));
        let rows = examined.query(text, input.clone(), self.now_ns, STEPS_MAX).map_err(refused)?;
        let value = if rows.iter().all(BTreeMap::is_empty) {
            // Without variables the value itself is asked for; what cannot be assigned is true or not.
            let assigned = format!("{VALUE} := {text}");
            let asked = Some(assigned).filter(|_| !text.contains([';', '\n']));
            let asked = asked.and_then(|text| examined.query(&text, input, self.now_ns, STEPS_MAX).ok());
            match asked.as_ref().and_then(|rows| rows.first()) {
                Some(row) if row.len() == 1 => row.get(VALUE).map(value::json),
                _ => (!rows.is_empty()).then_some(Value::Bool(true)),
            }
        } else {
            Some(rows.iter().map(solution).collect())
        };
        Ok(Answer { value, verdict: None, printed: String::new(), attempts: Vec::new(), nearest: None })
    }

    fn input(
        &self,
        examined: &Examined,
        entry: Option<&postern_rego::Entry>,
    ) -> Result<Option<postern_rego::Value>, EvalError> {
        if let (Some(case), Some(entry)) = (self.request, entry) {
            let built = ask::with_query(case, self.now_ns, |query| examined.input(entry, query));
            return built.map(Some).map_err(EvalError::Question);
        }
        let Some(bytes) = self.input else { return Ok(None) };
        let text = std::str::from_utf8(bytes)
            .map_err(|_| EvalError::Question("the input is not UTF-8 text".to_owned()))?;
        let input = postern_rego::Value::from_json(text)
            .map_err(|error| EvalError::Question(format!("the input is no JSON document: {error}")))?;
        Ok(Some(input))
    }

    /// What Cedar answers to the request, and what came of each policy.
    fn seen(&self) -> Result<Answer, EvalError> {
        let mut answer = self.decided(&Entry::Cedar, None)?;
        if let Some(case) = self.request {
            let watched = Watched::load(self.root, &super::files::without_tests(self.files));
            let mut watched = watched.map_err(|error| match error {
                WatchError::Bundle(error) => EvalError::from(error),
                WatchError::Load(error) => EvalError::from(error),
            })?;
            (answer.attempts, answer.nearest) = watched.see(case, self.now_ns);
        }
        Ok(answer)
    }

    /// What production would answer to the request.
    fn decided(&self, entry: &Entry, value: Option<Value>) -> Result<Answer, EvalError> {
        let Some(case) = self.request else {
            return Err(EvalError::Question(
                "Cedar decides on requests: give one by `--request FILE`, in the words of a case".to_owned(),
            ));
        };
        let bundle = bundle_of(&super::files::without_tests(self.files))?;
        let limits = PdpLimits { timeout: std::time::Duration::from_secs(20), ..PdpLimits::default() };
        let pdp = Pdp::load(&[(self.root, bundle)], entry, &limits)?;
        let verdict = ask::verdict(&pdp, &mut Scratch::default(), case, self.now_ns);
        Ok(Answer {
            value,
            verdict: Some(verdict),
            printed: String::new(),
            attempts: Vec::new(),
            nearest: None,
        })
    }
}

fn solution(row: &BTreeMap<std::sync::Arc<str>, postern_rego::Value>) -> Value {
    Value::Object(row.iter().map(|(name, value)| (name.to_string(), value::json(value))).collect())
}

fn halted(examined: &Examined, halt: &Halt) -> EvalError {
    EvalError::Halted(format!("{}: {}", examined.policy.place(halt.loc), halt.message))
}

/// `a/b` for `data.a.b`.
fn plain_path(query: &str) -> Option<String> {
    let rest = query.trim().strip_prefix("data.")?;
    let is_name = |part: &str| {
        !part.is_empty()
            && !part.starts_with(|char: char| char.is_ascii_digit())
            && part.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
    };
    rest.split('.').all(is_name).then(|| rest.replace('.', "/"))
}

impl Answer {
    /// Whether anything was answered: a value that is defined, or a decision.
    pub fn is_defined(&self) -> bool {
        self.value.is_some() || self.verdict.is_some()
    }

    /// In words; with the attempts if they are asked for.
    pub fn plain(&self, explain: bool) -> String {
        let mut out = String::new();
        if let Some(verdict) = &self.verdict {
            out.push_str(&format!("{}  {}\n", ask::word(verdict.decision).to_uppercase(), verdict.code));
            let reasons: Vec<&str> = verdict.reasons.iter().map(|id| id.as_str()).collect();
            if !reasons.is_empty() {
                out.push_str(&format!("policies  {}\n", shown(&reasons.join(", "))));
            }
            if let Some(message) = &verdict.message {
                out.push_str(&format!("reason    {}\n", shown(message)));
            }
            for error in &verdict.errors {
                out.push_str(&format!("error     {}\n", shown(error)));
            }
        }
        match &self.value {
            Some(value) => {
                out.push_str(&shown_json(&serde_json::to_string_pretty(value).unwrap_or_default()));
                out.push('\n');
            }
            None if self.verdict.is_none() => out.push_str("undefined\n"),
            None => {}
        }
        if !self.printed.is_empty() {
            out.push_str("\nprinted:\n");
            self.printed.lines().for_each(|line| out.push_str(&format!("  {}\n", shown(line))));
        }
        if explain {
            out.push('\n');
            tell(&self.attempts, self.nearest, &mut out);
        }
        out
    }

    /// As one JSON document.
    pub fn json(&self, explain: bool) -> Value {
        let mut told =
            json!({"defined": self.value.is_some() || self.verdict.is_some(), "value": self.value});
        if let (Some(verdict), Some(told)) = (&self.verdict, told.as_object_mut()) {
            let allowed = verdict.decision == Decision::Allow;
            let reasons: Vec<&str> = verdict.reasons.iter().map(|id| id.as_str()).collect();
            let decision = json!({
                "allowed": allowed,
                "code": verdict.code,
                "policies": reasons,
                "reason": verdict.message,
                "errors": verdict.errors,
            });
            told.insert("decision".to_owned(), decision);
        }
        if let Some(told) = told.as_object_mut() {
            if !self.printed.is_empty() {
                told.insert("printed".to_owned(), self.printed.as_str().into());
            }
            if explain {
                told.insert(
                    "attempts".to_owned(),
                    self.attempts.iter().take(ATTEMPTS_MAX).map(attempt_json).collect(),
                );
            }
        }
        told
    }
}

fn attempt_json(attempt: &Attempt) -> Value {
    let unmet = attempt.unmet.as_ref().map(|unmet| {
        let values: Vec<Value> = unmet
            .values
            .iter()
            .map(|(name, value)| json!({"term": name, "defined": value.is_some(), "value": value.as_ref().map(value::json)}))
            .collect();
        json!({"place": unmet.place, "text": unmet.text, "values": values})
    });
    json!({
        "rule": attempt.rule,
        "place": attempt.place,
        "depth": attempt.depth,
        "held": attempt.held,
        "default": attempt.is_default,
        "conditions": attempt.conditions,
        "met": attempt.met,
        "unmet": unmet,
    })
}

/// The attempts in order, each within the one that it was made for, and which came nearest.
fn tell(attempts: &[Attempt], nearest: Option<usize>, out: &mut String) {
    for attempt in attempts.iter().take(ATTEMPTS_MAX) {
        let indent = "  ".repeat(attempt.depth.min(20));
        let outcome = match (attempt.held, &attempt.unmet) {
            (true, _) if attempt.is_default => "its default".to_owned(),
            (true, _) => "holds".to_owned(),
            (false, Some(_)) => {
                format!("does not hold: {} of {} conditions met", attempt.met, attempt.conditions)
            }
            (false, None) => "does not apply to its arguments".to_owned(),
        };
        out.push_str(&format!("{indent}{}  {}  {outcome}\n", attempt.rule, attempt.place));
        if let Some(unmet) = &attempt.unmet {
            out.push_str(&format!("{indent}    {}  {}\n", unmet.place, shown(&unmet.text)));
            for (name, value) in &unmet.values {
                out.push_str(&format!(
                    "{indent}      {} is {}\n",
                    shown(name),
                    shown(&short(value.as_ref()))
                ));
            }
        }
    }
    if attempts.len() > ATTEMPTS_MAX {
        out.push_str(&format!("… and {} more\n", attempts.len().saturating_sub(ATTEMPTS_MAX)));
    }
    if let Some(nearest) = nearest.and_then(|nearest| attempts.get(nearest))
        && let Some(unmet) = &nearest.unmet
    {
        out.push_str(&format!(
            "\nnearest: {} at {} but for {}  {}\n",
            nearest.rule,
            nearest.place,
            unmet.place,
            shown(&unmet.text)
        ));
    }
}

/// The attempt that came nearest: the one of which, with all that it was made for, the most conditions were met. What
/// failed for the sake of another attempt is told by that one.
pub(super) fn nearest(attempts: &[Attempt]) -> Option<usize> {
    let mut best: Option<(usize, usize, usize)> = None;
    let mut around: Vec<usize> = Vec::new();
    for (index, attempt) in attempts.iter().enumerate() {
        around.truncate(attempt.depth);
        let met = around.last().copied().unwrap_or(0).saturating_add(attempt.met);
        around.resize(attempt.depth.saturating_add(1), met);
        let after = attempts.iter().skip(index.saturating_add(1));
        let within = after.take_while(|other| other.depth > attempt.depth);
        let told_within = within.filter(|other| !other.held).any(|other| other.unmet.is_some());
        if attempt.held || attempt.unmet.is_none() || told_within {
            continue;
        }
        let left = attempt.conditions.saturating_sub(attempt.met);
        if best.is_none_or(|(most, fewest, _)| met > most || (met == most && left < fewest)) {
            best = Some((met, left, index));
        }
    }
    best.map(|(_, _, index)| index)
}

fn short(value: Option<&postern_rego::Value>) -> String {
    let Some(value) = value else { return "undefined".to_owned() };
    let text = value.to_string();
    let mut short: String = text.chars().take(VALUE_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
