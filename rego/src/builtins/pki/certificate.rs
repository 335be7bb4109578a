//! Certificates as Go's `crypto/x509` reads them: the same are refused, and the same is said of the others.
use super::der::{self, Reader};
use super::extensions::{Extension, Extensions};
use super::keys::{self, PublicKey, decimals, object};
use super::text::{self, list, signed};
use super::time::Time;
use super::{base64, pem};
use crate::Value;
use crate::builtins::{BuiltinError, Context};
use num_bigint::{BigInt, Sign};

/// A certificate.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) raw: Vec<u8>,
    pub(crate) tbs: Vec<u8>,
    pub(crate) version: i64,
    serial: BigInt,
    pub(crate) signature_algorithm: Algorithm,
    pub(crate) signature: Vec<u8>,
    pub(crate) raw_issuer: Vec<u8>,
    pub(crate) raw_subject: Vec<u8>,
    issuer: Value,
    subject: Value,
    pub(crate) not_before: Time,
    pub(crate) not_after: Time,
    pub(crate) raw_key: Vec<u8>,
    pub(crate) key: PublicKey,
    pub(crate) extensions: Extensions,
}

impl Certificate {
    /// The one certificate that the bytes are, if they are one.
    pub(crate) fn one(context: &mut Context, bytes: &[u8]) -> Result<Option<Self>, BuiltinError> {
        let found = Self::all(context, bytes)?;
        Ok(found.and_then(|found| <[Self; 1]>::try_from(found).ok()).map(|[one]| one))
    }

    /// The certificates that the bytes are, one after the other.
    pub(crate) fn all(context: &mut Context, bytes: &[u8]) -> Result<Option<Vec<Self>>, BuiltinError> {
        // What is made of a certificate is some times its size: its bytes in base64, several times over, and its parts.
        context.charge_bytes(bytes.len().saturating_mul(8))?;
        let mut reader = Reader::new(bytes);
        let mut found = Vec::new();
        while !reader.is_empty() {
            context.charge(super::signature::EC_STEPS / 4)?;
            let Some(certificate) =
                reader.element(der::SEQUENCE).and_then(|element| Self::parse(element.full))
            else {
                return Ok(None);
            };
            found.push(certificate);
        }
        Ok(Some(found))
    }

