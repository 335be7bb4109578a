//! The `regex` builtins: the expressions of Go's `regexp`, searched by an engine that is linear in the text.
mod class;
mod expand;
mod intersect;
mod names;
mod parse;
mod template;
#[cfg(test)]
mod tests;

use super::meter::Meter;
use super::strings::int;
use super::{Builtin, BuiltinError, Context, Outcome, arg, text};
use crate::Value;
pub(super) use expand::of_a_name;
use regex::{Captures, Regex, RegexBuilder};
use std::sync::Arc;

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("re_match", 2, is_match),
    Builtin::pure("regex.find_all_string_submatch_n", 3, find_all),
    Builtin::pure("regex.find_n", 3, find_n),
    Builtin::pure("regex.globs_match", 2, intersect::globs_match),
    Builtin::pure("regex.is_valid", 1, is_valid),
    Builtin::pure("regex.match", 2, is_match),
    Builtin::pure("regex.replace", 3, replace),
    Builtin::pure("regex.split", 2, split),
    Builtin::pure("regex.template_match", 4, template::template_match),
];

/// The most bytes that one compiled expression may take, and what its searches may keep.
const COMPILED_BYTES_MAX: usize = 2 << 20;
/// Beyond this many states no expression fits, and compiling is not tried.
const WEIGHT_MAX: u64 = 200_000;

/// A compiled expression.
#[derive(Debug)]
struct Expression {
    regex: Regex,
    /// The names of its groups, beginning with the whole match.
    names: Vec<String>,
    /// About how many states its machine has.
    weight: usize,
}

fn compile(expression: &str) -> Result<Expression, BuiltinError> {
    let translated = parse::translated(expression)
        .map_err(|why| BuiltinError::Failed(format!("error parsing regexp: {why}")))?;
    let too_large = || {
        let begin: String = expression.chars().take(64).collect();
        BuiltinError::Budget(format!("the regular expression `{begin}` is too large"))
    };
    if translated.weight > WEIGHT_MAX {
        return Err(too_large());
    }
    let regex = RegexBuilder::new(&translated.source)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|_| too_large())?;
    let weight = usize::try_from(translated.weight).unwrap_or(usize::MAX);
    Ok(Expression { regex, names: translated.names, weight })
}

/// The compiled expression, kept from the last time if it was used before. It costs the same then: what a decision
/// costs must not depend on what was decided before.
fn compiled(context: &mut Context, expression: &str) -> Result<Arc<Expression>, BuiltinError> {
    context.charge_bytes(expression.len().saturating_mul(4))?;
    let compiled = context.patterns.get("regex", expression, || compile(expression))?;
    context.charge(compiled.weight >> 3)?;
    Ok(compiled)
}

impl Expression {
    /// Charges for searching a text of this length once. Where the engine cannot keep its states, each byte costs as much
    /// as there are states.
    fn charge(&self, meter: &mut Meter<'_>, bytes: usize) -> Result<(), BuiltinError> {
        let factor = (self.weight >> 3).saturating_add(1);
        meter.spend((bytes >> 3).saturating_add(1).saturating_mul(factor))
    }

    /// All matches, from left to right, each with its groups. The search after a match may go to the end of the text,
    /// so that each is charged for the rest.
    fn matches<'t>(
        &self,
        meter: &mut Meter<'_>,
        text: &'t str,
        most: usize,
    ) -> Result<Vec<Captures<'t>>, BuiltinError> {
        let mut found = Vec::new();
        self.charge(meter, text.len())?;
        for captures in self.regex.captures_iter(text).take(most) {
            let end = captures.get(0).map_or(text.len(), |whole| whole.end());
            meter.spend(self.names.len().saturating_mul(16))?;
            self.charge(meter, text.len().saturating_sub(end))?;
            found.push(captures);
        }
        Ok(found)
    }
}

fn is_valid(context: &mut Context, args: &[Value]) -> Outcome {
    let valid = match arg(args, 0)? {
        Value::String(expression) => {
            context.charge_bytes(expression.len().saturating_mul(16))?;
            parse::translated(expression).is_ok()
        }
        _ => false,
    };
    Ok(Some(Value::Bool(valid)))
}

fn is_match(context: &mut Context, args: &[Value]) -> Outcome {
    let (expression, subject) = (text(args, 0)?, text(args, 1)?);
    let expression = compiled(context, expression)?;
    expression.charge(&mut Meter::new(context), subject.len())?;
    Ok(Some(Value::Bool(expression.regex.is_match(subject))))
}

/// How many matches are wanted: all by a negative number.
fn most(wanted: i64) -> usize {
    usize::try_from(wanted).unwrap_or(usize::MAX)
}

fn find_n(context: &mut Context, args: &[Value]) -> Outcome {
    let (expression, subject, wanted) = (text(args, 0)?, text(args, 1)?, int(args, 2)?);
    let expression = compiled(context, expression)?;
    let found = expression.matches(&mut Meter::new(context), subject, most(wanted))?;
    Ok(Some(Value::array(found.iter().map(|captures| group(captures, 0)))))
}

fn find_all(context: &mut Context, args: &[Value]) -> Outcome {
    let (expression, subject, wanted) = (text(args, 0)?, text(args, 1)?, int(args, 2)?);
    let expression = compiled(context, expression)?;
    let found = expression.matches(&mut Meter::new(context), subject, most(wanted))?;
    // Our engine leaves out groups that are repeated zero times.
    let all = expression.names.len();
    let groups = |captures: &Captures<'_>| Value::array((0..all).map(|index| group(captures, index)));
    Ok(Some(Value::array(found.iter().map(groups))))
}

/// What a group matched; nothing is an empty text.
fn group(captures: &Captures<'_>, index: usize) -> Value {
    Value::from(captures.get(index).map_or("", |found| found.as_str()))
}

fn split(context: &mut Context, args: &[Value]) -> Outcome {
    let (pattern, subject) = (text(args, 0)?, text(args, 1)?);
    let expression = compiled(context, pattern)?;
    if subject.is_empty() && !pattern.is_empty() {
        return Ok(Some(Value::array([Value::from("")])));
    }
    let mut meter = Meter::new(context);
    let found = expression.matches(&mut meter, subject, usize::MAX)?;
    meter.spend(subject.len())?;
    let mut parts = Vec::with_capacity(found.len());
    let (mut begin, mut end) = (0, 0);
    for whole in found.iter().filter_map(|captures| captures.get(0)) {
        end = whole.start();
        // An empty match at the very beginning splits nothing off.
        if whole.end() != 0 {
            parts.push(Value::from(subject.get(begin..end).unwrap_or_default()));
        }
        begin = whole.end();
    }
    if end != subject.len() {
        parts.push(Value::from(subject.get(begin..).unwrap_or_default()));
    }
    Ok(Some(Value::array(parts)))
}

fn replace(context: &mut Context, args: &[Value]) -> Outcome {
    let (subject, expression, replacement) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    let expression = compiled(context, expression)?;
    let mut meter = Meter::new(context);
    meter.spend(replacement.len())?;
    let replacement = expand::parts(replacement, &expression.names);
    let mut out = String::new();
    let mut end = 0;
    for captures in expression.matches(&mut meter, subject, usize::MAX)? {
        let Some(whole) = captures.get(0) else { continue };
        meter.append(&mut out, subject.get(end..whole.start()).unwrap_or_default())?;
        for part in &replacement {
            meter.append(&mut out, part.of(&captures))?;
        }
        end = whole.end();
    }
    meter.append(&mut out, subject.get(end..).unwrap_or_default())?;
    Ok(Some(Value::from(out)))
}
