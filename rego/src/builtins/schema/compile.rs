//! From a document to a schema. What is no schema is told in the words of `gojsonschema`.
use super::exact::{Exact, canonical};
use super::keywords::{self as k, invalid_type, must_be_of_type};
use super::{Fault, references};
use crate::{Object, Value};
use std::collections::HashMap;

/// A schema with all of its parts, which refer to each other by their numbers. The first one is the schema itself.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) nodes: Vec<Node>,
    /// Every regular expression in it, and what is wrong with the schema if it is none.
    pub(super) patterns: Vec<(String, String)>,
}

/// What may follow an array's own items, or stand beside an object's own members.
#[derive(Clone, Copy, Debug)]
pub(super) enum Additional {
    Allowed(bool),
    Schema(usize),
}

#[derive(Debug)]
pub(super) enum Dependency {
    Members(Vec<String>),
    Schema(usize),
}

/// One schema.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// A schema that is `true` or `false`.
    pub(super) pass: Option<bool>,
    pub(super) reference: Option<usize>,
    pub(super) types: Vec<&'static str>,
    pub(super) properties: Vec<(String, usize)>,
    pub(super) pattern_properties: Vec<(String, usize)>,
    pub(super) additional_properties: Option<Additional>,
    pub(super) property_names: Option<usize>,
    pub(super) dependencies: HashMap<String, Dependency>,
    pub(super) items: Vec<usize>,
    /// Whether all items must fit the one schema.
    pub(super) items_alike: bool,
    pub(super) additional_items: Option<Additional>,
    pub(super) contains: Option<usize>,
    pub(super) multiple_of: Option<Exact>,
    pub(super) minimum: Option<Exact>,
    pub(super) exclusive_minimum: Option<Exact>,
    pub(super) maximum: Option<Exact>,
    pub(super) exclusive_maximum: Option<Exact>,
    pub(super) length: (Option<usize>, Option<usize>),
    pub(super) member_count: (Option<usize>, Option<usize>),
    pub(super) item_count: (Option<usize>, Option<usize>),
    pub(super) pattern: Option<String>,
    pub(super) format: String,
    pub(super) required: Vec<String>,
    pub(super) unique_items: bool,
    /// Literals in canonical form.
    pub(super) constant: Option<String>,
    pub(super) choices: Vec<String>,
    pub(super) any_of: Vec<usize>,
    pub(super) one_of: Vec<usize>,
    pub(super) all_of: Vec<usize>,
    pub(super) not: Option<usize>,
    pub(super) condition: Option<usize>,
    pub(super) consequence: Option<usize>,
    pub(super) alternative: Option<usize>,
}

/// The drafts. Without a known `$schema` what all of them allow is allowed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Draft {
    Four,
    Six,
    Seven,
    Hybrid,
}

/// The most schemas that one may be made of, and how deep references may lead on.
const MAX_NODES: usize = 20_000;
const MAX_DEPTH: usize = 192;

impl Schema {
    pub(super) fn compile(document: &Value) -> Result<Self, Fault> {
        let draft = draft(document)?;
        let name = references::root_name(document)?;
        references::check_names(document)?;
        let schema = Self { nodes: Vec::new(), patterns: Vec::new() };
        let mut compiler = Compiler { document, draft, name, schema, referenced: HashMap::new(), depth: 0 };
        compiler.schema(document)?;
        Ok(compiler.schema)
    }
}

fn draft(document: &Value) -> Result<Draft, Fault> {
    let members = match document {
        Value::Bool(_) => return Ok(Draft::Hybrid),
        Value::Object(members) => members,
        _ => return Err(Fault::Invalid("schema is invalid".to_owned())),
    };
    let url = match members.member("$schema") {
        None => return Ok(Draft::Hybrid),
        Some(Value::String(url)) => url.as_ref(),
        Some(_) => return Err(must_be_of_type("$schema", "string")),
    };
    Ok(match url.strip_suffix('#').unwrap_or(url) {
        "http://json-schema.org/draft-04/schema" => Draft::Four,
        "http://json-schema.org/draft-06/schema" => Draft::Six,
        "http://json-schema.org/draft-07/schema" => Draft::Seven,
        // Any address without a trap is one that is not known.
        other
            if other
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '.' | '-' | '_')) =>
        {
            Draft::Hybrid
        }
        other => return Err(Fault::refused(format!("the address `{other}` of a draft is not a plain one"))),
    })
}

