//! The `uuid` builtins.
use super::{Builtin, Context, Outcome, arg, text};
use crate::Value;
use std::fmt::Write as _;

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("uuid.parse", 1, parse),
    Builtin { name: "uuid.rfc4122", arity: 1, nondeterministic: true, call: rfc4122 },
];

/// A random UUID (version 4) that one key always gets within one decision. OPA draws it and remembers it by the key; here
/// it follows from the decision's seed and the key.
fn rfc4122(context: &mut Context, args: &[Value]) -> Outcome {
    let key = super::strings::shown(arg(args, 0)?);
    context.charge_bytes(key.len().saturating_mul(4))?;
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    hash.update(b"uuid.rfc4122");
    hash.update(&context.seed.to_be_bytes());
    hash.update(key.as_bytes());
    let digest = hash.finish();
    let mut hex = String::with_capacity(36);
    for (index, byte) in digest.as_ref().iter().take(16).enumerate() {
        let byte = match index {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
        // Writing to a string does not fail.
        write!(hex, "{dash}{byte:02x}").ok();
    }
    Ok(Some(Value::from(hex)))
}

fn parse(context: &mut Context, args: &[Value]) -> Outcome {
    let text = text(args, 0)?;
    context.charge(1)?;
    Ok(bytes_of(text.as_bytes()).map(|uuid| described(&uuid)))
}

/// The 16 bytes of one of the four spellings: with hyphens, bare, as URN, in braces (which are not looked at).
fn bytes_of(text: &[u8]) -> Option<[u8; 16]> {
    let text = match text.len() {
        32 | 36 => text,
        45 if text.get(..9)?.eq_ignore_ascii_case(b"urn:uuid:") => text.get(9..)?,
        38 => text.get(1..37)?,
        _ => return None,
    };
    let hyphenated = text.len() == 36;
    let mut digits = Vec::with_capacity(32);
    for (at, byte) in text.iter().enumerate() {
        if hyphenated && matches!(at, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
        } else {
            digits.push(char::from(*byte).to_digit(16)?);
        }
    }
    let mut uuid = [0u8; 16];
    for (byte, pair) in uuid.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::try_from(pair.iter().fold(0, |all, digit| all << 4 | digit)).ok()?;
    }
    Some(uuid)
}

/// Hundreds of nanoseconds between the beginning of UUID time, 15 October 1582, and the Unix epoch.
const GREGORIAN: i64 = 122_192_928_000_000_000;

fn described(uuid: &[u8; 16]) -> Value {
    let number = u128::from_be_bytes(*uuid);
    let bits = |shift: u32, mask: u128| i64::try_from(number >> shift & mask).unwrap_or(0);
    let version = bits(76, 0xf);
    let variant = match bits(61, 0b111) {
        0b100 | 0b101 => "RFC4122",
        0b110 => "Microsoft",
        0b111 => "Future",
        _ => "Reserved",
    };
    let mut members =
        vec![(Value::from("version"), Value::from(version)), (Value::from("variant"), Value::from(variant))];
    if version == 1 || version == 2 {
        let time = bits(64, 0xfff) << 48 | bits(80, 0xffff) << 32 | bits(96, 0xffff_ffff);
        let first = bits(40, 0xff);
        let cast = match first & 0b11 {
            0b11 => "local:multicast",
            0b01 => "global:multicast",
            0b10 => "local:unicast",
            _ => "global:unicast",
        };
        let node: Vec<String> = uuid.iter().skip(10).map(|byte| format!("{byte:02x}")).collect();
        members.extend([
            (Value::from("time"), Value::from(time.wrapping_sub(GREGORIAN).wrapping_mul(100))),
            (Value::from("nodeid"), Value::from(node.join("-"))),
            (Value::from("macvariables"), Value::from(cast)),
            (Value::from("clocksequence"), Value::from(bits(48, 0x3fff))),
        ]);
    }
    if version == 2 {
        let domain = match bits(48, 0xff) {
            0 => "Person".to_owned(),
            1 => "Group".to_owned(),
            2 => "Org".to_owned(),
            other => format!("Domain{other}"),
        };
        members.push((Value::from("id"), Value::from(bits(96, 0xffff_ffff))));
        members.push((Value::from("domain"), Value::from(domain)));
    }
    Value::object(members)
}

