mod follow;

use std::time::Duration;

use postern_identity::{RevocationMode, UnixTime};

use super::*;
use crate::demo::ca::{Ca, Issued};

const NOW_S: u64 = 2_000_000_000;
const ID: &str = "spiffe://example.org/orders";

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn ca(trust_domain: &str) -> Ca {
    Ca::new(trust_domain.parse().unwrap(), at(NOW_S)).unwrap()
}

fn entry(ca: &Ca, id: &str) -> X509SvidMessage {
    let issued = ca.issue(&id.parse().unwrap(), Duration::from_secs(60), at(NOW_S)).unwrap();
    X509SvidMessage {
        spiffe_id: id.to_owned(),
        x509_svid: issued.chain_der().to_vec(),
        x509_svid_key: issued.key_pkcs8(),
        bundle: ca.bundle_der().to_vec(),
        hint: String::new(),
    }
}

fn message(svids: Vec<X509SvidMessage>) -> X509SvidResponse {
    X509SvidResponse { svids, ..X509SvidResponse::default() }
}

fn choice(chosen: Option<&str>) -> Choice {
    let selection = chosen.map_or(SvidSelection::First, |id| SvidSelection::SpiffeId(id.parse().unwrap()));
    choice_by(selection)
}

fn choice_by(selection: SvidSelection) -> Choice {
    let endpoint = WorkloadEndpoint::Unix("/nowhere".into());
    Choice { endpoint, selection, revocation: RevocationRule::WhereListed }
}

/// A message comes to an SVID, trust domains and a status, or is not taken.
#[track_caller]
fn check(
    message: X509SvidResponse,
    chosen: Option<&str>,
    expected: Result<(Option<&str>, &[&str], SourceStatus), &str>,
) {
    check_chosen(message, &choice(chosen), expected);
}

#[track_caller]
fn check_chosen(
    message: X509SvidResponse,
    choice: &Choice,
    expected: Result<(Option<&str>, &[&str], SourceStatus), &str>,
) {
    match (judge(message, choice, at(NOW_S)), expected) {
        (Ok(state), Ok((id, trusted, status))) => {
            assert_eq!(state.update.svid.as_ref().map(|svid| svid.spiffe_id().as_str()), id);
            let names: Vec<_> =
                state.update.trust.iter().map(|bundle| bundle.trust_domain().as_str()).collect();
            assert_eq!((names.as_slice(), state.status), (trusted, status));
        }
        (Err(error), Err(reason)) => assert!(error.to_string().contains(reason), "{error}"),
        (Ok(state), Err(reason)) => panic!("{:?} instead of {reason}", state.update),
        (Err(error), Ok(_)) => panic!("{error}"),
    }
}

#[test]
fn the_first_svid_is_ours_unless_another_is_chosen() {
    let (ca, other) = (ca("example.org"), ca("other.org"));
    let both = || {
        message(vec![
            entry(&ca, ID),
            entry(&ca, "spiffe://example.org/b"),
            entry(&other, "spiffe://other.org/c"),
        ])
    };
    let trusted: &[&str] = &["example.org", "other.org"];
    check(both(), None, Ok((Some(ID), trusted, SourceStatus::Ready)));
    check(
        both(),
        Some("spiffe://example.org/b"),
        Ok((Some("spiffe://example.org/b"), trusted, SourceStatus::Ready)),
    );
    check(
        both(),
        Some("spiffe://other.org/c"),
        Ok((Some("spiffe://other.org/c"), trusted, SourceStatus::Ready)),
    );
    let gone = SourceStatus::Withdrawn("the Workload API does not offer `spiffe://example.org/x`".to_owned());
    check(both(), Some("spiffe://example.org/x"), Ok((None, trusted, gone)));
}

