//! Public keys, and how they look in JSON.
use super::base64::STD;
use super::der::{self, Reader};
use crate::{Number, Value};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, UnparsedPublicKey,
};
use base64::Engine as _;
use num_bigint::BigUint;

pub(crate) const RSA: &[u32] = &[1, 2, 840, 113_549, 1, 1, 1];
pub(crate) const EC: &[u32] = &[1, 2, 840, 10_045, 2, 1];
pub(crate) const ED25519: &[u32] = &[1, 3, 101, 112];
pub(crate) const X25519: &[u32] = &[1, 3, 101, 110];
const DSA: &[u32] = &[1, 2, 840, 10_040, 4, 1];

/// A curve for ECDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P224,
    P256,
    P384,
    P521,
}

impl Curve {
    pub(crate) fn of_oid(oid: &[u32]) -> Option<Self> {
        Some(match oid {
            [1, 3, 132, 0, 33] => Self::P224,
            [1, 2, 840, 10_045, 3, 1, 7] => Self::P256,
            [1, 3, 132, 0, 34] => Self::P384,
            [1, 3, 132, 0, 35] => Self::P521,
            _ => return None,
        })
    }

    /// The length of a coordinate.
    pub(crate) fn field_bytes(self) -> usize {
        match self {
            Self::P224 => 28,
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// Whether this is a point of the curve, not compressed.
    pub(crate) fn holds(self, point: &[u8]) -> bool {
        let Some((4, coordinates)) = point.split_first() else { return false };
        let algorithm = match self {
            Self::P224 => return p224_holds(coordinates),
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA384_ASN1,
            Self::P521 => &ECDSA_P521_SHA512_ASN1,
        };
        coordinates.len() == self.field_bytes() * 2
            && UnparsedPublicKey::new(algorithm, point).parse().is_ok()
    }
}

/// The provider does not know P-224: y² = x³ - 3x + b (FIPS 186-4, D.1.2.2).
fn p224_holds(coordinates: &[u8]) -> bool {
    if coordinates.len() != 56 {
        return false;
    }
    let number = |hex: &[u8]| BigUint::parse_bytes(hex, 16).unwrap_or_default();
    let p = number(b"ffffffffffffffffffffffffffffffff000000000000000000000001");
    let b = number(b"b4050a850c04b3abf54132565044b0b7d7bfd8ba270b39432355ffb4");
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    let (x, y) = (BigUint::from_bytes_be(x), BigUint::from_bytes_be(y));
    let three = BigUint::from(3_u8);
    let right = x.modpow(&three, &p) + (&p - &three) * &x + b;
    x < p && y < p && y.modpow(&BigUint::from(2_u8), &p) == right % &p
}

/// A public RSA key, whose numbers need not make sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RsaPublic {
    pub(crate) n: BigUint,
    pub(crate) e: i64,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicKey {
    Rsa(RsaPublic),
    /// A point of the curve, not compressed.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
    X25519(Vec<u8>),
    Dsa {
        p: BigUint,
        q: BigUint,
        g: BigUint,
        y: BigUint,
    },
    /// Of an algorithm that Go does not know.
    Unknown,
}

impl PublicKey {
    /// Reads the content of a `SubjectPublicKeyInfo`.
    pub(crate) fn of_info(mut info: Reader<'_>) -> Option<Self> {
        let (oid, parameters) = algorithm(info.read(der::SEQUENCE)?)?;
        let data = info.bit_string()?.right_aligned();
        let mut reader = Reader::new(&data);
        Some(match oid.as_slice() {
            RSA => {
                if parameters != [0x05, 0x00] {
                    return None;
                }
                let mut numbers = reader.read(der::SEQUENCE)?;
                let (n, e) = (numbers.positive()?, numbers.int64(der::INTEGER)?);
                Self::Rsa(RsaPublic { n, e: Some(e).filter(|e| *e > 0)? })
            }
            EC => {
                let curve = Curve::of_oid(&Reader::new(parameters).oid()?)?;
                curve.holds(&data).then_some(Self::Ec { curve, point: data.clone() })?
            }
            ED25519 if parameters.is_empty() && data.len() == 32 => Self::Ed25519(data.clone()),
            X25519 if parameters.is_empty() && data.len() == 32 => Self::X25519(data.clone()),
            ED25519 => return None,
            DSA => {
                let y = reader.positive()?;
                let mut numbers = Reader::new(parameters).read(der::SEQUENCE)?;
                Self::Dsa { p: numbers.positive()?, q: numbers.positive()?, g: numbers.positive()?, y }
            }
            _ => Self::Unknown,
        })
    }

    /// Reads a whole `SubjectPublicKeyInfo`, as the block `PUBLIC KEY` holds it.
    pub(crate) fn of_pkix(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let info = reader.read(der::SEQUENCE)?;
        let key = Self::of_info(info).filter(|key| *key != Self::Unknown)?;
        reader.is_empty().then_some(key)
    }

    /// About the work of writing its numbers in decimals, in steps.
    pub(crate) fn decimals(&self) -> usize {
        match self {
            Self::Rsa(key) => decimals(key.n.bits()),
            Self::Dsa { p, q, g, y } => [p, q, g, y]
                .into_iter()
                .fold(0, |steps, number| steps.saturating_add(decimals(number.bits()))),
            Self::Ec { .. } | Self::Ed25519(_) | Self::X25519(_) | Self::Unknown => 1,
        }
    }

    /// As Go writes it.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Rsa(key) => object([("N", number(&key.n)), ("E", Value::from(key.e))]),
            Self::Ec { curve, point } => {
                let (x, y) = coordinates(*curve, point);
                object([("Curve", Value::object([])), ("X", number(&x)), ("Y", number(&y))])
            }
            Self::Ed25519(key) => Value::from(STD.encode(key)),
            Self::X25519(_) => Value::object([]),
            Self::Dsa { p, q, g, y } => {
                object([("P", number(p)), ("Q", number(q)), ("G", number(g)), ("Y", number(y))])
            }
            Self::Unknown => Value::Null,
        }
    }
}

/// An object of these members.
pub(crate) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::object(members.into_iter().map(|(name, value)| (Value::from(name), value)))
}

/// A whole number of any size.
pub(crate) fn number(number: &BigUint) -> Value {
    Number::parse(&number.to_string()).map_or(Value::Null, Value::Number)
}

/// About the work of writing a number of this many bits in decimals, in steps: it grows with the square.
pub(crate) fn decimals(bits: u64) -> usize {
    let words = usize::try_from(bits / 64).unwrap_or(usize::MAX);
    words.saturating_mul(words).saturating_div(64)
}

/// The coordinates of a point.
pub(crate) fn coordinates(curve: Curve, point: &[u8]) -> (BigUint, BigUint) {
    let (x, y) =
        point.get(1..).and_then(|both| both.split_at_checked(curve.field_bytes())).unwrap_or_default();
    (BigUint::from_bytes_be(x), BigUint::from_bytes_be(y))
}

/// An `AlgorithmIdentifier`: which algorithm, and the whole element of its parameters, empty if there is none.
pub(crate) fn algorithm(mut reader: Reader<'_>) -> Option<(Vec<u32>, &[u8])> {
    let oid = reader.oid()?;
    let parameters = if reader.is_empty() { &[] } else { reader.any()?.full };
    Some((oid, parameters))
}
