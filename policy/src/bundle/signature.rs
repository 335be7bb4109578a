//! Who vouches for a bundle: `.signatures.json` as `opa sign` writes it, verified over the whole file list.
//!
//! The algorithm is the configured key's, never the token's word; what is signed and what is there must be the same
//! list; and a bundle without a signature is refused unless the caller says in as many words that it may be.
use super::{BundleError, Files, SIGNATURES};
use crate::document::{Document, DocumentLimits, canonical, parse};
use aws_lc_rs::{digest, signature as lc};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use std::collections::BTreeMap;
use std::fmt;

/// How a signer signs: the JWS algorithms (RFC 7518) that OPA's `sign` and `verify` offer and that are not shared
/// secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 to 8192 bits.
    Rs256,
    /// RSASSA-PSS with SHA-256, keys of 2048 to 8192 bits.
    Ps256,
}

impl SignatureAlgorithm {
    /// The name in a JWS header.
    pub fn jws_name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    fn verification(self) -> &'static dyn lc::VerificationAlgorithm {
        match self {
            Self::Es256 => &lc::ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &lc::ECDSA_P384_SHA384_FIXED,
            Self::Rs256 => &lc::RSA_PKCS1_2048_8192_SHA256,
            Self::Ps256 => &lc::RSA_PSS_2048_8192_SHA256,
        }
    }
}

/// Why a key cannot be a signer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerKeyError {
    /// No public key in the file.
    #[error("signer `{id}`: no `PUBLIC KEY` or `CERTIFICATE` block in the PEM text")]
    NoKey {
        /// The signer's id.
        id: String,
    },
    /// A private key where a public one belongs.
    #[error("signer `{id}`: this is a private key; the verifying side takes the public key only")]
    Private {
        /// The signer's id.
        id: String,
    },
    /// The key's kind cannot sign bundles.
    #[error("signer `{id}`: only EC keys on P-256 or P-384 and RSA keys can sign bundles, as in OPA")]
    Kind {
        /// The signer's id.
        id: String,
    },
    /// The key cannot be used with the algorithm.
    #[error("signer `{id}`: the key cannot be used with {algorithm}")]
    Mismatch {
        /// The signer's id.
        id: String,
        /// The algorithm.
        algorithm: &'static str,
    },
}

/// A public key that may sign bundles, with the one algorithm it is used with and the scope it is good for.
#[derive(Clone)]
pub struct SignerKey {
    id: String,
    algorithm: SignatureAlgorithm,
    scope: String,
    key: lc::ParsedPublicKey,
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignerKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl SignerKey {
    /// Reads a public key (`PUBLIC KEY`, or the one in a `CERTIFICATE`) from PEM. The algorithm follows the key:
    /// ES256 for P-256, ES384 for P-384, RS256 for RSA.
    ///
    /// # Errors
    /// [`SignerKeyError`].
    pub fn from_pem(id: &str, pem: &[u8]) -> Result<Self, SignerKeyError> {
        let spki = spki_of(id, pem)?;
        let by_kind = [SignatureAlgorithm::Es256, SignatureAlgorithm::Es384, SignatureAlgorithm::Rs256];
        by_kind
            .into_iter()
            .find_map(|algorithm| Self::parsed(id, &spki, algorithm))
            .ok_or_else(|| SignerKeyError::Kind { id: id.to_owned() })
    }

    /// The same with an algorithm of the caller's choice, for RSA keys that sign with PS256.
    ///
    /// # Errors
    /// [`SignerKeyError`].
    pub fn from_pem_with(
        id: &str,
        pem: &[u8],
        algorithm: SignatureAlgorithm,
    ) -> Result<Self, SignerKeyError> {
        let mismatch = || SignerKeyError::Mismatch { id: id.to_owned(), algorithm: algorithm.jws_name() };
        Self::parsed(id, &spki_of(id, pem)?, algorithm).ok_or_else(mismatch)
    }

    /// Restricts the key to bundles that were signed with this `scope`; without it, only to those without one.
    #[must_use]
    pub fn with_scope(mut self, scope: &str) -> Self {
        scope.clone_into(&mut self.scope);
        self
    }

    /// The id: what a `keyid` or `kid` of a signature may name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The one algorithm this key is used with.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn parsed(id: &str, spki: &[u8], algorithm: SignatureAlgorithm) -> Option<Self> {
        let key = lc::ParsedPublicKey::new(algorithm.verification(), spki).ok()?;
        Some(Self { id: id.to_owned(), algorithm, scope: String::new(), key })
    }
}

