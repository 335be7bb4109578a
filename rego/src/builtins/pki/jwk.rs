//! JWK and JWK sets (RFC 7517), as the library that OPA uses reads them: one key that it cannot read makes it refuse all.
use super::base64;
use super::json::Json;
use super::keys::{Curve, PublicKey, RsaPublic};
use super::private::{PrivateKey, Refused, RsaPrivate};
use super::signature::{EC_STEPS, rsa_steps};
use crate::builtins::{BuiltinError, Context};
use num_bigint::BigUint;

/// What a JWK holds.
#[derive(Clone, Debug)]
pub(crate) enum Material {
    Public(PublicKey),
    Private(PrivateKey),
    /// A private RSA key whose numbers do not fit each other, or are not all there: its public half serves.
    Broken(PublicKey),
    Secret(Vec<u8>),
}

/// A key of a set.
#[derive(Clone, Debug)]
pub(crate) struct Jwk {
    /// The algorithm that it is for, if it says so.
    pub(crate) alg: String,
    /// Its name.
    pub(crate) kid: String,
    pub(crate) material: Material,
}

/// The keys of a set, or the one key.
pub(crate) fn parse(context: &mut Context, text: &str) -> Result<Vec<Jwk>, BuiltinError> {
    context.charge_bytes(text.len().saturating_mul(4))?;
    let (json, rest) = Json::prefix(text).ok_or_else(|| failed("a JWK is no JSON"))?;
    let whole = rest.trim_matches([' ', '\t', '\r', '\n']).is_empty();
    if !whole || json.first("keys").is_none() {
        return Ok(vec![key(context, &json)?]);
    }
    let Json::Object(members) = &json else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (_, keys) in members.iter().filter(|(name, _)| name == "keys") {
        let Json::Array(keys) = keys else { return Err(failed("`keys` of a JWK set is no array")) };
        if keys.len() > 1000 {
            return Err(failed("a JWK set has more than 1000 keys"));
        }
        for json in keys {
            found.push(key(context, json)?);
        }
    }
    Ok(found)
}

fn failed(why: &str) -> BuiltinError {
    BuiltinError::Failed(why.to_owned())
}

fn key(context: &mut Context, json: &Json) -> Result<Jwk, BuiltinError> {
    let Json::Object(members) = json else { return Err(failed("a JWK is no object")) };
    context.charge(EC_STEPS)?;
    let refused = || failed("a JWK cannot be read");
    let (kty, private) = kind(members).ok_or_else(refused)?;
    let mut read = Members { kty, ..Members::default() };
    for (name, value) in members {
        read.take(context, name, value)?;
    }
    let material = match (kty, private) {
        ("RSA", _) => read.rsa(context, private)?,
        ("EC", _) => read.ec(private)?,
        ("OKP", _) => read.okp(private).ok_or_else(refused)?,
        _ => Material::Secret(read.k.filter(|k| !k.is_empty()).ok_or_else(refused)?),
    };
    Ok(Jwk { alg: read.alg, kid: read.kid, material })
}

/// The type and whether there is a private part. Both are found by names in any case; the last one counts.
fn kind(members: &[(String, Json)]) -> Option<(&'static str, bool)> {
    let (mut kty, mut private) = ("", false);
    for (name, value) in members {
        if name.eq_ignore_ascii_case("d") {
            private = true;
        } else if name.eq_ignore_ascii_case("kty") {
            match value {
                Json::String(text) => kty = text,
                Json::Null => {}
                _ => return None,
            }
        }
    }
    Some((["RSA", "EC", "OKP", "oct"].into_iter().find(|known| *known == kty)?, private))
}

/// The members that matter, of whichever type.
#[derive(Default)]
struct Members {
    kty: &'static str,
    alg: String,
    kid: String,
    crv: Option<String>,
    n: Option<Vec<u8>>,
    e: Option<Vec<u8>>,
    d: Option<Vec<u8>>,
    p: Option<Vec<u8>>,
    q: Option<Vec<u8>>,
    dp: Option<Vec<u8>>,
    dq: Option<Vec<u8>>,
    qi: Option<Vec<u8>>,
    x: Option<Vec<u8>>,
    y: Option<Vec<u8>>,
    k: Option<Vec<u8>>,
}

impl Members {
    fn take(&mut self, context: &mut Context, name: &str, value: &Json) -> Result<(), BuiltinError> {
        let refused = || failed("a member of a JWK cannot be read");
        let text = || match value {
            Json::String(text) => Ok(text.as_str()),
            Json::Null => Ok(""),
            _ => Err(refused()),
        };
        let bytes = || -> Result<_, BuiltinError> { Ok(Some(base64::of_jwk(text()?).ok_or_else(refused)?)) };
        match (self.kty, name) {
            (_, "kty") if text()? != self.kty => return Err(refused()),
            (_, "alg") if ALGORITHMS.contains(&text()?) => text()?.clone_into(&mut self.alg),
            (_, "alg") => return Err(refused()),
            (_, "kid") => text()?.clone_into(&mut self.kid),
            (_, "use" | "x5t" | "x5t#S256" | "x5u") => text().map(|_| ())?,
            (_, "key_ops") => match value {
                Json::Null => {}
                Json::Array(items)
                    if items.iter().all(|item| matches!(item, Json::String(_) | Json::Null)) => {}
                _ => return Err(refused()),
            },
            (_, "x5c") => chain(context, value)?,
            ("EC" | "OKP", "crv") => self.crv = Some(text()?.to_owned()),
            ("RSA", "n") => self.n = bytes()?,
            ("RSA", "e") => self.e = bytes()?,
            ("RSA" | "EC" | "OKP", "d") => self.d = bytes()?,
            ("RSA", "p") => self.p = bytes()?,
            ("RSA", "q") => self.q = bytes()?,
            ("RSA", "dp") => self.dp = bytes()?,
            ("RSA", "dq") => self.dq = bytes()?,
            ("RSA", "qi") => self.qi = bytes()?,
            ("EC" | "OKP", "x") => self.x = bytes()?,
            ("EC", "y") => self.y = bytes()?,
            ("oct", "k") => self.k = bytes()?,
            _ => {}
        }
        Ok(())
    }

