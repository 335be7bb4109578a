//! Whether a document fits a schema.
use super::compile::{Additional, Dependency, Node, Schema};
use super::exact::{Exact, canonical};
use super::report::{Error, Place, ROOT, Report};
use super::{format, matches};
use crate::builtins::{BuiltinError, Context};
use crate::{Number, Object, Value};
use std::cmp::Ordering;
use std::collections::HashMap;

/// How deep schemas may lead into each other: each level costs stack.
const MAX_DEPTH: usize = 200;

impl Schema {
    /// What is wrong with a document; nothing if it fits.
    pub(super) fn validate(
        &self,
        context: &mut Context,
        document: &Value,
    ) -> Result<Vec<Error>, BuiltinError> {
        let mut validator = Validator { schema: self, context, depth: 0 };
        Ok(validator.part(0, document, &ROOT)?.errors)
    }
}

struct Validator<'a> {
    schema: &'a Schema,
    context: &'a mut Context,
    depth: usize,
}

type Step = Result<(), BuiltinError>;

impl<'a> Validator<'a> {
    /// A report of its own on a part of the schema.
    fn part(&mut self, index: usize, value: &Value, place: &Place<'_>) -> Result<Report, BuiltinError> {
        let mut report = Report::default();
        self.node(index, value, place, &mut report)?;
        Ok(report)
    }

    fn node(&mut self, index: usize, value: &Value, place: &Place<'_>, report: &mut Report) -> Step {
        self.context.charge(2)?;
        let Some(node) = self.schema.nodes.get(index) else { return Ok(()) };
        if self.depth >= MAX_DEPTH {
            return Err(BuiltinError::Budget("the schema leads too deep into itself".to_owned()));
        }
        if let Some(pass) = node.pass {
            if !pass {
                self.add(report, "false", place, "False always fails validation".to_owned())?;
            }
            return Ok(());
        }
        self.depth += 1;
        match node.reference {
            Some(reference) => self.node(reference, value, place, report)?,
            None => self.typed(node, value, place, report)?,
        }
        self.depth -= 1;
        Ok(())
    }

    /// Charges for an error, of which the path is the part that may be long.
    fn add(&mut self, report: &mut Report, kind: &'static str, place: &Place<'_>, text: String) -> Step {
        let length = place.length().saturating_add(text.len());
        self.context.charge_bytes(length.saturating_mul(2))?;
        self.context.charge(8)?;
        report.add(kind, place, text);
        Ok(())
    }

    fn typed(&mut self, node: &'a Node, value: &Value, place: &Place<'_>, report: &mut Report) -> Step {
        let given = match value {
            Value::Number(number) if is_integer(number)? => "integer",
            other => other.type_name(),
        };
        let fits = node.types.is_empty()
            || node.types.contains(&given)
            || (given == "integer" && node.types.contains(&"number"));
        if !fits {
            let expected = match node.types.as_slice() {
                [one] => (*one).to_owned(),
                several => format!("[{}]", several.join(",")),
            };
            let text = format!("Invalid type. Expected: {expected}, given: {given}");
            return self.add(report, "invalid_type", place, text);
        }
        self.combined(node, value, place, report)?;
        match value {
            Value::Number(number) => self.number(node, number, place, report)?,
            Value::Array(items) => self.array(node, items, place, report)?,
            Value::Object(members) => self.object(node, members, place, report)?,
            _ => {}
        }
        self.common(node, value, place, report)?;
        match value {
            Value::String(text) => self.string(node, text, place, report)?,
            Value::Object(members) => {
                for (name, index) in &node.properties {
                    if let Some(value) = members.member(name) {
                        self.node(*index, value, &Place { name, parent: Some(place) }, report)?;
                    }
                }
            }
            _ => {}
        }
        report.point();
        Ok(())
    }

