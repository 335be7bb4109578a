//! The three questions.
use crate::ask::{Prover, environment, one};
use crate::bundle::{SourceError, content, named};
use crate::example::Example;
use crate::report::{Finding, Judged, Report};
use crate::strict::rewritten;
use cedar_policy::{Effect, Policy, PolicySet, RequestEnv, Schema, ValidationMode, Validator};
use cedar_policy_symcc::{
    CompiledPolicySet, SymEnv, disjoint_asserts, implies_asserts, never_errors_asserts,
};
use postern_policy::{CedarProgram, CedarSet};
use std::path::Path;
use std::str::FromStr as _;

/// What must hold of a policy set, itself written as policies: nothing that a `forbid` matches may be allowed, and
/// everything that a `permit` matches must be.
#[derive(Debug)]
pub struct Invariants(Vec<Invariant>);

#[derive(Debug)]
struct Invariant {
    name: String,
    effect: Effect,
    /// The requests that it is about: a permit, whatever its effect is.
    about: PolicySet,
}

impl Invariants {
    /// Reads invariants and checks them strictly against the schema of the policies in question.
    ///
    /// # Errors
    /// [`SourceError`]: they cannot be read, are no policies, or do not fit the schema.
    pub fn read(path: &Path, program: &CedarProgram) -> Result<Self, SourceError> {
        let wrong = |what: String| SourceError::Invariants { path: path.to_owned(), what };
        let text = String::from_utf8(content(path)?).map_err(|error| wrong(error.to_string()))?;
        Self::parse(&text, program.schema()).map_err(wrong)
    }

    /// The same from a text.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self, String> {
        let policies = PolicySet::from_str(text).map_err(|error| error.to_string())?;
        if policies.templates().next().is_some() || policies.is_empty() {
            return Err("invariants are policies without slots, and at least one".to_owned());
        }
        let verdict = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        if let Some(error) = verdict.validation_errors().next() {
            return Err(error.to_string());
        }
        let invariant = |(name, effect, policy): (String, Effect, Policy)| {
            let about = PolicySet::from_policies([rewritten(&policy, |own| own)?])
                .map_err(|error| error.to_string())?;
            Ok(Invariant { name, effect, about })
        };
        named(&policies).into_iter().map(invariant).collect::<Result<_, String>>().map(Self)
    }
}

/// A set as a question needs it: as it is written, and as it is evaluated.
struct Side<'a> {
    name: &'static str,
    policies: &'a PolicySet,
    real: CedarSet,
}

impl<'a> Side<'a> {
    fn new(name: &'static str, policies: &'a PolicySet) -> Result<Self, String> {
        Ok(Self { name, policies, real: CedarSet::new(policies)? })
    }
}

impl Prover {
    /// Whether the new policies allow a request that the old ones do not.
    pub fn widening(&self, old: &CedarProgram, new: &CedarProgram) -> Report {
        let schema = new.schema();
        let fits = Validator::new(schema.clone()).validate(old.policies(), ValidationMode::Strict);
        let mut notes = vec![
            "proved for every store of entities that fits the schema; a change of `entities.json` is not judged".to_owned(),
        ];
        if !fits.validation_passed() {
            notes
                .push("the old policies do not fit the new schema, under which both are compared".to_owned());
        }
        let sides = Side::new("old", old.policies())
            .and_then(|before| Side::new("new", new.policies()).map(|after| (before, after)));
        let judge = |of: &RequestEnv| {
            let (before, after) = sides.as_ref().map_err(Clone::clone)?;
            if !fits.validation_passed() {
                return Err("the old policies do not fit the new schema".to_owned());
            }
            let compiled = |side: &Side<'_>| self.compiled(side.policies, of, schema);
            self.difference(&compiled(after)?, &compiled(before)?, (after, before))
        };
        let judged = schema.request_envs().map(|of| judged(None, &of, judge(&of)));
        Report { question: "widening", notes, judged: sorted(judged) }
    }

