//! The `semver` builtins.
use super::{Builtin, BuiltinError, Context, Outcome, arg, text};
use crate::Value;
use std::cmp::Ordering;

pub(super) const TABLE: &[Builtin] =
    &[Builtin::pure("semver.compare", 2, compare), Builtin::pure("semver.is_valid", 1, is_valid)];

struct Version<'a> {
    numbers: [i64; 3],
    prerelease: &'a str,
}

fn parse(version: &str) -> Option<Version<'_>> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let (version, metadata) = version.split_once('+').unwrap_or((version, ""));
    let (version, prerelease) = version.split_once('-').unwrap_or((version, ""));
    if !identifiers(metadata) || !identifiers(prerelease) {
        return None;
    }
    let mut parts = version.split('.').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if digits { part.parse::<i64>().ok() } else { None }
    });
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    if parts.next().is_some() { None } else { Some(Version { numbers, prerelease }) }
}

/// Dot-separated identifiers, or nothing at all: OPA takes `1.0.0-` for `1.0.0`.
fn identifiers(text: &str) -> bool {
    text.is_empty()
        || text
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
}

fn compare(context: &mut Context, args: &[Value]) -> Outcome {
    let (a, b) = (text(args, 0)?, text(args, 1)?);
    context.charge_bytes(a.len().saturating_add(b.len()).saturating_mul(2))?;
    let read = |index: usize, version| {
        parse(version).ok_or_else(|| {
            BuiltinError::Failed(format!("operand {index}: string {version} is not a valid SemVer"))
        })
    };
    let (a, b) = (read(1, a)?, read(2, b)?);
    let order = match a.numbers.cmp(&b.numbers) {
        Ordering::Equal => prereleases(a.prerelease, b.prerelease)?,
        unequal => unequal,
    };
    Ok(Some(Value::from(match order {
        Ordering::Less => -1i64,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    })))
}

fn prereleases(a: &str, b: &str) -> Result<Ordering, BuiltinError> {
    if a == b {
        return Ok(Ordering::Equal);
    }
    // A version without prerelease comes after those with one.
    if a.is_empty() || b.is_empty() {
        return Ok(b.is_empty().cmp(&a.is_empty()).reverse());
    }
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (Some(a), Some(b)) => identifier(a, b),
            (Some(_), None) => Ordering::Greater,
            (None, Some(_)) => Ordering::Less,
            // Such as `01` and `1`: the same order, but not the same text. OPA never ends here.
            (None, None) => {
                return Err(BuiltinError::Budget("prereleases that differ only in leading zeros".to_owned()));
            }
        };
        if order != Ordering::Equal {
            return Ok(order);
        }
    }
}

/// Numbers come before words. A number beyond 64 bits counts as the largest one.
fn identifier(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match (number(a), number(b)) {
        (true, true) => a.parse().unwrap_or(i64::MAX).cmp(&b.parse().unwrap_or(i64::MAX)),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(b),
    }
}

fn is_valid(context: &mut Context, args: &[Value]) -> Outcome {
    let valid = match arg(args, 0)? {
        Value::String(version) => {
            context.charge_bytes(version.len())?;
            parse(version).is_some()
        }
        _ => false,
    };
    Ok(Some(Value::Bool(valid)))
}

#[cfg(test)]
mod tests {
    use crate::builtins::testing::{Want, check};

    #[test]
    fn versions_are_ordered_by_precedence() {
        check(&[
            ("semver.compare", r#"["1.0.0", "1.0.0"]"#, Want::Value("0")),
            ("semver.compare", r#"["v1.0.0", "1.0.0"]"#, Want::Value("0")),
            ("semver.compare", r#"["1.0.0+a", "1.0.0+b"]"#, Want::Value("0")),
            ("semver.compare", r#"["1.10.0", "1.9.0"]"#, Want::Value("1")),
            ("semver.compare", r#"["01.0.0", "1.0.0"]"#, Want::Value("0")),
            ("semver.compare", r#"["1.0.0-", "1.0.0"]"#, Want::Value("0")),
            ("semver.compare", r#"["1.0.0-a", "1.0.0"]"#, Want::Value("-1")),
            ("semver.compare", r#"["1.0.0", "1.0.0-a"]"#, Want::Value("1")),
            ("semver.compare", r#"["1.0.0-a.1", "1.0.0-a"]"#, Want::Value("1")),
            ("semver.compare", r#"["1.0.0-a", "1.0.0-a.1"]"#, Want::Value("-1")),
            ("semver.compare", r#"["1.0.0-2", "1.0.0-10"]"#, Want::Value("-1")),
            ("semver.compare", r#"["1.0.0-2", "1.0.0-a"]"#, Want::Value("-1")),
            ("semver.compare", r#"["1.0.0-rc", "1.0.0-beta"]"#, Want::Value("1")),
            (
                "semver.compare",
                r#"["1.0.0-99999999999999999999.1", "1.0.0-99999999999999999998.2"]"#,
                Want::Value("-1"),
            ),
            ("semver.compare", r#"["1.0.0-01", "1.0.0-1"]"#, Want::Budget),
            ("semver.compare", r#"["1.0", "1.0.0"]"#, Want::Failed),
            ("semver.compare", r#"["1.0.0", "1.0.0.0"]"#, Want::Failed),
            ("semver.compare", r#"[1, "1.0.0"]"#, Want::TypeError),
        ]);
    }

    #[test]
    fn what_is_no_version_is_not_valid() {
        check(&[
            ("semver.is_valid", r#"["1.0.0-a.b+c.d-e"]"#, Want::Value("true")),
            ("semver.is_valid", r#"["9223372036854775807.0.0"]"#, Want::Value("true")),
            ("semver.is_valid", r#"["9223372036854775808.0.0"]"#, Want::Value("false")),
            ("semver.is_valid", r#"["1.0.0+"]"#, Want::Value("true")),
            ("semver.is_valid", r#"["1.0.0-a..b"]"#, Want::Value("false")),
            ("semver.is_valid", r#"["1.0.0-é"]"#, Want::Value("false")),
            ("semver.is_valid", r#"["1.0.0-a+b+c"]"#, Want::Value("false")),
            ("semver.is_valid", r#"["vv1.0.0"]"#, Want::Value("false")),
            ("semver.is_valid", r#"["1.-2.3"]"#, Want::Value("false")),
            ("semver.is_valid", r#"["1..3"]"#, Want::Value("false")),
            ("semver.is_valid", r#"["-1.2.3"]"#, Want::Value("false")),
            ("semver.is_valid", r#"["1.2.3\n"]"#, Want::Value("false")),
            ("semver.is_valid", r#"[""]"#, Want::Value("false")),
            ("semver.is_valid", r#"[1]"#, Want::Value("false")),
        ]);
    }
}