    /// The certificates of a text: PEM, or PEM or DER in base64.
    pub(crate) fn in_text(context: &mut Context, text: &str) -> Result<Option<Vec<Self>>, BuiltinError> {
        context.charge_bytes(text.len().saturating_mul(2))?;
        let decoded = if text.starts_with("-----BEGIN") {
            text.as_bytes().to_vec()
        } else {
            let Some(decoded) = base64::standard(text.as_bytes()) else { return Ok(None) };
            decoded
        };
        if !decoded.starts_with(b"-----BEGIN") {
            return Self::all(context, &decoded);
        }
        let mut bytes = Vec::new();
        for block in pem::blocks(&decoded) {
            if block.label != b"CERTIFICATE" {
                return Ok(None);
            }
            bytes.extend(block.bytes);
        }
        Self::all(context, &bytes)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut outer = Reader::new(bytes).read(der::SEQUENCE)?;
        let tbs = outer.element(der::SEQUENCE)?;
        let mut inner = Reader::new(tbs.body);
        let version = match inner.optional(der::constructed(0))? {
            Some(mut version) => Some(version.int64(der::INTEGER)?).filter(|_| version.is_empty())?,
            None => 0,
        };
        let version = version.checked_add(1).filter(|version| (1..=3).contains(version))?;
        let serial = inner.integer().filter(|serial| serial.sign() != Sign::Minus)?;
        let algorithm = inner.bytes(der::SEQUENCE)?;
        if outer.bytes(der::SEQUENCE)? != algorithm {
            return None;
        }
        let (oid, parameters) = keys::algorithm(Reader::new(algorithm))?;
        let issuer = inner.element(der::SEQUENCE)?.full;
        let mut validity = inner.read(der::SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = inner.element(der::SEQUENCE)?.full;
        let key = inner.element(der::SEQUENCE)?;
        let mut extensions = Extensions::default();
        if version > 1 {
            inner.optional(der::context(1))?;
            inner.optional(der::context(2))?;
        }
        if version == 3
            && let Some(mut list) = inner.optional(der::constructed(3))?
        {
            extensions = Extensions::read(list.read(der::SEQUENCE)?)?;
        }
        Some(Self {
            raw: bytes.to_vec(),
            tbs: tbs.full.to_vec(),
            version,
            serial,
            signature_algorithm: Algorithm::of(&oid, parameters),
            signature: outer.bit_string()?.right_aligned(),
            raw_issuer: issuer.to_vec(),
            raw_subject: subject.to_vec(),
            issuer: text::name(issuer)?,
            subject: text::name(subject)?,
            not_before,
            not_after,
            raw_key: key.full.to_vec(),
            key: public_key(key.body)?,
            extensions,
        })
    }

    /// As Go writes it; `strings` also has the URIs as strings, which OPA adds in most places.
    ///
    /// # Errors
    /// [`BuiltinError::Budget`]: its numbers are so long that their decimals cost too much.
    pub(crate) fn to_value(&self, context: &mut Context, strings: bool) -> Result<Value, BuiltinError> {
        context.charge(self.key.decimals())?;
        context.charge(decimals(self.serial.bits()))?;
        for oid in self.extensions.large_oids() {
            context.charge(decimals(u64::try_from(oid.len()).unwrap_or(u64::MAX).saturating_mul(7)))?;
        }
        let bytes = |bytes: &[u8]| text::bytes(Some(bytes));
        let mut members = vec![
            ("Raw", bytes(&self.raw)),
            ("RawTBSCertificate", bytes(&self.tbs)),
            ("RawSubjectPublicKeyInfo", bytes(&self.raw_key)),
            ("RawSubject", bytes(&self.raw_subject)),
            ("RawIssuer", bytes(&self.raw_issuer)),
            ("Signature", bytes(&self.signature)),
            ("SignatureAlgorithm", Value::from(self.signature_algorithm.number())),
            ("PublicKeyAlgorithm", Value::from(algorithm_number(&self.key))),
            ("PublicKey", self.key.to_value()),
            ("Version", Value::from(self.version)),
            ("SerialNumber", signed(&self.serial)),
            ("Issuer", self.issuer.clone()),
            ("Subject", self.subject.clone()),
            ("NotBefore", Value::from(self.not_before.text.as_str())),
            ("NotAfter", Value::from(self.not_after.text.as_str())),
        ];
        members.extend(self.extensions.members());
        if strings {
            let uris = self.extensions.names.uris.iter().map(|uri| Value::from(uri.text())).collect();
            members.push(("URIStrings", list(uris)));
        }
        Ok(Value::object(members.into_iter().map(|(name, value)| (Value::from(name), value))))
    }
}

fn time(reader: &mut Reader<'_>) -> Option<Time> {
    let tag = if reader.peek(der::UTC_TIME) { der::UTC_TIME } else { der::GENERALIZED_TIME };
    Time::of(tag, reader.bytes(tag)?)
}

/// A certificate for key agreement on X25519 is read, but its key is not.
fn public_key(info: &[u8]) -> Option<PublicKey> {
    let mut reader = Reader::new(info);
    let (oid, _) = keys::algorithm(reader.read(der::SEQUENCE)?)?;
    if oid == keys::X25519 {
        return reader.bit_string().map(|_| PublicKey::Unknown);
    }
    PublicKey::of_info(Reader::new(info))
}

fn algorithm_number(key: &PublicKey) -> i64 {
    match key {
        PublicKey::Rsa(_) => 1,
        PublicKey::Dsa { .. } => 2,
        PublicKey::Ec { .. } => 3,
        PublicKey::Ed25519(_) => 4,
        PublicKey::X25519(_) | PublicKey::Unknown => 0,
    }
}

/// The algorithm of a certificate's signature, by Go's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Algorithm(i64);

impl Algorithm {
    pub(crate) const SHA256_RSA: Self = Self(4);
    pub(crate) const SHA384_RSA: Self = Self(5);
    pub(crate) const SHA512_RSA: Self = Self(6);
    pub(crate) const ECDSA_SHA256: Self = Self(10);
    pub(crate) const ECDSA_SHA384: Self = Self(11);
    pub(crate) const ECDSA_SHA512: Self = Self(12);
    pub(crate) const SHA256_PSS: Self = Self(13);
    pub(crate) const SHA384_PSS: Self = Self(14);
    pub(crate) const SHA512_PSS: Self = Self(15);
    pub(crate) const ED25519: Self = Self(16);

