//! The keys of an issuer: JWK sets (RFC 7517), parsed once and ready to verify.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{self as sig, ParsedPublicKey, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve};
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::compact::{Compact, quote};
use crate::bundle::BUNDLE_BYTES_MAX;
use crate::json::{self, Limits};

/// The largest key set in bytes.
pub const KEY_SET_BYTES_MAX: usize = 512 * 1024;
/// The most keys in a set.
pub const KEYS_MAX: usize = 64;

/// Keys tried for one token: those of the same `kid` (RFC 7517 §4.5 lets two of different types share one).
const SAME_ID_MAX: usize = 4;
/// Keys tried for a token without `kid`.
const WITHOUT_ID_MAX: usize = 8;

const LIMITS: Limits = Limits { depth_max: 8, values_max: 16 * 1024 };

/// Why a whole key set was refused. The keys that were there before stay in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// Beyond [`KEY_SET_BYTES_MAX`], or for the bundle document of a trust domain [`BUNDLE_BYTES_MAX`].
    #[error("the key set has {bytes} bytes, at most {max} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Beyond [`KEYS_MAX`]. Of a bundle document those count that are for these tokens.
    #[error("the key set has {0} keys, at most 64 are taken")]
    TooManyKeys(usize),
    /// Not JSON, or JSON that repeats a member.
    #[error("the key set cannot be read: {0}")]
    Malformed(String),
    /// RFC 7517 §5.1.
    #[error("the key set has no member `keys` that is a list")]
    NoKeys,
    /// Every key was ignored; what an outage looks like when it answers 200.
    #[error("none of the {0} keys of the set can verify a token")]
    NoUsableKey(usize),
}

/// A key that was passed over, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoredKey {
    /// Its place in the set, from 1.
    pub index: usize,
    /// Its `kid`, cut short.
    pub key_id: Option<String>,
    /// Why.
    pub reason: String,
}

/// The usable keys of one issuer.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    ignored: Vec<IgnoredKey>,
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    id: Option<String>,
    pub(crate) thumbprint: [u8; 32],
    /// A key that names its algorithm has one entry, an RSA key that does not has six.
    verifiers: Vec<(Algorithm, ParsedPublicKey)>,
}

/// Where a set comes from, and so what `use` means in it.
#[derive(Clone, Copy)]
enum Origin {
    /// RFC 7517: absent or `sig`.
    Jwks,
    /// Trust_Domain_and_Bundle §4.2.2: `jwt-svid`, and JWT-SVID §6.1: with a `kid`.
    SpiffeBundle,
    /// WIT-SVID §6: `wit-svid`, with a `kid` that no other key of the bundle has.
    WitBundle,
    /// Workload_API §6.2.2: a plain JWK set of nothing but such keys, so that `use` may be absent.
    WorkloadApi,
}

impl Origin {
    fn bytes_max(self) -> usize {
        match self {
            Self::Jwks | Self::WorkloadApi => KEY_SET_BYTES_MAX,
            Self::SpiffeBundle | Self::WitBundle => BUNDLE_BYTES_MAX,
        }
    }

    /// Whether a key counts. A trust domain with many X.509 authorities has no fewer keys for tokens.
    fn counts(self, key: &Value) -> bool {
        let is_for = |purpose| key.get("use").and_then(Value::as_str) == Some(purpose);
        match self {
            Self::Jwks | Self::WorkloadApi => true,
            Self::SpiffeBundle => is_for("jwt-svid"),
            Self::WitBundle => is_for("wit-svid"),
        }
    }
}

/// Which keys may have signed a token.
pub(crate) enum Candidates<'a> {
    /// These, and at least one.
    These(Vec<(&'a Key, &'a ParsedPublicKey)>),
    /// The key is known, but not for this algorithm.
    OtherAlgorithm,
    /// No such key.
    Unknown,
    /// The token names no key and there are too many to try.
    Ambiguous,
}

