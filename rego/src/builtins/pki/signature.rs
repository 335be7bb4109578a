//! Signatures: which of them verify. What Go verifies and our provider does not is verified here, or ends the decision:
//! an answer of `false` would become `true` in a policy that negates it.
use super::der;
use super::keys::{Curve, PublicKey, RsaPublic};
use crate::builtins::{BuiltinError, Context};
use aws_lc_rs::digest::{self, digest};
use aws_lc_rs::signature as provider;
use aws_lc_rs::signature::{RsaPublicKeyComponents, UnparsedPublicKey};
use num_bigint::BigUint;

/// The digest that is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// How a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Pkcs1(Hash),
    /// PSS with a salt as long as the digest.
    Pss(Hash),
    /// PSS with a salt of any length.
    PssAnySalt(Hash),
    /// ECDSA, in DER.
    EcdsaDer(Hash),
    /// ECDSA, two numbers of half of the length each.
    EcdsaHalves(Hash),
    /// ECDSA, two numbers of the length of the curve's field each.
    EcdsaFixed(Hash),
    Ed25519,
}

/// A message and the signature of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) message: &'a [u8],
    pub(crate) signature: &'a [u8],
}

/// Whether the signature of a message is this key's. A key of another kind has made none.
///
/// # Errors
/// [`BuiltinError::Budget`]: too costly, or nothing that can be verified here.
pub(crate) fn verify(
    context: &mut Context,
    key: &PublicKey,
    scheme: Scheme,
    signed: Signed<'_>,
) -> Result<bool, BuiltinError> {
    let Signed { message, signature } = signed;
    context.charge_bytes(message.len().saturating_add(signature.len()))?;
    match (scheme, key) {
        (Scheme::Pkcs1(hash), PublicKey::Rsa(key)) => rsa(context, key, (hash, Padding::Pkcs1), signed),
        (Scheme::Pss(hash), PublicKey::Rsa(key)) => rsa(context, key, (hash, Padding::Pss), signed),
        (Scheme::PssAnySalt(hash), PublicKey::Rsa(key)) => {
            rsa(context, key, (hash, Padding::PssAnySalt), signed)
        }
        (Scheme::EcdsaDer(hash), PublicKey::Ec { curve, point }) => {
            ecdsa(context, (*curve, hash), point, signed)
        }
        (Scheme::EcdsaHalves(hash), PublicKey::Ec { curve, point }) => {
            let (r, s) = signature.split_at(signature.len() / 2);
            let signature = &ecdsa_der(r, s);
            ecdsa(context, (*curve, hash), point, Signed { message, signature })
        }
        (Scheme::EcdsaFixed(hash), PublicKey::Ec { curve, point }) => {
            match signature.split_at_checked(curve.field_bytes()) {
                Some((r, s)) if s.len() == curve.field_bytes() => {
                    let signature = &ecdsa_der(r, s);
                    ecdsa(context, (*curve, hash), point, Signed { message, signature })
                }
                _ => Ok(false),
            }
        }
        (Scheme::Ed25519, PublicKey::Ed25519(key)) => {
            context.charge(EC_STEPS)?;
            Ok(UnparsedPublicKey::new(&provider::ED25519, key).verify(message, signature).is_ok())
        }
        _ => Ok(false),
    }
}

/// About the work of a signature on a curve, in steps.
pub(crate) const EC_STEPS: usize = 400;

/// About the work of one operation with a public RSA key of this many bytes, in steps.
pub(crate) fn rsa_steps(modulus_bytes: usize) -> usize {
    modulus_bytes.saturating_mul(modulus_bytes) / 512
}

fn ecdsa_der(r: &[u8], s: &[u8]) -> Vec<u8> {
    der::write(der::SEQUENCE, &[der::write_unsigned(r), der::write_unsigned(s)].concat())
}

fn ecdsa(
    context: &mut Context,
    algorithm: (Curve, Hash),
    point: &[u8],
    signed: Signed<'_>,
) -> Result<bool, BuiltinError> {
    context.charge(EC_STEPS)?;
    let algorithm = match algorithm {
        (Curve::P224, _) => {
            return Err(BuiltinError::Budget("signatures with a key on P-224 cannot be verified".to_owned()));
        }
        (Curve::P256, Hash::Sha256) => &provider::ECDSA_P256_SHA256_ASN1,
        (Curve::P256, Hash::Sha384) => &provider::ECDSA_P256_SHA384_ASN1,
        (Curve::P256, Hash::Sha512) => &provider::ECDSA_P256_SHA512_ASN1,
        (Curve::P384, Hash::Sha256) => &provider::ECDSA_P384_SHA256_ASN1,
        (Curve::P384, Hash::Sha384) => &provider::ECDSA_P384_SHA384_ASN1,
        (Curve::P384, Hash::Sha512) => &provider::ECDSA_P384_SHA512_ASN1,
        (Curve::P521, Hash::Sha256) => &provider::ECDSA_P521_SHA256_ASN1,
        (Curve::P521, Hash::Sha384) => &provider::ECDSA_P521_SHA384_ASN1,
        (Curve::P521, Hash::Sha512) => &provider::ECDSA_P521_SHA512_ASN1,
    };
    Ok(UnparsedPublicKey::new(algorithm, point).verify(signed.message, signed.signature).is_ok())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    Pkcs1,
    Pss,
    PssAnySalt,
}

