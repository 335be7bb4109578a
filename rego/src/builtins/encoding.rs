//! The `encoding` builtins: base64, base64url and hex, as Go's packages read and write them.
use super::{Builtin, BuiltinError, Context, Outcome, text};
use crate::Value;
use crate::value::notation::is_print;
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("base64.decode", 1, base64_decode),
    Builtin::pure("base64.encode", 1, |context, args| encode(context, args, &PADDED)),
    Builtin::pure("base64.is_valid", 1, base64_is_valid),
    Builtin::pure("base64url.decode", 1, base64url_decode),
    Builtin::pure("base64url.encode", 1, |context, args| encode(context, args, &URL_PADDED)),
    Builtin::pure("base64url.encode_no_pad", 1, |context, args| encode(context, args, &URL_BARE)),
    Builtin::pure("hex.decode", 1, hex_decode),
    Builtin::pure("hex.encode", 1, hex_encode),
];

/// Bits behind the last byte are not looked at: Go is not strict about them.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
const PADDED: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const URL_PADDED: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
const URL_BARE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT.with_encode_padding(false));

fn encode(context: &mut Context, args: &[Value], engine: &GeneralPurpose) -> Outcome {
    let text = text(args, 0)?;
    context.charge_bytes(text.len().saturating_mul(2))?;
    Ok(Some(Value::from(engine.encode(text))))
}

fn base64_decode(context: &mut Context, args: &[Value]) -> Outcome {
    let text = text(args, 0)?;
    context.charge_bytes(text.len())?;
    as_text(decode(text, &PADDED)?)
}

fn base64_is_valid(context: &mut Context, args: &[Value]) -> Outcome {
    let Ok(text) = text(args, 0) else { return Ok(Some(Value::Bool(false))) };
    context.charge_bytes(text.len())?;
    Ok(Some(Value::Bool(decode(text, &PADDED).is_ok())))
}

fn base64url_decode(context: &mut Context, args: &[Value]) -> Outcome {
    let text = text(args, 0)?;
    context.charge_bytes(text.len())?;
    let padding = match text.len() % 4 {
        _ if text.ends_with('=') => "",
        0 => "",
        2 => "==",
        3 => "=",
        _ => return Err(BuiltinError::Failed(format!("illegal base64url string: {text}"))),
    };
    as_text(decode(&format!("{text}{padding}"), &URL_PADDED)?)
}

/// Line breaks may stand anywhere: Go passes over them.
fn decode(text: &str, engine: &GeneralPurpose) -> Result<Vec<u8>, BuiltinError> {
    let bytes: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    engine.decode(bytes).map_err(|error| BuiltinError::Failed(format!("illegal base64 data: {error}")))
}

fn hex_encode(context: &mut Context, args: &[Value]) -> Outcome {
    let text = text(args, 0)?;
    context.charge_bytes(text.len().saturating_mul(2))?;
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16);
    Ok(Some(Value::from(
        text.bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).flatten().collect::<String>(),
    )))
}

