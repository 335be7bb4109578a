//! A bundle's Cedar, watched while it decides: for explanations and coverage. It decides nothing that is enforced.
use super::clauses::{self, Conjunct};
use super::load::{self, CedarProgram};
use super::scope::Part;
use super::slice::holds;
use super::view::{self, View};
use super::{CedarEvaluator, CedarPolicies, Shared};
use crate::engine::NoAnswer;
use crate::pdp::PdpLimits;
use crate::{LoadError, PolicyBundle, Query};
use cedar_policy_core::ast::{Effect, Expr, Literal, Request, SlotEnv, Value, ValueKind};
use cedar_policy_core::entities::Entities;
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::parser::Loc;
use postern_rego::Span;
use serde_json::Value as Json;
use std::sync::Arc;

/// The most terms of one condition that are told.
const TERMS_MAX: usize = 8;

/// A set with what is known of where its policies stand.
#[derive(Debug)]
pub(crate) struct Watcher {
    evaluator: CedarEvaluator,
    /// In the order of the policies' numbers.
    pub(crate) policies: Vec<Written>,
}

/// A policy as it is written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) id: String,
    pub(crate) is_permit: bool,
    pub(crate) file: String,
    /// From its first annotation to its end.
    pub(crate) span: Span,
    /// What is true or false in its condition by itself.
    pub(crate) leaves: Vec<Leaf>,
    /// Principal, action, resource.
    scope: [String; 3],
}

/// A part of a condition.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) span: Span,
    pub(crate) text: String,
}

/// What came of one policy.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The policy's number.
    pub(crate) number: usize,
    pub(crate) outcome: Outcome,
    /// How many conditions it has, its scope being one.
    pub(crate) conditions: usize,
    /// How many of them held before the first that did not.
    pub(crate) met: usize,
    /// The number of each leaf that was evaluated, and whether it held, if that could be told.
    pub(crate) leaves: Vec<(usize, Option<bool>)>,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Held,
    /// The parts of its scope that do not hold, each with the entity of the request.
    OutOfScope(Vec<(String, &'static str, String)>),
    /// The first condition that does not hold, or whose evaluation ended in an error.
    Unmet(Unmet),
}

#[derive(Debug)]
pub(crate) struct Unmet {
    pub(crate) span: Span,
    pub(crate) text: String,
    /// What was known of the terms; `None` is undefined.
    pub(crate) values: Vec<(String, Option<Json>)>,
    pub(crate) error: Option<String>,
}

impl Watcher {
    /// Loads a bundle whose files are called `name/file`.
    pub(crate) fn load(name: &str, bundle: &PolicyBundle, limits: &PdpLimits) -> Result<Self, LoadError> {
        let bundles = [(name, bundle)];
        let program = CedarProgram::load(&bundles)?;
        let mut policies: Vec<Written> =
            program.policies().policies().map(|p| written(p, &program)).collect();
        policies.sort_by(|a, b| a.id.cmp(&b.id));
        let shared = load::shared(program, &bundles, limits)?;
        let evaluator = CedarPolicies { shared: Arc::new(shared) }.evaluator();
        Ok(Self { evaluator, policies })
    }

    /// What comes of each policy for a query.
    pub(crate) fn watch(&mut self, query: &Query<'_>) -> Result<Vec<Seen>, NoAnswer> {
        let policies = &self.policies;
        self.evaluator.asked(query, |shared, view, request, entities| {
            let caller = query.source.spiffe_id.unwrap_or("");
            let (asked, own) = view::own(caller, query, shared)?;
            let uids = [&asked.caller, &asked.action, &asked.route];
            let parts = uids.map(|uid| Part::of(uid, &own));
            let asking = Asking::new(shared, view, request, entities);
            Ok(policies
                .iter()
                .enumerate()
                .map(|(number, policy)| asking.seen(number, policy, parts))
                .collect())
        })?
    }
}

fn written(policy: &cedar_policy::Policy, program: &CedarProgram) -> Written {
    let id = policy.id().to_string();
    let ast: &cedar_policy_core::ast::Policy = policy.as_ref();
    let mut leaves = Vec::new();
    ast.non_scope_constraints().into_iter().for_each(|condition| clauses::leaves(condition, &mut leaves));
    let scope = [
        ast.principal_constraint().to_string(),
        ast.action_constraint().to_string(),
        ast.resource_constraint().to_string(),
    ];
    let leaf = |expr: &Expr| Leaf { span: span(expr.source_loc()), text: text(expr) };
    Written {
        is_permit: ast.effect() == Effect::Permit,
        file: program.file(&id).to_owned(),
        span: span(ast.loc()),
        leaves: leaves.into_iter().map(leaf).collect(),
        scope,
        id,
    }
}

fn span(loc: Option<&Loc>) -> Span {
    let start = postern_rego::Position { row: 1, col: 1 };
    loc.map_or(Span { start, end: start }, clauses::span)
}

fn text(expr: &Expr) -> String {
    expr.source_loc().map_or_else(|| expr.to_string(), clauses::written)
}

/// One request, asked of one policy after the other.
struct Asking<'a> {
    shared: &'a Shared,
    view: &'a View,
    evaluator: Evaluator<'a>,
    slots: SlotEnv,
}

