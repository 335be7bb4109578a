//! Cedar by `cedar-policy`, under the contract `schema/postern.cedarschema`: policies are validated strictly against
//! it at load, requests at every decision, and any evaluation error denies (Cedar itself would skip an erring
//! `forbid`, which turns an error into an allow).
mod entities;
mod load;
mod obligations;
mod request;
mod scope;
pub(crate) mod slice;
#[cfg(test)]
mod tests;

use crate::engine::{Answer, NoAnswer};
use crate::pdp::PdpLimits;
use crate::verdict::PolicyId;
use crate::{Decision, LoadError, PolicyBundle, Query};
use cedar_policy::{Authorizer, Entities, PolicySet, Request, Schema};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// The contract schema, version 1.
pub const CONTRACT_SCHEMA: &str = include_str!("../../../../schema/postern.cedarschema");

/// A loaded Cedar policy set.
pub(crate) struct CedarPolicies {
    shared: Arc<Shared>,
}

/// What all evaluators of a set share.
struct Shared {
    policies: PolicySet,
    schema: Schema,
    store: entities::Store,
    names: request::Names,
    duties: BTreeMap<String, obligations::Duties>,
    mentions: Mentions,
}

/// Which costly parts the policies mention.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mentions {
    headers: bool,
    query: bool,
    claims: bool,
    transaction: bool,
    workload_token: bool,
}

impl Mentions {
    fn of(sources: &[&str]) -> Self {
        let word = |word: &str| sources.iter().any(|source| source.contains(word));
        Self {
            headers: word("headers"),
            query: word("query"),
            claims: word("claims"),
            transaction: word("transaction"),
            workload_token: word("workload_token"),
        }
    }
}

impl fmt::Debug for CedarPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policies = self.shared.policies.num_of_policies();
        f.debug_struct("CedarPolicies").field("policies", &policies).finish_non_exhaustive()
    }
}

impl CedarPolicies {
    /// Loads the bundles' Cedar policies, schema extensions and entities.
    pub(crate) fn load(bundles: &[(&str, &PolicyBundle)], limits: &PdpLimits) -> Result<Self, LoadError> {
        load::load(bundles, limits).map(|shared| Self { shared: Arc::new(shared) })
    }

    pub(crate) fn reads(&self) -> Vec<String> {
        let mentions = self.shared.mentions;
        let parts = [
            ("headers", mentions.headers),
            ("query", mentions.query),
            ("claims", mentions.claims),
            ("transaction", mentions.transaction),
            ("workload_token", mentions.workload_token),
        ];
        parts.into_iter().filter(|(_, read)| *read).map(|(name, _)| format!("context.{name}")).collect()
    }

    pub(crate) fn evaluator(&self) -> CedarEvaluator {
        CedarEvaluator {
            shared: Arc::clone(&self.shared),
            authorizer: Authorizer::new(),
            callers: HashMap::new(),
        }
    }
}

/// Callers whose entities an evaluator keeps; when it is full, all are dropped.
const CALLERS_MAX: usize = 128;

/// One worker's evaluator: the entities of its recent callers.
pub(crate) struct CedarEvaluator {
    shared: Arc<Shared>,
    authorizer: Authorizer,
    callers: HashMap<(String, String, String), Arc<Entities>>,
}

impl fmt::Debug for CedarEvaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CedarEvaluator").field("callers", &self.callers.len()).finish_non_exhaustive()
    }
}

impl CedarEvaluator {
    pub(crate) fn decide(&mut self, query: &Query<'_>) -> Result<Answer, NoAnswer> {
        let Some(caller) = query.source.spiffe_id else {
            return Err(NoAnswer::Engine(
                "the caller has no SPIFFE ID, which Cedar policies are about".to_owned(),
            ));
        };
        let known = self.caller(caller, query)?;
        let shared = &self.shared;
        let (request, extra) = request::build(caller, query, &shared.names, &shared.schema, shared.mentions)?;
        if extra.is_empty() {
            return self.judge(&request, &known);
        }
        let all =
            Entities::clone(&known).add_entities(extra, None).map_err(|e| NoAnswer::Engine(e.to_string()))?;
        self.judge(&request, &all)
    }

    /// The entities that this caller's decisions on this route see.
    fn caller(&mut self, caller: &str, query: &Query<'_>) -> Result<Arc<Entities>, NoAnswer> {
        let key = (caller.to_owned(), query.service.to_owned(), query.route.to_owned());
        if let Some(known) = self.callers.get(&key) {
            return Ok(Arc::clone(known));
        }
        let seen = self.shared.store.seen_by(&self.shared.names, caller, query);
        let seen = Arc::new(seen.map_err(|error| NoAnswer::Engine(error.to_string()))?);
        if self.callers.len() >= CALLERS_MAX {
            self.callers.clear();
        }
        self.callers.insert(key, Arc::clone(&seen));
        Ok(seen)
    }

    fn judge(&self, request: &Request, entities: &Entities) -> Result<Answer, NoAnswer> {
        let response = self.authorizer.is_authorized(request, &self.shared.policies, entities);
        let mut errors = response.diagnostics().errors().map(ToString::to_string);
        if let Some(first) = errors.next() {
            return Err(NoAnswer::Engine(format!("a policy could not be evaluated: {first}")));
        }
        let mut determining: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        determining.sort_unstable();
        let decision = match response.decision() {
            cedar_policy::Decision::Allow => Decision::Allow,
            cedar_policy::Decision::Deny => Decision::Deny,
        };
        let duties: Vec<_> = determining.iter().filter_map(|id| self.shared.duties.get(id)).collect();
        let (message, obligations) = obligations::combined(decision, &duties)?;
        let silent = determining.is_empty() && decision == Decision::Deny;
        Ok(Answer {
            decision,
            reasons: determining.iter().map(|id| PolicyId::new(id)).collect(),
            message: message.or_else(|| silent.then(|| "no policy permits this request".to_owned())),
            obligations,
        })
    }
}
