//! The engines. A new one: a folder here, a variant of [`crate::Engine`], and its cases.
pub(crate) mod cedar;
mod error;
mod extent;
mod multipart;
pub(crate) mod rego;
mod shape;
mod url;

use crate::verdict::{Obligations, PolicyId};
use crate::{Decision, Query};

pub use error::LoadError;

/// What an engine answers when it comes to an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) decision: Decision,
    pub(crate) reasons: Vec<PolicyId>,
    pub(crate) message: Option<String>,
    pub(crate) obligations: Obligations,
    pub(crate) metadata: Option<String>,
}

/// Why there is no answer: always a deny.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("the entry point is undefined for this input")]
    Undefined,
    #[error("the policy answered with {0}; expected a boolean, or an object with a boolean `allowed`")]
    ResultType(String),
    #[error("{0}")]
    Obligation(String),
    #[error("{0}")]
    Input(String),
    #[error("{0}")]
    Engine(String),
    #[error("{0}")]
    Budget(String),
    #[error("the decision took longer than the limit of the engine's safety timer")]
    Timeout,
}

impl NoAnswer {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Undefined => "policy.undefined",
            Self::ResultType(_) => "policy.result_type",
            Self::Obligation(_) => "policy.obligation",
            Self::Input(_) => "policy.input",
            Self::Engine(_) => "policy.error",
            Self::Budget(_) => "policy.budget",
            Self::Timeout => "policy.timeout",
        }
    }
}

/// One worker's mutable evaluator of one loaded policy set.
#[derive(Debug)]
pub(crate) enum Evaluator {
    Rego(Box<rego::RegoEvaluator>),
    Cedar(Box<cedar::CedarEvaluator>),
}

impl Evaluator {
    pub(crate) fn decide(&mut self, query: &Query<'_>) -> Result<Answer, NoAnswer> {
        match self {
            Self::Rego(evaluator) => evaluator.decide(query),
            Self::Cedar(evaluator) => evaluator.decide(query),
        }
    }
}