struct Compiler<'v> {
    document: &'v Value,
    draft: Draft,
    name: Option<String>,
    schema: Schema,
    /// What was referred to already, by the path.
    referenced: HashMap<String, usize>,
    depth: usize,
}

impl<'v> Compiler<'v> {
    fn schema(&mut self, value: &'v Value) -> Result<usize, Fault> {
        let index = self.schema.nodes.len();
        if index >= MAX_NODES || self.depth >= MAX_DEPTH {
            return Err(Fault::refused("the schema is made of too many parts".to_owned()));
        }
        self.schema.nodes.push(Node::default());
        self.depth += 1;
        let node = match value {
            Value::Bool(pass) if self.draft >= Draft::Six => {
                let mut node = Box::<Node>::default();
                node.pass = Some(*pass);
                node
            }
            Value::Object(members) => self.node(members)?,
            _ => return Err(Fault::Invalid("Expected: Valid Schema, given: Invalid JSON".to_owned())),
        };
        self.depth -= 1;
        if let Some(place) = self.schema.nodes.get_mut(index) {
            *place = *node;
        }
        Ok(index)
    }

    /// Boxed, because one schema lies within another on the stack while they are read.
    fn node(&mut self, m: &'v Object) -> Result<Box<Node>, Fault> {
        let old_name = self.draft == Draft::Four || (self.draft == Draft::Hybrid && m.member("id").is_some());
        k::string(m, if old_name { "id" } else { "$id" })?;
        self.definitions(m)?;
        k::string(m, "title")?;
        k::string(m, "description")?;
        let mut node = Box::<Node>::default();
        let reference = k::string(m, "$ref")?;
        if let Some(reference) = reference {
            node.reference = Some(self.reference(reference)?);
        }
        match self.keywords(m, &mut node) {
            // Beside a reference OPA reads the other keywords or does not, as it happens to come by.
            Err(Fault::Invalid(why)) if reference.is_some() => {
                Err(Fault::refused(format!("beside a reference the schema is invalid: {why}")))
            }
            Err(fault) => Err(fault),
            Ok(()) => Ok(node),
        }
    }

    fn definitions(&mut self, m: &'v Object) -> Result<(), Fault> {
        let wrong = || invalid_type("Array Of Schemas", "definitions");
        match m.member("definitions") {
            None => Ok(()),
            Some(Value::Object(definitions)) => definitions.iter().try_for_each(|(_, value)| match value {
                Value::Bool(_) | Value::Object(_) => self.schema(value).map(|_| ()),
                _ => Err(wrong()),
            }),
            Some(_) => Err(wrong()),
        }
    }

    fn reference(&mut self, reference: &str) -> Result<usize, Fault> {
        let pointer = references::pointer(reference, self.name.as_deref())?;
        if let Some(index) = self.referenced.get(pointer) {
            return Ok(*index);
        }
        // Registered before it is read, because it may refer to itself.
        self.referenced.insert(pointer.to_owned(), self.schema.nodes.len());
        let value = references::resolve(self.document, pointer)?;
        match value {
            Value::Bool(_) | Value::Object(_) => self.schema(value),
            _ => Err(must_be_of_type("Valid Schema", "object")),
        }
    }

