//! Private keys: PKCS #1, PKCS #8 and SEC 1 as Go reads them, and how they look in JSON.
use super::base64::{RAW_URL, STD};
use super::der::{self, Reader};
use super::keys::{self, Curve, PublicKey, RsaPublic, coordinates, number, object};
use super::{base64, pem, signature};
use crate::Value;
use crate::builtins::{BuiltinError, Context};
use ::base64::Engine as _;
use aws_lc_rs::agreement;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use num_bigint::{BigInt, BigUint};

/// A private RSA key whose numbers fit each other. Only the first two primes have their own exponents.
#[derive(Clone, Debug)]
pub(crate) struct RsaPrivate {
    pub(crate) public: RsaPublic,
    pub(crate) d: BigUint,
    pub(crate) primes: Vec<BigUint>,
    pub(crate) dp: BigUint,
    pub(crate) dq: BigUint,
    pub(crate) qinv: BigUint,
}

/// A private key.
#[derive(Clone, Debug)]
pub(crate) enum PrivateKey {
    Rsa(RsaPrivate),
    Ec { curve: Curve, d: Vec<u8>, point: Vec<u8> },
    Ed25519 { seed: Vec<u8>, public: Vec<u8> },
    X25519 { d: Vec<u8>, public: Vec<u8> },
}

/// Why a key cannot be read.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It is malformed, for Go as well.
    Malformed,
    /// Only we cannot.
    Unsupported,
}

impl From<Refused> for BuiltinError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Malformed => Self::Failed("the private key cannot be read".to_owned()),
            Refused::Unsupported => Self::Budget("private keys on P-224 cannot be read".to_owned()),
        }
    }
}

/// The private keys in a text: PEM, or PEM in base64.
pub(crate) fn in_text(context: &mut Context, text: &str) -> Result<Vec<PrivateKey>, BuiltinError> {
    context.charge_bytes(text.len().saturating_mul(2))?;
    let decoded = base64::standard(text.as_bytes());
    let mut found = Vec::new();
    for block in pem::blocks(decoded.as_deref().unwrap_or(text.as_bytes())) {
        context.charge(signature::EC_STEPS)?;
        found.push(match block.label {
            b"RSA PRIVATE KEY" => PrivateKey::of_pkcs1(context, &block.bytes)?,
            b"PRIVATE KEY" => PrivateKey::of_pkcs8(context, &block.bytes)?,
            b"EC PRIVATE KEY" => PrivateKey::of_sec1(None, &block.bytes)?,
            _ => continue,
        });
    }
    Ok(found)
}

impl PrivateKey {
    /// Reads PKCS #1.
    pub(crate) fn of_pkcs1(context: &mut Context, bytes: &[u8]) -> Result<Self, BuiltinError> {
        context.charge(signature::rsa_steps(bytes.len()))?;
        rsa(bytes).map(Self::Rsa).ok_or(Refused::Malformed.into())
    }

    /// Reads PKCS #8. What follows it does not count.
    pub(crate) fn of_pkcs8(context: &mut Context, bytes: &[u8]) -> Result<Self, BuiltinError> {
        let (oid, parameters, key) = pkcs8(bytes).ok_or(Refused::Malformed)?;
        let seed = || -> Result<Vec<u8>, Refused> {
            let seed = Reader::new(key).bytes(der::OCTET_STRING).filter(|seed| seed.len() == 32);
            seed.filter(|_| parameters.is_empty()).map(<[u8]>::to_vec).ok_or(Refused::Malformed)
        };
        match oid.as_slice() {
            keys::RSA => Self::of_pkcs1(context, key),
            keys::EC => Ok(Self::of_sec1(Reader::new(parameters).oid(), key)?),
            keys::ED25519 => Self::ed25519(seed()?).ok_or(Refused::Malformed.into()),
            keys::X25519 => Self::x25519(seed()?).ok_or(Refused::Malformed.into()),
            _ => Err(Refused::Malformed.into()),
        }
    }

    /// Reads SEC 1, whose curve may be known from elsewhere.
    pub(crate) fn of_sec1(curve: Option<Vec<u32>>, bytes: &[u8]) -> Result<Self, Refused> {
        let (named, d) = sec1(bytes).ok_or(Refused::Malformed)?;
        let curve = curve.or(named).and_then(|oid| Curve::of_oid(&oid)).ok_or(Refused::Malformed)?;
        Self::ec(curve, d)
    }

