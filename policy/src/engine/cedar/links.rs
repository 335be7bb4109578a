//! Templates, and the file of a bundle that fills their slots: `links.json`.
//!
//! A link becomes a policy like any other, with the entities in the place of the slots: what decides, what is indexed
//! and what is reasoned about are then the same.
use crate::document::{self, Document, DocumentLimits};
use cedar_policy::{Policy, Template};
use cedar_policy_core::ast::{self, EntityUID, SlotId, StaticPolicy};
use std::collections::BTreeMap;
use std::str::FromStr as _;
use std::sync::Arc;

/// A template, where it stands, and whether something links it.
pub(super) struct Known {
    pub(super) template: Template,
    pub(super) place: String,
    pub(super) is_linked: bool,
}

/// All templates by their names.
pub(super) type Templates = BTreeMap<String, Known>;

/// One entry of the file.
struct Link<'a> {
    template: &'a str,
    id: &'a str,
    principal: Option<EntityUID>,
    resource: Option<EntityUID>,
}

/// The policies that a file of links makes of the templates: the id, the policy, and where its template stands.
pub(super) fn linked(text: &str, templates: &mut Templates) -> Result<Vec<(String, Policy, String)>, String> {
    let document =
        document::parse(text.as_bytes(), DocumentLimits::default()).map_err(|error| error.to_string())?;
    let Some(entries) = document.as_array() else {
        return Err(format!("it is {}, not an array of links", document.kind()));
    };
    let mut policies = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let link = Link::of(entry).map_err(|what| format!("entry {}: {what}", index.saturating_add(1)))?;
        let Some(known) = templates.get_mut(link.template) else {
            return Err(format!("link `{}`: there is no template `{}`", link.id, link.template));
        };
        known.is_linked = true;
        let policy =
            link.fill(known.template.as_ref()).map_err(|what| format!("link `{}`: {what}", link.id))?;
        policies.push((link.id.to_owned(), policy, known.place.clone()));
    }
    Ok(policies)
}

/// Whether a policy may be called so.
pub(super) fn may_be_an_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 128 && !id.contains(char::is_control)
}

impl<'a> Link<'a> {
    fn of(entry: &'a Document) -> Result<Self, String> {
        let Some(members) = entry.as_object() else {
            return Err(format!("it is {}, not an object", entry.kind()));
        };
        let known = ["template", "id", "principal", "resource"];
        if let Some(other) = members.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("`{other}` is no member of a link"));
        }
        let text = |name: &str| {
            members
                .get(name)
                .and_then(Document::as_str)
                .ok_or_else(|| format!("`{name}` is missing or no string"))
        };
        let id = text("id")?;
        if !may_be_an_id(id) {
            return Err("its `id` is empty, longer than 128 bytes or holds controls".to_owned());
        }
        let entity = |name: &str| members.get(name).map(|value| entity(name, value)).transpose();
        Ok(Self {
            template: text("template")?,
            id,
            principal: entity("principal")?,
            resource: entity("resource")?,
        })
    }

    fn fill(&self, template: &ast::Template) -> Result<Policy, String> {
        for (slot, name, given) in [
            (SlotId::principal(), "principal", self.principal.is_some()),
            (SlotId::resource(), "resource", self.resource.is_some()),
        ] {
            match (template.slots().any(|open| open.id == slot), given) {
                (true, false) => return Err(format!("the template needs a `{name}`")),
                (false, true) => return Err(format!("the template has no slot for a `{name}`")),
                (true, true) | (false, false) => {}
            }
        }
        let mut principal = template.principal_constraint().clone();
        let mut resource = template.resource_constraint().clone();
        if let Some(uid) = &self.principal {
            principal = principal.with_filled_slot(Arc::new(uid.clone()));
        }
        if let Some(uid) = &self.resource {
            resource = resource.with_filled_slot(Arc::new(uid.clone()));
        }
        let policy = StaticPolicy::new(
            ast::PolicyID::from_string(self.id),
            template.loc().cloned(),
            ast::Annotations::clone(template.annotations_arc()),
            template.effect(),
            principal,
            template.action_constraint().clone(),
            resource,
            template.non_scope_constraints().cloned(),
        );
        policy.map(Policy::from).map_err(|error| error.to_string())
    }
}

/// An entity as in `entities.json`: `{"type": "Group", "id": "tellers"}`.
fn entity(name: &str, value: &Document) -> Result<EntityUID, String> {
    let part = |part: &str| value.as_object()?.get(part)?.as_str();
    let (Some(kind), Some(id)) = (part("type"), part("id")) else {
        return Err(format!("`{name}` is no entity: write `{{\"type\": …, \"id\": …}}`"));
    };
    let kind = ast::Name::from_str(kind).map_err(|error| format!("`{name}`: {error}"))?;
    Ok(EntityUID::from_components(kind.into(), ast::Eid::new(id), None))
}

#[cfg(test)]
mod tests;
