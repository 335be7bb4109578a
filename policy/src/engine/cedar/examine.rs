//! All that Cedar's parser and validator say of a bundle, each at its place: for people who write policies.
use super::load::schema_of;
use crate::PolicyBundle;
use cedar_policy::{PolicyId, PolicySet, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

/// What a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A policy does not parse.
    Syntax,
    /// A policy does not fit the schema.
    Invalid,
    /// The schema is not as it must be.
    Bundle,
    /// A policy can never apply.
    Impossible,
    /// Another warning of the validator.
    Advice,
}

/// Something that is wrong.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    pub(crate) file: String,
    pub(crate) row: u32,
    pub(crate) col: u32,
    pub(crate) what: String,
    pub(crate) help: Option<String>,
}

/// What is wrong with a bundle's policies and schema.
pub(crate) fn problems(bundle: &PolicyBundle) -> Vec<Problem> {
    let mut found = Vec::new();
    let schema = match schema_of(&[("", bundle)]) {
        Ok(schema) => schema,
        Err(error) => {
            let file = "schema.cedarschema".to_owned();
            let what = error.to_string();
            return vec![Problem { kind: Kind::Bundle, file, row: 1, col: 1, what, help: None }];
        }
    };
    let mut all = PolicySet::new();
    let mut files: BTreeMap<PolicyId, (&str, &str)> = BTreeMap::new();
    for (file, text) in bundle.policies().filter(|(file, _)| file.ends_with(".cedar")) {
        if let Err(shape) = super::load::refuse_misshapen(file, text) {
            let what = shape.to_string();
            found.push(Problem {
                kind: Kind::Syntax,
                file: file.to_owned(),
                row: 1,
                col: 1,
                what,
                help: None,
            });
            continue;
        }
        match PolicySet::from_str(text) {
            Err(errors) => {
                errors.iter().for_each(|error| found.push(told(Kind::Syntax, error, (file, text))));
            }
            Ok(set) => {
                let named = |id: &PolicyId| PolicyId::new(format!("{file} {id}"));
                for policy in set.policies() {
                    files.insert(named(policy.id()), (file, text));
                    if let Err(error) = all.add(policy.new_id(named(policy.id()))) {
                        found.push(told(Kind::Invalid, &error, (file, text)));
                    }
                }
                for template in set.templates() {
                    files.insert(named(template.id()), (file, text));
                    if let Err(error) = all.add_template(template.new_id(named(template.id()))) {
                        found.push(told(Kind::Invalid, &error, (file, text)));
                    }
                }
            }
        }
    }
    let verdict = Validator::new(schema).validate(&all, ValidationMode::Strict);
    let mut refused = BTreeSet::new();
    for error in verdict.validation_errors() {
        refused.insert(error.policy_id());
        let place = files.get(error.policy_id()).copied().unwrap_or(("", ""));
        found.push(told(Kind::Invalid, error, place));
    }
    // What the validator warns of in a policy with errors follows from them.
    for warning in verdict.validation_warnings().filter(|warning| !refused.contains(warning.policy_id())) {
        let place = files.get(warning.policy_id()).copied().unwrap_or(("", ""));
        let impossible = matches!(warning, ValidationWarning::ImpossiblePolicy(_));
        found.push(told(if impossible { Kind::Impossible } else { Kind::Advice }, warning, place));
    }
    found
}

fn told(kind: Kind, error: &(impl Diagnostic + ?Sized), (file, text): (&str, &str)) -> Problem {
    let offset = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    let (row, col) = place(text, offset.unwrap_or(0));
    let mut what = error.to_string();
    // The policy is named by its place.
    let named = format!("for policy `{file} ");
    if let Some(rest) =
        what.strip_prefix(&named).and_then(|rest| rest.split_once("`, ")).map(|(_, rest)| rest)
    {
        what = rest.to_owned();
    }
    Problem { kind, file: file.to_owned(), row, col, what, help: error.help().map(|help| help.to_string()) }
}

/// Row and column, in characters, of a byte.
pub(super) fn place(text: &str, offset: usize) -> (u32, u32) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    let before = text.get(..end).unwrap_or("");
    let row = before.matches('\n').count().saturating_add(1);
    let col = before.rsplit('\n').next().unwrap_or("").chars().count().saturating_add(1);
    (u32::try_from(row).unwrap_or(u32::MAX), u32::try_from(col).unwrap_or(u32::MAX))
}