fn hex_decode(context: &mut Context, args: &[Value]) -> Outcome {
    let text = text(args, 0)?;
    context.charge_bytes(text.len())?;
    let mut nibbles = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        nibbles.push(digit.ok_or_else(|| BuiltinError::Failed(invalid_byte(byte)))?);
    }
    let (pairs, rest) = nibbles.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(BuiltinError::Failed("encoding/hex: odd length hex string".to_owned()));
    }
    as_text(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn invalid_byte(byte: u8) -> String {
    let c = char::from(byte);
    let shown = if is_print(c) { format!(" '{c}'") } else { String::new() };
    format!("encoding/hex: invalid byte: U+{byte:04X}{shown}")
}

/// OPA's strings are bytes, ours are text. What is no text is refused as a whole: to answer with anything else, or with
/// undefined, would be to decide on what was not there.
fn as_text(bytes: Vec<u8>) -> Outcome {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(Value::from(text))),
        Err(_) => Err(BuiltinError::Budget("it decodes to bytes that are not UTF-8".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Want, check};

    #[test]
    fn base64_is_read_and_written_as_go_does() {
        check(&[
            ("base64.encode", r#"["hello"]"#, Want::Value(r#""aGVsbG8=""#)),
            ("base64.encode", r#"["subjects?_d"]"#, Want::Value(r#""c3ViamVjdHM/X2Q=""#)),
            ("base64.encode", r#"[""]"#, Want::Value(r#""""#)),
            ("base64.encode", r#"["é😀"]"#, Want::Value(r#""w6nwn5iA""#)),
            ("base64.encode", "[1]", Want::TypeError),
            ("base64.decode", r#"["dGhlcmU="]"#, Want::Value(r#""there""#)),
            ("base64.decode", r#"["c3ViamVjdHM/X2Q="]"#, Want::Value(r#""subjects?_d""#)),
            ("base64.decode", r#"["aGVs\nbG8\r\n="]"#, Want::Value(r#""hello""#)),
            ("base64.decode", r#"["aGVsbG8=\n"]"#, Want::Value(r#""hello""#)),
            ("base64.decode", r#"["YR=="]"#, Want::Value(r#""a""#)),
            ("base64.decode", r#"["aGVsbG8"]"#, Want::Failed),
            ("base64.decode", r#"["aGVsbG8=="]"#, Want::Failed),
            ("base64.decode", r#"["aGVsbG8=aGVs"]"#, Want::Failed),
            ("base64.decode", r#"["a-_="]"#, Want::Failed),
            ("base64.decode", r#"["YQ= ="]"#, Want::Failed),
            ("base64.decode", r#"["="]"#, Want::Failed),
            ("base64.decode", r#"[""]"#, Want::Value(r#""""#)),
            ("base64.decode", "[null]", Want::TypeError),
            ("base64.decode", r#"["/w=="]"#, Want::Budget),
            ("base64.is_valid", r#"["aGVsbG8="]"#, Want::Value("true")),
            ("base64.is_valid", r#"["/w=="]"#, Want::Value("true")),
            ("base64.is_valid", r#"["{'not':'base64'}"]"#, Want::Value("false")),
            ("base64.is_valid", "[1]", Want::Value("false")),
            ("base64url.encode", r#"["subjects?_d"]"#, Want::Value(r#""c3ViamVjdHM_X2Q=""#)),
            ("base64url.encode_no_pad", r#"["there"]"#, Want::Value(r#""dGhlcmU""#)),
            ("base64url.encode_no_pad", "[[]]", Want::TypeError),
            ("base64url.decode", r#"["aGVsbG8="]"#, Want::Value(r#""hello""#)),
            ("base64url.decode", r#"["aGVsbG8"]"#, Want::Value(r#""hello""#)),
            ("base64url.decode", r#"["c3ViamVjdHM_X2Q"]"#, Want::Value(r#""subjects?_d""#)),
            ("base64url.decode", r#"["aGVsb\nG8"]"#, Want::Failed),
            ("base64url.decode", r#"["aGVsb\n\nG8"]"#, Want::Failed),
            ("base64url.decode", r#"["aGVsbG8=\n"]"#, Want::Failed),
            ("base64url.decode", r#"["aGVsb"]"#, Want::Failed),
            ("base64url.decode", r#"["a/+b"]"#, Want::Failed),
        ]);
    }

    #[test]
    fn hex_is_read_and_written_as_go_does() {
        check(&[
            ("hex.encode", r#"["lorem ipsum"]"#, Want::Value(r#""6c6f72656d20697073756d""#)),
            ("hex.encode", r#"["é"]"#, Want::Value(r#""c3a9""#)),
            ("hex.encode", "[true]", Want::TypeError),
            ("hex.decode", r#"["6c6f72656d20697073756d"]"#, Want::Value(r#""lorem ipsum""#)),
            ("hex.decode", r#"["C3A9"]"#, Want::Value(r#""é""#)),
            ("hex.decode", r#"[""]"#, Want::Value(r#""""#)),
            ("hex.decode", r#"["fghijkl"]"#, Want::Failed),
            ("hex.decode", r#"["6"]"#, Want::Failed),
            ("hex.decode", r#"["ff"]"#, Want::Budget),
            ("hex.decode", "[1]", Want::TypeError),
        ]);
        assert_eq!(super::invalid_byte(b'g'), "encoding/hex: invalid byte: U+0067 'g'");
        assert_eq!(super::invalid_byte(0xc3), "encoding/hex: invalid byte: U+00C3 'Ã'");
    }
}