impl KeySet {
    /// Reads a JWK set. Keys that cannot verify tokens are ignored one by one (RFC 7517 §5), and listed by
    /// [`KeySet::ignored`].
    ///
    /// # Errors
    /// When it is too large, not a JWK set, or none of its keys is usable.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let (set, keys) = Self::parse_from(document, Origin::Jwks)?;
        if set.keys.is_empty() { Err(KeySetError::NoUsableKey(keys)) } else { Ok(set) }
    }

    /// Reads the JWT authorities of a SPIFFE bundle document. It may have none, and then verifies nothing
    /// (Trust_Domain_and_Bundle §4.1.3).
    ///
    /// # Errors
    /// When it is too large or not a JWK set.
    pub fn parse_spiffe_bundle(document: &[u8]) -> Result<Self, KeySetError> {
        Self::parse_from(document, Origin::SpiffeBundle).map(|(set, _)| set)
    }

    /// Reads the authorities of Workload Identity Tokens out of a SPIFFE bundle document (WIT-SVID §6, incubating). It may
    /// have none, and then verifies nothing. A `kid` that occurs twice names no key.
    ///
    /// # Errors
    /// When it is too large or not a JWK set.
    pub fn parse_wit_bundle(document: &[u8]) -> Result<Self, KeySetError> {
        Self::parse_from(document, Origin::WitBundle).map(|(set, _)| set)
    }

    /// Reads a JWT bundle of the Workload API: a JWK set that holds nothing but JWT authorities, whether their `use`
    /// says so or is left out. It may have none.
    ///
    /// # Errors
    /// When it is too large or not a JWK set.
    pub fn parse_workload_api_bundle(document: &[u8]) -> Result<Self, KeySetError> {
        Self::parse_from(document, Origin::WorkloadApi).map(|(set, _)| set)
    }

    /// The keys that were passed over.
    #[must_use]
    pub fn ignored(&self) -> &[IgnoredKey] {
        &self.ignored
    }

    /// How many keys are usable.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when no token can be verified.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The RFC 7638 thumbprints (SHA-256) of the usable keys.
    pub fn thumbprints(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.keys.iter().map(|key| &key.thumbprint)
    }

    /// Whether it still has the key that verified a token, under the name that the token calls it by.
    #[must_use]
    pub fn has_key(&self, thumbprint_sha256: &[u8; 32], key_id: Option<&str>) -> bool {
        let is_named = |key: &Key| key_id.is_none() || key.id.as_deref() == key_id;
        self.keys.iter().any(|key| key.thumbprint == *thumbprint_sha256 && is_named(key))
    }

    fn parse_from(document: &[u8], origin: Origin) -> Result<(Self, usize), KeySetError> {
        let max = origin.bytes_max();
        if document.len() > max {
            return Err(KeySetError::TooLarge { bytes: document.len(), max });
        }
        let document =
            json::parse(document, LIMITS).map_err(|e| KeySetError::Malformed(quote(&e.to_string())))?;
        let keys = document.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoKeys)?;
        let count = keys.iter().filter(|key| origin.counts(key)).count();
        if count > KEYS_MAX {
            return Err(KeySetError::TooManyKeys(count));
        }
        let mut set = Self::default();
        for (index, value) in keys.iter().enumerate() {
            match key(value, origin).and_then(|key| unique(key, keys, origin)) {
                Ok(key) => set.keys.push(key),
                Err(reason) => set.ignored.push(IgnoredKey {
                    index: index + 1,
                    key_id: value.get("kid").and_then(Value::as_str).map(quote),
                    reason,
                }),
            }
        }
        Ok((set, keys.len()))
    }

    pub(crate) fn candidates(&self, key_id: Option<&str>, algorithm: Algorithm) -> Candidates<'_> {
        let named: Vec<&Key> =
            self.keys.iter().filter(|key| key_id.is_none() || key.id.as_deref() == key_id).collect();
        if named.is_empty() {
            return Candidates::Unknown;
        }
        let able: Vec<_> =
            named.into_iter().filter_map(|key| Some((key, key.verifier(algorithm)?))).collect();
        let most = if key_id.is_some() { SAME_ID_MAX } else { WITHOUT_ID_MAX };
        match able.len() {
            0 => Candidates::OtherAlgorithm,
            few if few <= most => Candidates::These(able),
            _ => Candidates::Ambiguous,
        }
    }
}

impl Key {
    /// The key that a proof carries in its header, or that a token confirms (RFC 7800 §3.2, RFC 9449 §4.2): the public
    /// half alone. Whoever shows the private half shows everybody how to be him.
    pub(crate) fn confirmed(jwk: &Value) -> Result<Self, String> {
        const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        if let Some(name) = PRIVATE.into_iter().find(|name| jwk.get(*name).is_some()) {
            return Err(format!("it has `{name}`, a private part"));
        }
        key(jwk, Origin::Jwks)
    }

    /// Whether this key made the signature; `None` when it is not one for the algorithm.
    pub(crate) fn has_signed(&self, token: &Compact<'_>) -> Option<bool> {
        let verifier = self.verifier(token.header.algorithm)?;
        Some(verifier.verify_sig(token.signed, &token.signature).is_ok())
    }

    fn verifier(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.verifiers.iter().find(|(own, _)| *own == algorithm).map(|(_, key)| key)
    }
}

