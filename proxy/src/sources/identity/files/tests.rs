use std::path::Path;
use std::time::Duration;

use postern_identity::{RevocationMode, Role, UnixTime, verify_chain};

use super::*;
use crate::clock::SystemClock;
use crate::demo::ca::{Ca, Issued};
use tokio::sync::{mpsc, watch};

const ID: &str = "spiffe://example.org/orders";

struct World {
    directory: tempfile::TempDir,
    ca: Ca,
    clock: Arc<dyn Clock>,
}

impl World {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let ca = Ca::new("example.org".parse().unwrap(), clock.unix_time()).unwrap();
        let world = Self { directory: tempfile::tempdir().unwrap(), ca, clock };
        world.write("bundle.pem", &world.ca.bundle_pem());
        world.write_svid(&world.issue());
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Renamed into place, as every careful writer does.
    fn write(&self, name: &str, content: &str) {
        let fresh = self.path("fresh");
        std::fs::write(&fresh, content).unwrap();
        std::fs::rename(fresh, self.path(name)).unwrap();
    }

    fn issue(&self) -> Issued {
        self.ca.issue(&ID.parse().unwrap(), Duration::from_secs(600), self.clock.unix_time()).unwrap()
    }

    fn write_svid(&self, issued: &Issued) {
        self.write("cert.pem", &issued.chain_pem());
        self.write("key.pem", &issued.key_pem());
    }

    fn paths(&self) -> Paths {
        Paths {
            certificate: self.path("cert.pem"),
            key: self.path("key.pem"),
            trust_bundles: vec![("example.org".parse().unwrap(), self.path("bundle.pem"))],
            revocation_lists: vec![],
            revocation: RevocationRule::WhereListed,
        }
    }

    fn paths_with_lists(&self, revocation: RevocationRule) -> Paths {
        let lists = vec![("example.org".parse().unwrap(), self.path("lists.crl"))];
        Paths { revocation_lists: lists, revocation, ..self.paths() }
    }

    /// What becomes of the holder of this SVID.
    #[track_caller]
    fn check_caller(&self, paths: &Paths, caller: &Issued, expected: Result<(), &str>) {
        let trust = paths.load(None).unwrap().trust;
        let chain = std::slice::from_ref(caller.chain_der());
        let verdict = verify_chain(chain, &trust, Role::Client, self.clock.unix_time());
        assert_eq!(verdict.map(drop).map_err(|error| error.code()), expected);
    }

