//! `strings.render_template`: the templates of Go's `text/template`, but for named templates, complex numbers and some
//! notations of numbers.
mod exec;
mod functions;
mod lex;
mod parse;
#[cfg(test)]
mod tests;

use super::super::meter::Meter;
use crate::Value;
use crate::builtins::sprintf::printable;
use crate::builtins::{BuiltinError, Context, Outcome, arg, object, text};

/// Why a template is not parsed.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// Go refuses it too.
    Wrong(String),
    /// Go takes it.
    Unsupported(String),
}

impl From<Fault> for BuiltinError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Wrong(why) => Self::Failed(format!("template: {why}")),
            Fault::Unsupported(why) => Self::Budget(format!("a template has {why}, which is not available")),
        }
    }
}

fn wrong(why: impl Into<String>) -> Fault {
    Fault::Wrong(why.into())
}

/// What the text of a `strings.render_template` has that OPA would render and we do not. The compiler refuses literals of
/// which this says something; at run time such a template ends the decision.
pub(crate) fn template_unsupported(text: &str) -> Option<String> {
    match parse::parse(text) {
        Err(Fault::Unsupported(why)) => Some(why),
        Ok(_) | Err(Fault::Wrong(_)) => None,
    }
}

pub(super) fn render_template(context: &mut Context, args: &[Value]) -> Outcome {
    let template = text(args, 0)?;
    object(args, 1)?;
    let data = arg(args, 1)?;
    context.charge_bytes(template.len().saturating_mul(16))?;
    json_only(&mut Meter::new(context), data, 0)?;
    let template = context.patterns.get("template", template, || parse::parse(template))?;
    let rendered = exec::rendered(&template, data, &mut Meter::new(context))?;
    Ok(Some(Value::from(rendered.replace("<no value>", "<undefined>"))))
}

/// The deepest nesting of data, and of templates.
const DEPTH_MAX: usize = 128;

fn too_deep() -> BuiltinError {
    BuiltinError::Budget(format!("a template or its data nest deeper than {DEPTH_MAX}"))
}

/// OPA writes the data down in Rego and reads it as JSON: where they differ it fails.
fn json_only(meter: &mut Meter<'_>, value: &Value, depth: usize) -> Result<(), BuiltinError> {
    let failed = || BuiltinError::Failed("the variables of the template are no JSON".to_owned());
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    meter.spend(16)?;
    let below = depth.saturating_add(1);
    match value {
        Value::Set(_) => Err(failed()),
        Value::String(text) => {
            meter.spend(text.len())?;
            let written_as_in_json = |c: char| match c {
                '\u{8}' | '\u{c}' | '\n' | '\r' | '\t' => true,
                '\0'..='\u{1f}' | '\u{7f}' => false,
                '\u{10000}'.. => printable(c),
                _ => true,
            };
            if text.chars().all(written_as_in_json) { Ok(()) } else { Err(failed()) }
        }
        Value::Array(items) => items.iter().try_for_each(|item| json_only(meter, item, below)),
        Value::Object(members) => members.iter().try_for_each(|(key, value)| {
            key.as_str().ok_or_else(failed)?;
            json_only(meter, key, below)?;
            json_only(meter, value, below)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}
