//! The cases of x509-limbo through the path builder alone: their leaves are web servers' and no SVIDs, and which name a
//! server has is no question here.

use std::io::Read as _;

use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use super::*;
use crate::{RevocationList, RevocationMode};

/// What limbo refuses and the path builder takes, by the beginning of the case's name.
const TAKEN: &[(&str, &str)] = &[
    ("pathlen::max-chain-depth-", "the limit is 6 intermediates for everybody"),
    ("rfc5280::aki::", "key identifiers are hints; what binds is the signature"),
    ("rfc5280::ski::", "as above"),
    ("rfc5280::nc::invalid-dnsname-leading-period", "a DNS constraint of that spelling is met by no name"),
    ("rfc5280::nc::permitted-dns-match-noncritical", "the constraint is enforced, critical or not"),
    ("rfc5280::nc::not-allowed-in-ee-", "a leaf constrains nobody"),
    ("rfc5280::pc::ica-noncritical-pc", "certificate policies are not used"),
    ("rfc5280::san::", "DNS names are information, not identity"),
    ("rfc5280::serial::", "a serial number is information"),
    ("rfc5280::ca-empty-subject", "the name of an issuer chains, even an empty one"),
    ("rfc5280::unknown-critical-extension-root", "an authority is trusted as it stands (RFC 5280 §6.1.1)"),
    ("rfc5280::root-non-critical-basic-constraints", "as above"),
    ("rfc5280::leaf-ku-keycertsign", "the rules of the leaf refuse it before a path is built"),
    ("webpki::aki::", "a rule for public web authorities"),
    ("webpki::cn::", "names of web servers"),
    ("webpki::san::", "names of web servers"),
    ("webpki::eku::", "a rule for public web authorities; what is there has to cover the role"),
    ("webpki::nc::intermediate-permitted-excluded-subtrees-both-", "an empty constraint constrains nothing"),
    ("webpki::malformed-aia", "the rules of the leaf refuse what cannot be read"),
    ("webpki::forbidden-", "the rules of the leaf refuse weak and unknown keys"),
];

/// What limbo takes and the path builder refuses.
const REFUSED: &[(&str, &str)] = &[
    ("pathlen::validation-ignores-pathlen-in-leaf", "a CA is no leaf"),
    ("rfc5280::ca-as-leaf", "a CA is no leaf"),
    ("rfc5280::nc::permitted-dn-match", "directory name constraints cannot be judged"),
    ("rfc5280::nc::nc-permits-email-", "mail name constraints cannot be judged"),
    ("rfc5280::nc::permitted-self-issued", "names that chain to two keys are not untangled"),
];

#[test]
fn the_cases_of_limbo_are_judged_alike_but_for_the_listed_ones() {
    let Some(data) = crate::testing::public_data() else { return };
    let mut text = String::new();
    let file = std::fs::File::open(data.join("x509-limbo/limbo.json.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let limbo: Value = serde_json::from_str(&text).unwrap();
    let cases = limbo["testcases"].as_array().unwrap();
    assert!(cases.len() > 100);
    let surprises: Vec<String> = cases.iter().filter_map(surprise).collect();
    assert!(surprises.is_empty(), "{surprises:#?}");
}

fn surprise(case: &Value) -> Option<String> {
    let id = case["id"].as_str().unwrap();
    let listed = |list: &[(&str, &str)]| list.iter().any(|(beginning, _)| id.starts_with(beginning));
    let verdict = judge(case);
    match (case["expected_result"].as_str().unwrap(), verdict) {
        ("SUCCESS", Ok(())) | ("FAILURE", Err(_)) => None,
        ("SUCCESS", Err(error)) => (!listed(REFUSED)).then(|| format!("{id} is refused: {error}")),
        ("FAILURE", Ok(())) => (!listed(TAKEN)).then(|| format!("{id} is taken")),
        (other, _) => panic!("{other}"),
    }
}

fn judge(case: &Value) -> Result<(), String> {
    let certificate = |pem: &Value| CertificateDer::from_pem_slice(pem.as_str().unwrap().as_bytes()).unwrap();
    let list = |name: &str| -> Vec<_> { case[name].as_array().unwrap().iter().map(certificate).collect() };
    let role = if case["validation_kind"] == "CLIENT" { Role::Client } else { Role::Server };
    let now = case["validation_time"].as_str().map_or(at(NOW_S), time);
    let bundle =
        TrustBundle::from_der(domain("limbo.test"), &list("trusted_certs")).map_err(|e| e.to_string())?;
    let lists: Vec<_> = case["crls"].as_array().into_iter().flatten().collect();
    let bundle = if lists.is_empty() { bundle } else { with_lists(bundle, &lists)? };
    let leaf = certificate(&case["peer_certificate"]);
    let path = verify_path(&leaf, &list("untrusted_intermediates"), &bundle, role, now);
    path.map(|_| ()).map_err(|error| error.to_string())
}

fn with_lists(bundle: TrustBundle, texts: &[&Value]) -> Result<TrustBundle, String> {
    let mut lists = Vec::new();
    for text in texts {
        let read = RevocationList::from_file(text.as_str().unwrap().as_bytes());
        lists.extend(read.map_err(|error| error.to_string())?);
    }
    bundle.with_revocation(lists, RevocationMode::Hard).map_err(|error| error.to_string())
}

/// RFC 3339 in UTC, as limbo writes it: `2024-01-01T00:00:00+00:00`.
fn time(text: &str) -> UnixTime {
    let field = |range: std::ops::Range<usize>| text.get(range).unwrap().parse::<u64>().unwrap();
    let day = rcgen::date_time_ymd(
        i32::try_from(field(0..4)).unwrap(),
        u8::try_from(field(5..7)).unwrap(),
        u8::try_from(field(8..10)).unwrap(),
    );
    assert!(text.ends_with("+00:00") || text.ends_with('Z'), "{text}");
    let midnight = u64::try_from(day.unix_timestamp()).unwrap();
    at(midnight + field(11..13) * 3600 + field(14..16) * 60 + field(17..19))
}
