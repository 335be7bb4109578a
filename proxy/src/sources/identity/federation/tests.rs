//! What needs no endpoint; the rest is in `conformance/`, with real ones.

use postern_identity::tls::Material;
use postern_identity::{RevocationMode, Role, TrustBundles, UnixTime, X509Svid, verify_chain};

use super::*;
use crate::clock::SystemClock;
use crate::config::{EndpointProfile, EndpointProof, TrustRoots};
use crate::demo::ca::Ca;

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Nobody;

impl Material for Nobody {
    fn trust(&self) -> Arc<TrustBundles> {
        Arc::default()
    }

    fn svid(&self) -> Option<Arc<X509Svid>> {
        None
    }
}

fn by_web(trust_domain: &str) -> FederationConfig {
    FederationConfig {
        trust_domain: trust_domain.parse().unwrap(),
        // Nothing listens on port 1.
        url: "https://127.0.0.1:1/".to_owned(),
        profile: EndpointProfile::HttpsWeb { trust_roots: TrustRoots::System },
    }
}

fn by_spiffe(bootstrap: &std::path::Path) -> FederationConfig {
    let proof = EndpointProof::SelfServing { bootstrap_bundle: bootstrap.to_owned() };
    let endpoint = "spiffe://friend.org/server".parse().unwrap();
    FederationConfig { profile: EndpointProfile::HttpsSpiffe { endpoint, proof }, ..by_web("friend.org") }
}

fn bundle_pem() -> String {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(2_000_000_000));
    Ca::new("friend.org".parse().unwrap(), now).unwrap().bundle_pem()
}

/// A document with a key of each of these uses, all for tokens.
fn jwt_document(uses: &[&str]) -> String {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(2_000_000_000));
    let bundle = Ca::new("friend.org".parse().unwrap(), now).unwrap().jwt_bundle();
    let mut bundle: serde_json::Value = serde_json::from_str(&bundle).unwrap();
    let key = bundle["keys"][0].take();
    let keys = uses.iter().map(|purpose| {
        let mut key = key.clone();
        key["use"] = (*purpose).into();
        key
    });
    bundle["keys"] = keys.collect();
    bundle.to_string()
}

#[test]
fn a_relationship_that_changed_is_another_one() {
    let name = |change: fn(&mut FederationConfig), bootstrap: &[u8]| {
        let mut relationship = by_spiffe("b.pem".as_ref());
        change(&mut relationship);
        format!("{:?}", Kept::new(&relationship, bootstrap))
    };
    let names = [
        name(|_| {}, b"one"),
        name(|_| {}, b"two"),
        name(|relationship| relationship.url.push('a'), b"one"),
        name(|relationship| relationship.trust_domain = "foe.org".parse().unwrap(), b"one"),
        name(|relationship| relationship.profile = by_web("friend.org").profile, b"one"),
    ];
    let different: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(different.len(), names.len(), "{names:?}");
    // Where the bootstrap bundle lies does not matter.
    let moved = Kept::new(&by_spiffe("elsewhere.pem".as_ref()), b"one");
    assert_eq!(names[0], format!("{moved:?}"));
}

#[test]
fn what_an_ended_relationship_left_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let kept = LastGood::of(folder.path().to_owned(), "json");
    let (ours, other) = (by_web("friend.org"), by_web("foe.org"));
    for relationship in [&ours, &other] {
        Kept::new(relationship, b"").store(&kept, b"{\"keys\":[]}");
    }
    kept.store("notes", b"mine").unwrap();
    kept.store("friend.org-0123", b"mine").unwrap();
    kept::forget_others(&kept, [&ours].into_iter());
    let mut names = kept.names();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0] == "friend.org-0123" && names[1].starts_with("friend.org-") && names[2] == "notes");
    let domain = "friend.org".parse().unwrap();
    assert!(Kept::new(&ours, b"").load(&kept, &domain).is_some());
    // One whose terms cannot be read now may be any of them.
    kept::forget_others(&kept, [&by_spiffe(&folder.path().join("missing.pem"))].into_iter());
    assert_eq!(kept.names().len(), 3);
}

#[test]
fn what_was_kept_and_is_damaged_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let kept = LastGood::of(folder.path().to_owned(), "json");
    let place = Kept::new(&by_web("friend.org"), b"");
    let domain = "friend.org".parse().unwrap();
    assert!(place.load(&kept, &domain).is_none());
    let many = jwt_document(&["jwt-svid"; 65]);
    for damaged in ["", "{", "{\"keys\":1}", "{\"keys\":[],\"keys\":[]}", many.as_str()] {
        place.store(&kept, damaged.as_bytes());
        assert!(place.load(&kept, &domain).is_none(), "{damaged}");
    }
    place.store(&kept, b"{\"keys\":[]}");
    assert!(place.load(&kept, &domain).is_some());
}

