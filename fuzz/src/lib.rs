//! What is tried with bytes that nobody chose: whatever comes in, nothing panics, nothing hangs, and what is taken can
//! be said again.
//!
//! `libfuzzer/` drives these with coverage (`cargo fuzz run <target>`, which needs a nightly compiler or
//! `RUSTC_BOOTSTRAP=1`); `tests/stable.rs` drives them on stable Rust with every test run, by the same inputs each time.

pub mod tokens;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use postern_identity::pop::dpop;
use postern_identity::pop::workload::{self, Presented};
use postern_identity::token::{self, Algorithm, Claims, Issuer, KeySet, Profile};
use postern_identity::{
    BundleMap, RevocationList, RevocationMode, Role, SpiffeId, TrustBundle, TrustBundles, TrustDomain,
    UnixTime, X509Svid, verify_chain,
};
use rustls_pki_types::CertificateDer;

/// A target: its name, what tries it, and inputs to begin with.
pub struct Target {
    /// Its name, also that of its file in `libfuzzer/`.
    pub name: &'static str,
    /// Tries one input.
    pub run: fn(&[u8]),
    /// Inputs that are taken, or nearly.
    pub seeds: &'static [&'static [u8]],
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "spiffe_id",
        run: spiffe_id,
        seeds: &[b"spiffe://example.org/ns/default/sa/web", b"spiffe://a_b-c.d/.../.x", b"spiffe://1.2.3.4"],
    },
    Target { name: "leaf", run: leaf, seeds: &[] },
    Target { name: "compact_jws", run: tokens::compact_jws, seeds: tokens::SEEDS },
    Target {
        name: "key_set",
        run: key_set,
        seeds: &[
            b"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"1\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}",
            b"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"},{}]}",
        ],
    },
    Target {
        name: "bundle_document",
        run: bundle_document,
        seeds: &[b"{\"keys\":[{\"use\":\"x509-svid\",\"kty\":\"EC\",\"x5c\":[\"MIIB\"]}],\"spiffe_sequence\":1,\"spiffe_refresh_hint\":300}"],
    },
    Target {
        name: "bundle_map",
        run: bundle_map,
        seeds: &[
            b"{\"trust_domains\":{\"a.org\":{\"keys\":[]},\"b.org\":{\"keys\":[],\"spiffe_sequence\":1}},\"spiffe_refresh_hint\":9}",
        ],
    },
    Target { name: "concatenated_der", run: concatenated_der, seeds: &[] },
    Target { name: "revocation_list", run: revocation_list, seeds: &[] },
    Target { name: "dpop_proof", run: dpop_proof, seeds: &[PROOF] },
    Target { name: "workload_tokens", run: workload_tokens, seeds: &[WORKLOAD] },
];

/// An access token that is bound to the key of [`PROOF`], and the key that signed it; nobody has its private half.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJpIiwiYXVkIjoiYSIsImV4cCI6NDAwMDAwMDAwMCwiY25mIjp7ImprdCI6IjBaY09DT1JaTll5LURXcHFxMzBqWnlKR0hUTjBkMkhnbEJWM3VpZ3VBNEkifX0.JX0KbWK_sN2lyNb5IW00gXIArxkutnDGLoliotZZm3jFyL8IYdV9zEhN_B60gOg5ur627iJLkS3gBRO7EOmF0A";
const ISSUER: &[u8] = br#"{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"FtiLmIEhHqVOiB3wn1Gqi-DliMSKFaUshWw2Zk98c3U","y":"LE4baId-mSS-X7W4WDHumKZ1C7jMHcjDdUSUpi1obdg"}]}"#;
/// The proof of RFC 9449 §7.1.
const PROOF: &[u8] = b"eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
/// A workload's identity token and its proof, a line each, without true signatures.
const WORKLOAD: &[u8] = b"eyJhbGciOiJFUzI1NiIsInR5cCI6IndpdCtqd3QiLCJraWQiOiJrIn0.eyJzdWIiOiJzcGlmZmU6Ly9leGFtcGxlLm9yZy93ZWIiLCJleHAiOjQwMDAwMDAwMDAsImNuZiI6eyJqd2siOnsia3R5IjoiRUMiLCJjcnYiOiJQLTI1NiIsImFsZyI6IkVTMjU2IiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSJ9fX0.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\neyJhbGciOiJFUzI1NiIsInR5cCI6IndwdCtqd3QifQ.eyJhdWQiOiJodHRwczovL2EudGVzdC94IiwiZXhwIjoyMDAwMDAwMDYwLCJqdGkiOiIxIiwid3RoIjoiQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQSJ9.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Tries one input on the target of that name.
///
/// # Panics
/// When there is none, or what the target promises does not hold.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    (target.run)(input);
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(2_000_000_000))
}

