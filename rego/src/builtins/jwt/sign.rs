//! Signing tokens.
use super::Signing;
use super::token::failed;
use super::verify::hmac_algorithm;
use crate::Value;
use crate::builtins::pki::base64::RAW_URL;
use crate::builtins::pki::json::{self, Json};
use crate::builtins::pki::jwk::{self, Material};
use crate::builtins::pki::keys::{Curve, PublicKey};
use crate::builtins::pki::private::{PrivateKey, RsaPrivate};
use crate::builtins::pki::signature::{EC_STEPS, Hash, Scheme, rsa_steps};
use crate::builtins::{BuiltinError, Context, Outcome, arg, text};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature as provider;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use num_bigint::BigUint;

pub(super) fn encode_sign(context: &mut Context, args: &[Value]) -> Outcome {
    let mut texts = [String::new(), String::new(), String::new()];
    for (index, text) in texts.iter_mut().enumerate() {
        json::write(context, arg(args, index)?, text)?;
    }
    let [header, payload, key] = texts;
    token(context, &header, &payload, &key)
}

pub(super) fn encode_sign_raw(context: &mut Context, args: &[Value]) -> Outcome {
    let key = text(args, 2)?;
    token(context, text(args, 0)?, text(args, 1)?, key)
}

fn token(context: &mut Context, header: &str, payload: &str, key: &str) -> Outcome {
    context.charge_bytes(header.len().saturating_add(payload.len()).saturating_mul(4))?;
    let keys = jwk::parse(context, key)?;
    let key = keys.first().ok_or_else(|| failed("no keys found in JWK set"))?;
    let json =
        Json::whole(header).ok_or_else(|| failed("missing or invalid 'alg' header: cannot parse JSON"))?;
    let algorithm =
        json.first("alg").and_then(Json::as_str).ok_or_else(|| failed("missing or invalid 'alg' header"))?;
    let signing = Signing::registered(algorithm)
        .ok_or_else(|| failed(format!("unknown JWS algorithm: {algorithm}")))?;
    let is_jwt = json.first("typ").and_then(Json::as_str).is_none_or(|typ| typ == "JWT");
    if is_jwt && Json::whole(payload).is_none() {
        return Err(failed("type is JWT but payload is not JSON"));
    }
    let signed = format!("{}.{}", RAW_URL.encode(header), RAW_URL.encode(payload));
    let signature = sign(context, signing, &key.material, signed.as_bytes())?;
    Ok(Some(Value::from(format!("{signed}.{}", RAW_URL.encode(signature)))))
}

fn sign(
    context: &mut Context,
    signing: Signing,
    key: &Material,
    message: &[u8],
) -> Result<Vec<u8>, BuiltinError> {
    match (signing, key) {
        (Signing::Secret(hash), key) => {
            let secret = secret(key).ok_or_else(|| failed("the key is none for the algorithm"))?;
            Ok(hmac::sign(&hmac::Key::new(hmac_algorithm(hash), &secret), message).as_ref().to_vec())
        }
        (
            Signing::Key(scheme @ (Scheme::Pkcs1(_) | Scheme::Pss(_))),
            Material::Private(PrivateKey::Rsa(key)),
        ) => rsa(context, scheme, key, message),
        (Signing::Key(Scheme::EcdsaFixed(hash)), Material::Private(PrivateKey::Ec { curve, d, point })) => {
            context.charge(EC_STEPS)?;
            let algorithm = match (curve, hash) {
                (Curve::P256, Hash::Sha256) => &provider::ECDSA_P256_SHA256_FIXED_SIGNING,
                (Curve::P384, Hash::Sha384) => &provider::ECDSA_P384_SHA384_FIXED_SIGNING,
                (Curve::P521, Hash::Sha256) => &provider::ECDSA_P521_SHA256_FIXED_SIGNING,
                (Curve::P521, Hash::Sha384) => &provider::ECDSA_P521_SHA384_FIXED_SIGNING,
                (Curve::P521, Hash::Sha512) => &provider::ECDSA_P521_SHA512_FIXED_SIGNING,
                _ => return Err(unsupported("a digest that is not the one of the key's curve")),
            };
            let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, d, point);
            let pair = pair.map_err(|_| failed("the EC key cannot sign"))?;
            let signature = pair.sign(&SystemRandom::new(), message);
            Ok(signature.map_err(|_| failed("the EC key cannot sign"))?.as_ref().to_vec())
        }
        (Signing::Key(Scheme::Ed25519), Material::Private(PrivateKey::Ed25519 { seed, .. })) => {
            context.charge(EC_STEPS)?;
            let pair = Ed25519KeyPair::from_seed_unchecked(seed)
                .map_err(|_| failed("the Ed25519 key cannot sign"))?;
            Ok(pair.sign(message).as_ref().to_vec())
        }
        (Signing::Key(_), Material::Broken(_)) => {
            Err(unsupported("a private key whose parts do not fit each other"))
        }
        _ => Err(failed("the key is none for the algorithm")),
    }
}

/// OPA takes the bytes of an Ed25519 key for a secret as well.
fn secret(key: &Material) -> Option<Vec<u8>> {
    Some(match key {
        Material::Secret(secret) => secret.clone(),
        Material::Private(PrivateKey::Ed25519 { seed, public }) => [seed.as_slice(), public].concat(),
        Material::Public(PublicKey::Ed25519(public)) => public.clone(),
        _ => return None,
    })
}

/// OPA might sign; ending the decision is safe where leaving the token out might not be.
fn unsupported(what: &str) -> BuiltinError {
    BuiltinError::Budget(format!("signing a token with {what} is not supported"))
}

fn rsa(
    context: &mut Context,
    scheme: Scheme,
    key: &RsaPrivate,
    message: &[u8],
) -> Result<Vec<u8>, BuiltinError> {
    let n = key.public.n.to_bytes_be();
    let bits = key.public.n.bits();
    context.charge(rsa_steps(n.len()).saturating_mul(64))?;
    if bits < 1024 {
        return Err(failed("crypto/rsa: keys of less than 1024 bits are insecure"));
    }
    if !(2048..=8192).contains(&bits) {
        return Err(unsupported("an RSA key of less than 2048 or more than 8192 bits"));
    }
    let e = BigUint::from(u32::try_from(key.public.e).unwrap_or(0)).to_bytes_be();
    let [p, q] = key.primes.as_slice() else { return Err(unsupported("an RSA key of more than two primes")) };
    let components = KeyPairComponents {
        public_key: PublicKeyComponents { n, e },
        d: key.d.to_bytes_be(),
        p: p.to_bytes_be(),
        q: q.to_bytes_be(),
        dP: key.dp.to_bytes_be(),
        dQ: key.dq.to_bytes_be(),
        qInv: key.qinv.to_bytes_be(),
    };
    let pair = RsaKeyPair::from_components(&components).map_err(|_| unsupported("this RSA key"))?;
    let encoding = match scheme {
        Scheme::Pkcs1(Hash::Sha256) => &provider::RSA_PKCS1_SHA256,
        Scheme::Pkcs1(Hash::Sha384) => &provider::RSA_PKCS1_SHA384,
        Scheme::Pkcs1(Hash::Sha512) => &provider::RSA_PKCS1_SHA512,
        Scheme::Pss(Hash::Sha256) => &provider::RSA_PSS_SHA256,
        Scheme::Pss(Hash::Sha384) => &provider::RSA_PSS_SHA384,
        _ => &provider::RSA_PSS_SHA512,
    };
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
        .map_err(|_| unsupported("this RSA key"))?;
    Ok(signature)
}
