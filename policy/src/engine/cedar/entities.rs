//! The bundle's entities, and what one caller's decisions see of them.
//!
//! Cedar computes the closure of all parents whenever an entity is added, so callers are not added to the whole
//! store: a caller's view holds everything that is no workload, the caller itself, and the route.
use super::request::Names;
use crate::document::{self, Document, DocumentLimits};
use crate::pdp::PdpLimits;
use crate::verdict::truncated;
use crate::{LoadError, PolicyBundle, Query};
use cedar_policy::entities_errors::EntitiesError;
use cedar_policy::{Entities, Entity, EntityUid, RestrictedExpression, Schema};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The entities of a policy set.
pub(super) struct Store {
    /// Everything but workloads, with the schema's actions.
    shared: Entities,
    /// The parents of the workloads that the bundles know.
    parents: HashMap<String, HashSet<EntityUid>>,
}

impl Store {
    pub(super) fn load(
        bundles: &[(&str, &PolicyBundle)],
        schema: &Schema,
        names: &Names,
        limits: &PdpLimits,
    ) -> Result<Self, LoadError> {
        let refused =
            |place: &str, what: String| LoadError::Cedar { place: place.to_owned(), what: truncated(what) };
        let actions = schema.action_entities().map_err(|e| refused("schema", e.to_string()))?;
        let mut all = actions;
        for (name, bundle) in bundles {
            let Some(text) = &bundle.entities else { continue };
            let place = format!("{name}/entities.json");
            let text = completed(text).map_err(|what| refused(&place, what))?;
            let more =
                Entities::from_json_str(&text, Some(schema)).map_err(|e| refused(&place, whole(&e)))?;
            all = all.add_entities(more, None).map_err(|e| refused(&place, e.to_string()))?;
        }
        let mut shared = Vec::new();
        let mut parents = HashMap::new();
        for entity in all.iter() {
            let uid = entity.uid();
            if uid.type_name() == &names.workload {
                let above =
                    all.ancestors(&uid).map(|ancestors| ancestors.cloned().collect()).unwrap_or_default();
                parents.insert(uid.id().unescaped().to_owned(), above);
            } else {
                shared.push(entity.clone());
            }
        }
        if shared.len() > limits.cedar_shared_entities_max {
            let limit = limits.cedar_shared_entities_max;
            return Err(refused(
                "entities.json",
                format!("more than {limit} entities that are no workloads"),
            ));
        }
        let shared =
            Entities::from_entities(shared, None).map_err(|e| refused("entities.json", e.to_string()))?;
        Ok(Self { shared, parents })
    }

    /// The entities of one caller on one route.
    pub(super) fn seen_by(
        &self,
        names: &Names,
        caller: &str,
        query: &Query<'_>,
    ) -> Result<Entities, Box<dyn std::error::Error>> {
        let trust_domain = query.source.trust_domain.unwrap_or("");
        let mut parents = self.parents.get(caller).cloned().unwrap_or_default();
        parents.insert(names.trust_domain(trust_domain));
        let service = names.service(query.service);
        let mut own = vec![
            Entity::new(names.workload(caller), attributes(caller, trust_domain), parents)?,
            Entity::new_no_attrs(names.route(query.route), HashSet::from([service.clone()])),
        ];
        for uid in [service, names.trust_domain(trust_domain)] {
            if self.shared.get(&uid).is_none() {
                own.push(Entity::with_uid(uid));
            }
        }
        own.retain(|entity| self.shared.get(&entity.uid()).is_none());
        let all: Result<Entities, EntitiesError> = self.shared.clone().add_entities(own, None);
        Ok(all?)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("workloads", &self.parents.len()).finish_non_exhaustive()
    }
}

/// The error with its causes: Cedar names the entity only in them.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

fn path_of(spiffe_id: &str) -> &str {
    let rest = spiffe_id.strip_prefix("spiffe://").unwrap_or("");
    rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("")
}

fn attributes(caller: &str, trust_domain: &str) -> HashMap<String, RestrictedExpression> {
    HashMap::from([
        ("trust_domain".to_owned(), RestrictedExpression::new_string(trust_domain.to_owned())),
        ("path".to_owned(), RestrictedExpression::new_string(path_of(caller).to_owned())),
    ])
}

/// The bundle's entities with the attributes of workloads filled in from their SPIFFE IDs, read strictly: a member
/// that stands twice would otherwise mean what the last reader makes of it.
fn completed(text: &str) -> Result<String, String> {
    let mut document =
        document::parse(text.as_bytes(), DocumentLimits::default()).map_err(|e| e.to_string())?;
    let Document::Array(entities) = &mut document else {
        return Err(format!("it is {}, not an array of entities", document.kind()));
    };
    for entity in entities {
        let Document::Object(members) = entity else { continue };
        let Some(id) = workload_id(members).map(str::to_owned) else { continue };
        let trust_domain = id.strip_prefix("spiffe://").and_then(|rest| rest.split('/').next());
        let Some(trust_domain) = trust_domain.filter(|td| !td.is_empty()) else {
            return Err(format!("workload `{id}` is no SPIFFE ID"));
        };
        let entry = members.entry("attrs".to_owned()).or_insert_with(|| Document::Object(BTreeMap::new()));
        let Document::Object(attributes) = entry else { continue };
        for (name, value) in [("trust_domain", trust_domain), ("path", path_of(&id))] {
            let right = Document::String(value.to_owned());
            if attributes.insert(name.to_owned(), right.clone()).is_some_and(|given| given != right) {
                return Err(format!("workload `{id}`: `{name}` follows from its SPIFFE ID and is `{value}`"));
            }
        }
        members.entry("parents".to_owned()).or_insert_with(|| Document::Array(Vec::new()));
    }
    String::from_utf8(document::canonical(&document)).map_err(|error| error.to_string())
}

fn workload_id(members: &BTreeMap<String, Document>) -> Option<&str> {
    let uid = members.get("uid")?.as_object()?;
    let uid = uid.get("__entity").and_then(Document::as_object).unwrap_or(uid);
    (uid.get("type")?.as_str()? == "Workload").then_some(())?;
    uid.get("id")?.as_str()
}