    fn number(self) -> i64 {
        self.0
    }

    fn of(oid: &[u32], parameters: &[u8]) -> Self {
        Self(match oid {
            [1, 2, 840, 113_549, 1, 1, 4] => 2,
            [1, 2, 840, 113_549, 1, 1, 5] | [1, 3, 14, 3, 2, 29] => 3,
            [1, 2, 840, 113_549, 1, 1, 11] => 4,
            [1, 2, 840, 113_549, 1, 1, 12] => 5,
            [1, 2, 840, 113_549, 1, 1, 13] => 6,
            [1, 2, 840, 10_040, 4, 3] => 7,
            [2, 16, 840, 1, 101, 3, 4, 3, 2] => 8,
            [1, 2, 840, 10_045, 4, 1] => 9,
            [1, 2, 840, 10_045, 4, 3, 2] => 10,
            [1, 2, 840, 10_045, 4, 3, 3] => 11,
            [1, 2, 840, 10_045, 4, 3, 4] => 12,
            [1, 3, 101, 112] if parameters.is_empty() => 16,
            [1, 2, 840, 113_549, 1, 1, 10] => pss(parameters).unwrap_or(0),
            _ => 0,
        })
    }
}

/// PSS counts when both digests are the same and the salt is as long.
fn pss(parameters: &[u8]) -> Option<i64> {
    let plain = |parameters: &[u8]| matches!(parameters, [] | [0x05, 0x00]);
    let mut reader = Reader::new(parameters).read(der::SEQUENCE)?;
    let (hash, hash_parameters) = keys::algorithm(reader.read(der::constructed(0))?.read(der::SEQUENCE)?)?;
    let (mask, mask_parameters) = keys::algorithm(reader.read(der::constructed(1))?.read(der::SEQUENCE)?)?;
    let salt = reader.read(der::constructed(2))?.int64(der::INTEGER)?;
    let trailer = match reader.optional(der::constructed(3))? {
        Some(mut trailer) => trailer.int64(der::INTEGER)?,
        None => 1,
    };
    let (mask_hash, mask_hash_parameters) =
        keys::algorithm(Reader::new(mask_parameters).read(der::SEQUENCE)?)?;
    let usual = mask == [1, 2, 840, 113_549, 1, 1, 8] && mask_hash == hash && trailer == 1;
    if !usual || !plain(hash_parameters) || !plain(mask_hash_parameters) {
        return None;
    }
    match (hash.as_slice(), salt) {
        ([2, 16, 840, 1, 101, 3, 4, 2, 1], 32) => Some(13),
        ([2, 16, 840, 1, 101, 3, 4, 2, 2], 48) => Some(14),
        ([2, 16, 840, 1, 101, 3, 4, 2, 3], 64) => Some(15),
        _ => None,
    }
}

/// Reads a request for a certificate and writes it as Go does; `None` if it is none.
///
/// # Errors
/// [`BuiltinError::Budget`]: its key is so long that its decimals cost too much.
pub(crate) fn request(context: &mut Context, bytes: &[u8]) -> Result<Option<Value>, BuiltinError> {
    let Some(request) = Request::parse(bytes) else { return Ok(None) };
    context.charge(request.key.decimals())?;
    Ok(Some(request.to_value()))
}

struct Request<'a> {
    raw: &'a [u8],
    info: &'a [u8],
    key_info: &'a [u8],
    raw_subject: &'a [u8],
    version: i64,
    signature: Vec<u8>,
    algorithm: Algorithm,
    key: PublicKey,
    subject: Value,
    attributes: Vec<Value>,
    extensions: Vec<Extension>,
    names: super::extensions::Names,
}

