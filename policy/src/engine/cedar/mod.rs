//! Cedar by `cedar-policy`, under the contract `schema/postern.cedarschema`: policies are validated strictly against
//! it at load, and requests are built to it; any evaluation error denies (Cedar itself would skip an erring `forbid`,
//! which turns an error into an allow). A decision evaluates the policies that are about the request ([`slice`]), and
//! of the request it builds what these read ([`reads`]).
mod bounds;
mod clauses;
mod entities;
pub(crate) mod examine;
#[cfg(test)]
mod linear_tests;
mod links;
pub(crate) mod load;
mod names;
mod obligations;
mod parts;
mod reads;
mod request;
mod scope;
pub(crate) mod slice;
#[cfg(test)]
mod tests;
mod view;
pub(crate) mod watch;

use crate::engine::{Answer, NoAnswer};
use crate::pdp::PdpLimits;
use crate::verdict::PolicyId;
use crate::{Decision, LoadError, PolicyBundle, Query};
use cedar_policy::Schema;
use cedar_policy_core::ast::Request;
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;
use reads::Member;
use slice::{Judged, Slices};
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
    slices: Slices,
    schema: Schema,
    store: entities::Store,
    names: names::Names,
    /// Names and demands of the policies, in the order of their numbers.
    ids: Vec<PolicyId>,
    duties: Vec<obligations::Duties>,
    reads: reads::Reads,
}

impl fmt::Debug for CedarPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policies = self.shared.ids.len();
        f.debug_struct("CedarPolicies").field("policies", &policies).finish_non_exhaustive()
    }
}

impl CedarPolicies {
    /// Loads the bundles' Cedar policies, schema extensions and entities.
    pub(crate) fn load(bundles: &[(&str, &PolicyBundle)], limits: &PdpLimits) -> Result<Self, LoadError> {
        load::load(bundles, limits).map(|shared| Self { shared: Arc::new(shared) })
    }

    pub(crate) fn reads(&self) -> Vec<String> {
        let parts = [
            Member::Headers,
            Member::Query,
            Member::Claims,
            Member::Transaction,
            Member::WorkloadToken,
            Member::Body,
        ];
        let read = parts.into_iter().filter(|member| self.shared.reads.has(*member));
        read.map(|member| format!("context.{}", member.name())).collect()
    }

    /// Whether conditions read this member of the context.
    pub(crate) fn reads_member(&self, name: &str) -> bool {
        self.shared.reads.has_named(name)
    }

    pub(crate) fn reads_body(&self) -> bool {
        self.shared.reads.has(Member::Body)
    }

    pub(crate) fn evaluator(&self) -> CedarEvaluator {
        CedarEvaluator {
            shared: Arc::clone(&self.shared),
            views: view::Views::default(),
            lasting: request::Lasting::default(),
        }
    }
}

/// One worker's evaluator: what it keeps of its recent callers and moments.
pub(crate) struct CedarEvaluator {
    shared: Arc<Shared>,
    views: view::Views,
    lasting: request::Lasting,
}

impl fmt::Debug for CedarEvaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CedarEvaluator").field("views", &self.views.len()).finish_non_exhaustive()
    }
}

impl CedarEvaluator {
    pub(crate) fn decide(&mut self, query: &Query<'_>) -> Result<Answer, NoAnswer> {
        self.asked(query, |shared, view, request, entities| {
            shared.answer(&shared.slices.judge(&view.slice, request, entities))
        })?
    }

    /// Does something with what a query is to Cedar: the policies in question, the request, and the entities.
    fn asked<T>(
        &mut self,
        query: &Query<'_>,
        ask: impl FnOnce(&Shared, &view::View, Request, &Entities) -> T,
    ) -> Result<T, NoAnswer> {
        let Some(caller) = query.source.spiffe_id else {
            return Err(NoAnswer::Engine(
                "the caller has no SPIFFE ID, which Cedar policies are about".to_owned(),
            ));
        };
        let shared = &self.shared;
        let view = self.views.of(caller, query, shared)?;
        let built = request::build(query, &shared.names, &view.reads, &mut self.lasting)?;
        let request = view.request(built.context);
        if built.entities.is_empty() {
            return Ok(ask(shared, view, request, &view.entities));
        }
        // They are in nothing and nothing is in them: there is no closure to compute.
        let (schema, known) = (None::<&NoEntitiesSchema>, TCComputation::AssumeAlreadyComputed);
        let all =
            view.entities.clone().add_entities(built.entities, schema, known, Extensions::all_available());
        let all = all.map_err(|error| NoAnswer::Engine(error.to_string()))?;
        Ok(ask(shared, view, request, &all))
    }
}

impl Shared {
    fn answer(&self, judged: &Judged) -> Result<Answer, NoAnswer> {
        if let Some((number, error)) = judged.errors.first() {
            let id = self.ids.get(*number).map_or("", PolicyId::as_str);
            return Err(NoAnswer::Engine(format!("policy `{id}` could not be evaluated: {error}")));
        }
        let decision = if judged.allowed { Decision::Allow } else { Decision::Deny };
        let of = |number: &usize| self.duties.get(*number);
        let duties: Vec<_> = judged.determining.iter().filter_map(of).collect();
        let (message, obligations) = obligations::combined(decision, &duties)?;
        let silent = judged.determining.is_empty() && decision == Decision::Deny;
        Ok(Answer {
            decision,
            reasons: judged.determining.iter().filter_map(|number| self.ids.get(*number).cloned()).collect(),
            message: message.or_else(|| silent.then(|| "no policy permits this request".to_owned())),
            obligations,
            metadata: None,
        })
    }
}
