//! The bytes that OPA hashes for a structured document: members sorted bytewise, no blanks, number literals as they
//! were written, strings as Go's `json.Encoder` writes them with `SetEscapeHTML(false)`.
use super::Document;

/// Writes the canonical bytes.
pub(crate) fn canonical(document: &Document) -> Vec<u8> {
    let mut out = Vec::new();
    write(document, &mut out);
    out
}

fn write(document: &Document, out: &mut Vec<u8>) {
    match document {
        Document::Null => out.extend_from_slice(b"null"),
        Document::Bool(true) => out.extend_from_slice(b"true"),
        Document::Bool(false) => out.extend_from_slice(b"false"),
        Document::Number(literal) => out.extend_from_slice(literal.as_bytes()),
        Document::String(text) => write_string(text, out),
        Document::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Document::Object(members) => {
            out.push(b'{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(name, out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\u{2028}' => out.extend_from_slice(b"\\u2028"),
            '\u{2029}' => out.extend_from_slice(b"\\u2029"),
            control if control < ' ' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(control)).as_bytes());
            }
            plain => {
                let mut utf8 = [0; 4];
                out.extend_from_slice(plain.encode_utf8(&mut utf8).as_bytes());
            }
        }
    }
    out.push(b'"');
}
