//! The bundle's entities, and what the decisions of one caller see of them.
//!
//! A view holds what the conditions in question can reach: the request's own entities where they ask about these, what
//! they name, and what the attributes and tags of such entities name. An entity that nothing reaches can only be asked for
//! by membership, and that stands with the member. So a decision does not pay for the size of the store.
use super::names::{Names, OF_A_REQUEST};
use super::reads::Own;
use crate::document::{self, Document, DocumentLimits};
use crate::pdp::PdpLimits;
use crate::verdict::truncated;
use crate::{LoadError, PolicyBundle, Query};
use cedar_policy::Schema;
use cedar_policy_core::ast::{Entity, EntityUID, PartialValue, Value};
use cedar_policy_core::entities::{Dereference, Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The entities of a policy set, with the schema's actions.
pub(super) struct Store(Entities);

/// The three entities of a request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) caller: EntityUID,
    pub(super) action: EntityUID,
    pub(super) route: EntityUID,
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
        let mut all = schema.action_entities().map_err(|e| refused("schema", e.to_string()))?;
        for (name, bundle) in bundles {
            let Some(text) = &bundle.entities else { continue };
            let place = format!("{name}/entities.json");
            let text = completed(text).map_err(|what| refused(&place, what))?;
            let more = cedar_policy::Entities::from_json_str(&text, Some(schema))
                .map_err(|e| refused(&place, whole(&e)))?;
            all = all.add_entities(more, None).map_err(|e| refused(&place, e.to_string()))?;
        }
        let all: &Entities = all.as_ref();
        refuse_misplaced(all, names, limits).map_err(|what| refused("entities.json", what))?;
        Ok(Self(all.clone()))
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> &Entities {
        &self.0
    }

    /// What conditions see that name these entities, and ask about these of the request.
    pub(super) fn view(
        &self,
        asked: &Asked,
        (own, named): (Own, &HashSet<EntityUID>),
        query: &Query<'_>,
        names: &Names,
    ) -> Result<Entities, String> {
        let own = [(own.principal, &asked.caller), (own.action, &asked.action), (own.resource, &asked.route)];
        let own = own.into_iter().filter_map(|(read, uid)| read.then_some(uid));
        let mut next: Vec<EntityUID> = named.iter().chain(own).cloned().collect();
        let mut seen = HashMap::new();
        while let Some(uid) = next.pop() {
            if seen.contains_key(&uid) {
                continue;
            }
            let known = self.known(&uid);
            let values = known.into_iter().flat_map(|known| known.attrs().chain(known.tags()));
            next.extend(values.flat_map(|(_, value)| literals(value)));
            let entity = if uid == asked.caller {
                self.caller(&uid, query.source.trust_domain.unwrap_or(""), names)
            } else if uid == asked.route {
                self.above(&uid, Vec::new(), names.service(query.service))
            } else {
                let Some(known) = known else { continue };
                match trust_domain_of(uid.eid().as_ref()).filter(|_| uid.entity_type() == &names.workload) {
                    Some(trust_domain) => self.caller(&uid, trust_domain, names),
                    None => known.clone(),
                }
            };
            seen.insert(uid, entity);
        }
        let known = TCComputation::AssumeAlreadyComputed;
        let extensions = Extensions::all_available();
        Entities::from_entities(seen.into_values(), None::<&NoEntitiesSchema>, known, extensions)
            .map_err(|error| error.to_string())
    }

    fn known(&self, uid: &EntityUID) -> Option<&Entity> {
        match self.0.entity(uid) {
            Dereference::Data(entity) => Some(entity),
            Dereference::NoSuchEntity | Dereference::Residual(_) => None,
        }
    }

    /// A workload under its trust domain: also one that no bundle knows.
    fn caller(&self, uid: &EntityUID, trust_domain: &str, names: &Names) -> Entity {
        let attributes =
            vec![("trust_domain", trust_domain.into()), ("path", path_of(uid.eid().as_ref()).into())];
        self.above(uid, attributes, names.trust_domain(trust_domain))
    }

    /// An entity of ours: its attributes, what the bundles put it in, and one parent more.
    fn above(&self, uid: &EntityUID, attributes: Vec<(&'static str, Value)>, parent: EntityUID) -> Entity {
        let mut parents: HashSet<EntityUID> =
            self.known(uid).into_iter().flat_map(Entity::ancestors).cloned().collect();
        parents.insert(parent);
        let attributes = attributes.into_iter().map(|(name, value)| (name.into(), value.into()));
        Entity::new_with_attr_partial_value(uid.clone(), attributes, HashSet::new(), parents, [])
    }
}

fn literals(value: &PartialValue) -> HashSet<EntityUID> {
    match value {
        PartialValue::Value(value) => value.all_literal_uids(),
        PartialValue::Residual(_) => HashSet::new(),
    }
}

/// Refuses entities that could not mean what a bundle means by them.
fn refuse_misplaced(all: &Entities, names: &Names, limits: &PdpLimits) -> Result<(), String> {
    let mut shared = 0_usize;
    for entity in all.iter() {
        let (uid, kind) = (entity.uid(), entity.uid().entity_type());
        let shown = kind.to_string();
        if OF_A_REQUEST.contains(&shown.as_str()) {
            return Err(format!("`{uid}`: a `{shown}` is a part of one request and stands in no bundle"));
        }
        if kind != &names.workload {
            shared = shared.saturating_add(1);
            continue;
        }
        let own = trust_domain_of(uid.eid().as_ref()).map(|domain| names.trust_domain(domain));
        let foreign =
            |above: &&EntityUID| above.entity_type() == &names.trust_domain && Some(*above) != own.as_ref();
        if let Some(foreign) = entity.ancestors().find(foreign) {
            return Err(format!(
                "`{uid}` is not in `{foreign}`: its trust domain follows from its SPIFFE ID"
            ));
        }
    }
    let limit = limits.cedar_shared_entities_max;
    if shared > limit {
        return Err(format!("more than {limit} entities that are no workloads"));
    }
    Ok(())
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("entities", &self.0.len()).finish_non_exhaustive()
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

fn trust_domain_of(spiffe_id: &str) -> Option<&str> {
    let rest = spiffe_id.strip_prefix("spiffe://")?;
    rest.split('/').next().filter(|domain| !domain.is_empty())
}

/// The bundle's entities with the attributes of workloads filled in from their SPIFFE IDs, read strictly: a member
/// that stands twice would otherwise mean what the last reader makes of it.
fn completed(text: &str) -> Result<String, String> {
    let mut document =
        document::parse(text.as_bytes(), DocumentLimits::default()).map_err(|e| e.to_string())?;
    let Document::Array(entities) = &mut document else {
        return Err(format!("it is {}, not an array of entities", document.kind()));
    };
    super::bounds::refuse_nested(entities)?;
    for entity in entities {
        let Document::Object(members) = entity else { continue };
        let Some(id) = workload_id(members).map(str::to_owned) else { continue };
        let Some(trust_domain) = trust_domain_of(&id) else {
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
