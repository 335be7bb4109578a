//! The `strings` builtins.
use super::{Builtin, Context, Outcome, text};
use crate::Value;

pub(super) const TABLE: &[Builtin] = &[Builtin::pure("startswith", 2, startswith)];

fn startswith(context: &mut Context, args: &[Value]) -> Outcome {
    let (hay, prefix) = (text(args, 0)?, text(args, 1)?);
    context.charge_bytes(prefix.len())?;
    Ok(Some(Value::Bool(hay.starts_with(prefix))))
}

#[cfg(test)]
mod tests {
    use crate::builtins::testing::{Want, check};

    #[test]
    fn strings_are_looked_at_as_opa_does() {
        check(&[
            ("startswith", r#"["abc", "ab"]"#, Want::Value("true")),
            ("startswith", r#"["abc", "b"]"#, Want::Value("false")),
            ("startswith", r#"[1, "b"]"#, Want::TypeError),
        ]);
    }
}
