//! Whether a token is signed with a key, and whether what it claims holds.
use super::Signing;
use super::token::{Header, Token, failed, must_be_text, object};
use crate::builtins::object as object_argument;
use crate::builtins::pki::certificate::Certificate;
use crate::builtins::pki::jwk::{self, Jwk, Material};
use crate::builtins::pki::keys::PublicKey;
use crate::builtins::pki::pem;
use crate::builtins::pki::signature::{self, Hash, Scheme};
use crate::builtins::{BuiltinError, Context, Outcome, text};
use crate::{Number, Object, Value};
use aws_lc_rs::hmac;

/// The keys of a certificate, of a public key in PEM, or of a JWK or a set of them.
fn keys(context: &mut Context, source: &str) -> Result<Vec<Jwk>, BuiltinError> {
    context.charge_bytes(source.len())?;
    let Some(block) = pem::decode(source.as_bytes()) else {
        let mut keys = jwk::parse(context, source)?;
        keys.retain(|key| key.alg.is_empty() || Signing::registered(&key.alg).is_some());
        return Ok(keys);
    };
    if !block.rest.is_empty() {
        return Err(failed("extra data after a PEM certificate block"));
    }
    let key = match block.label {
        b"CERTIFICATE" => Certificate::one(context, &block.bytes)?.map(|certificate| certificate.key),
        b"PUBLIC KEY" => PublicKey::of_pkix(&block.bytes),
        _ => return Err(failed("failed to extract a Key from the PEM certificate")),
    };
    let material =
        Material::Public(key.ok_or_else(|| failed("failed to parse a PEM certificate or public key"))?);
    Ok(vec![Jwk { alg: String::new(), kid: String::new(), material }])
}

