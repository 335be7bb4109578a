use super::*;
use crate::clock::SystemClock;
use crate::demo::ca::Ca;
use postern_identity::{RevocationList, RevocationMode, TrustBundles};
use std::time::Duration;

struct World {
    ca: Ca,
    other: Ca,
    now: UnixTime,
}

impl World {
    fn new() -> Self {
        let now = SystemClock::new().unix_time();
        let ca = |name: &str| Ca::new(name.parse().unwrap(), now).unwrap();
        Self { ca: ca("example.org"), other: ca("other.org"), now }
    }

    fn trust(&self, previous: &Trust, domains: &[&Ca]) -> Trust {
        let mut bundles = TrustBundles::default();
        for ca in domains {
            bundles.insert(ca.bundle().unwrap());
        }
        previous.followed_by(Arc::new(bundles))
    }

    /// A caller of our own trust domain, proven by no list.
    fn peer(&self) -> Peer {
        let mut bundles = TrustBundles::default();
        bundles.insert(self.ca.bundle().unwrap());
        verify_chain(&self.chain(), &bundles, Role::Client, self.now).unwrap()
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        let id = "spiffe://example.org/web".parse().unwrap();
        self.ca.issue(&id, Duration::from_secs(600), self.now).unwrap().svid().unwrap().chain().to_vec()
    }
}

#[test]
fn a_chain_is_judged_again_when_its_own_bundle_changes_and_not_when_another_does() {
    let world = World::new();
    let both = world.trust(&Trust::default(), &[&world.ca, &world.other]);
    let standing =
        Standings::default().enter((world.chain(), Role::Client), &world.peer(), Some(both.generation));
    assert_eq!(standing.check(&both, world.now), Ok(()));
    let alone = world.trust(&both, &[&world.ca]);
    assert_eq!(standing.check(&alone, world.now), Ok(()));
    let none = world.trust(&alone, &[&world.other]);
    assert_eq!(standing.check(&none, world.now), Err(Refusal::PeerUntrusted));
    // It is believed again where its bundle comes back.
    let again = world.trust(&none, &[&world.ca]);
    assert_eq!(standing.check(&again, world.now), Ok(()));
    // An old view neither overrules the newest judgement nor is overruled by it.
    assert_eq!(standing.check(&none, world.now), Err(Refusal::PeerUntrusted));
    assert_eq!(standing.check(&again, world.now), Ok(()));
}

#[test]
fn a_chain_that_is_revoked_is_said_to_be_so() {
    let world = World::new();
    let id = "spiffe://example.org/web".parse().unwrap();
    let issued = world.ca.issue(&id, Duration::from_secs(600), world.now).unwrap();
    let trust = world.trust(&Trust::default(), &[&world.ca]);
    let chain = (vec![issued.chain_der().clone()], Role::Client);
    let standing = Standings::default().enter(chain, &world.peer(), Some(trust.generation));
    assert_eq!(standing.check(&trust, world.now), Ok(()));
    let with = |earlier: &Trust, lists: &[Vec<u8>]| {
        let lists = lists.iter().map(|der| RevocationList::from_der(der).unwrap()).collect();
        let mut bundles = TrustBundles::default();
        bundles.insert(world.ca.bundle().unwrap().with_revocation(lists, RevocationMode::Hard).unwrap());
        earlier.followed_by(Arc::new(bundles))
    };
    let good = with(&trust, &[world.ca.revocation_list(&[], world.now)]);
    assert_eq!(standing.check(&good, world.now), Ok(()));
    let revoked = with(&good, &[world.ca.revocation_list(&[&issued], world.now)]);
    assert_eq!(standing.check(&revoked, world.now), Err(Refusal::PeerRevoked));
    // It is remembered with its reason.
    assert_eq!(standing.check(&revoked, world.now), Err(Refusal::PeerRevoked));
    let unknown = with(&revoked, &[]);
    assert_eq!(standing.check(&unknown, world.now), Err(Refusal::PeerRevocationUnknown));
}

#[test]
fn a_judgement_by_a_list_is_over_when_the_list_expires_and_the_next_list_counts_from_when_it_comes() {
    let world = World::new();
    let later = |seconds: u64| UnixTime::since_unix_epoch(Duration::from_secs(world.now.as_secs() + seconds));
    let listed = |earlier: &Trust, at: UnixTime| {
        let list = RevocationList::from_der(&world.ca.revocation_list(&[], at)).unwrap();
        let bundle = world.ca.bundle().unwrap().with_revocation(vec![list], RevocationMode::Hard).unwrap();
        let mut bundles = TrustBundles::default();
        bundles.insert(bundle);
        earlier.followed_by(Arc::new(bundles))
    };
    let trust = listed(&Trust::default(), world.now);
    let chain = world.chain();
    let peer = verify_chain(&chain, &trust.bundles, Role::Client, world.now).unwrap();
    let standing = Standings::default().enter((chain, Role::Client), &peer, Some(trust.generation));
    let until = standing.until().unwrap();
    assert!((59..=60).contains(&(until.as_secs() - world.now.as_secs())), "{until:?}");
    assert_eq!(standing.check(&trust, later(58)), Ok(()));
    // Another trust domain's change prolongs nothing.
    let mut more = (*trust.bundles).clone();
    more.insert(world.other.bundle().unwrap());
    let other = trust.followed_by(Arc::new(more));
    assert_eq!((standing.check(&other, later(58)), standing.until()), (Ok(()), Some(until)));
    let renewed = listed(&other, later(50));
    assert_eq!(standing.check(&renewed, later(100)), Ok(()));
    assert_eq!(standing.check(&renewed, later(111)), Err(Refusal::PeerRevocationUnknown));
    assert_eq!(
        (standing.check(&renewed, later(111)), standing.until()),
        (Err(Refusal::PeerRevocationUnknown), None)
    );
}

#[test]
fn connections_that_present_the_same_chain_share_its_standing() {
    let world = World::new();
    let standings = Standings::default();
    let (chain, peer) = (world.chain(), world.peer());
    let first = standings.enter((chain.clone(), Role::Client), &peer, None);
    assert!(Arc::ptr_eq(&first, &standings.enter((chain.clone(), Role::Client), &peer, None)));
    assert!(!Arc::ptr_eq(&first, &standings.enter((world.chain(), Role::Client), &peer, None)));
}

#[test]
fn chains_of_ended_connections_are_forgotten() {
    let world = World::new();
    let standings = Standings::default();
    let (chain, peer) = (world.chain(), world.peer());
    for length in 1..1000_u32 {
        let mut chain = chain.clone();
        chain.push(CertificateDer::from(length.to_be_bytes().to_vec()));
        drop(standings.enter((chain, Role::Client), &peer, None));
    }
    assert!(standings.lock().by_chain.len() <= FORGET_AT_LEAST);
}

#[test]
fn a_chain_that_was_proven_before_trust_changed_is_judged_at_its_first_request() {
    let world = World::new();
    let trust = world.trust(&world.trust(&Trust::default(), &[&world.ca]), &[&world.other]);
    let standing = Standings::default().enter((world.chain(), Role::Client), &world.peer(), None);
    assert_eq!(standing.check(&trust, world.now), Err(Refusal::PeerUntrusted));
}