fn domain() -> Option<TrustDomain> {
    "example.org".parse().ok()
}

/// What is taken for an ID is written as it was read.
fn spiffe_id(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(id) = text.parse::<SpiffeId>() else { return };
    assert_eq!(id.as_str(), text);
    let again: SpiffeId =
        format!("spiffe://{}{}", id.trust_domain(), id.path()).parse().expect("its own spelling");
    assert_eq!(again, id);
}

/// No certificate of nobody's making is believed, in either role.
fn leaf(input: &[u8]) {
    let Some(domain) = domain() else { return };
    let mut trust = TrustBundles::default();
    if let Ok(bundle) = TrustBundle::from_der(domain, &[]) {
        trust.insert(bundle);
    }
    let (first, second) = input.split_at(input.len() / 2);
    for chain in [vec![input], vec![first, second]] {
        let chain: Vec<_> = chain.into_iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        for role in [Role::Client, Role::Server] {
            assert!(verify_chain(&chain, &trust, role, now()).is_err());
        }
    }
}

fn key_set(input: &[u8]) {
    for set in [KeySet::parse(input), KeySet::parse_spiffe_bundle(input)].into_iter().flatten() {
        assert!(set.len() <= token::KEYS_MAX);
    }
    // Metadata that do not say so belong to no issuer.
    if token::jwks_uri(input, "https://i.example").is_ok() {
        assert!(input.windows(7).any(|window| window == b"example" || window.contains(&b'\\')));
    }
}

/// No proof of nobody's making proves a key: the only true one is for another token.
fn dpop_proof(input: &[u8]) {
    static CLAIMS: LazyLock<Option<Claims>> = LazyLock::new(|| {
        let issuer = Issuer::new("i".to_owned(), vec!["a".to_owned()], vec![Algorithm::Es256]).ok()?;
        let keys = Arc::new(KeySet::parse(ISSUER).ok()?);
        let issuer = issuer.with_profile(Profile::Generic).ok()?;
        token::verify(TOKEN, &[issuer], &|_| Some(Arc::clone(&keys)), now()).ok()
    });
    let claims = CLAIMS.as_ref().expect("a token that verifies");
    let Ok(text) = std::str::from_utf8(input) else { return };
    let request = dpop::Request {
        method: "GET",
        uri: "https://resource.example.org/protectedresource",
        spell: &|uri| Some(uri.to_owned()),
        nonce: dpop::Nonce::Any,
    };
    let then = UnixTime::since_unix_epoch(Duration::from_secs(1_562_262_618));
    assert!(dpop::verify(text, claims, &request, then).is_err());
}

/// No workload is believed whose token no authority has signed.
fn workload_tokens(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (identity, proof) = text.split_once('\n').unwrap_or((text, ""));
    let presented = Presented { identity, proof, access_token: None, transaction_token: None };
    let authorities = ["https://a.test".to_owned()];
    let target =
        workload::Target { authorities: &authorities, path: "/x", spell: &|uri| Some(uri.to_owned()) };
    let marked = String::from_utf8_lossy(ISSUER).replace("\"kid\"", "\"use\":\"wit-svid\",\"kid\"");
    let keys = KeySet::parse_wit_bundle(marked.as_bytes()).ok().map(Arc::new);
    assert!(workload::verify(&presented, &target, &|_| keys.clone(), now()).is_err());
}

fn bundle_document(input: &[u8]) {
    if let Ok(set) = KeySet::parse_wit_bundle(input) {
        assert!(set.len() <= token::KEYS_MAX);
    }
    let Some(domain) = domain() else { return };
    if let Ok(bundle) = TrustBundle::from_spiffe_json(domain, input) {
        assert!(bundle.authorities().len() <= postern_identity::AUTHORITIES_MAX);
    }
}

fn bundle_map(input: &[u8]) {
    if let Ok(map) = BundleMap::from_spiffe_json(input) {
        assert!(map.refresh_interval >= Duration::from_secs(30));
    }
}

/// No list is from an authority that did not sign it.
fn revocation_list(input: &[u8]) {
    let Some(domain) = domain() else { return };
    let (Ok(lists), Ok(bundle)) = (RevocationList::from_file(input), TrustBundle::from_der(domain, &[]))
    else {
        return;
    };
    assert!(lists.iter().all(|list| !bundle.has_issued(list)));
    drop(bundle.with_revocation(lists, RevocationMode::Hard));
}

/// As the Workload API delivers chains and bundles.
fn concatenated_der(input: &[u8]) {
    let Some(domain) = domain() else { return };
    drop(TrustBundle::from_concatenated_der(domain, input));
    drop(X509Svid::from_workload_api(input, input.to_vec()));
}
