//! A token's three parts, and what its header says.
use crate::builtins::pki::base64;
use crate::builtins::pki::signature::Signed;
use crate::builtins::pki::text::lossy;
use crate::builtins::{BuiltinError, Context, Outcome, arg, crypto, operand};
use crate::{Object, Value};
use std::collections::BTreeSet;

/// The parts of a token as they are sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    /// What is signed: header and payload with the dot between them.
    pub(super) signed: &'a str,
}

/// What a header says that matters for verification. What it does not say is empty.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: String,
    pub(super) cty: String,
    critical: BTreeSet<String>,
    unknown: BTreeSet<String>,
}

pub(super) fn failed(why: impl Into<String>) -> BuiltinError {
    BuiltinError::Failed(why.into())
}

impl<'a> Token<'a> {
    /// Takes apart the token that is the first argument.
    pub(super) fn of_argument(context: &mut Context, args: &'a [Value]) -> Result<Self, BuiltinError> {
        let value = arg(args, 0)?;
        Self::of(context, value.as_str().ok_or_else(|| operand(0, "string", value))?)
    }

    /// Takes a token apart.
    pub(super) fn of(context: &mut Context, text: &'a str) -> Result<Self, BuiltinError> {
        context.charge_bytes(text.len().saturating_mul(4))?;
        if !text.contains('.') {
            return Err(failed("encoded JWT had no period separators"));
        }
        let parts: Vec<&str> = text.split('.').take(4).collect();
        let [header, payload, signature] = *parts else {
            let found = text.split('.').count();
            return Err(failed(format!("encoded JWT must have 3 sections, found {found}")));
        };
        let signed = text.rsplit_once('.').map_or(text, |(signed, _)| signed);
        Ok(Self { header, payload, signature, signed })
    }

    /// What is signed together with the signature of it, decoded.
    pub(super) fn with<'b>(&self, signature: &'b [u8]) -> Signed<'b>
    where
        'a: 'b,
    {
        Signed { message: self.signed.as_bytes(), signature }
    }

    /// The header as an object. A token that is encrypted is refused.
    pub(super) fn header(&self) -> Result<Object, BuiltinError> {
        let bytes = decoded(self.header, "header")?;
        let header = object(&bytes).map_err(|why| failed(format!("bad JWT header: {why}")))?;
        if header.member("enc").is_some() {
            return Err(failed("JWT is a JWE object, which is not supported"));
        }
        Ok(header)
    }

    pub(super) fn payload(&self) -> Result<Vec<u8>, BuiltinError> {
        decoded(self.payload, "payload")
    }

    pub(super) fn signature(&self) -> Result<Vec<u8>, BuiltinError> {
        decoded(self.signature, "signature")
    }
}

fn decoded(part: &str, name: &str) -> Result<Vec<u8>, BuiltinError> {
    base64::of_token(part)
        .ok_or_else(|| failed(format!("JWT {name} had invalid encoding: illegal base64 data")))
}

/// Reads bytes that must be an object in JSON.
pub(super) fn object(bytes: &[u8]) -> Result<Object, String> {
    match Value::from_json(&lossy(bytes)) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("decoded JSON type was not an Object".to_owned()),
        Err(error) => Err(format!("invalid JSON: {error}")),
    }
}

/// OPA's process ends where a value that must be a string is none; here the decision does.
pub(super) fn must_be_text<'a>(what: &str, value: &'a Value) -> Result<&'a str, BuiltinError> {
    value
        .as_str()
        .ok_or_else(|| BuiltinError::Budget(format!("{what} must be a string but is {}", value.type_name())))
}

pub(super) fn decode(context: &mut Context, args: &[Value]) -> Outcome {
    let mut inner: String;
    let mut token = Token::of_argument(context, args)?;
    loop {
        let header = token.header()?;
        let payload = token.payload()?;
        let nested = match header.member("cty") {
            Some(cty) => must_be_text("`cty` of a token's header", cty)? == "JWT",
            None => false,
        };
        if !nested {
            let payload = object(&payload).map_err(failed)?;
            let signature = crypto::hex(&token.signature()?);
            return Ok(Some(Value::array([
                Value::Object(header),
                Value::Object(payload),
                Value::from(signature),
            ])));
        }
        // A payload that is a token is often quoted.
        inner = lossy(&payload).trim_matches(['"', '\'']).to_owned();
        token = Token::of(context, &inner)?;
    }
}

impl Header {
    pub(super) fn read(object: &Object) -> Result<Self, BuiltinError> {
        let mut header = Self::default();
        for (name, value) in object {
            let name = name.as_str().unwrap_or_default();
            let text = || {
                let text = value.as_str().ok_or_else(|| failed(format!("{name}: must be a string")))?;
                Ok::<String, BuiltinError>(text.to_owned())
            };
            match name {
                "alg" => header.alg = text()?,
                "kid" => header.kid = text()?,
                "cty" => header.cty = text()?,
                "typ" => drop(text()?),
                "crit" => {
                    let items = value.as_array().ok_or_else(|| failed("crit: must be a list"))?;
                    // Only what stands before an item that is no string counts, as in OPA.
                    let names = items.iter().map_while(Value::as_str).map(str::to_owned);
                    header.critical = names.collect();
                    if header.critical.is_empty() {
                        return Err(failed("crit: must be a nonempty list"));
                    }
                }
                _ => drop(header.unknown.insert(name.to_owned())),
            }
        }
        Ok(header)
    }

    /// Whether it names an algorithm, and nothing critical that nobody knows here.
    pub(super) fn valid(&self) -> bool {
        !self.alg.is_empty() && self.critical.is_disjoint(&self.unknown)
    }
}