    /// Whether a policy set keeps its invariants.
    pub fn invariants(&self, program: &CedarProgram, invariants: &Invariants) -> Report {
        let schema = program.schema();
        let side = Side::new("policies", program.policies());
        let judge = |invariant: &Invariant, of: &RequestEnv, all: &Result<CompiledPolicySet, String>| {
            let (side, all) = (side.as_ref().map_err(Clone::clone)?, all.as_ref().map_err(Clone::clone)?);
            let about = self.compiled(&invariant.about, of, schema)?;
            let subject = Side::new("invariant", &invariant.about)?;
            match invariant.effect {
                Effect::Permit => self.difference(&about, all, (&subject, side)),
                Effect::Forbid => self.overlap(&about, all, (&subject, side)),
            }
        };
        let mut findings = Vec::new();
        for of in schema.request_envs() {
            let all = self.compiled(program.policies(), &of, schema);
            let each = invariants.0.iter();
            findings.extend(each.map(|one| judged(Some(&one.name), &of, judge(one, &of, &all))));
        }
        Report { question: "invariants", notes: Vec::new(), judged: sorted(findings.into_iter()) }
    }

    /// Whether no policy can fail. One that does denies all requests for which it does.
    pub fn errors(&self, program: &CedarProgram) -> Report {
        let schema = program.schema();
        let side = Side::new("policies", program.policies());
        let judge = |policy: &Policy, of: &RequestEnv, symbols: &Result<SymEnv, String>| {
            let side = side.as_ref().map_err(Clone::clone)?;
            let compiled = one(policy, of, schema, symbols.as_ref().map_err(Clone::clone)?)?;
            let Some(found) = self.example(&never_errors_asserts(&compiled))? else {
                return Ok(Finding::Holds);
            };
            let mut example = Example::new(found);
            let answer = example.put_to(side.name, &side.real)?;
            Ok(shown(example, answer.erring.contains(&policy.id().to_string())))
        };
        let mut findings = Vec::new();
        for of in schema.request_envs() {
            let symbols = SymEnv::new(schema, &of).map_err(|error| error.to_string());
            let each = program.policies().policies();
            findings.extend(each.map(|policy| {
                let finding = judge(policy, &of, &symbols);
                judged(Some(policy.id().as_ref()), &of, finding)
            }));
        }
        Report { question: "errors", notes: Vec::new(), judged: sorted(findings.into_iter()) }
    }

    /// A request that the one set allows and the other does not.
    fn difference(
        &self,
        wide: &CompiledPolicySet,
        narrow: &CompiledPolicySet,
        (wide_side, narrow_side): (&Side<'_>, &Side<'_>),
    ) -> Result<Finding, String> {
        let Some(found) = self.example(&implies_asserts(wide, narrow))? else { return Ok(Finding::Holds) };
        let mut example = Example::new(found);
        let allowed = example.put_to(wide_side.name, &wide_side.real)?.allowed;
        let denied = !example.put_to(narrow_side.name, &narrow_side.real)?.allowed;
        Ok(shown(example, allowed && denied))
    }

    /// A request that both sets allow.
    fn overlap(
        &self,
        first: &CompiledPolicySet,
        second: &CompiledPolicySet,
        (first_side, second_side): (&Side<'_>, &Side<'_>),
    ) -> Result<Finding, String> {
        let Some(found) = self.example(&disjoint_asserts(first, second))? else { return Ok(Finding::Holds) };
        let mut example = Example::new(found);
        let matches = example.put_to(first_side.name, &first_side.real)?.allowed;
        let allowed = example.put_to(second_side.name, &second_side.real)?.allowed;
        Ok(shown(example, matches && allowed))
    }
}

/// An example that stands up to the real policies, or else one of which nothing follows.
fn shown(example: Example, stands: bool) -> Finding {
    if stands {
        return Finding::Counterexample(Box::new(example));
    }
    Finding::CannotSay(format!("the solver's example does not stand up to the policies:\n{example}"))
}

fn judged(subject: Option<&str>, of: &RequestEnv, finding: Result<Finding, String>) -> Judged {
    let finding = finding.unwrap_or_else(Finding::CannotSay);
    Judged { subject: subject.map(str::to_owned), environment: environment(of), finding }
}

/// In an order that does not change from run to run.
fn sorted(judged: impl Iterator<Item = Judged>) -> Vec<Judged> {
    let mut all: Vec<Judged> = judged.collect();
    let key = |one: &Judged| {
        let of = &one.environment;
        (one.subject.clone(), of.principal.clone(), of.resource.clone(), of.action.clone())
    };
    all.sort_by_key(key);
    all
}