#[test]
fn a_damaged_foreign_bundle_costs_its_own_trust_domain_only() {
    let ca = ca("example.org");
    let mut with = message(vec![entry(&ca, ID)]);
    with.federated_bundles = [
        ("spiffe://friend.org".to_owned(), self::ca("friend.org").bundle_der().to_vec()),
        ("plain.org".to_owned(), self::ca("plain.org").bundle_der().to_vec()),
        // Only the bundle beside the SVID speaks for our own trust domain.
        ("spiffe://example.org".to_owned(), self::ca("example.org").bundle_der().to_vec()),
    ]
    .into();
    let trusted: &[&str] = &["example.org", "friend.org", "plain.org"];
    check(with.clone(), None, Ok((Some(ID), trusted, SourceStatus::Ready)));
    let own = judge(with.clone(), &choice(None), at(NOW_S)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(own.update.trust.get(ca.trust_domain()), Some(&ca.bundle().unwrap()));

    with.federated_bundles.insert("spiffe://broken.org".to_owned(), vec![0x30, 1]);
    with.federated_bundles.insert("spiffe://UPPER.org".to_owned(), vec![]);
    let state = judge(with, &choice(None), at(NOW_S)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(state.update.trust.len(), 3);
    let SourceStatus::Degraded(reason) = state.status else { panic!("{:?}", state.status) };
    assert!(reason.contains("broken.org") && reason.contains("UPPER.org"), "{reason}");
}

#[test]
fn a_message_that_does_not_hold_together_is_not_taken() {
    let ca = ca("example.org");
    check(message(vec![]), None, Err("sent no SVID"));
    let bent = |bend: fn(&mut X509SvidMessage)| {
        let mut entry = entry(&ca, ID);
        bend(&mut entry);
        message(vec![entry])
    };
    check(bent(|entry| entry.spiffe_id = "x".to_owned()), None, Err("`x`, which is not a SPIFFE ID"));
    check(
        bent(|entry| entry.spiffe_id = "spiffe://example.org/b".to_owned()),
        None,
        Err("is one for `spiffe://example.org/orders`"),
    );
    check(bent(|entry| entry.spiffe_id.clear()), None, Err("``, which is not a SPIFFE ID"));
    check(bent(|entry| entry.x509_svid.clear()), None, Err("left `x509_svid` of"));
    check(bent(|entry| entry.x509_svid.truncate(40)), None, Err("cannot be read"));
    check(bent(|entry| entry.x509_svid_key.clear()), None, Err("left `x509_svid_key` of"));
    check(bent(|entry| entry.bundle.clear()), None, Err("left `bundle` of"));
    check(bent(|entry| entry.bundle = vec![1, 2, 3]), None, Err("not a SPIFFE bundle"));
    let mut foreign = entry(&ca, ID);
    foreign.bundle = self::ca("example.org").bundle_der().to_vec();
    check(message(vec![foreign]), None, Err("does not lead to the bundle"));
    let mut other_key = entry(&ca, ID);
    other_key.x509_svid_key = entry(&ca, ID).x509_svid_key;
    check(message(vec![other_key]), None, Err("does not match"));
    check(message(vec![entry(&ca, ID); SVIDS_MAX + 1]), None, Err("more than 100 SVIDs"));
    let late = judge(message(vec![entry(&ca, ID)]), &choice(None), at(NOW_S + 61));
    assert!(late.is_err_and(|error| error.to_string().contains("expired")));
}

/// Whether the holder of a right SVID of this authority is believed after the message.
#[track_caller]
fn check_caller(
    message: X509SvidResponse,
    rule: RevocationRule,
    caller: &Issued,
    expected: Result<(), &str>,
) {
    let choice = Choice { revocation: rule, ..choice(None) };
    let state = judge(message, &choice, at(NOW_S)).unwrap_or_else(|error| panic!("{error}"));
    let chain = std::slice::from_ref(caller.chain_der());
    let verdict = verify_chain(chain, &state.update.trust, Role::Client, at(NOW_S));
    assert_eq!(verdict.map(drop).map_err(|error| error.code()), expected);
}

#[test]
fn revocation_lists_count_in_the_trust_domains_that_they_are_from() {
    use RevocationRule::{Everywhere, WhereListed};
    let (ca, friend) = (ca("example.org"), ca("friend.org"));
    let caller =
        |ca: &Ca, id: &str| ca.issue(&id.parse().unwrap(), Duration::from_secs(60), at(NOW_S)).unwrap();
    let (own, foreign) =
        (caller(&ca, "spiffe://example.org/web"), caller(&friend, "spiffe://friend.org/web"));
    let with = |crl: Vec<Vec<u8>>| {
        let mut message = message(vec![entry(&ca, ID)]);
        message.federated_bundles = [("friend.org".to_owned(), friend.bundle_der().to_vec())].into();
        X509SvidResponse { crl, ..message }
    };
    let none = |ca: &Ca| ca.revocation_list(&[], at(NOW_S));
    let (revoked, unknown) = (Err("tls.chain.revoked"), Err("tls.chain.revocation_unknown"));

    check_caller(with(vec![]), WhereListed, &own, Ok(()));
    check_caller(with(vec![none(&ca)]), WhereListed, &own, Ok(()));
    check_caller(with(vec![none(&friend), none(&ca)]), WhereListed, &own, Ok(()));
    check_caller(with(vec![ca.revocation_list(&[&own], at(NOW_S))]), WhereListed, &own, revoked);
    // Our own trust domain is one with lists as soon as any come; another only with a list of its own.
    check_caller(with(vec![none(&friend)]), WhereListed, &own, unknown);
    check_caller(with(vec![none(&ca)]), WhereListed, &foreign, Ok(()));
    check_caller(with(vec![friend.revocation_list(&[&foreign], at(NOW_S))]), WhereListed, &foreign, revoked);
    // What cannot be read vouches for nobody.
    check_caller(with(vec![vec![0x30, 0]]), WhereListed, &own, unknown);
    let damaged =
        judge(with(vec![vec![0x30, 0]]), &choice(None), at(NOW_S)).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(damaged.status, SourceStatus::Degraded(reason) if reason.contains("revocation list 1")));
    assert!(damaged.update.svid.is_some());

    check_caller(with(vec![]), Everywhere(RevocationMode::Hard), &own, unknown);
    check_caller(with(vec![none(&ca)]), Everywhere(RevocationMode::Hard), &foreign, unknown);
    check_caller(with(vec![none(&friend)]), Everywhere(RevocationMode::Soft), &own, Ok(()));
    let revoking = || with(vec![ca.revocation_list(&[&own], at(NOW_S))]);
    check_caller(revoking(), Everywhere(RevocationMode::Soft), &own, revoked);
    check_caller(revoking(), Everywhere(RevocationMode::Off), &own, Ok(()));
    let too_many = with(vec![none(&ca); postern_identity::REVOCATION_LISTS_MAX + 1]);
    check_caller(too_many, WhereListed, &own, unknown);
}

#[test]
fn a_hint_chooses_the_first_svid_that_carries_it() {
    let ca = ca("example.org");
    let hinted = |path: &str, hint: &str| {
        let mut entry = entry(&ca, &format!("spiffe://example.org/{path}"));
        entry.hint = hint.to_owned();
        entry
    };
    let three = || message(vec![hinted("a", ""), hinted("b", "internal"), hinted("c", "internal")]);
    let by = |hint: &str| choice_by(SvidSelection::Hint(hint.to_owned()));
    let trusted: &[&str] = &["example.org"];
    check_chosen(
        three(),
        &by("internal"),
        Ok((Some("spiffe://example.org/b"), trusted, SourceStatus::Ready)),
    );
    let gone = "the Workload API does not offer an SVID with the hint `external`".to_owned();
    check_chosen(three(), &by("external"), Ok((None, trusted, SourceStatus::Withdrawn(gone))));
}

#[test]
fn the_bundle_beside_the_first_svid_of_a_trust_domain_counts() {
    let (ca, other) = (ca("example.org"), ca("example.org"));
    let state = judge(message(vec![entry(&ca, ID), entry(&other, ID)]), &choice(None), at(NOW_S));
    let trust = state.unwrap_or_else(|error| panic!("{error}")).update.trust;
    assert_eq!(trust.get(ca.trust_domain()), Some(&ca.bundle().unwrap()));
}

#[test]
fn a_trust_domain_that_is_named_twice_has_no_bundle() {
    let mut with = message(vec![entry(&ca("example.org"), ID)]);
    let friend = ca("friend.org").bundle_der().to_vec();
    with.federated_bundles =
        [("spiffe://friend.org".to_owned(), friend.clone()), ("friend.org".to_owned(), friend)].into();
    let said = SourceStatus::Degraded("`friend.org` has two bundles".to_owned());
    check(with, None, Ok((Some(ID), &["example.org"], said)));
}

#[test]
fn no_key_is_shown() {
    let text = format!("{:?}", message(vec![entry(&ca("example.org"), ID)]));
    assert!(text.contains(ID) && !text.contains("key"), "{text}");
}

#[test]
fn an_svid_that_is_not_replaced_in_time_is_told() {
    let issued = ca("example.org").issue(&ID.parse().unwrap(), Duration::from_secs(390), at(NOW_S)).unwrap();
    // Valid for 400 s, from 10 s ago.
    let svid = issued.svid().unwrap();
    assert_eq!(overdue(&svid, at(NOW_S + 290)), None);
    let late = overdue(&svid, at(NOW_S + 291));
    assert!(
        matches!(late, Some(SourceStatus::Degraded(ref reason)) if reason.contains("should have been")),
        "{late:?}"
    );
    let gone = overdue(&svid, at(NOW_S + 391));
    assert!(
        matches!(gone, Some(SourceStatus::Failing(ref reason)) if reason.contains("expired at")),
        "{gone:?}"
    );
}
