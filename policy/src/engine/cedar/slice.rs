//! The policies that a request is about, found by index, and the answer that Cedar's linear walk over all policies
//! would give.
//!
//! Exact, because a scope that does not hold makes a policy false before its condition is looked at, and a scope
//! cannot err: what the slice leaves out neither determines the answer nor errs. Each policy stands under the one part
//! of its scope that it shares with the fewest others.
use super::bounds;
use super::scope::{Part, Scopes};
use cedar_policy_core::ast::{
    Effect, EntityType, EntityUID, Expr, Literal, PolicySet, Request, SlotEnv, ValueKind,
};
use cedar_policy_core::entities::Entities;
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// A policy taken apart into what is indexed and what is evaluated.
#[derive(Debug)]
struct Sliced {
    id: String,
    effect: Effect,
    scopes: Scopes,
    /// Absent where the scope says everything.
    condition: Option<Arc<Expr>>,
    slots: SlotEnv,
    /// How many parts the condition has, at most, for one evaluation.
    weight: usize,
}

/// Where policies stand: lists of their numbers.
#[derive(Debug, Default)]
struct Index {
    anywhere: Vec<usize>,
    by_principal: HashMap<EntityUID, Vec<usize>>,
    by_principal_type: HashMap<EntityType, Vec<usize>>,
    by_action: HashMap<EntityUID, Vec<usize>>,
    by_resource: HashMap<EntityUID, Vec<usize>>,
    by_resource_type: HashMap<EntityType, Vec<usize>>,
}

/// A policy set with its index. Policies are numbered in the order of their ids.
#[derive(Debug)]
pub(super) struct Slices {
    policies: Vec<Sliced>,
    index: Index,
}

/// What evaluating a slice came to, in numbers of policies, ascending.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) allowed: bool,
    pub(super) determining: Vec<usize>,
    /// What could not be evaluated; by Cedar's own rules it is as if it were not there.
    pub(super) errors: Vec<(usize, String)>,
}

impl Slices {
    /// # Errors
    /// A template that nothing links stands among the policies.
    pub(super) fn new(set: &PolicySet) -> Result<Self, String> {
        let mut policies = Vec::new();
        for policy in set.policies() {
            let id = policy.id().to_string();
            let scopes = Scopes::of(policy).ok_or_else(|| format!("policy `{id}` has an open slot"))?;
            let condition = policy.non_scope_constraints_arc().cloned();
            let weight = condition.as_deref().map_or(1, bounds::weight);
            let slots = policy.env().clone();
            policies.push(Sliced { id, effect: policy.effect(), scopes, condition, slots, weight });
        }
        policies.sort_by(|a, b| a.id.cmp(&b.id));
        let index = Index::of(&policies);
        Ok(Self { policies, index })
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.policies.iter().map(|policy| policy.id.as_str())
    }

    /// The condition of a policy beyond its scope.
    pub(super) fn condition(&self, number: usize) -> Option<&Expr> {
        self.policies.get(number)?.condition.as_deref()
    }