/// Tries the key that the token names, if there is one of that name, or else all that may be for its algorithm.
fn any_key(
    header: &Header,
    keys: &[Jwk],
    mut verifies: impl FnMut(&Material) -> Result<bool, BuiltinError>,
) -> Result<bool, BuiltinError> {
    if !header.kid.is_empty()
        && let Some(key) = keys.iter().find(|key| key.kid == header.kid)
    {
        return verifies(&key.material);
    }
    for key in keys.iter().filter(|key| key.alg.is_empty() || key.alg == header.alg) {
        if verifies(&key.material)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `io.jwt.verify_*` with a key. The algorithm that the token names does not count, only the key's.
pub(super) fn with_key(context: &mut Context, args: &[Value], scheme: Scheme) -> Outcome {
    let token = Token::of_argument(context, args)?;
    let keys = keys(context, text(args, 1)?)?;
    let signature = token.signature()?;
    let header = Header::read(&token.header()?)?;
    let verified = any_key(&header, &keys, |material| match material {
        Material::Public(key) => signature::verify(context, key, scheme, token.with(&signature)),
        Material::Private(_) | Material::Broken(_) | Material::Secret(_) => Ok(false),
    })?;
    Ok(Some(Value::Bool(verified)))
}

/// `io.jwt.verify_hs*`.
pub(super) fn with_secret(context: &mut Context, args: &[Value], hash: Hash) -> Outcome {
    text(args, 0)?;
    let secret = text(args, 1)?;
    let token = Token::of_argument(context, args)?;
    let signature = token.signature()?;
    let verified = secret_verifies(context, secret.as_bytes(), hash, token.signed, &signature)?;
    Ok(Some(Value::Bool(verified)))
}

/// The keyed digest with this one.
pub(super) fn hmac_algorithm(hash: Hash) -> hmac::Algorithm {
    match hash {
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha384 => hmac::HMAC_SHA384,
        Hash::Sha512 => hmac::HMAC_SHA512,
    }
}

fn secret_verifies(
    context: &mut Context,
    secret: &[u8],
    hash: Hash,
    signed: &str,
    signature: &[u8],
) -> Result<bool, BuiltinError> {
    context.charge_bytes(secret.len().saturating_add(signed.len()))?;
    let key = hmac::Key::new(hmac_algorithm(hash), secret);
    Ok(hmac::verify(&key, signed.as_bytes(), signature).is_ok())
}

/// What a token must be besides well-formed. What is not asked for is empty.
#[derive(Default)]
struct Constraints {
    keys: Option<Vec<Jwk>>,
    secret: String,
    alg: String,
    iss: String,
    aud: String,
    /// In nanoseconds.
    time: Option<f64>,
}

impl Constraints {
    fn read(context: &mut Context, object: &Object) -> Result<Self, BuiltinError> {
        let mut constraints = Self::default();
        for (name, value) in object {
            let name = must_be_text("the name of a constraint", name)?;
            let text = || {
                let text =
                    value.as_str().ok_or_else(|| failed(format!("{name} constraint: must be a string")))?;
                Ok::<String, BuiltinError>(text.to_owned())
            };
            match name {
                "cert" => constraints.keys = Some(keys(context, &text()?)?),
                "secret" => constraints.secret = text()?,
                "alg" => constraints.alg = text()?,
                "iss" => constraints.iss = text()?,
                "aud" => constraints.aud = text()?,
                "time" => constraints.time = Some(time(value)?),
                _ => return Err(failed(format!("unknown token validation constraint: {name}"))),
            }
        }
        match (constraints.keys.is_some(), !constraints.secret.is_empty()) {
            (true, true) => Err(failed("duplicate key constraints")),
            (false, false) => Err(failed("no key constraint")),
            _ => Ok(constraints),
        }
    }

    fn verify(
        &self,
        context: &mut Context,
        header: &Header,
        token: &Token<'_>,
        signature: &[u8],
    ) -> Result<bool, BuiltinError> {
        let Some(signing) = Signing::of(&header.alg) else { return Ok(false) };
        let Some(keys) = &self.keys else {
            return match signing {
                Signing::Secret(hash) => {
                    secret_verifies(context, self.secret.as_bytes(), hash, token.signed, signature)
                }
                Signing::Key(_) => Ok(false),
            };
        };
        any_key(header, keys, |material| match (signing, material) {
            (Signing::Secret(hash), Material::Secret(secret)) => {
                secret_verifies(context, secret, hash, token.signed, signature)
            }
            (Signing::Key(scheme), Material::Public(key) | Material::Broken(key)) => {
                signature::verify(context, key, scheme, token.with(signature))
            }
            (Signing::Key(scheme), Material::Private(key)) => {
                signature::verify(context, &key.public(), scheme, token.with(signature))
            }
            _ => Ok(false),
        })
    }

    /// Whether the claims hold: issuer, audience, expiry, start.
    fn hold(&self, payload: &Object, now_ns: f64) -> Result<bool, BuiltinError> {
        if !self.iss.is_empty() {
            match payload.member("iss") {
                Some(iss) if must_be_text("`iss` of a token", iss)? == self.iss => {}
                _ => return Ok(false),
            }
        }
        match payload.member("aud") {
            Some(aud) if !self.admits(aud) => return Ok(false),
            None if !self.aud.is_empty() => return Ok(false),
            _ => {}
        }
        let seconds =
            Number::parse(&format!("{}", now_ns / 1e9)).ok_or_else(|| failed("the time is no number"))?;
        let claim = |name: &str| match payload.member(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(_) => Err(failed(format!("{name} value must be a number"))),
        };
        if claim("exp")?.is_some_and(|exp| seconds >= *exp) {
            return Ok(false);
        }
        Ok(claim("nbf")?.is_none_or(|nbf| seconds >= *nbf))
    }

    fn admits(&self, audience: &Value) -> bool {
        let admits = |audience: &Value| audience.as_str() == Some(&self.aud);
        audience.as_array().map_or_else(|| admits(audience), |items| items.iter().any(admits))
    }
}

fn time(value: &Value) -> Result<f64, BuiltinError> {
    let Value::Number(number) = value else { return Err(failed("token time constraint: must be a number")) };
    let time = number.as_f64();
    if time.is_finite() && time >= 0.0 {
        Ok(time)
    } else {
        Err(failed("token time constraint: must not be negative"))
    }
}

pub(super) fn decode_verify(context: &mut Context, args: &[Value]) -> Outcome {
    let constraints = Constraints::read(context, object_argument(args, 1)?)?;
    let unverified = || Ok(Some(Value::array([Value::Bool(false), Value::object([]), Value::object([])])));
    let mut inner: String;
    let mut token = Token::of_argument(context, args)?;
    let (header, payload) = loop {
        let decoded = token.header()?;
        let header = Header::read(&decoded)?;
        if !header.valid() || (!constraints.alg.is_empty() && constraints.alg != header.alg) {
            return unverified();
        }
        let signature = token.signature()?;
        if !constraints.verify(context, &header, &token, &signature)? {
            return unverified();
        }
        let payload = token.payload()?;
        if !header.cty.eq_ignore_ascii_case("JWT") {
            break (decoded, object(&payload).map_err(failed)?);
        }
        inner = String::from_utf8(payload).map_err(|_| failed("a nested JWT is no text"))?;
        token = Token::of(context, &inner)?;
    };
    let now_ns = match constraints.time {
        Some(time) => time,
        None => Number::parse(&context.now_ns.to_string()).map_or(f64::INFINITY, |now| now.as_f64()),
    };
    if !constraints.hold(&payload, now_ns)? {
        return unverified();
    }
    Ok(Some(Value::array([Value::Bool(true), Value::Object(header), Value::Object(payload)])))
}
