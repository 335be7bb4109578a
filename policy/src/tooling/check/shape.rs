//! What `input` is made of, from the published schema, and what other enforcement points fill that this one does not.
use postern_rego::Value;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::OnceLock;

const SCHEMA: &str = include_str!("../../../../schema/query.json");

/// What may stand at a place of the input.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// Members by name, and what any other member may be: `None` where there is no other.
    Object(BTreeMap<String, Shape>, Option<Box<Shape>>),
    Array(Box<Shape>),
    /// A value of one type, and the values that it may be if they are few.
    Scalar(&'static str, Option<Vec<Value>>),
    Any,
}

/// The whole input.
pub(super) fn input() -> &'static Shape {
    static SHAPE: OnceLock<Shape> = OnceLock::new();
    SHAPE.get_or_init(|| {
        let schema: Json = serde_json::from_str(SCHEMA).unwrap_or_default();
        shape_of(&schema, &schema)
    })
}

fn shape_of(schema: &Json, whole: &Json) -> Shape {
    if let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
        let found = whole.pointer(reference.trim_start_matches('#'));
        return found.map_or(Shape::Any, |schema| shape_of(schema, whole));
    }
    let text = |value: &Json| value.as_str().map(Value::from);
    let among = match (schema.get("enum").and_then(Json::as_array), schema.get("const")) {
        (Some(values), _) => values.iter().map(text).collect(),
        (None, Some(value)) => text(value).map(|value| vec![value]),
        (None, None) => None,
    };
    match schema.get("type").and_then(Json::as_str) {
        Some("object") => {
            let members = schema.get("properties").and_then(Json::as_object);
            let members = members.into_iter().flatten();
            let members = members.map(|(name, member)| (name.clone(), shape_of(member, whole)));
            let open = match schema.get("additionalProperties") {
                Some(Json::Bool(false)) => None,
                Some(other @ Json::Object(_)) => Some(Box::new(shape_of(other, whole))),
                Some(_) | None => Some(Box::new(Shape::Any)),
            };
            Shape::Object(members.collect(), open)
        }
        Some("array") => {
            let items = schema.get("items").map_or(Shape::Any, |items| shape_of(items, whole));
            Shape::Array(Box::new(items))
        }
        Some("string") => Shape::Scalar("string", among),
        Some("integer" | "number") => Shape::Scalar("number", None),
        Some("boolean") => Shape::Scalar("boolean", None),
        Some(_) | None => Shape::Any,
    }
}

/// Where a path leads out of what there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// Which part is the first that is not there.
    pub(super) at: usize,
    /// What to write instead.
    pub(super) mend: String,
}

impl Shape {
    /// What stands at a path; a part that is not known (`None`) leads to any member.
    pub(super) fn at(&self, path: &[Option<Value>]) -> Result<&Shape, Missing> {
        const ANY: &Shape = &Shape::Any;
        let mut shape = self;
        for (at, part) in path.iter().enumerate() {
            let missing = |mend: String| Err(Missing { at, mend });
            shape = match (shape, part) {
                (Self::Any, _) => return Ok(ANY),
                (Self::Object(..), None) => return Ok(ANY),
                (Self::Object(members, open), Some(key)) => {
                    let name = key.as_str();
                    match (name.and_then(|name| members.get(name)), open) {
                        (Some(member), _) => member,
                        (None, Some(open)) => open,
                        (None, None) => {
                            return missing(nearest(path.get(..at).unwrap_or_default(), key, members));
                        }
                    }
                }
                (Self::Array(items), None) => items,
                (Self::Array(items), Some(key)) if key.as_i64().is_some() => items,
                (Self::Array(_), Some(_)) => return missing("it is an array: ask by position".to_owned()),
                (Self::Scalar(kind, _), _) => return missing(format!("a {kind} has no members")),
            };
        }
        Ok(shape)
    }

    /// The name of its type, where it has one alone.
    pub(super) fn type_name(&self) -> Option<&'static str> {
        match self {
            Self::Object(..) => Some("object"),
            Self::Array(_) => Some("array"),
            Self::Scalar(kind, _) => Some(kind),
            Self::Any => None,
        }
    }

    fn leaves(&self, path: &str, found: &mut Vec<String>) {
        if let Self::Object(members, _) = self {
            for (name, member) in members {
                let path = format!("{path}.{name}");
                member.leaves(&path, found);
                found.push(path);
            }
        }
    }
}

