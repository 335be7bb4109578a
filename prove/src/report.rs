//! What was asked and what came of it, for people and for machines.
use crate::example::Example;
use serde_json::{Value, json};

/// What is decided of one question, or of all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Proved.
    Holds,
    /// The solver came to no end, or its example does not stand up to the real policies.
    CannotSay,
    /// There is an example against it.
    Counterexample,
}

impl Verdict {
    /// The exit code: 0, 1 for a counterexample, 2 where nothing can be said.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Holds => 0,
            Self::Counterexample => 1,
            Self::CannotSay => 2,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Counterexample => "counterexample",
            Self::CannotSay => "cannot_say",
        }
    }
}

/// What kind of request a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The type of the principal.
    pub principal: String,
    /// The action's id.
    pub action: String,
    /// The type of the resource.
    pub resource: String,
}

/// The answer to one question in one environment.
#[derive(Clone, Debug)]
pub enum Finding {
    /// It is proved.
    Holds,
    /// This request is against it.
    Counterexample(Box<Example>),
    /// Why nothing can be said.
    CannotSay(String),
}

impl Finding {
    fn verdict(&self) -> Verdict {
        match self {
            Self::Holds => Verdict::Holds,
            Self::Counterexample(_) => Verdict::Counterexample,
            Self::CannotSay(_) => Verdict::CannotSay,
        }
    }
}

/// One finding with its place.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The policy or the invariant in question; nothing where the question is about the whole.
    pub subject: Option<String>,
    /// The environment.
    pub environment: Environment,
    /// What came of it.
    pub finding: Finding,
}

/// All that was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was asked: `widening`, `invariants` or `errors`.
    pub question: &'static str,
    /// What the findings do not cover.
    pub notes: Vec<String>,
    /// The findings.
    pub judged: Vec<Judged>,
}

impl Report {
    /// The worst of all findings, of which a counterexample is worse than not knowing. Nothing asked is nothing proved.
    pub fn verdict(&self) -> Verdict {
        self.judged.iter().map(|judged| judged.finding.verdict()).max().unwrap_or(Verdict::CannotSay)
    }

    /// As JSON, version 1.
    pub fn to_json(&self) -> Value {
        let judged: Vec<Value> = self.judged.iter().map(Judged::to_json).collect();
        json!({
            "version": 1,
            "question": self.question,
            "result": self.verdict().as_str(),
            "notes": self.notes,
            "findings": judged,
        })
    }
}

impl Judged {
    fn to_json(&self) -> Value {
        let mut told = json!({
            "principal": self.environment.principal,
            "action": self.environment.action,
            "resource": self.environment.resource,
            "result": self.finding.verdict().as_str(),
        });
        let extra = match &self.finding {
            Finding::Holds => None,
            Finding::Counterexample(example) => Some(("example", example.to_json())),
            Finding::CannotSay(why) => Some(("why", json!(why))),
        };
        if let Some(members) = told.as_object_mut() {
            members.extend(extra.map(|(name, value)| (name.to_owned(), value)));
            members.extend(self.subject.as_ref().map(|subject| ("subject".to_owned(), json!(subject))));
        }
        told
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for judged in &self.judged {
            let Environment { principal, action, resource } = &judged.environment;
            let subject = judged.subject.as_ref().map(|subject| format!("{subject}: ")).unwrap_or_default();
            write!(f, "  {subject}{principal} {action} {resource}: ")?;
            match &judged.finding {
                Finding::Holds => writeln!(f, "holds")?,
                Finding::CannotSay(why) => writeln!(f, "cannot say: {why}")?,
                Finding::Counterexample(example) => write!(f, "counterexample\n{example}")?,
            }
        }
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        let result = match self.verdict() {
            Verdict::Holds => "holds",
            Verdict::Counterexample => "does not hold",
            Verdict::CannotSay => "cannot say",
        };
        writeln!(f, "{}: {result}", self.question)
    }
}
