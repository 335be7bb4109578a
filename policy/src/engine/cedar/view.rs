//! What does not change between the requests of one caller for one action on one route: the policies in question, what
//! they read, and the entities that they see.
use super::Shared;
use super::bounds::WEIGHT_MAX;
use super::entities::Asked;
use super::reads::{Own, Reads};
use crate::Query;
use crate::engine::NoAnswer;
use cedar_policy_core::ast::{Context, EntityUID, EntityUIDEntry, Request, RequestSchema as _};
use cedar_policy_core::entities::Entities;
use cedar_policy_core::validator::ValidatorSchema;
use std::collections::{HashMap, HashSet};

/// The most views that an evaluator keeps.
const VIEWS_MAX: usize = 1024;
/// The most policies and entities that they may hold together: a view of a set that is all about the same holds all of it.
const HELD_MAX: usize = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct View {
    pub(super) slice: Vec<usize>,
    pub(super) reads: Reads,
    pub(super) entities: Entities,
    principal: EntityUIDEntry,
    action: EntityUIDEntry,
    resource: EntityUIDEntry,
}

impl View {
    fn new(caller: &str, query: &Query<'_>, shared: &Shared) -> Result<Self, NoAnswer> {
        let (asked, own) = own(caller, query, shared)?;
        let names = &shared.names;
        let slice = shared.slices.slice(&asked.caller, &asked.action, &asked.route, &own);
        let weight = shared.slices.weight(&slice);
        if weight > WEIGHT_MAX {
            return Err(NoAnswer::Budget(format!(
                "the {} policies about this caller, action and route have {weight} parts, more than {WEIGHT_MAX}",
                slice.len()
            )));
        }
        let mut reads = Reads::default();
        for condition in slice.iter().filter_map(|number| shared.slices.condition(*number)) {
            reads.add(condition);
        }
        let of = (reads.own, &reads.literals);
        let entities = shared.store.view(&asked, of, query, names).map_err(NoAnswer::Engine)?;
        let entry = |uid: EntityUID| EntityUIDEntry::known(uid, None);
        let (principal, action, resource) = (entry(asked.caller), entry(asked.action), entry(asked.route));
        Ok(Self { slice, reads, entities, principal, action, resource })
    }

    pub(super) fn request(&self, context: Context) -> Request {
        let (principal, action, resource) =
            (self.principal.clone(), self.action.clone(), self.resource.clone());
        Request::new_unchecked(principal, action, resource, Some(context))
    }
}

/// The request's own entities, with what each of them is in. Membership is all that scopes ask for, so that they need
/// no more.
pub(super) fn own(caller: &str, query: &Query<'_>, shared: &Shared) -> Result<(Asked, Entities), NoAnswer> {
    let names = &shared.names;
    let asked = Asked {
        caller: names.workload(caller),
        action: names.action(query.action),
        route: names.route(query.route),
    };
    let schema: &ValidatorSchema = shared.schema.as_ref();
    schema
        .validate_scope_variables(Some(&asked.caller), Some(&asked.action), Some(&asked.route))
        .map_err(|error| NoAnswer::Engine(error.to_string()))?;
    let of = (Own::ALL, &HashSet::new());
    let own = shared.store.view(&asked, of, query, names).map_err(NoAnswer::Engine)?;
    Ok((asked, own))
}

/// The views that one evaluator keeps; when they are too many, all are dropped.
#[derive(Default)]
pub(super) struct Views {
    views: HashMap<String, View>,
    held: usize,
    /// Where the key of the view at hand is written, so that finding one costs no allocation.
    key: String,
}

impl Views {
    pub(super) fn len(&self) -> usize {
        self.views.len()
    }

    pub(super) fn of(&mut self, caller: &str, query: &Query<'_>, shared: &Shared) -> Result<&View, NoAnswer> {
        self.key.clear();
        let trust_domain = query.source.trust_domain.unwrap_or("");
        for part in [caller, trust_domain, query.action, query.service, query.route] {
            // What parts one from the other must be in none of them, or two requests could pass for one.
            if part.contains('\0') {
                return Err(NoAnswer::Engine("a name in the request holds a zero".to_owned()));
            }
            self.key.push_str(part);
            self.key.push('\0');
        }
        if !self.views.contains_key(&self.key) {
            let view = View::new(caller, query, shared)?;
            if self.views.len() >= VIEWS_MAX || self.held >= HELD_MAX {
                self.views.clear();
                self.held = 0;
            }
            self.held = self.held.saturating_add(view.slice.len()).saturating_add(view.entities.len());
            self.views.insert(self.key.clone(), view);
        }
        self.views.get(&self.key).ok_or_else(|| NoAnswer::Engine("a view was lost".to_owned()))
    }
}