    #[track_caller]
    fn check_refused(&self, reason: &str) {
        let error = self.paths().load(None).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn three_good_files_are_an_identity() {
    let world = World::new();
    let update = world.paths().load(None).unwrap();
    assert_eq!(update.svid.unwrap().spiffe_id().as_str(), ID);
    assert_eq!(update.trust.get(world.ca.trust_domain()), Some(&world.ca.bundle().unwrap()));
}

#[test]
fn a_bundle_may_be_a_spiffe_document() {
    let world = World::new();
    let pem = world.ca.bundle_pem();
    let base64: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
    world.write(
        "bundle.pem",
        &format!("\n {{\"keys\":[{{\"kty\":\"EC\",\"use\":\"x509-svid\",\"x5c\":[\"{base64}\"]}}]}}"),
    );
    let update = world.paths().load(None).unwrap();
    assert_eq!(update.trust.get(world.ca.trust_domain()), Some(&world.ca.bundle().unwrap()));
}

#[test]
fn a_bundle_with_a_lower_sequence_number_does_not_replace_one_with_a_higher() {
    let world = World::new();
    let write = |number: u32| {
        let pem = world.ca.bundle_pem();
        let base64: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
        let key = format!(r#"{{"kty":"EC","use":"x509-svid","x5c":["{base64}"]}}"#);
        world.write("bundle.pem", &format!(r#"{{"spiffe_sequence":{number},"keys":[{key}]}}"#));
    };
    write(8);
    let loaded = world.paths().load(None).unwrap();
    assert!(world.paths().load(Some(&loaded)).is_ok());
    write(7);
    let error = world.paths().load(Some(&loaded)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("bundle.pem`: the trust bundle of `example.org` has the sequence number 7")
    );
    write(9);
    assert!(world.paths().load(Some(&loaded)).is_ok());
}

#[test]
fn revocation_lists_are_read_beside_the_bundle() {
    use RevocationRule::{Everywhere, WhereListed};
    let world = World::new();
    let (good, bad) = (world.issue(), world.issue());
    let list = world.ca.revocation_list(&[&bad], world.clock.unix_time());
    std::fs::write(world.path("lists.crl"), &list).unwrap();
    let listed = world.paths_with_lists(WhereListed);
    world.check_caller(&listed, &good, Ok(()));
    world.check_caller(&listed, &bad, Err("tls.chain.revoked"));
    world.check_caller(&world.paths_with_lists(Everywhere(RevocationMode::Off)), &bad, Ok(()));
    let unlisted = Paths { revocation: Everywhere(RevocationMode::Hard), ..world.paths() };
    world.check_caller(&unlisted, &good, Err("tls.chain.revocation_unknown"));
    world.check_caller(&world.paths(), &bad, Ok(()));

    let expired =
        world.ca.revocation_list(&[], UnixTime::since_unix_epoch(Duration::from_secs(1_000_000_000)));
    std::fs::write(world.path("lists.crl"), expired).unwrap();
    world.check_caller(&listed, &good, Err("tls.chain.revocation_unknown"));
    world.check_caller(&world.paths_with_lists(Everywhere(RevocationMode::Soft)), &good, Ok(()));

    std::fs::write(world.path("lists.crl"), "hello").unwrap();
    let error = listed.load(None).unwrap_err();
    assert!(error.to_string().contains("lists.crl`: this is neither a revocation list"), "{error}");
    std::fs::remove_file(world.path("lists.crl")).unwrap();
    let before = listed.stamps();
    assert!(listed.load(None).unwrap_err().to_string().contains("lists.crl` cannot be read"));
    std::fs::write(world.path("lists.crl"), &list).unwrap();
    assert_ne!(listed.stamps(), before);
}

#[test]
fn what_is_wrong_is_named_with_its_file() {
    let world = World::new();
    let good = world.issue();
    world.write("key.pem", &good.key_pem());
    world.check_refused("key.pem`: the private key does not match the certificate");
    world.write("key.pem", "");
    world.check_refused("key.pem`: the private key is not PEM");
    world.write("cert.pem", &world.ca.bundle_pem());
    world.write("key.pem", &good.key_pem());
    world.check_refused("CA certificate");
    world.write_svid(&good);
    world.write("bundle.pem", "hello");
    world.check_refused("bundle.pem`: the trust bundle of `example.org` is not PEM");
    world.write("bundle.pem", &" ".repeat(BUNDLE_BYTES_MAX + 1));
    world.check_refused("has more than 1048576 bytes");
    std::fs::remove_file(world.path("bundle.pem")).unwrap();
    world.check_refused("bundle.pem` cannot be read");
    std::fs::create_dir(world.path("bundle.pem")).unwrap();
    world.check_refused("is not a regular file");
}

#[test]
fn a_fifo_does_not_hang_us() {
    let world = World::new();
    std::fs::remove_file(world.path("key.pem")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(world.path("key.pem")).status().unwrap().success());
    world.check_refused("is not a regular file");
}

#[test]
fn a_relinked_directory_is_a_change() {
    // How Kubernetes swaps a secret: the files are links into a directory that is a link itself.
    let world = World::new();
    let target = |n: u32| {
        let directory = world.path(&format!("data{n}"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("key.pem"), "same").unwrap();
        directory
    };
    let (first, second) = (target(1), target(2));
    let link = |to: &Path| {
        std::os::unix::fs::symlink(to, world.path("fresh")).unwrap();
        std::fs::rename(world.path("fresh"), world.path("data")).unwrap();
    };
    link(&first);
    let before = Stamp::now(&world.path("data/key.pem"));
    assert_eq!(Stamp::now(&world.path("data/key.pem")), before);
    link(&second);
    assert_ne!(Stamp::now(&world.path("data/key.pem")), before);
}

#[tokio::test]
async fn a_rotation_is_taken_up_when_it_is_whole() {
    let world = World::new();
    let (updates, mut received) = mpsc::channel(1);
    let (status, mut seen) = watch::channel(SourceStatus::Starting);
    let follower = tokio::spawn(run(world.paths(), Outlet { updates, status }, Arc::clone(&world.clock)));
    let patience = Duration::from_secs(20);
    let mut next =
        async || tokio::time::timeout(patience, received.recv()).await.unwrap().unwrap().svid.unwrap();
    let first = next().await;
    tokio::time::timeout(patience, seen.wait_for(|status| *status == SourceStatus::Ready))
        .await
        .unwrap()
        .unwrap();

    let rotated = world.issue();
    world.write("cert.pem", &rotated.chain_pem());
    let failing = |status: &SourceStatus| matches!(status, SourceStatus::Failing(reason) if reason.contains("does not match"));
    tokio::time::timeout(patience, seen.wait_for(failing)).await.unwrap().unwrap();
    world.write("key.pem", &rotated.key_pem());
    let second = next().await;
    assert_ne!(first.chain(), second.chain());
    assert_eq!(second.chain(), std::slice::from_ref(rotated.chain_der()));
    tokio::time::timeout(patience, seen.wait_for(|status| *status == SourceStatus::Ready))
        .await
        .unwrap()
        .unwrap();
    follower.abort();
}

#[test]
fn a_certificate_that_expired_is_told() {
    let world = World::new();
    let update = world.paths().load(None).unwrap();
    #[derive(Debug)]
    struct Later(u64);
    impl Clock for Later {
        fn unix_ns(&self) -> u64 {
            self.0
        }
        fn monotonic_ns(&self) -> u64 {
            0
        }
    }
    let later = Later((world.clock.unix_time().as_secs() + 700) * 1_000_000_000);
    let told = status(Some(&update), None, &later);
    assert!(matches!(told, SourceStatus::Failing(ref reason) if reason.contains("expired at")), "{told:?}");
    assert_eq!(status(Some(&update), None, &*world.clock), SourceStatus::Ready);

    std::fs::write(world.path("lists.crl"), world.ca.revocation_list(&[], world.clock.unix_time())).unwrap();
    let later = Later((world.clock.unix_time().as_secs() + 70) * 1_000_000_000);
    let listed = |rule| world.paths_with_lists(rule).load(None).unwrap();
    let hard = listed(RevocationRule::WhereListed);
    assert_eq!(status(Some(&hard), None, &*world.clock), SourceStatus::Ready);
    let told = status(Some(&hard), None, &later);
    let expected = "the last revocation list of `example.org` expired at";
    assert!(matches!(told, SourceStatus::Degraded(ref reason) if reason.contains(expected)), "{told:?}");
    let soft = listed(RevocationRule::Everywhere(RevocationMode::Soft));
    assert_eq!(status(Some(&soft), None, &later), SourceStatus::Ready);
    assert_eq!(status(None, None, &*world.clock), SourceStatus::Starting);
}