/// Two sets are the same when they verify the same tokens.
impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        let face = |key: &Key| {
            let algorithms: Vec<_> = key.verifiers.iter().map(|(algorithm, _)| *algorithm).collect();
            (key.id.clone(), key.thumbprint, algorithms)
        };
        self.keys.len() == other.keys.len() && self.keys.iter().map(face).eq(other.keys.iter().map(face))
    }
}

fn key(value: &Value, origin: Origin) -> Result<Key, String> {
    let members = value.as_object().ok_or("it is not an object")?;
    let id = text(members, "kid")?;
    check_use(members, origin, id)?;
    let declared = match text(members, "alg")? {
        None => None,
        Some(name) => Some(name.parse::<Algorithm>().map_err(|error| error.to_string())?),
    };
    let (thumbprint, mut verifiers) = match parameters(members)? {
        AlgorithmParameters::RSA(rsa) => rsa_key(&rsa.n, &rsa.e)?,
        AlgorithmParameters::EllipticCurve(ec) => ec_key(&ec.curve, &ec.x, &ec.y)?,
        AlgorithmParameters::OctetKeyPair(okp) => okp_key(&okp.curve, &okp.x)?,
        // `oct` would be a shared secret that is published; whatever else there is, is not known here.
        AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_) | _ => {
            return Err("its type or curve is not one that verifies tokens here".to_owned());
        }
    };
    if let Some(declared) = declared {
        verifiers.retain(|(algorithm, _)| *algorithm == declared);
        if verifiers.is_empty() {
            return Err(format!("its `alg` {declared} does not fit its type"));
        }
    }
    Ok(Key { id: id.map(str::to_owned), thumbprint, verifiers })
}

/// The key's own parameters by `jsonwebtoken`; its reading of `use`, `key_ops`, `alg` and of certificates is left out,
/// because a slip in one of those would cost the key or, worse, give it another meaning.
fn parameters(members: &Map<String, Value>) -> Result<AlgorithmParameters, String> {
    let wanted = members
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "kty" | "crv" | "x" | "y" | "n" | "e"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    serde_json::from_value(Value::Object(wanted)).map_err(|error| error.to_string())
}

/// WIT-SVID §6: whatever the other key of that name is for, the name is ambiguous.
fn unique(key: Key, keys: &[Value], origin: Origin) -> Result<Key, String> {
    let has_its_name = |other: &&Value| other.get("kid").and_then(Value::as_str) == key.id.as_deref();
    match origin {
        Origin::WitBundle if keys.iter().filter(has_its_name).count() > 1 => {
            Err("another key of the bundle has its `kid`".to_owned())
        }
        Origin::WitBundle | Origin::Jwks | Origin::SpiffeBundle | Origin::WorkloadApi => Ok(key),
    }
}

fn check_use(members: &Map<String, Value>, origin: Origin, id: Option<&str>) -> Result<(), String> {
    let purpose = text(members, "use")?;
    match (origin, purpose) {
        (Origin::Jwks, None | Some("sig"))
        | (Origin::SpiffeBundle, Some("jwt-svid"))
        | (Origin::WitBundle, Some("wit-svid"))
        | (Origin::WorkloadApi, None | Some("sig" | "jwt-svid")) => {}
        (Origin::Jwks | Origin::SpiffeBundle | Origin::WitBundle | Origin::WorkloadApi, _) => {
            return Err(format!("its `use` is {}", purpose.map_or("absent".to_owned(), quote)));
        }
    }
    let is_spiffe = matches!(origin, Origin::SpiffeBundle | Origin::WitBundle | Origin::WorkloadApi);
    if is_spiffe && id.is_none_or(str::is_empty) {
        return Err("it has no `kid`".to_owned());
    }
    match members.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => Ok(()),
        Some(_) => Err("its `key_ops` lacks verify".to_owned()),
    }
}

type Material = ([u8; 32], Vec<(Algorithm, ParsedPublicKey)>);