fn rsa(
    context: &mut Context,
    key: &RsaPublic,
    (hash, padding): (Hash, Padding),
    Signed { message, signature }: Signed<'_>,
) -> Result<bool, BuiltinError> {
    let bits = key.n.bits();
    // The same keys as in Go, which takes no smaller ones and no exponents of more than 31 bits.
    let exponent = u32::try_from(key.e).ok().filter(|e| *e >= 2 && e % 2 == 1 && *e < 1 << 31);
    let Some(exponent) = exponent.filter(|_| bits >= 1024 && key.n.bit(0)) else { return Ok(false) };
    let modulus = key.n.to_bytes_be();
    context.charge(rsa_steps(modulus.len()))?;
    if (2048..=8192).contains(&bits) {
        let parameters = match (padding, hash) {
            (Padding::Pkcs1, Hash::Sha256) => &provider::RSA_PKCS1_2048_8192_SHA256,
            (Padding::Pkcs1, Hash::Sha384) => &provider::RSA_PKCS1_2048_8192_SHA384,
            (Padding::Pkcs1, Hash::Sha512) => &provider::RSA_PKCS1_2048_8192_SHA512,
            (_, Hash::Sha256) => &provider::RSA_PSS_2048_8192_SHA256,
            (_, Hash::Sha384) => &provider::RSA_PSS_2048_8192_SHA384,
            (_, Hash::Sha512) => &provider::RSA_PSS_2048_8192_SHA512,
        };
        let n: &[u8] = &modulus;
        let e: &[u8] = &BigUint::from(exponent).to_bytes_be();
        let verified = RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok();
        if verified || padding != Padding::PssAnySalt {
            return Ok(verified);
        }
    }
    // The provider takes no smaller and no larger keys, and no salt but of one length.
    context.charge(rsa_steps(modulus.len()).saturating_mul(8))?;
    let number = BigUint::from_bytes_be(signature);
    if signature.len() != modulus.len() || number >= key.n {
        return Ok(false);
    }
    let encoded = number.modpow(&BigUint::from(exponent), &key.n).to_bytes_be();
    let encoded = [vec![0; modulus.len().saturating_sub(encoded.len())], encoded].concat();
    let hashed = digest(hash.algorithm(), message);
    Ok(match padding {
        Padding::Pkcs1 => {
            pkcs1(hash, hashed.as_ref(), modulus.len()).is_some_and(|expected| expected == encoded)
        }
        Padding::Pss => pss(hash, hashed.as_ref(), &encoded, bits, Some(hashed.as_ref().len())).is_some(),
        Padding::PssAnySalt => pss(hash, hashed.as_ref(), &encoded, bits, None).is_some(),
    })
}

impl Hash {
    pub(crate) fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }

    /// The last arc of the digest's object identifier, 2.16.840.1.101.3.4.2.x.
    fn arc(self) -> u8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha384 => 2,
            Self::Sha512 => 3,
        }
    }
}

/// The encoded message of RFC 8017, section 9.2.
fn pkcs1(hash: Hash, hashed: &[u8], length: usize) -> Option<Vec<u8>> {
    let oid = der::write(der::OID, &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, hash.arc()]);
    let algorithm = der::write(der::SEQUENCE, &[oid, vec![0x05, 0x00]].concat());
    let info = der::write(der::SEQUENCE, &[algorithm, der::write(der::OCTET_STRING, hashed)].concat());
    let filler = length.checked_sub(info.len())?.checked_sub(3).filter(|filler| *filler >= 8)?;
    Some([vec![0, 1], vec![0xff; filler], vec![0], info].concat())
}

/// The check of RFC 8017, section 9.1.2; without a length the salt is what follows the first 1.
fn pss(
    hash: Hash,
    hashed: &[u8],
    encoded: &[u8],
    modulus_bits: u64,
    salt_length: Option<usize>,
) -> Option<()> {
    let encoded_bits = usize::try_from(modulus_bits).ok()?.checked_sub(1)?;
    let length = encoded_bits.div_ceil(8);
    let (above, encoded) = encoded.split_at_checked(encoded.len().checked_sub(length)?)?;
    let (encoded, [0xbc]) = encoded.split_last_chunk::<1>()? else { return None };
    let (masked, h) = encoded.split_at_checked(encoded.len().checked_sub(hashed.len())?)?;
    let unused = u32::try_from(length.checked_mul(8)?.checked_sub(encoded_bits)?).ok()?;
    let used = 0xff_u8.checked_shr(unused)?;
    if above.iter().any(|byte| *byte != 0) || masked.first()? & !used != 0 {
        return None;
    }
    let mut db: Vec<u8> = masked.iter().zip(mgf1(hash, h, masked.len())).map(|(a, b)| a ^ b).collect();
    *db.first_mut()? &= used;
    let zeros = match salt_length {
        Some(salt) => db.len().checked_sub(salt)?.checked_sub(1)?,
        None => db.iter().position(|byte| *byte == 1)?,
    };
    let (zeros, rest) = db.split_at_checked(zeros)?;
    let (one, salt) = rest.split_first()?;
    if zeros.iter().any(|byte| *byte != 0) || *one != 1 {
        return None;
    }
    let again = digest(hash.algorithm(), &[&[0; 8], hashed, salt].concat());
    (again.as_ref() == h).then_some(())
}

fn mgf1(hash: Hash, seed: &[u8], length: usize) -> Vec<u8> {
    let mut mask = Vec::with_capacity(length);
    for counter in 0_u32.. {
        if mask.len() >= length {
            break;
        }
        mask.extend_from_slice(digest(hash.algorithm(), &[seed, &counter.to_be_bytes()].concat()).as_ref());
    }
    mask.truncate(length);
    mask
}
