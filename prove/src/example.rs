//! A request that shows something, and what real policies answer to it.
use cedar_policy::{Entities, Request};
use cedar_policy_symcc::Env;
use postern_policy::{CedarAnswer, CedarSet};
use serde_json::{Value, json};

/// A request with the entities that it is about.
#[derive(Clone, Debug)]
pub struct Example {
    /// The request.
    pub request: Request,
    /// The entities.
    pub entities: Entities,
    /// What policy sets answer, each with its name: the real ones, evaluated.
    pub answers: Vec<(String, Answer)>,
}

/// What a policy set answers to an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the request is let through: permitted, and no policy fails.
    pub allowed: bool,
    /// The policies that determine it.
    pub policies: Vec<String>,
    /// The policies that cannot be evaluated, each of which denies.
    pub erring: Vec<String>,
}

impl From<CedarAnswer> for Answer {
    fn from(answer: CedarAnswer) -> Self {
        let allowed = answer.allowed && answer.erring.is_empty();
        Self { allowed, policies: answer.determining, erring: answer.erring }
    }
}

impl Example {
    pub(crate) fn new(env: Env) -> Self {
        Self { request: env.request, entities: env.entities, answers: Vec::new() }
    }

    /// Puts it to a policy set.
    pub(crate) fn put_to(&mut self, name: &str, set: &CedarSet) -> Result<Answer, String> {
        let answer = Answer::from(set.answer(&self.request, &self.entities)?);
        self.answers.push((name.to_owned(), answer.clone()));
        Ok(answer)
    }

    /// As JSON: entities as in `entities.json`.
    pub fn to_json(&self) -> Value {
        let answers: serde_json::Map<String, Value> = self
            .answers
            .iter()
            .map(|(name, answer)| {
                let decision = if answer.allowed { "allow" } else { "deny" };
                let told =
                    json!({"decision": decision, "policies": answer.policies, "errors": answer.erring});
                (name.clone(), told)
            })
            .collect();
        let context = self.request.context().and_then(|context| context.to_json_value().ok());
        json!({
            "principal": self.request.principal().map(ToString::to_string),
            "action": self.request.action().map(ToString::to_string),
            "resource": self.request.resource().map(ToString::to_string),
            "context": context,
            "entities": self.entities.to_json_value().ok(),
            "answers": answers,
        })
    }
}

impl std::fmt::Display for Example {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |uid: Option<&cedar_policy::EntityUid>| uid.map(ToString::to_string).unwrap_or_default();
        writeln!(f, "      principal  {}", shown(self.request.principal()))?;
        writeln!(f, "      action     {}", shown(self.request.action()))?;
        writeln!(f, "      resource   {}", shown(self.request.resource()))?;
        let json = self.to_json();
        writeln!(f, "      context    {}", json.get("context").unwrap_or(&Value::Null))?;
        for entity in json.get("entities").and_then(Value::as_array).into_iter().flatten() {
            writeln!(f, "      entity     {entity}")?;
        }
        for (name, answer) in &self.answers {
            let decision = if answer.allowed { "allow" } else { "deny" };
            write!(f, "      {name:<10} {decision}")?;
            if !answer.policies.is_empty() {
                write!(f, " by {}", answer.policies.join(", "))?;
            }
            if !answer.erring.is_empty() {
                write!(f, ", cannot evaluate {}", answer.erring.join(", "))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