    fn combined(&mut self, node: &'a Node, value: &Value, place: &Place<'_>, report: &mut Report) -> Step {
        self.any_of(node, value, place, report)?;
        self.one_of(node, value, place, report)?;
        let mut all = true;
        for index in &node.all_of {
            let part = self.part(*index, value, place)?;
            all &= part.is_valid();
            report.merge(part);
        }
        if !all {
            self.add(report, "number_all_of", place, "Must validate all the schemas (allOf)".to_owned())?;
        }
        if let Some(not) = node.not
            && self.part(not, value, place)?.is_valid()
        {
            self.add(report, "number_not", place, "Must not validate the schema (not)".to_owned())?;
        }
        self.dependencies(node, value, place, report)?;
        self.conditional(node, value, place, report)?;
        report.point();
        Ok(())
    }

    fn any_of(&mut self, node: &'a Node, value: &Value, place: &Place<'_>, report: &mut Report) -> Step {
        let mut best = None;
        for index in &node.any_of {
            let part = self.part(*index, value, place)?;
            if part.is_valid() {
                return Ok(());
            }
            Report::keep_better(&mut best, part);
        }
        if let Some(best) = best {
            let text = "Must validate at least one schema (anyOf)".to_owned();
            self.add(report, "number_any_of", place, text)?;
            report.merge(best);
        }
        Ok(())
    }

    fn one_of(&mut self, node: &'a Node, value: &Value, place: &Place<'_>, report: &mut Report) -> Step {
        let (mut best, mut valid) = (None, 0_usize);
        for index in &node.one_of {
            let part = self.part(*index, value, place)?;
            if part.is_valid() {
                valid += 1;
            } else if valid == 0 {
                Report::keep_better(&mut best, part);
            }
        }
        if !node.one_of.is_empty() && valid != 1 {
            let text = "Must validate one and only one schema (oneOf)".to_owned();
            self.add(report, "number_one_of", place, text)?;
            if let Some(best) = best.filter(|_| valid == 0) {
                report.merge(best);
            }
        }
        Ok(())
    }