fn spki_of(id: &str, pem: &[u8]) -> Result<Vec<u8>, SignerKeyError> {
    if let Ok(spki) = SubjectPublicKeyInfoDer::from_pem_slice(pem) {
        return Ok(spki.as_ref().to_vec());
    }
    if rustls_pki_types::PrivateKeyDer::from_pem_slice(pem).is_ok() {
        return Err(SignerKeyError::Private { id: id.to_owned() });
    }
    let certificate = CertificateDer::from_pem_slice(pem).ok();
    certificate
        .and_then(|der| spki_of_certificate(der.as_ref()).map(<[u8]>::to_vec))
        .ok_or_else(|| SignerKeyError::NoKey { id: id.to_owned() })
}

/// The `SubjectPublicKeyInfo` inside a certificate (RFC 5280 §4.1): the seventh element of the body, the sixth when
/// the version is left out. The certificate itself is not judged: the operator named the file.
fn spki_of_certificate(der: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = element(der)?;
    let (_, mut body, _) = element(certificate)?;
    const VERSION_TAG: u8 = 0xa0;
    let (tag, _, rest) = element(body)?;
    if tag == VERSION_TAG {
        body = rest;
    }
    for _ in 0..5 {
        (_, _, body) = element(body)?;
    }
    let (_, _, rest) = element(body)?;
    body.get(..body.len().checked_sub(rest.len())?)
}

/// One DER element: tag, content, what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if length >= 0x80 {
        let bytes = length & 0x7f;
        let (head, tail) = rest.split_at_checked(bytes)?;
        length = head.iter().try_fold(0usize, |n, b| n.checked_mul(256)?.checked_add(usize::from(*b)))?;
        rest = tail;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// Whose bundles are accepted.
#[derive(Clone, Debug)]
pub enum Signers {
    /// Bundles signed by one of these keys. An empty list accepts nothing.
    Keys(Vec<SignerKey>),
    /// Any bundle, signed or not: for a developer's own directory, never for a fetched bundle.
    UnsignedAllowedForDevelopment,
}

/// The most bytes of a signature token.
const TOKEN_BYTES_MAX: usize = 4 * 1024 * 1024;
const READING: DocumentLimits = DocumentLimits { depth_max: 16, values_max: 100_000 };

/// Verifies the files against their signature; gives the id of the key that made it.
pub(super) fn verify(files: &Files, signers: &Signers) -> Result<Option<String>, BundleError> {
    let keys = match signers {
        Signers::UnsignedAllowedForDevelopment => return Ok(None),
        Signers::Keys(keys) => keys,
    };
    if let Some(stray) = files.keys().find(|name| *name != SIGNATURES && name.ends_with("signatures.json")) {
        return malformed(format!("a second signature list `{stray}` is in the bundle"));
    }
    let list = files.get(SIGNATURES).ok_or(BundleError::Unsigned)?;
    let token = token_of(list)?;
    let (signer, payload) = payload_of(&token, keys)?;
    let signed = signed_files(&payload)?;
    for (name, content) in files.iter().filter(|(name, _)| *name != SIGNATURES) {
        let Some(hash) = signed.get(name.as_str()) else {
            return Err(BundleError::NotCovered { name: name.clone() });
        };
        let actual = digest_of(name, content, hash.algorithm)?;
        if !hash.hex.eq_ignore_ascii_case(&actual) {
            return Err(BundleError::Altered { name: name.clone(), algorithm: hash.algorithm.name() });
        }
    }
    match signed.keys().find(|name| !files.contains_key(**name)) {
        Some(missing) => Err(BundleError::Missing { name: (*missing).to_owned() }),
        None => Ok(Some(signer)),
    }
}

fn malformed<T>(what: String) -> Result<T, BundleError> {
    Err(BundleError::SignatureFormat { what })
}

/// The one token of the list.
fn token_of(list: &[u8]) -> Result<String, BundleError> {
    let document = read(list)?;
    let empty = BTreeMap::new();
    let members = document.as_object().unwrap_or(&empty);
    // OPA writes the name of its own scheme; any other means that somebody else's code would have to judge.
    if members.get("plugin").is_some_and(|plugin| !matches!(plugin.as_str(), Some("" | "_default"))) {
        return malformed("verification plugins are not supported".to_owned());
    }
    if let Some(other) = members.keys().find(|name| !matches!(name.as_str(), "signatures" | "plugin")) {
        return malformed(format!("member `{}` is not known", shown(other)));
    }
    match members.get("signatures").and_then(Document::as_array) {
        Some([one]) => match one.as_str() {
            Some(token) if token.len() <= TOKEN_BYTES_MAX => Ok(token.to_owned()),
            Some(_) => malformed(format!("the signature is longer than {TOKEN_BYTES_MAX} bytes")),
            None => malformed("the signature is no string".to_owned()),
        },
        Some(_) | None => malformed("it must hold `signatures` with exactly one signature".to_owned()),
    }
}