    /// A key of this secret number.
    pub(crate) fn ec(curve: Curve, d: &[u8]) -> Result<Self, Refused> {
        let size = curve.field_bytes();
        let (above, d) = d.split_at(d.len().saturating_sub(size));
        if above.iter().any(|byte| *byte != 0) {
            return Err(Refused::Malformed);
        }
        let d = [vec![0; size.saturating_sub(d.len())], d.to_vec()].concat();
        let algorithm = match curve {
            Curve::P224 => return Err(Refused::Unsupported),
            Curve::P256 => &agreement::ECDH_P256,
            Curve::P384 => &agreement::ECDH_P384,
            Curve::P521 => &agreement::ECDH_P521,
        };
        let key = agreement::PrivateKey::from_private_key(algorithm, &d).map_err(|_| Refused::Malformed)?;
        let point = key.compute_public_key().map_err(|_| Refused::Malformed)?.as_ref().to_vec();
        Ok(Self::Ec { curve, d, point })
    }

    /// The key of this seed.
    pub(crate) fn ed25519(seed: Vec<u8>) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        Some(Self::Ed25519 { public: pair.public_key().as_ref().to_vec(), seed })
    }

    /// The key of this secret number.
    pub(crate) fn x25519(d: Vec<u8>) -> Option<Self> {
        let key = agreement::PrivateKey::from_private_key(&agreement::X25519, &d).ok()?;
        let public = key.compute_public_key().ok()?.as_ref().to_vec();
        Some(Self::X25519 { d, public })
    }

    /// Its public key.
    pub(crate) fn public(&self) -> PublicKey {
        match self {
            Self::Rsa(key) => PublicKey::Rsa(key.public.clone()),
            Self::Ec { curve, point, .. } => PublicKey::Ec { curve: *curve, point: point.clone() },
            Self::Ed25519 { public, .. } => PublicKey::Ed25519(public.clone()),
            Self::X25519 { public, .. } => PublicKey::X25519(public.clone()),
        }
    }

    /// As Go writes it.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Rsa(key) => key.to_value(),
            Self::Ec { curve, d, point } => {
                let (x, y) = coordinates(*curve, point);
                let d = number(&BigUint::from_bytes_be(d));
                object([("Curve", Value::object([])), ("X", number(&x)), ("Y", number(&y)), ("D", d)])
            }
            Self::Ed25519 { seed, public } => Value::from(STD.encode([seed.as_slice(), public].concat())),
            Self::X25519 { .. } => Value::object([]),
        }
    }

    /// As a JWK; of an RSA key of more than two primes there is none.
    pub(crate) fn to_jwk(&self) -> Option<Value> {
        let text = |bytes: &[u8]| Value::from(RAW_URL.encode(bytes));
        let unsigned = |number: &BigUint| text(&number.to_bytes_be());
        Some(match self {
            Self::Rsa(key) => {
                let [p, q] = key.primes.as_slice() else { return None };
                let e = BigInt::from(key.public.e).to_biguint()?;
                object([
                    ("kty", Value::from("RSA")),
                    ("n", unsigned(&key.public.n)),
                    ("e", unsigned(&e)),
                    ("d", unsigned(&key.d)),
                    ("p", unsigned(p)),
                    ("q", unsigned(q)),
                    ("dp", unsigned(&key.dp)),
                    ("dq", unsigned(&key.dq)),
                    ("qi", unsigned(&key.qinv)),
                ])
            }
            Self::Ec { curve, d, point } => {
                let name = match curve {
                    Curve::P224 => return None,
                    Curve::P256 => "P-256",
                    Curve::P384 => "P-384",
                    Curve::P521 => "P-521",
                };
                let (x, y) = point.get(1..)?.split_at_checked(curve.field_bytes())?;
                let (kty, crv) = (Value::from("EC"), Value::from(name));
                object([("kty", kty), ("crv", crv), ("x", text(x)), ("y", text(y)), ("d", text(d))])
            }
            Self::Ed25519 { seed: d, public } | Self::X25519 { d, public } => {
                let name = if matches!(self, Self::Ed25519 { .. }) { "Ed25519" } else { "X25519" };
                let (kty, crv) = (Value::from("OKP"), Value::from(name));
                object([("kty", kty), ("crv", crv), ("x", text(public)), ("d", text(d))])
            }
        })
    }
}