#[cfg(test)]
mod tests {
    use crate::Value;
    use crate::builtins::testing::{Want, check, context};

    #[test]
    fn a_uuid_is_taken_apart_in_each_of_its_spellings() {
        const TWO: &str = r#"{"version": 2, "variant": "RFC4122", "nodeid": "32-50-96-b3-9f-47", "domain": "Person",
            "macvariables": "local:unicast", "time": 1693566990121469600, "clocksequence": 12800, "id": 1000}"#;
        check(&[
            (
                "uuid.parse",
                r#"["c2fc67c2-47f2-11ee-b67a-9f3619c7493f"]"#,
                Want::Value(
                    r#"{"version": 1, "variant": "RFC4122", "nodeid": "9f-36-19-c7-49-3f",
                    "macvariables": "local:multicast", "time": 1693481847404333000, "clocksequence": 13946}"#,
                ),
            ),
            ("uuid.parse", r#"["000003e8-48b9-21ee-b200-325096b39f47"]"#, Want::Value(TWO)),
            ("uuid.parse", r#"["URN:uuid:000003E8-48b9-21ee-b200-325096b39f47"]"#, Want::Value(TWO)),
            ("uuid.parse", r#"["{000003e8-48b9-21ee-b200-325096b39f47)"]"#, Want::Value(TWO)),
            ("uuid.parse", r#"["000003e848b921eeb200325096b39f47"]"#, Want::Value(TWO)),
            (
                "uuid.parse",
                r#"["ffffffff-ffff-1fff-7fff-00ffffffffff"]"#,
                Want::Value(
                    r#"{"version": 1, "variant": "Reserved", "nodeid": "00-ff-ff-ff-ff-ff",
                    "macvariables": "global:unicast", "time": -7607606781572612196, "clocksequence": 16383}"#,
                ),
            ),
            (
                "uuid.parse",
                r#"["00000000-0000-4000-c000-000000000000"]"#,
                Want::Value(r#"{"version": 4, "variant": "Microsoft"}"#),
            ),
            (
                "uuid.parse",
                r#"["00000000-0000-f000-f000-000000000000"]"#,
                Want::Value(r#"{"version": 15, "variant": "Future"}"#),
            ),
            ("uuid.parse", r#"["00000000-0000-4000-c000-00000000000g"]"#, Want::Undefined),
            ("uuid.parse", r#"["00000000-0000-4000-c000-0000000000000"]"#, Want::Undefined),
            ("uuid.parse", r#"["urx:uuid:000003e8-48b9-21ee-b200-325096b39f47"]"#, Want::Undefined),
            ("uuid.parse", r#"["000003e8+48b9-21ee-b200-325096b39f47"]"#, Want::Undefined),
            ("uuid.parse", r#"[""]"#, Want::Undefined),
            ("uuid.parse", r#"[1]"#, Want::TypeError),
        ]);
    }

    #[test]
    fn a_drawn_uuid_is_of_version_4_and_follows_from_seed_and_key() {
        let draw = |seed: u64, key: &str| {
            let mut context = context();
            context.seed = seed;
            super::rfc4122(&mut context, &[Value::from(key)]).unwrap().unwrap()
        };
        let one = draw(1, "a");
        let parsed = super::parse(&mut context(), std::slice::from_ref(&one)).unwrap().unwrap();
        assert_eq!(parsed.member("version"), Some(&Value::from(4i64)), "{one}");
        assert_eq!(parsed.member("variant"), Some(&Value::from("RFC4122")), "{one}");
        assert_eq!(one.as_str().unwrap().len(), 36);
        assert_eq!(one, draw(1, "a"));
        assert_ne!(one, draw(2, "a"));
        assert_ne!(one, draw(1, "b"));
    }
}