fn read(bytes: &[u8]) -> Result<Document, BundleError> {
    parse(bytes, READING).or_else(|error| malformed(error.to_string()))
}

/// The payload of the token, if a configured key signed it.
fn payload_of(token: &str, keys: &[SignerKey]) -> Result<(String, Document), BundleError> {
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return malformed("the signature is no compact JWS".to_owned());
    };
    let decode = |part: &str| {
        URL_SAFE_NO_PAD
            .decode(part)
            .or_else(|_| malformed("the signature is not base64url without padding".to_owned()))
    };
    let (header, claims, raw) = (read(&decode(header)?)?, decode(payload)?, decode(signature)?);
    let header = header.as_object();
    if header.is_some_and(|members| members.contains_key("crit")) {
        return malformed("the signature demands extensions (`crit`)".to_owned());
    }
    let signed_bytes = token.rsplit_once('.').map_or("", |(head, _)| head).as_bytes();
    let stated = header.and_then(|members| members.get("alg")).and_then(Document::as_str).unwrap_or("none");
    // Which key made it is settled before a byte of the payload is parsed.
    let usable = keys.iter().filter(|key| key.algorithm.jws_name() == stated);
    let Some(key) = usable.clone().find(|key| key.key.verify_sig(signed_bytes, &raw).is_ok()) else {
        let tried: Vec<_> = keys.iter().map(|k| format!("`{}` ({})", k.id, k.algorithm.jws_name())).collect();
        let what = format!("it says it is {}; tried {}", shown(stated), tried.join(", "));
        return Err(BundleError::SignatureInvalid { what });
    };
    let payload = read(&claims)?;
    let scope = payload.as_object().and_then(|members| members.get("scope"));
    let scope = scope.map_or(Some(""), Document::as_str);
    if scope != Some(key.scope.as_str()) {
        let what = format!("it was signed for scope `{}`, not `{}`", shown(scope.unwrap_or("?")), key.scope);
        return Err(BundleError::SignatureInvalid { what });
    }
    Ok((key.id.clone(), payload))
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// Digest algorithms by OPA's names. MD5, SHA-1 and the truncated SHA-2 family are not among them.
#[derive(Clone, Copy, Debug)]
pub(super) enum HashAlgorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl HashAlgorithm {
    fn of(name: &str) -> Option<Self> {
        match name {
            "SHA-256" => Some(Self::Sha256),
            "SHA-384" => Some(Self::Sha384),
            "SHA-512" => Some(Self::Sha512),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        }
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

struct Hash<'a> {
    hex: &'a str,
    algorithm: HashAlgorithm,
}

fn signed_files(payload: &Document) -> Result<BTreeMap<&str, Hash<'_>>, BundleError> {
    let files = payload.as_object().and_then(|members| members.get("files")).and_then(Document::as_array);
    let Some(files) = files else {
        return malformed("the signed payload has no `files`".to_owned());
    };
    let mut signed = BTreeMap::new();
    for file in files {
        let member = |name| file.as_object().and_then(|m| m.get(name)).and_then(Document::as_str);
        let (Some(name), Some(hex), Some(algorithm)) = (member("name"), member("hash"), member("algorithm"))
        else {
            return malformed("an entry of `files` lacks `name`, `hash` or `algorithm`".to_owned());
        };
        let Some(algorithm) = HashAlgorithm::of(algorithm) else {
            let name = shown(name);
            return malformed(format!(
                "`{name}` is hashed with {}; use SHA-256, SHA-384 or SHA-512",
                shown(algorithm)
            ));
        };
        if signed.insert(name, Hash { hex, algorithm }).is_some() {
            return malformed(format!("`{}` is listed twice", shown(name)));
        }
    }
    Ok(signed)
}

/// The digest OPA signs, in hex: of the canonical value for structured documents, of the bytes for all others.
pub(super) fn digest_of(name: &str, content: &[u8], algorithm: HashAlgorithm) -> Result<String, BundleError> {
    let base = name.rsplit('/').next().unwrap_or(name);
    let bytes = match base {
        "data.yaml" => return Err(BundleError::Yaml { name: name.to_owned() }),
        "data.json" | ".manifest" | SIGNATURES => {
            let document = parse(content, DocumentLimits::default())
                .map_err(|e| BundleError::Document { name: name.to_owned(), what: e.to_string() })?;
            std::borrow::Cow::Owned(canonical(&document))
        }
        _ => std::borrow::Cow::Borrowed(content),
    };
    Ok(digest::digest(algorithm.algorithm(), &bytes).as_ref().iter().map(|b| format!("{b:02x}")).collect())
}