impl<'a> Request<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut whole = Reader::new(bytes);
        let mut outer = whole.read(der::SEQUENCE).filter(|_| whole.is_empty())?;
        let info = outer.element(der::SEQUENCE)?;
        let (oid, parameters) = keys::algorithm(outer.read(der::SEQUENCE)?)?;
        let signature = outer.bit_string()?.right_aligned();
        let mut inner = Reader::new(info.body);
        let version = inner.int64(der::INTEGER)?;
        let subject = inner.any()?.full;
        let key_info = inner.element(der::SEQUENCE)?;
        let mut raw_attributes = inner.read(der::constructed(0))?;
        let (mut attributes, mut extensions) = (Vec::new(), Vec::new());
        let mut seen = std::collections::HashSet::new();
        while !raw_attributes.is_empty() {
            let element = raw_attributes.any()?.full;
            attributes.extend(attribute(element));
            if let Some(values) = extension_request(element) {
                let mut requested = Extension::list(values)?;
                if !requested.iter().all(|extension| seen.insert(extension.oid.clone())) {
                    return None;
                }
                extensions.append(&mut requested);
            }
        }
        let mut names = super::extensions::Names::default();
        for extension in extensions.iter().filter(|extension| extension.oid == [2, 5, 29, 17]) {
            names = super::extensions::Names::read(&extension.value)?;
        }
        Some(Self {
            raw: bytes,
            info: info.full,
            key_info: key_info.full,
            raw_subject: subject,
            version,
            signature,
            algorithm: Algorithm::of(&oid, parameters),
            key: public_key(key_info.body)?,
            subject: text::loose_name(subject)?,
            attributes,
            extensions,
            names,
        })
    }

    fn to_value(&self) -> Value {
        let bytes = |bytes: &[u8]| text::bytes(Some(bytes));
        object([
            ("Raw", bytes(self.raw)),
            ("RawTBSCertificateRequest", bytes(self.info)),
            ("RawSubjectPublicKeyInfo", bytes(self.key_info)),
            ("RawSubject", bytes(self.raw_subject)),
            ("Version", Value::from(self.version)),
            ("Signature", bytes(&self.signature)),
            ("SignatureAlgorithm", Value::from(self.algorithm.number())),
            ("PublicKeyAlgorithm", Value::from(algorithm_number(&self.key))),
            ("PublicKey", self.key.to_value()),
            ("Subject", self.subject.clone()),
            ("Attributes", list(self.attributes.clone())),
            ("Extensions", list(self.extensions.iter().map(Extension::to_value).collect())),
            ("ExtraExtensions", Value::Null),
            ("DNSNames", self.names.dns_value()),
            ("EmailAddresses", self.names.emails_value()),
            ("IPAddresses", self.names.ips_value()),
            ("URIs", self.names.uris_value()),
        ])
    }
}

/// An attribute whose values are sequences of types and values; others are left out.
fn attribute(element: &[u8]) -> Option<Value> {
    let mut reader = Reader::new(element).read(der::SEQUENCE)?;
    let oid = reader.oid()?;
    let mut set = reader.read(der::SET)?;
    let mut values = Vec::new();
    while !set.is_empty() {
        let mut sequence = set.read(der::SEQUENCE)?;
        let mut inner = Vec::new();
        while !sequence.is_empty() {
            let (oid, _, value) = text::attribute(sequence.read(der::SEQUENCE)?, text::any)?;
            inner.push(text::type_and_value(&oid, value));
        }
        values.push(Value::array(inner));
    }
    Some(object([("Type", text::oid_value(&oid)), ("Value", Value::array(values))]))
}

/// The extensions that an attribute asks for, if it is the one that does.
fn extension_request(element: &[u8]) -> Option<Reader<'_>> {
    let mut reader = Reader::new(element).read(der::SEQUENCE)?;
    if reader.oid()? != [1, 2, 840, 113_549, 1, 9, 14] {
        return None;
    }
    let mut set = reader.read(der::SET)?;
    let first = set.any()?;
    while !set.is_empty() {
        set.any()?;
    }
    Some(Reader::new(first.full))
}
