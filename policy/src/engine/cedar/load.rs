//! From verified bundles to a validated policy set.
use super::links::{self, Templates};
use super::names::Names;
use super::obligations::Duties;
use super::reads::Reads;
use super::slice::Slices;
use super::{CONTRACT_SCHEMA, Shared, bounds, entities};
use crate::engine::shape;
use crate::pdp::PdpLimits;
use crate::verdict::{self, truncated};
use crate::{LoadError, PolicyBundle};
use cedar_policy::{
    Policy, PolicyId, PolicySet, Schema, SchemaFragment, Template, ValidationMode, Validator,
};
use std::collections::BTreeMap;
use std::str::FromStr as _;

pub(super) fn refused(place: &str, what: &dyn std::fmt::Display) -> LoadError {
    LoadError::Cedar { place: place.to_owned(), what: truncated(what.to_string()) }
}

/// The Cedar policies of bundles under the contract, as they are in force once loaded: validated, named, and with
/// links in the place of their templates. For tools that reason about them; decisions come from [`crate::Pdp`].
#[derive(Debug)]
pub struct CedarProgram {
    policies: PolicySet,
    schema: Schema,
    duties: BTreeMap<String, Duties>,
    places: BTreeMap<String, String>,
}

impl CedarProgram {
    /// Takes the bundles' policies, each bundle with its name.
    ///
    /// # Errors
    /// [`LoadError`]: where, what, and how to mend it.
    pub fn load(bundles: &[(&str, &PolicyBundle)]) -> Result<Self, LoadError> {
        let schema = schema_of(bundles)?;
        let Gathered { policies, duties, places, .. } = policies_of(bundles)?;
        if policies.is_empty() {
            let entry = "cedar".to_owned();
            return Err(LoadError::NoEntry {
                entry,
                hint: "a Cedar bundle holds `*.cedar` files".to_owned(),
            });
        }
        let verdict = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        if !verdict.validation_passed() {
            let all: Vec<String> = verdict.validation_errors().take(8).map(ToString::to_string).collect();
            return Err(refused("policies", &all.join("; ")));
        }
        Ok(Self { policies, schema, duties, places })
    }

    /// All policies. None of them is a template or a link of one.
    pub fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// The contract and what the bundles add to it.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The file that a policy stands in; of a link, the one of its template.
    pub(super) fn file(&self, id: &str) -> &str {
        self.places.get(id).map_or("", String::as_str)
    }
}

pub(super) fn load(bundles: &[(&str, &PolicyBundle)], limits: &PdpLimits) -> Result<Shared, LoadError> {
    shared(CedarProgram::load(bundles)?, bundles, limits)
}

pub(super) fn shared(
    program: CedarProgram,
    bundles: &[(&str, &PolicyBundle)],
    limits: &PdpLimits,
) -> Result<Shared, LoadError> {
    let CedarProgram { policies, schema, mut duties, places: _ } = program;
    let names = Names::new().map_err(|what| refused("schema", &what))?;
    let store = entities::Store::load(bundles, &schema, &names, limits)?;
    let slices = Slices::new(policies.as_ref()).map_err(|what| refused("policies", &what))?;
    let mut reads = Reads::default();
    slices.conditions().for_each(|condition| reads.add(condition));
    let ids = slices.ids().map(verdict::PolicyId::new).collect();
    let duties = slices.ids().map(|id| duties.remove(id).unwrap_or_default()).collect();
    Ok(Shared { slices, schema, store, names, ids, duties, reads })
}

/// The contract with the bundles' own types beside it; a second definition of one of ours is an error of Cedar's.
pub(super) fn schema_of(bundles: &[(&str, &PolicyBundle)]) -> Result<Schema, LoadError> {
    let fragment = |place: &str, text: &str| {
        SchemaFragment::from_cedarschema_str(text)
            .map(|(fragment, _)| fragment)
            .map_err(|error| refused(place, &error))
    };
    let mut fragments = vec![fragment("postern.cedarschema", CONTRACT_SCHEMA)?];
    for (name, bundle) in bundles {
        if let Some(text) = &bundle.cedar_schema {
            refuse_misshapen(&format!("{name}/schema.cedarschema"), text)?;
            fragments.push(fragment(&format!("{name}/schema.cedarschema"), text)?);
        }
    }
    Schema::from_schema_fragments(fragments).map_err(|error| refused("schema.cedarschema", &error))
}

pub(super) fn refuse_misshapen(place: &str, source: &str) -> Result<(), LoadError> {
    shape::refuse_misshapen(source).map_err(|found| LoadError::Refused {
        place: format!("{place}:{}", found.line),
        what: found.what.to_owned(),
        mend: "split it into several policies, or use groups and sets".to_owned(),
    })
}