fn plain(name: &str) -> String {
    name.replace(['_', '-'], "").to_lowercase()
}

/// What was meant: a member of the same object, else a field of that name elsewhere, else what there is.
fn nearest(above: &[Option<Value>], key: &Value, members: &BTreeMap<String, Shape>) -> String {
    let above: Vec<&str> = above.iter().flatten().filter_map(Value::as_str).collect();
    let above = std::iter::once("input").chain(above).collect::<Vec<_>>().join(".");
    let wanted = plain(key.as_str().unwrap_or(""));
    let near = |name: &str| strsim::jaro_winkler(&wanted, &plain(name));
    let best = |names: &[String], least: f64| {
        let rated = names.iter().map(|path| (near(path.rsplit('.').next().unwrap_or(path)), path));
        rated
            .filter(|(near, _)| *near >= least)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, path)| path.clone())
    };
    let here: Vec<String> = members.keys().map(|name| format!("{above}.{name}")).collect();
    let mut everywhere = Vec::new();
    input().leaves("input", &mut everywhere);
    match best(&here, 0.85).or_else(|| best(&everywhere, 0.95)) {
        Some(path) => format!("did you mean `{path}`?"),
        None => format!("there are: {}", members.keys().cloned().collect::<Vec<_>>().join(", ")),
    }
}

/// Fields of Envoy's request that are never filled here, with what to ask for instead.
const NOT_SEEN: &[(&str, &str)] = &[
    (
        "attributes.contextExtensions",
        "routes are told apart by `input.postern.route`, their settings stand in the bundle's data",
    ),
    ("attributes.metadataContext", "a verified token's members are `input.claims`"),
    ("attributes.routeMetadataContext", "routes are told apart by `input.postern.route`"),
    (
        "attributes.source.certificate",
        "the verified identity is `input.source_principal`, the serial number `input.postern.certificate_serial`",
    ),
    ("attributes.source.service", "the verified identity is `input.source_principal`"),
    ("attributes.source.labels", "put labels into the bundle's data, by SPIFFE ID"),
    ("attributes.destination.certificate", "the service is `input.postern.service`"),
    ("attributes.destination.service", "the service is `input.postern.service`"),
    ("attributes.destination.labels", "put labels into the bundle's data, by `input.postern.service`"),
    ("attributes.source.address.pipe", "who comes by a Unix socket has no `address`"),
    ("attributes.destination.address.pipe", "where callers come by a Unix socket there is no `address`"),
    ("attributes.source.address.envoyInternalAddress", "callers come over TCP: `address.socketAddress`"),
    ("attributes.destination.address.envoyInternalAddress", "callers come over TCP: `address.socketAddress`"),
    ("attributes.source.address.socketAddress.protocol", "it is always TCP"),
    ("attributes.destination.address.socketAddress.protocol", "it is always TCP"),
    ("attributes.source.address.socketAddress.namedPort", "the port is `portValue`"),
    ("attributes.destination.address.socketAddress.namedPort", "the port is `portValue`"),
    ("attributes.source.address.socketAddress.resolverName", "nothing is resolved: the address is `address`"),
    (
        "attributes.destination.address.socketAddress.resolverName",
        "nothing is resolved: the address is `address`",
    ),
    ("attributes.request.http.query", "the query is `input.parsed_query`, and stands behind `?` in `path`"),
    ("attributes.request.http.fragment", "a fragment is never sent"),
    ("attributes.request.http.headerMap", "the fields are `input.attributes.request.http.headers`"),
];

/// What to ask for instead of a field that only other enforcement points fill; and how many parts name it.
pub(super) fn not_seen(path: &[Option<Value>]) -> Option<(usize, &'static str)> {
    let names: Vec<&str> = path.iter().map_while(|part| part.as_ref().and_then(Value::as_str)).collect();
    NOT_SEEN.iter().find_map(|(field, instead)| {
        let parts: Vec<&str> = field.split('.').collect();
        names.starts_with(&parts).then_some((parts.len(), *instead))
    })
}

/// The fields that are never filled.
#[cfg(test)]
pub(super) fn never_filled() -> impl Iterator<Item = &'static str> {
    NOT_SEEN.iter().map(|(field, _)| *field)
}