#[tokio::test]
async fn a_bootstrap_bundle_that_comes_later_is_found_and_a_relationship_that_ends_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let bootstrap = folder.path().join("bootstrap.pem");
    let (wanted, configured) = watch::channel(vec![by_spiffe(&bootstrap)]);
    let (updates, mut told) = mpsc::channel(4);
    let surroundings = Surroundings {
        last_good: LastGood::of(folder.path().join("kept"), "json"),
        trust: Arc::new(Nobody),
        clock: Arc::new(SystemClock::new()),
        pace: Pace { before_first: Duration::from_millis(20), ..Pace::default() },
        revocation: RevocationRule::WhereListed,
        updates,
    };
    let running = tokio::spawn(run(configured, surroundings));
    let mut next = async || tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    let failed = |update: &FederationUpdate| {
        let FederationUpdate::Failed { status: SourceStatus::Failing(reason), .. } = update else {
            panic!("{update:?}")
        };
        reason.clone()
    };
    assert!(failed(&next().await).contains("bootstrap.pem"));
    let waiting = folder.path().join("waiting.pem");
    std::fs::write(&waiting, bundle_pem()).unwrap();
    std::fs::rename(waiting, &bootstrap).unwrap();
    loop {
        let reason = failed(&next().await);
        if reason.contains("cannot connect") {
            break;
        }
        assert!(reason.contains("bootstrap.pem"), "{reason}");
    }
    wanted.send_replace(Vec::new());
    let ended = loop {
        let update = next().await;
        if let FederationUpdate::Ended(trust_domain) = update {
            break trust_domain;
        }
        assert!(failed(&update).contains("cannot connect"), "{update:?}");
    };
    assert_eq!(ended.as_str(), "friend.org");
    running.abort();
}

/// What is believed of a relationship whose bundle was kept, under this rule.
async fn kept_under(revocation: RevocationRule, document: &str) -> Federated {
    let folder = tempfile::tempdir().unwrap();
    let last_good = LastGood::of(folder.path().to_owned(), "json");
    let relationship = by_web("friend.org");
    Kept::new(&relationship, b"").store(&last_good, document.as_bytes());
    let (_wanted, configured) = watch::channel(vec![relationship]);
    let (updates, mut told) = mpsc::channel(4);
    let clock = Arc::new(SystemClock::new());
    let surroundings = Surroundings {
        last_good,
        trust: Arc::new(Nobody),
        clock,
        pace: Pace::default(),
        revocation,
        updates,
    };
    let running = tokio::spawn(run(configured, surroundings));
    let update = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    running.abort();
    let FederationUpdate::Kept(brought) = update else { panic!("{update:?}") };
    brought
}

#[tokio::test]
async fn nobody_of_another_trust_domain_is_believed_where_lists_are_demanded_that_no_endpoint_serves() {
    let now = SystemClock::new().unix_time();
    let ca = Ca::new("friend.org".parse().unwrap(), now).unwrap();
    let der = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, ca.bundle_der());
    let document = format!(r#"{{"keys":[{{"use":"x509-svid","kty":"EC","x5c":["{der}"]}}]}}"#);
    let id = "spiffe://friend.org/web".parse().unwrap();
    let chain = [ca.issue(&id, Duration::from_secs(60), now).unwrap().chain_der().clone()];
    let hard = RevocationRule::Everywhere(RevocationMode::Hard);
    let soft = RevocationRule::Everywhere(RevocationMode::Soft);
    for (rule, expected) in [
        (hard, Some("tls.chain.revocation_unknown")),
        (soft, None),
        (RevocationRule::Everywhere(RevocationMode::Off), None),
        (RevocationRule::WhereListed, None),
    ] {
        let mut trust = TrustBundles::default();
        trust.insert(TrustBundle::clone(&kept_under(rule, &document).await.bundle));
        for role in [Role::Client, Role::Server] {
            let refused = verify_chain(&chain, &trust, role, now).err().map(|error| error.code());
            assert_eq!(refused, expected, "{rule:?} {role:?}");
        }
    }
}

#[tokio::test]
async fn a_bundle_brings_the_keys_of_its_jwt_svids_and_those_of_nothing_else() {
    let document = jwt_document(&["jwt-svid", "x509-svid", "wit-svid", "sig"]);
    let brought = kept_under(RevocationRule::WhereListed, &document).await;
    assert_eq!((brought.jwt_keys.len(), brought.bundle.authorities().len()), (1, 0));
}