    /// What of a policy's scope holds: principal, action, resource.
    pub(super) fn scope_holds(&self, number: usize, parts: [Part<'_>; 3]) -> Option<[bool; 3]> {
        Some(self.policies.get(number)?.scopes.each_holds(parts))
    }

    /// What evaluating a slice costs at most, in parts of expressions.
    pub(super) fn weight(&self, slice: &[usize]) -> usize {
        let of = |number: &usize| self.policies.get(*number).map_or(0, |policy| policy.weight);
        slice.iter().map(of).fold(0, usize::saturating_add)
    }

    pub(super) fn conditions(&self) -> impl Iterator<Item = &Expr> {
        self.policies.iter().filter_map(|policy| policy.condition.as_deref())
    }

    /// The policies whose scope holds: those of which the answer depends on the context.
    pub(super) fn slice(
        &self,
        principal: &EntityUID,
        action: &EntityUID,
        resource: &EntityUID,
        entities: &Entities,
    ) -> Vec<usize> {
        let [principal, action, resource] = [principal, action, resource].map(|uid| Part::of(uid, entities));
        let mut found = self.index.candidates(principal, action, resource);
        found.retain(|number| {
            self.policies.get(*number).is_some_and(|policy| policy.scopes.hold(principal, action, resource))
        });
        // One that names several actions may have been found under two of them.
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Evaluates the conditions of a slice.
    pub(super) fn judge(&self, slice: &[usize], request: Request, entities: &Entities) -> Judged {
        let evaluator = Evaluator::new(request, entities, Extensions::all_available());
        let (mut permits, mut forbids, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for number in slice {
            let Some(policy) = self.policies.get(*number) else { continue };
            match policy.satisfied(&evaluator) {
                Ok(true) => match policy.effect {
                    Effect::Permit => permits.push(*number),
                    Effect::Forbid => forbids.push(*number),
                },
                Ok(false) => {}
                Err(error) => errors.push((*number, error)),
            }
        }
        let allowed = forbids.is_empty() && !permits.is_empty();
        let determining = if forbids.is_empty() { permits } else { forbids };
        Judged { allowed, determining, errors }
    }
}

impl Sliced {
    fn satisfied(&self, evaluator: &Evaluator<'_>) -> Result<bool, String> {
        let Some(condition) = &self.condition else { return Ok(true) };
        holds(evaluator, condition, &self.slots)
    }
}

/// Whether a condition holds, or why that cannot be told.
pub(super) fn holds(evaluator: &Evaluator<'_>, condition: &Expr, slots: &SlotEnv) -> Result<bool, String> {
    let value = evaluator.interpret(condition, slots).map_err(|error| error.to_string())?;
    match value.value_kind() {
        ValueKind::Lit(Literal::Bool(holds)) => Ok(*holds),
        ValueKind::Lit(Literal::Long(_) | Literal::String(_) | Literal::EntityUID(_))
        | ValueKind::Set(_)
        | ValueKind::Record(_)
        | ValueKind::ExtensionValue(_) => Err(format!("its condition is no boolean but `{value}`")),
    }
}

impl Index {
    fn of(policies: &[Sliced]) -> Self {
        // First everywhere, to see how crowded each place is; then only in the least crowded.
        let mut crowded = Self::default();
        for (number, policy) in policies.iter().enumerate() {
            crowded.principals(&policy.scopes, number);
            crowded.actions(&policy.scopes, number);
            crowded.resources(&policy.scopes, number);
        }
        let mut index = Self::default();
        for (number, policy) in policies.iter().enumerate() {
            let scopes = &policy.scopes;
            let [principals, actions, resources] = crowded.crowds(scopes);
            match principals.min(actions).min(resources) {
                usize::MAX => index.anywhere.push(number),
                fewest if fewest == principals => index.principals(scopes, number),
                fewest if fewest == resources => index.resources(scopes, number),
                _ => index.actions(scopes, number),
            }
        }
        index
    }

    fn principals(&mut self, scopes: &Scopes, number: usize) {
        if let Some(uid) = scopes.principal.uid() {
            self.by_principal.entry(uid.clone()).or_default().push(number);
        } else if let Some(kind) = scopes.principal.kind() {
            self.by_principal_type.entry(kind.clone()).or_default().push(number);
        }
    }

    fn resources(&mut self, scopes: &Scopes, number: usize) {
        if let Some(uid) = scopes.resource.uid() {
            self.by_resource.entry(uid.clone()).or_default().push(number);
        } else if let Some(kind) = scopes.resource.kind() {
            self.by_resource_type.entry(kind.clone()).or_default().push(number);
        }
    }

    fn actions(&mut self, scopes: &Scopes, number: usize) {
        for uid in scopes.actions().unwrap_or_default() {
            self.by_action.entry(uid.clone()).or_default().push(number);
        }
    }

    /// How many policies stand where this one could, by principal, action and resource; the most for no place.
    fn crowds(&self, scopes: &Scopes) -> [usize; 3] {
        fn under<K: Hash + Eq>(places: &HashMap<K, Vec<usize>>, place: &K) -> usize {
            places.get(place).map_or(0, Vec::len)
        }
        let one = |uid: Option<&EntityUID>, kind: Option<&EntityType>, by_uid, by_kind| match (uid, kind) {
            (Some(uid), _) => under(by_uid, uid),
            (None, Some(kind)) => under(by_kind, kind),
            (None, None) => usize::MAX,
        };
        let (principal, resource) = (&scopes.principal, &scopes.resource);
        [
            one(principal.uid(), principal.kind(), &self.by_principal, &self.by_principal_type),
            scopes.actions().map_or(usize::MAX, |uids| {
                uids.into_iter().fold(0, |sum, uid| sum.saturating_add(under(&self.by_action, uid)))
            }),
            one(resource.uid(), resource.kind(), &self.by_resource, &self.by_resource_type),
        ]
    }

    fn candidates(&self, principal: Part<'_>, action: Part<'_>, resource: Part<'_>) -> Vec<usize> {
        let mut found = self.anywhere.clone();
        for (part, places) in
            [(principal, &self.by_principal), (action, &self.by_action), (resource, &self.by_resource)]
        {
            found.extend(part.all().filter_map(|uid| places.get(uid)).flatten());
        }
        for (part, places) in [(principal, &self.by_principal_type), (resource, &self.by_resource_type)] {
            found.extend(places.get(part.uid.entity_type()).into_iter().flatten());
        }
        found
    }
}

/// Any policy set, under any schema or none, answered as this crate answers: by slices. For those who hold the engine
/// against what others expect of Cedar; a decision of the proxy comes from [`crate::Pdp`].
#[derive(Debug)]
pub struct CedarSet(Slices);

/// Cedar's answer, before this crate's rule that any error denies. Ids are sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CedarAnswer {
    /// Whether a permit holds and no forbid does.
    pub allowed: bool,
    /// The policies that determine it.
    pub determining: Vec<String>,
    /// The policies that could not be evaluated.
    pub erring: Vec<String>,
}

impl CedarSet {
    /// Indexes the policies.
    ///
    /// # Errors
    /// A policy has an open slot.
    pub fn new(policies: &cedar_policy::PolicySet) -> Result<Self, String> {
        Slices::new(policies.as_ref()).map(Self)
    }

    /// Answers one request.
    ///
    /// # Errors
    /// The request leaves principal, action or resource open.
    pub fn answer(
        &self,
        request: &cedar_policy::Request,
        entities: &cedar_policy::Entities,
    ) -> Result<CedarAnswer, String> {
        let (request, entities): (&Request, &Entities) = (request.as_ref(), entities.as_ref());
        let open = || "the request leaves principal, action or resource open".to_owned();
        let principal = request.principal().uid().ok_or_else(open)?;
        let action = request.action().uid().ok_or_else(open)?;
        let resource = request.resource().uid().ok_or_else(open)?;
        let slice = self.0.slice(principal, action, resource, entities);
        let judged = self.0.judge(&slice, request.clone(), entities);
        let named = |number: usize| self.0.policies.get(number).map(|policy| policy.id.clone());
        Ok(CedarAnswer {
            allowed: judged.allowed,
            determining: judged.determining.into_iter().filter_map(named).collect(),
            erring: judged.errors.into_iter().filter_map(|(number, _)| named(number)).collect(),
        })
    }
}

#[cfg(test)]
mod tests;
