//! From verified bundles to a validated policy set.
use super::names::Names;
use super::reads::Reads;
use super::slice::Slices;
use super::{CONTRACT_SCHEMA, Shared, entities, obligations};
use crate::engine::shape;
use crate::pdp::PdpLimits;
use crate::verdict::{self, truncated};
use crate::{LoadError, PolicyBundle};
use cedar_policy::{Policy, PolicyId, PolicySet, Schema, SchemaFragment, ValidationMode, Validator};
use std::collections::BTreeMap;
use std::str::FromStr as _;

fn refused(place: String, what: &dyn std::fmt::Display) -> LoadError {
    LoadError::Cedar { place, what: truncated(what.to_string()) }
}

pub(super) fn load(bundles: &[(&str, &PolicyBundle)], limits: &PdpLimits) -> Result<Shared, LoadError> {
    let schema = schema_of(bundles)?;
    let (policies, mut duties) = policies_of(bundles)?;
    if policies.is_empty() {
        let entry = "cedar".to_owned();
        return Err(LoadError::NoEntry { entry, hint: "a Cedar bundle holds `*.cedar` files".to_owned() });
    }
    let verdict = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
    if !verdict.validation_passed() {
        let all: Vec<String> = verdict.validation_errors().take(8).map(ToString::to_string).collect();
        return Err(refused("policies".to_owned(), &all.join("; ")));
    }
    let names = Names::new().map_err(|what| refused("schema".to_owned(), &what))?;
    let store = entities::Store::load(bundles, &schema, &names, limits)?;
    let slices = Slices::new(policies.as_ref()).map_err(|what| refused("policies".to_owned(), &what))?;
    let mut reads = Reads::default();
    slices.conditions().for_each(|condition| reads.add(condition));
    let ids = slices.ids().map(verdict::PolicyId::new).collect();
    let duties = slices.ids().map(|id| duties.remove(id).unwrap_or_default()).collect();
    Ok(Shared { slices, schema, store, names, ids, duties, reads })
}

/// The contract with the bundles' own types beside it; a second definition of one of ours is an error of Cedar's.
fn schema_of(bundles: &[(&str, &PolicyBundle)]) -> Result<Schema, LoadError> {
    let fragment = |place: &str, text: &str| {
        SchemaFragment::from_cedarschema_str(text)
            .map(|(fragment, _)| fragment)
            .map_err(|error| refused(place.to_owned(), &error))
    };
    let mut fragments = vec![fragment("postern.cedarschema", CONTRACT_SCHEMA)?];
    for (name, bundle) in bundles {
        if let Some(text) = &bundle.cedar_schema {
            refuse_misshapen(&format!("{name}/schema.cedarschema"), text)?;
            fragments.push(fragment(&format!("{name}/schema.cedarschema"), text)?);
        }
    }
    Schema::from_schema_fragments(fragments).map_err(|error| refused("schema.cedarschema".to_owned(), &error))
}

fn refuse_misshapen(place: &str, source: &str) -> Result<(), LoadError> {
    shape::refuse_misshapen(source, shape::Language::Cedar).map_err(|found| LoadError::Refused {
        place: format!("{place}:{}", found.line),
        what: found.what.to_owned(),
        mend: "split it into several policies, or use groups and sets",
    })
}

type Policies = (PolicySet, BTreeMap<String, obligations::Duties>);

/// All policies under their `@id`, or `file#number` where they carry none.
fn policies_of(bundles: &[(&str, &PolicyBundle)]) -> Result<Policies, LoadError> {
    let mut all = PolicySet::new();
    let mut duties = BTreeMap::new();
    for (bundle, file, source) in bundles
        .iter()
        .flat_map(|(name, bundle)| bundle.policies.iter().map(move |(file, text)| (*name, file, text)))
    {
        let place = format!("{bundle}/{file}");
        refuse_misshapen(&place, source)?;
        let set = PolicySet::from_str(source)
            .map_err(|error| refused(place.clone(), &described(&error, source)))?;
        if set.templates().next().is_some() {
            let what = "a template has no effect, because nothing links it".to_owned();
            return Err(LoadError::Refused {
                place,
                what,
                mend: "write a policy for each principal or resource",
            });
        }
        let mut in_order: Vec<&Policy> = set.policies().collect();
        in_order.sort_by_key(|policy| number(policy.id()));
        for (index, policy) in in_order.into_iter().enumerate() {
            let id = match policy.annotation("id") {
                Some(id) if !id.is_empty() && id.len() <= 128 && !id.contains(char::is_control) => {
                    id.to_owned()
                }
                Some(_) => {
                    return Err(refused(
                        place,
                        &"an `@id` is empty, longer than 128 bytes or holds controls",
                    ));
                }
                None => format!("{file}#{}", index.saturating_add(1)),
            };
            let own =
                obligations::Duties::of(policy).map_err(|what| refused(format!("{place} ({id})"), &what))?;
            if duties.insert(id.clone(), own).is_some() {
                return Err(refused(place, &format!("two policies have the id `{id}`")));
            }
            all.add(policy.new_id(PolicyId::new(&id))).map_err(|error| refused(place.clone(), &error))?;
        }
    }
    Ok((all, duties))
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