    fn rsa(&self, context: &mut Context, private: bool) -> Result<Material, BuiltinError> {
        let refused = || failed("an RSA key of a JWK cannot be read");
        let (Some(n), Some(e)) = (&self.n, &self.e) else { return Err(refused()) };
        let (n, e) = (BigUint::from_bytes_be(n), BigUint::from_bytes_be(e));
        let e = i64::try_from(&e).ok().filter(|e| e % 2 == 1 && n.bits() > 0).ok_or_else(refused)?;
        let public = RsaPublic { n, e };
        if !private {
            return Ok(Material::Public(PublicKey::Rsa(public)));
        }
        let (Some(d), Some(p), Some(q)) = (&self.d, &self.p, &self.q) else { return Err(refused()) };
        if d.is_empty() {
            return Err(refused());
        }
        let given: Option<Vec<BigUint>> = [&self.dp, &self.dq, &self.qi]
            .into_iter()
            .map(|given| Some(BigUint::from_bytes_be(given.as_ref()?)))
            .collect();
        let primes = vec![BigUint::from_bytes_be(p), BigUint::from_bytes_be(q)];
        context.charge(rsa_steps([d, p, q].into_iter().map(Vec::len).sum::<usize>().saturating_mul(2)))?;
        let d = BigUint::from_bytes_be(d);
        Ok(match RsaPrivate::new(public.clone(), d, primes, &given.unwrap_or_default()) {
            Some(key) => Material::Private(PrivateKey::Rsa(key)),
            None => Material::Broken(PublicKey::Rsa(public)),
        })
    }

    fn ec(&self, private: bool) -> Result<Material, BuiltinError> {
        let refused = || failed("an EC key of a JWK cannot be read");
        let curve = match self.crv.as_deref() {
            Some("P-256") => Curve::P256,
            Some("P-384") => Curve::P384,
            Some("P-521") => Curve::P521,
            _ => return Err(refused()),
        };
        let size = |bytes: &&Vec<u8>| bytes.len() == curve.field_bytes();
        let (Some(x), Some(y)) = (self.x.as_ref().filter(size), self.y.as_ref().filter(size)) else {
            return Err(refused());
        };
        let point = [[4].as_slice(), x, y].concat();
        if !curve.holds(&point) {
            return Err(refused());
        }
        let public = PublicKey::Ec { curve, point };
        if !private {
            return Ok(Material::Public(public));
        }
        let d = self.d.as_ref().filter(size).ok_or_else(refused)?;
        Ok(match PrivateKey::ec(curve, d) {
            Ok(key) if key.public() == public => Material::Private(key),
            Ok(_) | Err(Refused::Malformed) => Material::Broken(public),
            Err(refused @ Refused::Unsupported) => return Err(refused.into()),
        })
    }

    fn okp(&self, private: bool) -> Option<Material> {
        let x = self.x.clone().filter(|x| x.len() == 32)?;
        let d = if private { Some(self.d.clone().filter(|d| d.len() == 32)?) } else { None };
        Some(match (self.crv.as_deref()?, d) {
            ("Ed25519", None) => Material::Public(PublicKey::Ed25519(x)),
            ("X25519", None) => Material::Public(PublicKey::X25519(x)),
            ("Ed25519", Some(d)) => {
                let key = PrivateKey::ed25519(d)?;
                (key.public() == PublicKey::Ed25519(x)).then_some(Material::Private(key))?
            }
            ("X25519", Some(d)) => Material::Private(PrivateKey::x25519(d)?),
            _ => return None,
        })
    }
}

/// The chain of a key is not used, but must be one.
fn chain(context: &mut Context, value: &Json) -> Result<(), BuiltinError> {
    let refused = || failed("`x5c` of a JWK cannot be read");
    let Json::Array(items) = value else { return Err(refused()) };
    if items.len() > 10 {
        return Err(refused());
    }
    for item in items {
        let text: String = item.as_str().ok_or_else(refused)?.split_ascii_whitespace().collect();
        let certificate =
            base64::standard(text.as_bytes()).filter(|der| der.len() <= 256 << 10).ok_or_else(refused)?;
        super::certificate::Certificate::one(context, &certificate)?.ok_or_else(refused)?;
    }
    Ok(())
}

/// The algorithms that the library knows, for signatures and for encryption.
const ALGORITHMS: &[&str] = &[
    "ES256",
    "ES256K",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
    "HS256",
    "HS384",
    "HS512",
    "none",
    "PS256",
    "PS384",
    "PS512",
    "RS256",
    "RS384",
    "RS512",
    "A128GCMKW",
    "A128KW",
    "A192GCMKW",
    "A192KW",
    "A256GCMKW",
    "A256KW",
    "dir",
    "ECDH-ES",
    "ECDH-ES+A128KW",
    "ECDH-ES+A192KW",
    "ECDH-ES+A256KW",
    "PBES2-HS256+A128KW",
    "PBES2-HS384+A192KW",
    "PBES2-HS512+A256KW",
    "RSA1_5",
    "RSA-OAEP",
    "RSA-OAEP-256",
    "RSA-OAEP-384",
    "RSA-OAEP-512",
    "A128CBC-HS256",
    "A128GCM",
    "A192CBC-HS384",
    "A192GCM",
    "A256CBC-HS512",
    "A256GCM",
];