impl<'a> Asking<'a> {
    fn new(shared: &'a Shared, view: &'a View, request: Request, entities: &'a Entities) -> Self {
        let evaluator = Evaluator::new(request, entities, Extensions::all_available());
        // Slots stand in scopes alone.
        Self { shared, view, evaluator, slots: SlotEnv::new() }
    }

    fn holds(&self, expr: &Expr) -> Result<bool, String> {
        holds(&self.evaluator, expr, &self.slots)
    }

    fn seen(&self, number: usize, policy: &Written, parts: [Part<'_>; 3]) -> Seen {
        let mut conjuncts = Vec::new();
        let condition = self.shared.slices.condition(number);
        condition.into_iter().for_each(|condition| clauses::conjuncts(condition, &mut conjuncts));
        let conditions = conjuncts.len().saturating_add(1);
        if self.view.slice.binary_search(&number).is_err() {
            let outcome = Outcome::OutOfScope(self.missed(number, policy, parts));
            return Seen { number, outcome, conditions, met: 0, leaves: Vec::new() };
        }
        let leaves = condition.map(|condition| self.leaves(condition)).unwrap_or_default();
        let mut met = 1_usize;
        for conjunct in conjuncts {
            let outcome = self.holds(conjunct.expr);
            if outcome == Ok(!conjunct.is_unless) {
                met = met.saturating_add(1);
                continue;
            }
            let outcome = Outcome::Unmet(self.unmet(&conjunct, outcome.err()));
            return Seen { number, outcome, conditions, met, leaves };
        }
        Seen { number, outcome: Outcome::Held, conditions, met, leaves }
    }

    /// The parts of a scope that do not hold.
    fn missed(
        &self,
        number: usize,
        policy: &Written,
        parts: [Part<'_>; 3],
    ) -> Vec<(String, &'static str, String)> {
        let hold = self.shared.slices.scope_holds(number, parts).unwrap_or_default();
        let names = ["principal", "action", "resource"];
        let all = policy.scope.iter().zip(names).zip(hold).zip(parts);
        let missed = all.filter(|((_, holds), _)| !holds);
        missed.map(|(((text, name), _), part)| (text.clone(), name, part.uid.to_string())).collect()
    }

    fn leaves(&self, condition: &Expr) -> Vec<(usize, Option<bool>)> {
        let mut all = Vec::new();
        clauses::leaves(condition, &mut all);
        let mut seen = Vec::new();
        let number = |leaf: &Expr| all.iter().position(|other| std::ptr::eq(*other, leaf));
        // An error is told by the policy that it is of.
        drop(clauses::walk(condition, &|leaf| self.holds(leaf), &mut |leaf, outcome| {
            seen.extend(number(leaf).map(|number| (number, outcome.as_ref().ok().copied())));
        }));
        seen
    }

    fn unmet(&self, conjunct: &Conjunct<'_>, error: Option<String>) -> Unmet {
        let mut terms = Vec::new();
        clauses::terms(conjunct.expr, &mut terms);
        let value = |term: &&Expr| {
            let value = self.evaluator.interpret(term, &self.slots).ok();
            (text(term), value.as_ref().map(json))
        };
        let values = terms.iter().take(TERMS_MAX).map(value).collect();
        Unmet { span: span(conjunct.expr.source_loc()), text: conjunct.text(), values, error }
    }
}

/// A value as people read it: entities and what extensions make by their text.
fn json(value: &Value) -> Json {
    match value.value_kind() {
        ValueKind::Lit(Literal::Bool(held)) => (*held).into(),
        ValueKind::Lit(Literal::Long(number)) => (*number).into(),
        ValueKind::Lit(Literal::String(text)) => text.as_str().into(),
        ValueKind::Lit(Literal::EntityUID(uid)) => uid.to_string().into(),
        ValueKind::Set(items) => items.iter().map(json).collect(),
        ValueKind::Record(members) => {
            Json::Object(members.iter().map(|(name, value)| (name.to_string(), json(value))).collect())
        }
        ValueKind::ExtensionValue(_) => value.to_string().into(),
    }
}