fn rsa_key(n: &str, e: &str) -> Result<Material, String> {
    let (modulus, exponent) = (decode(n, "n")?, decode(e, "e")?);
    let leading = modulus.first().copied().unwrap_or(0);
    if leading == 0 || exponent.first().is_none_or(|byte| *byte == 0) {
        return Err("its `n` or `e` begins with zeros".to_owned());
    }
    let bits = modulus.len() * 8 - leading.leading_zeros() as usize;
    if !(2048..=8192).contains(&bits) {
        return Err(format!("RSA of {bits} bits, 2048 to 8192 are taken"));
    }
    if exponent.len() > 4 || exponent == [1] || exponent.last().is_none_or(|byte| byte % 2 == 0) {
        return Err("its `e` is not an odd number from 3 to 2^32".to_owned());
    }
    if is_roca(&modulus) {
        return Err("its modulus is one of the weak ones of CVE-2017-15361".to_owned());
    }
    let components = RsaPublicKeyComponents { n: modulus, e: exponent };
    let verifiers = Algorithm::ALL
        .into_iter()
        .filter_map(|algorithm| Some((algorithm, algorithm.rsa()?)))
        .map(|(algorithm, rsa)| {
            Ok((algorithm, components.to_parsed_public_key(rsa).map_err(|e| e.to_string())?))
        })
        .collect::<Result<_, String>>()?;
    Ok((thumbprint(&format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)), verifiers))
}

/// CVE-2017-15361 (ROCA): moduli of one vendor's smart cards are powers of 65537 modulo every small prime, and can be
/// factored. No other modulus is, but for one in about 2^27.
fn is_roca(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
    PRIMES.iter().all(|prime| {
        let residue = modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut power = 1;
        // The powers repeat after at most `prime` steps.
        (0..*prime).any(|_| {
            power = power * 65537 % prime;
            power == residue
        })
    })
}

fn ec_key(curve: &EllipticCurve, x: &str, y: &str) -> Result<Material, String> {
    let (name, width, algorithm, verifier): (_, _, _, &'static sig::EcdsaVerificationAlgorithm) = match curve
    {
        EllipticCurve::P256 => ("P-256", 32, Algorithm::Es256, &sig::ECDSA_P256_SHA256_FIXED),
        EllipticCurve::P384 => ("P-384", 48, Algorithm::Es384, &sig::ECDSA_P384_SHA384_FIXED),
        EllipticCurve::P521 => ("P-521", 66, Algorithm::Es512, &sig::ECDSA_P521_SHA512_FIXED),
        EllipticCurve::Ed25519 | _ => return Err("its curve does not fit its type".to_owned()),
    };
    // RFC 7518 §6.2.1.2: the full width of the field, so that a coordinate has one spelling.
    let mut point = vec![4];
    for (member, text) in [("x", x), ("y", y)] {
        let coordinate = decode(text, member)?;
        if coordinate.len() != width {
            return Err(format!("its `{member}` has {} bytes, {name} has {width}", coordinate.len()));
        }
        point.extend(coordinate);
    }
    let key = ParsedPublicKey::new(verifier, point).map_err(|_| format!("its point is not on {name}"))?;
    let json = format!(r#"{{"crv":"{name}","kty":"EC","x":"{x}","y":"{y}"}}"#);
    Ok((thumbprint(&json), vec![(algorithm, key)]))
}

fn okp_key(curve: &EllipticCurve, x: &str) -> Result<Material, String> {
    if *curve != EllipticCurve::Ed25519 {
        return Err("its curve does not fit its type".to_owned());
    }
    let point = decode(x, "x")?;
    if point.len() != 32 {
        return Err(format!("its `x` has {} bytes, Ed25519 has 32", point.len()));
    }
    if is_small_order(&point) {
        return Err("its point has a small order: any signature would fit".to_owned());
    }
    let key =
        ParsedPublicKey::new(&sig::ED25519, point).map_err(|_| "its point is not on Ed25519".to_owned())?;
    let json = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    Ok((thumbprint(&json), vec![(Algorithm::EdDsa, key)]))
}

/// The points of order 1, 2, 4 and 8 on Ed25519, by their y coordinate: 0, 1, -1 and the two of order 8, in canonical
/// spelling and as p and p + 1. The sign bit does not matter.
fn is_small_order(point: &[u8]) -> bool {
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let Some((top, low)) = point.split_last() else {
        return false;
    };
    let top = top & 0x7f;
    let is = |candidate: &[u8; 32]| candidate.split_last() == Some((&top, low));
    if ORDER_8.iter().any(is) {
        return true;
    }
    let Some((first, middle)) = low.split_first() else {
        return false;
    };
    let small = top == 0 && matches!(first, 0 | 1) && middle.iter().all(|byte| *byte == 0);
    // p = 2^255 - 19: its lowest byte is 0xed, so -1, p and p + 1 end in 0xec, 0xed and 0xee.
    let near_p = top == 0x7f && matches!(first, 0xec..=0xee) && middle.iter().all(|byte| *byte == 0xff);
    small || near_p
}

fn thumbprint(json: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, json.as_bytes()).as_ref());
    out
}

fn decode(text: &str, member: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("its `{member}` is not base64url"))
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("its `{name}` is not a string")),
    }
}