fn pkcs8(bytes: &[u8]) -> Option<(Vec<u32>, &[u8], &[u8])> {
    let mut reader = Reader::new(bytes).read(der::SEQUENCE)?;
    reader.int64(der::INTEGER)?;
    let (oid, parameters) = keys::algorithm(reader.read(der::SEQUENCE)?)?;
    Some((oid, parameters, reader.bytes(der::OCTET_STRING)?))
}

fn sec1(bytes: &[u8]) -> Option<(Option<Vec<u32>>, &[u8])> {
    let mut reader = Reader::new(bytes).read(der::SEQUENCE)?;
    if reader.int64(der::INTEGER)? != 1 {
        return None;
    }
    let d = reader.bytes(der::OCTET_STRING)?;
    let curve = match reader.explicit(0, der::OID)? {
        Some(curve) => Some(der::oid(curve.body)?),
        None => None,
    };
    if let Some(public) = reader.explicit(1, der::BIT_STRING)? {
        Reader::new(public.full).bit_string()?;
    }
    Some((curve, d))
}

fn rsa(bytes: &[u8]) -> Option<RsaPrivate> {
    let mut outer = Reader::new(bytes);
    let mut reader = outer.read(der::SEQUENCE)?;
    if !outer.is_empty() || reader.int64(der::INTEGER)? > 1 {
        return None;
    }
    let n = reader.positive()?;
    let public = RsaPublic { n, e: reader.int64(der::INTEGER)? };
    let d = reader.positive()?;
    let mut primes = vec![reader.positive()?, reader.positive()?];
    let mut given = Vec::new();
    while reader.peek(der::INTEGER) && given.len() < 3 {
        given.push(reader.positive()?);
    }
    reader.optional_head()?;
    if let Some(mut more) = reader.optional(der::SEQUENCE)? {
        while !more.is_empty() {
            let mut prime = more.read(der::SEQUENCE)?;
            primes.push(prime.positive()?);
            prime.integer()?;
            prime.integer()?;
        }
    }
    RsaPrivate::new(public, d, primes, &given)
}

impl RsaPrivate {
    /// Computes what is left out, and checks that the numbers fit each other as Go does. `given` are the exponents of both
    /// primes and the coefficient; they count when all three are there.
    pub(crate) fn new(
        public: RsaPublic,
        d: BigUint,
        primes: Vec<BigUint>,
        given: &[BigUint],
    ) -> Option<Self> {
        let (one, n) = (BigUint::from(1_u8), &public.n);
        let e =
            BigUint::from(u32::try_from(public.e).ok().filter(|e| *e >= 2 && e % 2 == 1 && *e < 1 << 31)?);
        let (p, q) = (primes.first()?, primes.get(1)?);
        if !n.bit(0) || d >= *n || primes.iter().any(|prime| *prime <= one) {
            return None;
        }
        let (dp, dq) = (&d % (p - &one), &d % (q - &one));
        let qinv = (q % p).modinv(p)?;
        let two = primes.len() == 2;
        if two
            && let [given_dp, given_dq, given_qinv] = given
            && (given_dp, given_dq, given_qinv) != (&dp, &dq, &qinv)
        {
            return None;
        }
        let bits = n.bits();
        let difference = if p > q { p - q } else { q - p };
        let fits = p < n
            && q < n
            && (p * q) % n == BigUint::ZERO
            && (&e * &dp) % (p - &one) == one
            && (&e * &dq) % (q - &one) == one
            && difference.bits().saturating_add(100) > bits / 2
            && d.bits() > bits / 2;
        (!two || fits).then_some(Self { public, d, primes, dp, dq, qinv })
    }

    fn to_value(&self) -> Value {
        let one = BigUint::from(1_u8);
        let mut product: BigUint = self.primes.iter().take(2).product();
        let mut more = Vec::new();
        for prime in self.primes.iter().skip(2) {
            more.push(object([
                ("Exp", number(&(&self.d % (prime - &one)))),
                (
                    "Coeff",
                    (&product % prime).modinv(prime).map_or(Value::Null, |coefficient| number(&coefficient)),
                ),
                ("R", number(&product)),
            ]));
            product *= prime;
        }
        let precomputed = object([
            ("Dp", number(&self.dp)),
            ("Dq", number(&self.dq)),
            ("Qinv", number(&self.qinv)),
            ("CRTValues", Value::array(more)),
        ]);
        object([
            ("N", number(&self.public.n)),
            ("E", Value::from(self.public.e)),
            ("D", number(&self.d)),
            ("Primes", Value::array(self.primes.iter().map(number))),
            ("Precomputed", precomputed),
        ])
    }
}