/// All policies under their names, and what they demand.
#[derive(Default)]
struct Gathered {
    policies: PolicySet,
    duties: BTreeMap<String, Duties>,
    templates: Templates,
    places: BTreeMap<String, String>,
}

impl Gathered {
    fn add(&mut self, place: &str, policy: &Policy, id: &str) -> Result<(), LoadError> {
        let demands = Duties::of(policy).map_err(|what| refused(&format!("{place} ({id})"), &what))?;
        let taken = self.templates.contains_key(id) || self.duties.insert(id.to_owned(), demands).is_some();
        if taken {
            return Err(refused(place, &format!("two policies have the id `{id}`")));
        }
        self.policies.add(policy.new_id(PolicyId::new(id))).map_err(|error| refused(place, &error))
    }

    fn add_template(&mut self, place: &str, template: Template, id: String) -> Result<(), LoadError> {
        if self.duties.contains_key(&id) || self.templates.contains_key(&id) {
            return Err(refused(place, &format!("two policies have the id `{id}`")));
        }
        self.templates.insert(id, links::Known { template, place: place.to_owned(), is_linked: false });
        Ok(())
    }

    fn add_file(&mut self, place: &str, file: &str, source: &str) -> Result<(), LoadError> {
        refuse_misshapen(place, source)?;
        let set = PolicySet::from_str(source).map_err(|error| refused(place, &described(&error, source)))?;
        let mut in_order: Vec<&Policy> = set.policies().collect();
        in_order.sort_by_key(|policy| number(policy.id()));
        for policy in in_order {
            let id = named(place, file, policy.annotation("id"), policy.id())?;
            bounds::refuse(policy.as_ref().non_scope_constraints())
                .map_err(|what| refused(&format!("{place} ({id})"), &what))?;
            self.add(place, policy, &id)?;
            self.places.insert(id, place.to_owned());
        }
        for template in set.templates() {
            let id = named(place, file, template.annotation("id"), template.id())?;
            let condition: &cedar_policy_core::ast::Template = template.as_ref();
            bounds::refuse(condition.non_scope_constraints())
                .map_err(|what| refused(&format!("{place} ({id})"), &what))?;
            self.add_template(place, template.clone(), id)?;
        }
        Ok(())
    }
}

/// All policies under their `@id`, or `file#number` where they carry none; links under the ids that they are given.
fn policies_of(bundles: &[(&str, &PolicyBundle)]) -> Result<Gathered, LoadError> {
    let mut all = Gathered::default();
    let sources = || bundles.iter().flat_map(|(_, bundle)| bundle.policies.values());
    bounds::refuse_crowd(sources().map(String::as_str)).map_err(|what| refused("policies", &what))?;
    for (name, bundle) in bundles {
        for (file, source) in &bundle.policies {
            all.add_file(&format!("{name}/{file}"), file, source)?;
        }
    }
    for (name, bundle) in bundles {
        let Some(text) = &bundle.cedar_links else { continue };
        let place = format!("{name}/links.json");
        let linked = links::linked(text, &mut all.templates).map_err(|what| refused(&place, &what))?;
        for (id, policy, template) in linked {
            all.add(&place, &policy, &id)?;
            all.places.insert(id, template);
        }
    }
    if let Some((id, open)) = all.templates.iter().find(|(_, known)| !known.is_linked) {
        return Err(LoadError::Refused {
            place: open.place.clone(),
            what: format!("the template `{id}` has no effect, because nothing links it"),
            mend: "link it in `links.json`, or write a policy for each principal or resource".to_owned(),
        });
    }
    Ok(all)
}

/// What a policy is called in records.
fn named(place: &str, file: &str, given: Option<&str>, id: &PolicyId) -> Result<String, LoadError> {
    match given {
        Some(id) if links::may_be_an_id(id) => Ok(id.to_owned()),
        Some(_) => Err(refused(place, &"an `@id` is empty, longer than 128 bytes or holds controls")),
        None => Ok(format!("{file}#{}", number(id).saturating_add(1))),
    }
}

/// Cedar numbers the policies of a text `policy0`, `policy1`, …
fn number(id: &PolicyId) -> usize {
    let text: &str = id.as_ref();
    text.trim_start_matches("policy").parse().unwrap_or(usize::MAX)
}

/// The parser's message with the line it is about.
fn described(errors: &cedar_policy::ParseErrors, source: &str) -> String {
    use miette::Diagnostic as _;
    let offset = errors.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    match offset {
        Some(offset) => {
            let line = source.bytes().take(offset).filter(|b| *b == b'\n').count().saturating_add(1);
            format!("line {line}: {errors}")
        }
        None => errors.to_string(),
    }
}
