//! What is refused at load beyond what the language refuses: what a decision must not do, and rules that stand where
//! others have data.
use crate::document::Document;
use crate::{LoadError, PolicyBundle};
use postern_rego::{Policy, Reads, Value};

/// Builtins whose result is not given by their arguments, with what to do instead. The moment of the decision is part of
/// the question, and `io.jwt.decode_verify` asks for no more than that.
const REFUSED: &[(&str, &str)] = &[
    ("rand.intn", "a decision must repeat; take a field of the request instead"),
    ("uuid.rfc4122", "a decision must repeat; take `input.attributes.request.http.id` instead"),
    ("opa.runtime", "the environment is no part of a decision; put the values into the bundle's data"),
    ("io.jwt.encode_sign", "a decision signs nothing: the service that needs a token signs it"),
    ("io.jwt.encode_sign_raw", "a decision signs nothing: the service that needs a token signs it"),
];

/// What to do instead of calling a builtin that is refused.
pub(crate) fn refused_builtin(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, mend)| *mend)
}

/// Refuses what the entry point must not call.
pub(super) fn refuse_nondeterminism(entry: &str, reads: &Reads) -> Result<(), LoadError> {
    match REFUSED.iter().find(|(name, _)| reads.nondeterministic.contains(name)) {
        Some((name, mend)) => Err(LoadError::Refused {
            place: entry.to_owned(),
            what: format!("builtin `{name}` is refused"),
            mend: (*mend).to_owned(),
        }),
        None => Ok(()),
    }
}

/// A rule and a data document may not share a path, as in OPA.
pub(super) fn refuse_rules_over_data(
    bundles: &[(&str, &PolicyBundle)],
    policy: &Policy,
) -> Result<(), LoadError> {
    for (bundle, data) in bundles.iter().map(|(name, bundle)| (*name, &bundle.data)) {
        for rule in policy.rules() {
            let mut at = Some(data);
            let mut collides = false;
            for part in rule {
                let members = at.and_then(Document::as_object);
                collides = at.is_some() && members.is_none();
                let name = part.as_str();
                at = members.and_then(|members| name.and_then(|name| members.get(name)));
                if at.is_none() {
                    break;
                }
            }
            if collides || at.is_some() {
                return Err(LoadError::RuleOverData { path: dotted(rule), bundle: bundle.to_owned() });
            }
        }
    }
    Ok(())
}

fn dotted(path: &[Value]) -> String {
    let parts = path.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned));
    std::iter::once("data".to_owned()).chain(parts).collect::<Vec<_>>().join(".")
}
