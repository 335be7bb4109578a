//! Digests and keyed digests, and private keys in PEM.
use super::pki::private::{self, PrivateKey};
use super::{Builtin, Context, Outcome, text};
use crate::Value;
use aws_lc_rs::{digest, hmac};
use md5::{Digest as _, Md5};
use std::fmt::Write as _;

pub(super) const TABLE: &[Builtin] = &[
    Builtin::pure("crypto.hmac.equal", 2, equal),
    Builtin::pure("crypto.hmac.md5", 2, |context, args| keyed(context, args, hmac_md5)),
    Builtin::pure("crypto.hmac.sha1", 2, |context, args| {
        keyed(context, args, |key, message| hmac_of(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key, message))
    }),
    Builtin::pure("crypto.hmac.sha256", 2, |context, args| {
        keyed(context, args, |key, message| hmac_of(hmac::HMAC_SHA256, key, message))
    }),
    Builtin::pure("crypto.hmac.sha512", 2, |context, args| {
        keyed(context, args, |key, message| hmac_of(hmac::HMAC_SHA512, key, message))
    }),
    Builtin::pure("crypto.md5", 1, |context, args| {
        hashed(context, args, |message| Md5::digest(message).to_vec())
    }),
    Builtin::pure("crypto.parse_private_keys", 1, parse_private_keys),
    Builtin::pure("crypto.sha1", 1, |context, args| {
        hashed(context, args, |message| {
            digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, message).as_ref().to_vec()
        })
    }),
    Builtin::pure("crypto.sha256", 1, |context, args| {
        hashed(context, args, |message| digest::digest(&digest::SHA256, message).as_ref().to_vec())
    }),
];

fn hashed(context: &mut Context, args: &[Value], of: fn(&[u8]) -> Vec<u8>) -> Outcome {
    let message = text(args, 0)?;
    context.charge_bytes(message.len())?;
    Ok(Some(Value::from(hex(&of(message.as_bytes())))))
}

fn keyed(context: &mut Context, args: &[Value], of: fn(&[u8], &[u8]) -> Vec<u8>) -> Outcome {
    let (message, key) = (text(args, 0)?, text(args, 1)?);
    context.charge_bytes(message.len().saturating_add(key.len()))?;
    Ok(Some(Value::from(hex(&of(key.as_bytes(), message.as_bytes())))))
}

fn equal(context: &mut Context, args: &[Value]) -> Outcome {
    let (one, other) = (text(args, 0)?, text(args, 1)?);
    context.charge_bytes(one.len())?;
    let equal = aws_lc_rs::constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok();
    Ok(Some(Value::Bool(equal)))
}

fn parse_private_keys(context: &mut Context, args: &[Value]) -> Outcome {
    let pem = text(args, 0)?;
    if pem.is_empty() {
        return Ok(Some(Value::Null));
    }
    let keys = private::in_text(context, pem)?;
    context.charge_bytes(pem.len().saturating_mul(4))?;
    Ok(Some(Value::array(keys.iter().map(PrivateKey::to_value))))
}

fn hmac_of(algorithm: hmac::Algorithm, key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
}

/// RFC 2104; the provider has no keyed digest with MD5.
fn hmac_md5(key: &[u8], message: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut block = if key.len() > BLOCK { Md5::digest(key).to_vec() } else { key.to_vec() };
    block.resize(BLOCK, 0);
    let padded = |pad: u8| block.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
    let inner = Md5::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Md5::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut text, byte| {
        // Writing to a string cannot fail.
        if write!(text, "{byte:02x}").is_err() {
            text.clear();
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use crate::builtins::testing::{Want, check};

    #[test]
    fn digests_are_written_in_hexadecimal() {
        check(&[
            ("crypto.md5", r#"[""]"#, Want::Value(r#""d41d8cd98f00b204e9800998ecf8427e""#)),
            ("crypto.md5", r#"["lorem ipsum"]"#, Want::Value(r#""80a751fde577028640c419000e33eba6""#)),
            ("crypto.sha1", r#"["é"]"#, Want::Value(r#""bf15be717ac1b080b4f1c456692825891ff5073d""#)),
            (
                "crypto.sha256",
                r#"[""]"#,
                Want::Value(r#""e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855""#),
            ),
            ("crypto.md5", "[1]", Want::TypeError),
            ("crypto.sha1", "[null]", Want::TypeError),
            ("crypto.sha256", r#"[["a"]]"#, Want::TypeError),
        ]);
    }

    #[test]
    fn keyed_digests_take_the_message_first_and_keys_of_any_length() {
        check(&[
            (
                "crypto.hmac.md5",
                r#"["message", "key"]"#,
                Want::Value(r#""4e4748e62b463521f6775fbf921234b5""#),
            ),
            ("crypto.hmac.md5", r#"["", ""]"#, Want::Value(r#""74e6f7298a9c2d168935f58c001bad88""#)),
            (
                "crypto.hmac.md5",
                r#"["m", "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"]"#,
                Want::Value(r#""1a547248725093971d8a83cf0a82ad0a""#),
            ),
            (
                "crypto.hmac.sha1",
                r#"["message", "key"]"#,
                Want::Value(r#""2088df74d5f2146b48146caf4965377e9d0be3a4""#),
            ),
            (
                "crypto.hmac.sha256",
                r#"["message", "key"]"#,
                Want::Value(r#""6e9ef29b75fffc5b7abae527d58fdadb2fe42e7219011976917343065f58ed4a""#),
            ),
            (
                "crypto.hmac.sha512",
                r#"["message", "key"]"#,
                Want::Value(concat!(
                    "\"e477384d7ca229dd1426e64b63ebf2d36ebd6d7e669a6735424e72ea6c01d3f8",
                    "b56eb39c36d8232f5427999b8d1a3f9cd1128fc69f4d75b434216810fa367e98\""
                )),
            ),
            ("crypto.hmac.sha512", r#"["message", 1]"#, Want::TypeError),
            ("crypto.hmac.equal", r#"["ab", "ab"]"#, Want::Value("true")),
            ("crypto.hmac.equal", r#"["ab", "abc"]"#, Want::Value("false")),
            ("crypto.hmac.equal", r#"["", ""]"#, Want::Value("true")),
            ("crypto.hmac.equal", r#"[1, "ab"]"#, Want::TypeError),
        ]);
    }

    #[test]
    fn what_holds_no_private_key_gives_none() {
        check(&[
            ("crypto.parse_private_keys", r#"[""]"#, Want::Value("null")),
            ("crypto.parse_private_keys", r#"["nope"]"#, Want::Value("[]")),
            (
                "crypto.parse_private_keys",
                r#"["-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"]"#,
                Want::Failed,
            ),
            ("crypto.parse_private_keys", "[1]", Want::TypeError),
        ]);
    }
}
