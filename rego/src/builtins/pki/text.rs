//! Strings in ASN.1, and the names (distinguished names) that are made of them.
use super::base64::STD;
use super::der::{self, Reader};
use super::keys::{number, object};
use super::time;
use crate::{Number, Value};
use ::base64::Engine as _;

/// The text of a string of this type, checked against its alphabet as loosely as Go does.
pub(crate) fn string(tag: u8, bytes: &[u8]) -> Option<String> {
    let printable = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+,-./ :=?*&".contains(byte);
    match tag {
        der::T61_STRING => Some(bytes.iter().copied().map(char::from).collect()),
        der::PRINTABLE_STRING if !bytes.iter().all(printable) => None,
        der::NUMERIC_STRING if !bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b' ') => None,
        der::IA5_STRING if !bytes.is_ascii() => None,
        der::PRINTABLE_STRING | der::NUMERIC_STRING | der::IA5_STRING | der::UTF8_STRING => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        der::BMP_STRING => basic_plane(bytes),
        _ => None,
    }
}

fn is_string(tag: u8) -> bool {
    matches!(
        tag,
        der::T61_STRING
            | der::PRINTABLE_STRING
            | der::NUMERIC_STRING
            | der::IA5_STRING
            | der::UTF8_STRING
            | der::BMP_STRING
    )
}

/// Two bytes a character, none outside of the basic plane; a zero may end it.
fn basic_plane(bytes: &[u8]) -> Option<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let pairs = pairs.strip_suffix(&[[0, 0]]).unwrap_or(pairs);
    let character = |pair: &[u8; 2]| match u16::from_be_bytes(*pair) {
        0xfffe | 0xffff | 0xfdd0..=0xfdef => None,
        unit => char::from_u32(u32::from(unit)),
    };
    if rest.is_empty() { pairs.iter().map(character).collect() } else { None }
}

/// Reads a name, all of whose values must be strings, and writes it as Go does.
pub(crate) fn name(element: &[u8]) -> Option<Value> {
    read_name(element, |tag, bytes| string(tag, bytes).map(Value::from))
}

/// The same, but values may be of any type.
pub(crate) fn loose_name(element: &[u8]) -> Option<Value> {
    read_name(element, any)
}

fn read_name(element: &[u8], value: fn(u8, &[u8]) -> Option<Value>) -> Option<Value> {
    let mut sequence = Reader::new(element).read(der::SEQUENCE)?;
    let mut attributes = Vec::new();
    while !sequence.is_empty() {
        let mut set = sequence.read(der::SET)?;
        while !set.is_empty() {
            attributes.push(attribute(set.read(der::SEQUENCE)?, value)?);
        }
    }
    let texts = |arc: u32| {
        let texts = attributes.iter().filter(move |(oid, tag, _)| *oid == [2, 5, 4, arc] && is_string(*tag));
        texts.map(|(_, _, value)| value.clone()).collect::<Vec<Value>>()
    };
    let last = |arc: u32| texts(arc).pop().unwrap_or_else(|| Value::from(""));
    let list = |arc: u32| list(texts(arc));
    Some(object([
        ("CommonName", last(3)),
        ("SerialNumber", last(5)),
        ("Country", list(6)),
        ("Locality", list(7)),
        ("Province", list(8)),
        ("StreetAddress", list(9)),
        ("Organization", list(10)),
        ("OrganizationalUnit", list(11)),
        ("PostalCode", list(17)),
        (
            "Names",
            self::list(attributes.iter().map(|(oid, _, value)| type_and_value(oid, value.clone())).collect()),
        ),
        ("ExtraNames", Value::Null),
    ]))
}

/// An `AttributeTypeAndValue`: its type, the tag of its value, and the value.
pub(crate) fn attribute(
    mut reader: Reader<'_>,
    value: fn(u8, &[u8]) -> Option<Value>,
) -> Option<(Vec<u32>, u8, Value)> {
    let oid = reader.oid()?;
    let element = reader.any()?;
    Some((oid, element.tag, value(element.tag, element.body)?))
}

/// The object of an attribute.
pub(crate) fn type_and_value(oid: &[u32], value: Value) -> Value {
    object([("Type", oid_value(oid)), ("Value", value)])
}

/// A value of any type, as Go's `asn1.Unmarshal` gives it; of a type that it does not know, null.
pub(crate) fn any(tag: u8, bytes: &[u8]) -> Option<Value> {
    Some(match tag {
        der::INTEGER => {
            let element = der::write(der::INTEGER, bytes);
            Value::from(Reader::new(&element).int64(der::INTEGER)?)
        }
        der::BOOLEAN => Value::Bool(Reader::new(&der::write(der::BOOLEAN, bytes)).boolean()?),
        der::OCTET_STRING => Value::from(STD.encode(bytes)),
        der::OID => oid_value(&der::oid(bytes)?),
        der::BIT_STRING => {
            let element = der::write(der::BIT_STRING, bytes);
            Reader::new(&element).bit_string()?;
            let (unused, bytes) = bytes.split_first()?;
            let length = bytes.len().checked_mul(8)?.checked_sub(usize::from(*unused))?;
            object([("Bytes", Value::from(STD.encode(bytes))), ("BitLength", Value::from(length))])
        }
        der::UTC_TIME | der::GENERALIZED_TIME => Value::from(time::Time::of(tag, bytes)?.text),
        _ if is_string(tag) => Value::from(string(tag, bytes)?),
        _ => Value::Null,
    })
}

/// The numbers of an object identifier.
pub(crate) fn oid_value(oid: &[u32]) -> Value {
    Value::array(oid.iter().map(|arc| Value::from(i64::from(*arc))))
}

/// A list as Go writes one: null when it holds nothing.
pub(crate) fn list(items: Vec<Value>) -> Value {
    if items.is_empty() { Value::Null } else { Value::array(items) }
}

/// Bytes as Go writes them: null when there are none at all.
pub(crate) fn bytes(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| Value::from(STD.encode(bytes)))
}

/// A whole number that may be negative.
pub(crate) fn signed(value: &num_bigint::BigInt) -> Value {
    match value.to_biguint() {
        Some(value) => number(&value),
        None => Number::parse(&value.to_string()).map_or(Value::Null, Value::Number),
    }
}

/// Text of bytes that need not be UTF-8: every byte that is none is replaced, as `encoding/json` does.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}
