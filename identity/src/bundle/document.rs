//! The JSON of Trust_Domain_and_Bundle: a bundle (§4), and the map of several (§5).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value};

use super::{BundleError, TrustBundle, TrustBundles};
use crate::id::TrustDomain;
use crate::json::{self, Limits};

/// The largest bundle map that is read, in bytes.
const MAP_BYTES_MAX: usize = 16 * 1024 * 1024;
const LIMITS: Limits = Limits { depth_max: 8, values_max: 16 * 1024 };
const MAP_LIMITS: Limits = Limits { depth_max: 10, values_max: 256 * 1024 };

/// Without a hint (Trust_Domain_and_Bundle §4.1.2).
pub(super) const REFRESH_DEFAULT: Duration = Duration::from_secs(300);
/// Whoever publishes a bundle neither has us hammer its endpoint nor keep a withdrawn authority for days.
const REFRESH_MIN: Duration = Duration::from_secs(30);
const REFRESH_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What a bundle document says about X.509.
pub(super) struct Document {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) sequence: Option<u64>,
    pub(super) refresh_interval: Duration,
}

impl Document {
    pub(super) fn parse(document: &[u8]) -> Result<Self, String> {
        let document = json::parse(document, LIMITS).map_err(|error| error.to_string())?;
        Self::read(document.as_object().ok_or("it is not an object")?)
    }

    fn read(document: &Map<String, Value>) -> Result<Self, String> {
        let keys = document.get("keys").and_then(Value::as_array).ok_or("the member `keys` is not a list")?;
        let certificates = keys.iter().filter_map(|key| x509_key(key.as_object()?)).collect::<Result<_, _>>();
        Ok(Self {
            certificates: certificates?,
            sequence: whole_number(document, "spiffe_sequence")?,
            refresh_interval: refresh_interval(document)?,
        })
    }
}

fn refresh_interval(document: &Map<String, Value>) -> Result<Duration, String> {
    let hint = whole_number(document, "spiffe_refresh_hint")?;
    Ok(hint.map_or(REFRESH_DEFAULT, |seconds| Duration::from_secs(seconds).clamp(REFRESH_MIN, REFRESH_MAX)))
}

fn whole_number(document: &Map<String, Value>, name: &str) -> Result<Option<u64>, String> {
    match document.get(name) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(format!("the member `{name}` is not a whole number of at most 64 bits")),
        },
    }
}

fn x509_key(key: &Map<String, Value>) -> Option<Result<CertificateDer<'static>, String>> {
    if key.get("use").and_then(Value::as_str) != Some("x509-svid")
        || !matches!(key.get("kty").and_then(Value::as_str), Some("RSA" | "EC"))
    {
        return None;
    }
    // X509-SVID §6.2: of several certificates only the first counts.
    let text = key.get("x5c")?.as_array()?.first()?.as_str()?;
    Some(
        STANDARD
            .decode(text)
            .map(CertificateDer::from)
            .map_err(|error| format!("`x5c` is not base64: {error}")),
    )
}

/// The bundles of several trust domains in one document (Trust_Domain_and_Bundle §5).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BundleMap {
    /// A bundle for each trust domain that the map names.
    pub bundles: TrustBundles,
    /// How long to wait before the map is fetched again, by its own hint; the hints of the bundles inside do not count
    /// (§5.1.1).
    pub refresh_interval: Duration,
}

impl BundleMap {
    /// Reads a map: whole or not at all.
    ///
    /// # Errors
    /// More than 16 MiB; not JSON, or a name that occurs twice (§6.3); no `trust_domains`; a bundle that
    /// [`TrustBundle::from_spiffe_json`] would refuse.
    pub fn from_spiffe_json(document: &[u8]) -> Result<Self, BundleError> {
        if document.len() > MAP_BYTES_MAX {
            return Err(BundleError::Map(format!("it has more than {MAP_BYTES_MAX} bytes")));
        }
        let document =
            json::parse(document, MAP_LIMITS).map_err(|error| BundleError::Map(error.to_string()))?;
        let map = document.as_object().ok_or_else(|| BundleError::Map("it is not an object".to_owned()))?;
        let members = map
            .get("trust_domains")
            .and_then(Value::as_object)
            .ok_or_else(|| BundleError::Map("the member `trust_domains` is not an object".to_owned()))?;
        let mut bundles = TrustBundles::default();
        for (name, member) in members {
            let trust_domain: TrustDomain = name.parse().map_err(|error| {
                let name: String = name.chars().take(256).collect();
                BundleError::Map(format!("`{name}` is not a trust domain: {error}"))
            })?;
            let read = member.as_object().ok_or("it is not an object".to_owned()).and_then(Document::read);
            match read {
                Ok(document) => bundles.insert(TrustBundle::from_document(trust_domain, document)?),
                Err(detail) => return Err(BundleError::Document(trust_domain, detail)),
            };
        }
        let refresh_interval = refresh_interval(map).map_err(BundleError::Map)?;
        Ok(Self { bundles, refresh_interval })
    }
}