    fn keywords(&mut self, m: &'v Object, node: &mut Node) -> Result<(), Fault> {
        node.types = k::types(m)?;
        self.of_objects(m, node)?;
        self.of_arrays(m, node)?;
        self.of_numbers(m, node)?;
        self.of_strings(m, node)?;
        node.member_count = k::bounds(m, "minProperties", "maxProperties")?;
        for name in k::array(m, "required")? {
            let name = name.as_str().ok_or_else(|| invalid_type("string", "required"))?;
            k::add_unique(&mut node.required, name.to_owned(), "required")?;
        }
        node.item_count = (k::count(m, "minItems")?, k::count(m, "maxItems")?);
        if let Some(unique) = m.member("uniqueItems") {
            let Value::Bool(unique) = unique else {
                return Err(Fault::Invalid("uniqueItems must be of a boolean".to_owned()));
            };
            node.unique_items = *unique;
        }
        if let Some(contains) = m.member("contains").filter(|_| self.draft >= Draft::Six) {
            node.contains = Some(self.schema(contains)?);
        }
        if let Some(constant) = m.member("const").filter(|_| self.draft >= Draft::Six) {
            node.constant = Some(canonical(constant)?);
        }
        for choice in k::array(m, "enum")? {
            k::add_unique(&mut node.choices, canonical(choice)?, "enum")?;
        }
        self.of_schemas(m, node)
    }

    fn of_objects(&mut self, m: &'v Object, node: &mut Node) -> Result<(), Fault> {
        match m.member("properties") {
            None => {}
            Some(Value::Object(properties)) => node.properties = self.named(properties)?,
            Some(_) => return Err(must_be_of_type("Properties", "object")),
        }
        node.additional_properties = self.additional(m, "additionalProperties")?;
        match m.member("patternProperties") {
            None => {}
            Some(Value::Object(properties)) => {
                for (pattern, _) in properties {
                    let pattern = pattern.as_str().unwrap_or_default();
                    let wrong = format!("Invalid regex pattern '{pattern}'");
                    self.schema.patterns.push((pattern.to_owned(), wrong));
                }
                node.pattern_properties = self.named(properties)?;
            }
            Some(_) => return Err(invalid_type("Valid Schema", "patternProperties")),
        }
        match m.member("propertyNames").filter(|_| self.draft >= Draft::Six) {
            None => {}
            Some(names @ (Value::Bool(_) | Value::Object(_))) => {
                node.property_names = Some(self.schema(names)?);
            }
            Some(_) => return Err(invalid_type("Valid Schema", "patternProperties")),
        }
        match m.member("dependencies") {
            None => Ok(()),
            Some(Value::Object(dependencies)) => self.dependencies(dependencies, node),
            Some(_) => Err(must_be_of_type("dependencies", "object")),
        }
    }

    fn named(&mut self, members: &'v Object) -> Result<Vec<(String, usize)>, Fault> {
        let name = |name: &Value| name.as_str().unwrap_or_default().to_owned();
        members.iter().map(|(key, value)| Ok((name(key), self.schema(value)?))).collect()
    }

    fn additional(&mut self, m: &'v Object, keyword: &str) -> Result<Option<Additional>, Fault> {
        match m.member(keyword) {
            None => Ok(None),
            Some(Value::Bool(allowed)) => Ok(Some(Additional::Allowed(*allowed))),
            Some(value @ Value::Object(_)) => Ok(Some(Additional::Schema(self.schema(value)?))),
            Some(_) => Err(invalid_type("boolean/Valid Schema", keyword)),
        }
    }

