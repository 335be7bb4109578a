//! What holds for certificates that sign others, intermediates and authorities alike.

use x509_parser::certificate::X509Certificate;

use super::constraints::uris;
use super::leaf::QUOTE_CHARS_MAX;
use crate::id::SpiffeId;

/// X509-SVID §3.2: a signing certificate may bear the SPIFFE ID of a trust domain, never that of a workload. Gives
/// back the name that is neither.
pub(crate) fn check_names(certificate: &X509Certificate<'_>) -> Result<(), String> {
    let is_spiffe = |uri: &str| uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:"));
    let names_trust_domain = |uri: &str| uri.parse::<SpiffeId>().is_ok_and(|id| id.path().is_empty());
    match uris(certificate).into_iter().find(|uri| is_spiffe(uri) && !names_trust_domain(uri)) {
        Some(uri) => Err(uri.chars().take(QUOTE_CHARS_MAX).collect()),
        None => Ok(()),
    }
}
