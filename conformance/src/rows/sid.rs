//! SPIFFE IDs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_identity::{IdError, Peer, SpiffeId};
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use crate::kit::certificates::{Ca, judge};
use crate::kit::token::{ISSUER, Token, access, authority, stranger, svid};
use crate::{Row, row};

fn id(text: &str) -> Result<SpiffeId, IdError> {
    text.parse()
}

/// An ID of exactly so many bytes.
fn long(bytes: usize) -> String {
    let start = "spiffe://example.org/";
    format!("{start}{}", "a".repeat(bytes - start.len()))
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = whole();
    rows.extend(parts());
    rows
}

fn whole() -> Vec<Row> {
    vec![
        row("SID-01", "scheme is spiffe, lower case", "SPIFFE-ID §2, §2.4 (O)")
            .accepts("spiffe", || id("spiffe://example.org/a"))
            .refuses("another scheme", "starts with `spiffe://`", || id("https://example.org/a"))
            .refuses("another case", "starts with `spiffe://`", || id("SPIFFE://example.org/a"))
            .refuses("one slash", "starts with `spiffe://`", || id("spiffe:/example.org/a")),
        row("SID-02", "trust domain is not empty", "SPIFFE-ID §2.1")
            .accepts("one letter", || id("spiffe://a/b"))
            .refuses("nothing", "trust domain", || id("spiffe://"))
            .refuses("nothing before the path", "trust domain", || id("spiffe:///a")),
        row("SID-03", "no query, no fragment", "SPIFFE-ID §2")
            .accepts("neither", || id("spiffe://example.org/a"))
            .refuses("a query", "?", || id("spiffe://example.org/a?b"))
            .refuses("a fragment", "#", || id("spiffe://example.org/a#b")),
        row("SID-04", "no userinfo, no port", "SPIFFE-ID §2.1")
            .accepts("neither", || id("spiffe://example.org/a"))
            .refuses("userinfo", "@", || id("spiffe://user@example.org/a"))
            .refuses("a port", ":", || id("spiffe://example.org:443/a")),
        row("SID-08", "paths are case-sensitive", "SPIFFE-ID §2.4")
            .accepts("the same case", || same("spiffe://example.org/a", "spiffe://example.org/a"))
            .refuses("another case", "not the same", || {
                same("spiffe://example.org/a", "spiffe://example.org/A")
            }),
        row("SID-09", "IDs up to 2048 bytes", "SPIFFE-ID §2.3 (O)")
            .accepts("2048 bytes", || id(&long(2048)))
            .refuses("2049 bytes", "2048", || id(&long(2049))),
        row("SID-10", "claims belong to a domain", "SPIFFE-ID §4.1.2 (S)")
            .accepts("a JWT-SVID's claims say whose they are", || {
                vouched(svid(), "spiffe://example.org", Some("example.org"))
            })
            .accepts("whatever its `iss` says", || {
                vouched(svid().claim("iss", json!(ISSUER)), "spiffe://example.org", Some("example.org"))
            })
            .accepts("other tokens' claims are no trust domain's", || vouched(access(), ISSUER, None))
            .refuses("another domain's key for the claim", "token.signature", || {
                svid().keys(vec![authority(stranger(), "k1")]).verify()
            }),
        row("SID-11", "SVIDs of defined types only", "SPIFFE-ID §3.3")
            .accepts("an X.509-SVID", || presented(|leaf, _| leaf))
            .refuses("a bare public key", "tls.svid.malformed", || presented(|_, key| key))
            .refuses("the certificate's PEM", "tls.svid.malformed", || {
                presented(|leaf, _| {
                    let text = STANDARD.encode(leaf);
                    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n").into_bytes()
                })
            })
            .refuses("a token", "tls.svid.malformed", || {
                presented(|_, _| b"eyJhbGciOiJub25lIn0.e30.".to_vec())
            }),
    ]
}

fn parts() -> Vec<Row> {
    vec![
        row("SID-05", "trust domain characters and length", "SPIFFE-ID §2.1, §2.3")
            .accepts("every allowed kind", || id("spiffe://a-b_c.1/d"))
            .accepts("255 bytes", || id(&format!("spiffe://{}/a", "a".repeat(255))))
            .refuses("256 bytes", "255", || id(&format!("spiffe://{}/a", "a".repeat(256))))
            .refuses("upper case", "`E`", || id("spiffe://Example.org/a"))
            .refuses("percent-encoding", "`%`", || id("spiffe://a%2eb/c")),
        row("SID-06", "address-like names are names", "SPIFFE-ID §2.1")
            .accepts("a dotted quad", || id("spiffe://1.2.3.4/a"))
            .refuses("an IPv6 literal", "`[`", || id("spiffe://[::1]/a")),
        row("SID-07", "path segments and characters", "SPIFFE-ID §2.2")
            .accepts("three dots, a leading dot", || id("spiffe://a/.../.x"))
            .refuses("an empty segment", "empty", || id("spiffe://a/b//c"))
            .refuses("a trailing slash", "ends with `/`", || id("spiffe://a/b/"))
            .refuses("one dot", "`.`", || id("spiffe://a/./b"))
            .refuses("two dots", "`..`", || id("spiffe://a/../b"))
            .refuses("percent-encoding", "`%`", || id("spiffe://a/b%2fc")),
    ]
}

fn same(a: &str, b: &str) -> Result<(), String> {
    let (a, b) = (id(a).map_err(|e| e.to_string())?, id(b).map_err(|e| e.to_string())?);
    if a == b { Ok(()) } else { Err("not the same".to_owned()) }
}

/// A caller that presents what comes of a right leaf and its public key.
fn presented(choose: impl FnOnce(Vec<u8>, Vec<u8>) -> Vec<u8>) -> Result<Peer, String> {
    let ca = Ca::root();
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let public = key.subject_public_key_info();
    let leaf = ca.leaf_of(key, |_| {}).der.to_vec();
    judge(&[CertificateDer::from(choose(leaf, public))], &ca.bundles())
}

/// Who vouches for the claims of a token.
fn vouched(token: Token, issuer: &str, domain: Option<&str>) -> Result<(), String> {
    let claims = token.verify().map_err(|error| error.to_string())?;
    let found = (claims.issuer.as_str(), claims.trust_domain.as_ref().map(|domain| domain.as_str()));
    if found == (issuer, domain) { Ok(()) } else { Err(format!("{found:?} vouches for them")) }
}
