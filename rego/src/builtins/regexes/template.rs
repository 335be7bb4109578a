//! `regex.template_match`: a text in which expressions stand between two delimiters.
use super::super::meter::Meter;
use super::{compile, compiled};
use crate::Value;
use crate::builtins::{BuiltinError, Context, Outcome, text};

pub(super) fn template_match(context: &mut Context, args: &[Value]) -> Outcome {
    let (template, subject) = (text(args, 0)?, text(args, 1)?);
    let delimiter = |index: usize, name: &str| match text(args, index)?.as_bytes() {
        [byte] => Ok(*byte),
        other => Err(BuiltinError::Failed(format!(
            "{name} delimiter has to be exactly one character long but is {} long",
            other.len()
        ))),
    };
    text(args, 3)?;
    let (open, close) = (delimiter(2, "start")?, delimiter(3, "end")?);
    context.charge_bytes(template.len().saturating_mul(4))?;
    let mut expression = "^".to_owned();
    for (literal, inner) in parts(template, open, close)? {
        expression.push_str(&regex::escape(literal));
        if let Some(inner) = inner {
            // Each must be an expression by itself, so that none closes the group around it.
            let alone = format!("^{inner}$");
            context.patterns.get("regex", &alone, || compile(&alone))?;
            expression.push_str(&format!("({inner})"));
        }
    }
    expression.push('$');
    let expression = compiled(context, &expression)?;
    expression.charge(&mut Meter::new(context), subject.len())?;
    Ok(Some(Value::Bool(expression.regex.is_match(subject))))
}

/// Literals, each with the expression that follows it. Delimiters nest: the outermost pair counts.
fn parts(template: &str, open: u8, close: u8) -> Result<Vec<(&str, Option<&str>)>, BuiltinError> {
    let unbalanced = || BuiltinError::Failed(format!("unbalanced braces in {template:?}"));
    let mut parts = Vec::new();
    let (mut level, mut end, mut begin) = (0usize, 0usize, 0usize);
    for (at, byte) in template.bytes().enumerate() {
        if byte == open {
            level = level.saturating_add(1);
            if level == 1 {
                begin = at;
            }
        } else if byte == close {
            level = level.checked_sub(1).ok_or_else(unbalanced)?;
            if level == 0 {
                let inner = template.get(begin.saturating_add(1)..at);
                parts.push((template.get(end..begin).unwrap_or_default(), inner));
                end = at.saturating_add(1);
            }
        }
    }
    if level > 0 {
        return Err(unbalanced());
    }
    parts.push((template.get(end..).unwrap_or_default(), None));
    Ok(parts)
}