    fn dependencies(&mut self, dependencies: &'v Object, node: &mut Node) -> Result<(), Fault> {
        let wrong = || must_be_of_type("Dependency", "Schema Or Array Of Strings");
        for (name, value) in dependencies {
            let dependency = match value {
                Value::Array(names) => {
                    let names = names.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(wrong));
                    Dependency::Members(names.collect::<Result<_, _>>()?)
                }
                Value::Bool(_) | Value::Object(_) => Dependency::Schema(self.schema(value)?),
                _ => return Err(wrong()),
            };
            node.dependencies.insert(name.as_str().unwrap_or_default().to_owned(), dependency);
        }
        Ok(())
    }

    fn of_arrays(&mut self, m: &'v Object, node: &mut Node) -> Result<(), Fault> {
        let wrong = || invalid_type("Valid Schema/Array Of Schemas", "items");
        match m.member("items") {
            None => {}
            Some(Value::Array(schemas)) => {
                for schema in schemas.iter() {
                    match schema {
                        Value::Bool(_) | Value::Object(_) => node.items.push(self.schema(schema)?),
                        _ => return Err(wrong()),
                    }
                }
            }
            Some(schema @ (Value::Bool(_) | Value::Object(_))) => {
                node.items.push(self.schema(schema)?);
                node.items_alike = true;
            }
            Some(_) => return Err(wrong()),
        }
        node.additional_items = self.additional(m, "additionalItems")?;
        Ok(())
    }

    fn of_numbers(&mut self, m: &'v Object, node: &mut Node) -> Result<(), Fault> {
        if let Some(value) = m.member("multipleOf") {
            let Value::Number(number) = value else { return Err(invalid_type("Number", "multipleOf")) };
            let multiple = Exact::of(number)?;
            if !multiple.is_positive() {
                return Err(Fault::Invalid("multipleOf must be strictly greater than 0".to_owned()));
            }
            node.multiple_of = Some(multiple);
        }
        (node.minimum, node.exclusive_minimum) = self.limits(m, "minimum", "exclusiveMinimum")?;
        (node.maximum, node.exclusive_maximum) = self.limits(m, "maximum", "exclusiveMaximum")?;
        Ok(())
    }

    /// A limit, and the one that must not be reached. In draft 4 the latter says only that the former is one.
    fn limits(
        &self,
        m: &Object,
        keyword: &str,
        exclusive: &str,
    ) -> Result<(Option<Exact>, Option<Exact>), Fault> {
        let limit = match m.member(keyword) {
            None => None,
            Some(Value::Number(number)) => Some(Exact::of(number)?),
            Some(_) => return Err(Fault::Invalid(format!("{keyword} must be of a Number"))),
        };
        match (m.member(exclusive), self.draft) {
            (None, _) => Ok((limit, None)),
            (Some(Value::Bool(_)), Draft::Four | Draft::Hybrid) if limit.is_none() => {
                Err(Fault::Invalid(format!("{exclusive} cannot be used without {keyword}")))
            }
            (Some(Value::Bool(true)), Draft::Four | Draft::Hybrid) => Ok((None, limit)),
            (Some(Value::Bool(false)), Draft::Four | Draft::Hybrid) => Ok((limit, None)),
            (Some(Value::Number(number)), Draft::Six | Draft::Seven | Draft::Hybrid) => {
                Ok((limit, Some(Exact::of(number)?)))
            }
            (Some(_), Draft::Four) => Err(invalid_type("boolean", exclusive)),
            (Some(_), Draft::Hybrid) => Err(invalid_type("boolean/number", exclusive)),
            (Some(_), _) => Err(invalid_type("number", exclusive)),
        }
    }

    fn of_strings(&mut self, m: &'v Object, node: &mut Node) -> Result<(), Fault> {
        node.length = k::bounds(m, "minLength", "maxLength")?;
        if let Some(pattern) = k::string(m, "pattern")? {
            self.schema.patterns.push((pattern.to_owned(), "pattern must be a valid regex".to_owned()));
            node.pattern = Some(pattern.to_owned());
        }
        node.format = k::string(m, "format")?.unwrap_or_default().to_owned();
        Ok(())
    }

    fn of_schemas(&mut self, m: &'v Object, node: &mut Node) -> Result<(), Fault> {
        for (keyword, schemas) in
            [("oneOf", &mut node.one_of), ("anyOf", &mut node.any_of), ("allOf", &mut node.all_of)]
        {
            for schema in k::array(m, keyword)? {
                schemas.push(self.schema(schema)?);
            }
        }
        node.not = self.part(m, "not")?;
        if self.draft >= Draft::Seven {
            node.condition = self.part(m, "if")?;
            node.consequence = self.part(m, "then")?;
            node.alternative = self.part(m, "else")?;
        }
        Ok(())
    }

    fn part(&mut self, m: &'v Object, keyword: &str) -> Result<Option<usize>, Fault> {
        match m.member(keyword) {
            None => Ok(None),
            Some(schema @ (Value::Bool(_) | Value::Object(_))) => Ok(Some(self.schema(schema)?)),
            Some(_) => Err(Fault::Invalid(format!("{keyword} must be of an object"))),
        }
    }
}
