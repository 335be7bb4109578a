//! The `glob` builtins: the globs of gobwas, the library that OPA uses.
//!
//! `*` is any run without a delimiter, `**` any run, `?` one character that is no delimiter; `[abc]`, `[a-z]` and `[!a-z]`
//! are one character, `{a,b}` alternatives, and `\` makes the next character a literal. The library rewrites a glob into a
//! tree of matchers, and some rewritings change what a glob matches (delimiters do not count in lists, several delimiters
//! count only as a sequence, characters of more than one byte are cut). Policies see what it answers, so the same tree is
//! built here: `syntax` reads, `compile` rewrites, `matcher` matches.
mod compile;
mod matcher;
mod syntax;
#[cfg(test)]
mod tests;

use super::meter::Meter;
use super::strings::element;
use super::{Builtin, BuiltinError, Context, Outcome, arg, operand, text};
use crate::Value;
use matcher::Matcher;

pub(super) const TABLE: &[Builtin] =
    &[Builtin::pure("glob.match", 3, glob_match), Builtin::pure("glob.quote_meta", 1, quote_meta)];

fn delimiters(value: &Value) -> Result<Vec<char>, BuiltinError> {
    let items = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) if items.is_empty() => return Ok(vec!['.']),
        Value::Array(items) => items,
        other => return Err(operand(1, "one of {array, null}", other)),
    };
    let one = |item: &Value| {
        let text = item.as_str().ok_or_else(|| element(1, value, "string", item))?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(delimiter), None) => Ok(delimiter),
            _ => Err(element(1, value, "rune", item)),
        }
    };
    items.iter().map(one).collect()
}

fn glob_match(context: &mut Context, args: &[Value]) -> Outcome {
    let pattern = text(args, 0)?;
    let delimiters = delimiters(arg(args, 1)?)?;
    let subject = text(args, 2)?;
    // Rewriting compares everything with everything in the worst case. It costs the same when the result was kept.
    context.charge_bytes(pattern.len().saturating_mul(pattern.len().saturating_add(32)) >> 1)?;
    context.charge_items(delimiters.len())?;
    let names: String = delimiters.iter().collect();
    let key = format!("{} {names}{pattern}", delimiters.len());
    let matcher = context.patterns.get("glob", &key, || compiled(pattern, delimiters))?;
    let matched = matcher.matches(subject.as_bytes(), &mut Meter::new(context))?;
    Ok(Some(Value::Bool(matched)))
}

fn compiled(pattern: &str, delimiters: Vec<char>) -> Result<Matcher, BuiltinError> {
    let delimiters: Vec<u32> = delimiters.into_iter().map(u32::from).collect();
    compile::compile(&syntax::parse(pattern)?, &delimiters)
}

fn quote_meta(context: &mut Context, args: &[Value]) -> Outcome {
    let pattern = text(args, 0)?;
    context.charge_bytes(pattern.len().saturating_mul(2))?;
    let mut out = String::with_capacity(pattern.len());
    for character in pattern.chars() {
        if matches!(character, '*' | '?' | '\\' | '[' | ']' | '{' | '}') {
            out.push('\\');
        }
        out.push(character);
    }
    Ok(Some(Value::from(out)))
}