    fn dependencies(
        &mut self,
        node: &'a Node,
        value: &Value,
        place: &Place<'_>,
        report: &mut Report,
    ) -> Step {
        let Some(members) = value.as_object().filter(|_| !node.dependencies.is_empty()) else {
            return Ok(());
        };
        self.context.charge_items(members.len())?;
        for (name, _) in members {
            match name.as_str().and_then(|name| node.dependencies.get(name)) {
                None => {}
                Some(Dependency::Schema(index)) => self.node(*index, value, place, report)?,
                Some(Dependency::Members(names)) => {
                    self.context.charge_items(names.len())?;
                    for name in names.iter().filter(|name| members.member(name).is_none()) {
                        self.add(report, "missing_dependency", place, format!("Has a dependency on {name}"))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn conditional(&mut self, node: &'a Node, value: &Value, place: &Place<'_>, report: &mut Report) -> Step {
        let Some(condition) = node.condition else { return Ok(()) };
        let (branch, kind, text) = if self.part(condition, value, place)?.is_valid() {
            (node.consequence, "condition_then", "Must validate \"then\" as \"if\" was valid")
        } else {
            (node.alternative, "condition_else", "Must validate \"else\" as \"if\" was not valid")
        };
        let Some(branch) = branch else { return Ok(()) };
        let part = self.part(branch, value, place)?;
        if !part.is_valid() {
            self.add(report, kind, place, text.to_owned())?;
            report.merge(part);
        }
        Ok(())
    }

    fn common(&mut self, node: &'a Node, value: &Value, place: &Place<'_>, report: &mut Report) -> Step {
        if node.constant.is_some() || !node.choices.is_empty() {
            self.context.charge_values([value])?;
            let shown = canonical(value).map_err(super::Fault::failed)?;
            if let Some(constant) = node.constant.as_ref().filter(|constant| **constant != shown) {
                let text = format!("{} does not match: {constant}", place.field());
                self.add(report, "const", place, text)?;
            }
            self.context.charge_items(node.choices.len())?;
            if !node.choices.is_empty() && !node.choices.contains(&shown) {
                let field = place.field();
                let text = format!("{field} must be one of the following: {}", node.choices.join(", "));
                self.add(report, "enum", place, text)?;
            }
        }
        if let Value::String(text) = value
            && !format::fits(self.context, &node.format, text)?
        {
            self.add(report, "format", place, format!("Does not match format '{}'", node.format))?;
        }
        report.point();
        Ok(())
    }

    fn number(&mut self, node: &'a Node, number: &Number, place: &Place<'_>, report: &mut Report) -> Step {
        let limits = [
            (&node.maximum, "number_lte", "less than or equal to", false, Ordering::Greater),
            (&node.exclusive_maximum, "number_lt", "less than", true, Ordering::Greater),
            (&node.minimum, "number_gte", "greater than or equal to", false, Ordering::Less),
            (&node.exclusive_minimum, "number_gt", "greater than", true, Ordering::Less),
        ];
        if node.multiple_of.is_some() || limits.iter().any(|(limit, ..)| limit.is_some()) {
            self.context.charge(64)?;
            let exact = Exact::of(number).map_err(super::Fault::failed)?;
            if let Some(multiple) =
                node.multiple_of.as_ref().filter(|multiple| !exact.is_multiple_of(multiple))
            {
                let text = format!("Must be a multiple of {}", multiple.shown());
                self.add(report, "multiple_of", place, text)?;
            }
            for (limit, kind, words, exclusive, beyond) in limits {
                let Some(limit) = limit else { continue };
                let order = exact.compare(limit);
                if order == beyond || (exclusive && order == Ordering::Equal) {
                    self.add(report, kind, place, format!("Must be {words} {}", limit.shown()))?;
                }
            }
        }
        report.point();
        Ok(())
    }

    fn string(&mut self, node: &'a Node, text: &str, place: &Place<'_>, report: &mut Report) -> Step {
        if node.length != (None, None) {
            self.context.charge_bytes(text.len())?;
            let length = text.chars().count();
            if let Some(least) = node.length.0.filter(|least| length < *least) {
                let text = format!("String length must be greater than or equal to {least}");
                self.add(report, "string_gte", place, text)?;
            }
            if let Some(most) = node.length.1.filter(|most| length > *most) {
                let text = format!("String length must be less than or equal to {most}");
                self.add(report, "string_lte", place, text)?;
            }
        }
        if let Some(pattern) = &node.pattern
            && !matches(self.context, pattern, text)?
        {
            self.add(report, "pattern", place, format!("Does not match pattern '{pattern}'"))?;
        }
        report.point();
        Ok(())
    }

    fn array(&mut self, node: &'a Node, items: &[Value], place: &Place<'_>, report: &mut Report) -> Step {
        self.context.charge_items(items.len())?;
        for (index, item) in items.iter().enumerate() {
            let own = if node.items_alike { node.items.first() } else { node.items.get(index) };
            let schema = match (own, node.additional_items) {
                (Some(own), _) => *own,
                (None, Some(Additional::Schema(schema))) if !node.items.is_empty() => schema,
                (None, _) => continue,
            };
            let name = index.to_string();
            let part = self.part(schema, item, &Place { name: &name, parent: Some(place) })?;
            report.merge(part);
        }
        let more = !node.items_alike && !node.items.is_empty() && node.items.len() < items.len();
        if more && matches!(node.additional_items, Some(Additional::Allowed(false))) {
            let text = "No additional items allowed on array".to_owned();
            self.add(report, "array_no_additional_items", place, text)?;
        }
        if let Some(least) = node.item_count.0.filter(|least| items.len() < *least) {
            self.add(report, "array_min_items", place, format!("Array must have at least {least} items"))?;
        }
        if let Some(most) = node.item_count.1.filter(|most| items.len() > *most) {
            self.add(report, "array_max_items", place, format!("Array must have at most {most} items"))?;
        }
        if node.unique_items {
            self.unique(items, place, report)?;
        }
        if let Some(contains) = node.contains {
            self.contains(contains, items, place, report)?;
        }
        report.point();
        Ok(())
    }

    fn unique(&mut self, items: &[Value], place: &Place<'_>, report: &mut Report) -> Step {
        self.context.charge_values(items)?;
        let mut seen = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            if let Some(before) = seen.insert(canonical(item).map_err(super::Fault::failed)?, index) {
                self.add(report, "unique", place, format!("array items[{before},{index}] must be unique"))?;
            }
        }
        Ok(())
    }

    fn contains(&mut self, schema: usize, items: &[Value], place: &Place<'_>, report: &mut Report) -> Step {
        let mut best = None;
        for (index, item) in items.iter().enumerate() {
            let name = index.to_string();
            let part = self.part(schema, item, &Place { name: &name, parent: Some(place) })?;
            if part.is_valid() {
                return Ok(());
            }
            Report::keep_better(&mut best, part);
        }
        self.add(report, "contains", place, "At least one of the items must match".to_owned())?;
        if let Some(best) = best {
            report.merge(best);
        }
        Ok(())
    }

    fn object(&mut self, node: &'a Node, members: &Object, place: &Place<'_>, report: &mut Report) -> Step {
        self.context.charge_items(members.len().saturating_add(node.required.len()))?;
        if let Some(least) = node.member_count.0.filter(|least| members.len() < *least) {
            let text = format!("Must have at least {least} properties");
            self.add(report, "array_min_properties", place, text)?;
        }
        if let Some(most) = node.member_count.1.filter(|most| members.len() > *most) {
            let text = format!("Must have at most {most} properties");
            self.add(report, "array_max_properties", place, text)?;
        }
        for name in &node.required {
            if members.member(name).is_some() {
                report.point();
            } else {
                self.add(report, "required", place, format!("{name} is required"))?;
            }
        }
        for (name, value) in members {
            let name = name.as_str().unwrap_or_default();
            let place = &Place { name, parent: Some(place) };
            self.member(node, value, place, report)?;
        }
        for (name, _) in members.iter().filter(|_| node.property_names.is_some()) {
            let part = self.part(node.property_names.unwrap_or(0), name, place)?;
            if !part.is_valid() {
                let name = name.as_str().unwrap_or_default();
                let text = format!("Property name of \"{name}\" does not match");
                self.add(report, "invalid_property_name", place, text)?;
                report.merge(part);
            }
        }
        report.point();
        Ok(())
    }

    /// A member that patterns describe, or nothing does. Those that have a name are looked at later.
    fn member(&mut self, node: &'a Node, value: &Value, place: &Place<'_>, report: &mut Report) -> Step {
        let mut described = false;
        for (pattern, schema) in &node.pattern_properties {
            if matches(self.context, pattern, place.name)? {
                described = true;
                let part = self.part(*schema, value, place)?;
                report.merge(part);
            }
        }
        if described {
            report.point();
            return Ok(());
        }
        // In the order of the names, because an object's members are.
        if node.properties.binary_search_by(|(name, _)| name.as_str().cmp(place.name)).is_ok() {
            return Ok(());
        }
        match node.additional_properties {
            Some(Additional::Allowed(false)) => {
                let text = format!("Additional property {} is not allowed", place.name);
                let parent = place.parent.copied().unwrap_or(ROOT);
                self.add(report, "additional_property_not_allowed", &parent, text)
            }
            Some(Additional::Schema(schema)) => {
                let part = self.part(schema, value, place)?;
                report.merge(part);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn is_integer(number: &Number) -> Result<bool, BuiltinError> {
    Ok(number.as_i64().is_some() || Exact::of(number).map_err(super::Fault::failed)?.is_integer())
}
