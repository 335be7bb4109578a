//! `postern capture`, applied in network namespaces of the tests' own: where connections arrive, and what is left of the
//! rules afterwards. The sidecar is played by whoever listens on its ports.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use postern_tests::netns::Wire;
use postern_tests::peer::{postern, skip};
use postern_tests::process::wait;
use postern_tests::{Output, Running, peer};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

mod guards;
mod probe;
mod undoing;

const LIMIT: Duration = Duration::from_secs(20);
const BACKENDS: [&str; 3] = ["nft", "iptables", "iptables-legacy"];
/// Of the sidecar, whose connections are never captured.
const OWN: u32 = 1337;
/// Of the service.
const SERVICE: u32 = 1000;
/// Of somebody else beside them.
const OTHER: u32 = 1002;

const CONFIG: &str = "\
version: 1
identity: { source: { workload_api: { socket: /run/spire/agent.sock } } }
policy:
  bundles: { authz: { source: { directory: { path: policy } }, unsigned: development_only } }
  decision: { rego: postern/authz/decision }
listeners:
  app:
    inbound: { address: \"[::]:8443\", captured: redirect, tls: { mutual: { trust_domains: [example.org] } } }
    routes: [{ match: { path_prefix: / }, upstream: app }]
  egress:
    outbound: { address: \"127.0.0.1:15001\", captured: redirect }
    routes: [{ match: { path_prefix: / }, upstream: app }]
  egress6:
    outbound: { address: \"[::1]:15006\", captured: redirect }
    routes: [{ match: { path_prefix: / }, upstream: app }]
upstreams:
  app: { endpoints: [\"127.0.0.1:8080\"] }
audit:
  directory: audit
  signer: { ed25519: { key: audit.pem } }
";
const BOTH_WAYS: &str = "\
\x20 inbound: { listener: app, ports: { only: [8080] } }
  outbound:
    listener: egress
    listener_ipv6: egress6
    own: { uid: 1337 }
    exclude: { ports: [22], networks: [10.78.0.0/24, \"fd78::/64\"], uids: [1001] }
";

/// The wire, and the command that is tried in it.
struct Scene {
    wire: Wire,
    tools: Tools,
}

struct Tools {
    nft: PathBuf,
    save: PathBuf,
    legacy_save: PathBuf,
}

impl Scene {
    fn new(capture: &str) -> Option<Self> {
        let tools = Tools {
            nft: peer("POSTERN_NFT")?,
            save: peer("POSTERN_IPTABLES")?,
            legacy_save: peer("POSTERN_IPTABLES_LEGACY")?,
        };
        let scene = Self { wire: Wire::new(&peer("POSTERN_IP")?)?, tools };
        fs::create_dir(scene.path("policy")).expect("a folder");
        fs::write(scene.path("audit.pem"), "").expect("a file");
        fs::set_permissions(scene.path("audit.pem"), fs::Permissions::from_mode(0o600)).expect("chmod");
        scene.configure(capture);
        Some(scene)
    }

    /// Those that this kernel has: the legacy one is being left out of newer ones.
    fn backends(&self) -> Vec<&'static str> {
        let legacy = ["iptables-legacy", "ip6tables-legacy"].iter().all(|tool| {
            let tool = self.tools.legacy_save.with_file_name(tool);
            self.wire.service.run(&tool, &["-t", "nat", "-n", "-L"]).code == Some(0)
        });
        if !legacy {
            skip("the kernel has no legacy iptables");
        }
        BACKENDS.into_iter().filter(|backend| legacy || *backend != "iptables-legacy").collect()
    }

    fn configure(&self, capture: &str) {
        fs::write(self.path("postern.yaml"), format!("{CONFIG}capture:\n{capture}")).expect("a file");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.wire.folder.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.wire.service.command(&postern());
        command.arg("capture").args(words).arg("--state-dir").arg(self.path("state"));
        if words[0] == "enable" {
            command.arg("-c").arg(self.path("postern.yaml"));
        }
        command
    }

    fn capture(&self, words: &[&str]) -> Output {
        postern_tests::run(self.command(words), LIMIT)
    }

    /// The same with the tools in this folder before those of the machine.
    fn capture_with(&self, tools: &Path, words: &[&str]) -> Output {
        let enable = self.command(words);
        let mut command = Command::new("env");
        command.arg(format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", tools.display()));
        command.arg(enable.get_program()).args(enable.get_args());
        postern_tests::run(command, LIMIT)
    }

    fn status(&self) -> Value {
        let output = self.capture(&["status", "--json"]).expect_code(0);
        serde_json::from_str(&output.out).expect("JSON")
    }

    fn state(&self) -> String {
        self.status()["state"].as_str().expect("a state").to_owned()
    }

    /// Every rule in the namespace, as all of the tools list them, without counters and remarks.
    fn ruleset(&self) -> String {
        let mut ruleset =
            self.wire.service.run(&self.tools.nft, &["-s", "list", "ruleset"]).expect_code(0).out;
        let legacy = Some(&self.tools.legacy_save).filter(|_| self.backends().len() > 2);
        for save in [Some(&self.tools.save), legacy].into_iter().flatten() {
            for family in ["iptables", "ip6tables"] {
                let name = save.file_name().and_then(|name| name.to_str()).expect("a name");
                let tool = save.with_file_name(name.replacen("iptables", family, 1));
                let saved = self.wire.service.run(&tool, &[]).expect_code(0).out;
                let rules = saved.lines().filter(|line| !line.starts_with('#'));
                let rules = rules.map(|line| line.split(" [").next().unwrap_or(line));
                ruleset.push_str(&rules.collect::<Vec<_>>().join("\n"));
            }
        }
        ruleset.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
    }

    /// The same, whatever the order in which chains were made.
    fn rules(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.ruleset().lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }

    /// Rules of somebody else in every place where ours go.
    fn foreign_rules(&self) {
        let folder = self.tools.save.parent().expect("a folder");
        let legacy =
            if self.backends().len() > 2 { &["iptables-legacy", "ip6tables-legacy"][..] } else { &[] };
        for tool in [&["iptables", "ip6tables"], legacy].concat() {
            for rule in [
                "-t nat -A PREROUTING -p tcp --dport 7777 -j REDIRECT --to-ports 8080",
                "-t nat -A OUTPUT -p tcp --dport 7777 -j RETURN",
                "-t mangle -A INPUT -p udp --dport 9 -j DROP",
                "-t mangle -A PREROUTING -p udp --dport 9 -j RETURN",
                "-A OUTPUT -p udp --dport 9 -j DROP",
            ] {
                let words: Vec<&str> = rule.split(' ').collect();
                self.wire.service.run(&folder.join(tool), &words).expect_code(0);
            }
        }
        let table = "add table inet foreign";
        self.wire.service.run(&self.tools.nft, &table.split(' ').collect::<Vec<_>>()).expect_code(0);
    }

    /// The service, the sidecar's two sides and others to call, in both families of addresses.
    fn serve(&self) {
        for (index, (service, outside)) in Wire::SERVICE.into_iter().zip(Wire::OUTSIDE).enumerate() {
            let loopback: IpAddr =
                if index == 0 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
            let egress = if index == 0 { 15001 } else { 15006 };
            for address in [service, loopback] {
                self.wire.service.serve("app", SocketAddr::new(address, 8080));
                self.wire.service.serve("listener", SocketAddr::new(address, 8443));
            }
            self.wire.service.serve("uncaptured", SocketAddr::new(service, 9999));
            self.wire.service.serve("egress", SocketAddr::new(loopback, egress));
            self.wire.outside.serve("world", SocketAddr::new(outside, 80));
            self.wire.outside.serve("shell", SocketAddr::new(outside, 22));
            self.wire.outside.serve("network", SocketAddr::new(Wire::FURTHER[index], 80));
        }
    }
}

/// Who is reached when somebody calls.
#[track_caller]
fn check(scene: &Scene, backend: &str, caller: (&str, u32), address: SocketAddr, reached: &str) {
    let (place, uid) = caller;
    let namespace = if place == "outside" { &scene.wire.outside } else { &scene.wire.service };
    let said = namespace.ask(uid, address);
    assert_eq!(said, reached, "{backend}: {place} as {uid} to {address}");
}

#[test]
fn captured_connections_arrive_at_the_listeners_and_no_others_do() {
    let Some(scene) = Scene::new(BOTH_WAYS) else { return };
    scene.serve();
    for backend in scene.backends() {
        scene.capture(&["enable", "--permanent", "--backend", backend]).expect_code(0);
        for index in [0, 1] {
            let check = |caller, ip, port, reached: &str| {
                let address = SocketAddr::new(ip, port);
                check(&scene, backend, caller, address, &reached.replace("{}", &address.to_string()));
            };
            let (service, outside) = (Wire::SERVICE[index], Wire::OUTSIDE[index]);
            let loopback: IpAddr =
                if index == 0 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
            check(("outside", 0), service, 8080, "listener for {}");
            check(("outside", 0), service, 8443, "listener");
            check(("outside", 0), service, 9999, "uncaptured");
            check(("service", SERVICE), loopback, 8080, "app");
            check(("service", SERVICE), service, 8080, "app");
            check(("service", SERVICE), outside, 80, "egress for {}");
            check(("service", OTHER), outside, 80, "egress for {}");
            check(("service", 0), outside, 80, "egress for {}");
            check(("service", OWN), outside, 80, "world");
            check(("service", 1001), outside, 80, "world");
            check(("service", SERVICE), outside, 22, "shell");
            check(("service", SERVICE), Wire::FURTHER[index], 80, "network");
        }
        scene.capture(&["disable"]).expect_code(0);
        check(&scene, backend, ("outside", 0), SocketAddr::new(Wire::SERVICE[0], 8080), "app");
        check(&scene, backend, ("service", SERVICE), SocketAddr::new(Wire::OUTSIDE[1], 80), "world");
    }
}

#[test]
fn of_chosen_users_alone_and_over_one_family_the_rest_is_left_or_refused() {
    let capture = "  outbound: { listener: egress, own: { uid: 1337 }, from: { uids: [1000] } }\n";
    let Some(scene) = Scene::new(capture) else { return };
    scene.serve();
    for backend in scene.backends() {
        scene.capture(&["enable", "--permanent", "--backend", backend]).expect_code(0);
        let [four, six] = Wire::OUTSIDE.map(|outside| SocketAddr::new(outside, 80));
        check(&scene, backend, ("service", SERVICE), four, "egress for 10.77.0.1:80");
        check(&scene, backend, ("service", OTHER), four, "world");
        check(&scene, backend, ("service", SERVICE), six, "ConnectionRefused");
        check(&scene, backend, ("service", OWN), six, "world");
        check(&scene, backend, ("service", OTHER), six, "world");
        check(&scene, backend, ("outside", 0), SocketAddr::new(Wire::SERVICE[0], 8080), "app");
        scene.capture(&["disable"]).expect_code(0);
    }
}

/// Which cgroup a process is in is asked by the kernel, so it takes processes; and the tools look for the hierarchy at its
/// usual place, which is not where every machine has it.
#[test]
fn of_a_cgroup_its_processes_are_captured_and_those_beside_it_are_not() {
    let name = format!("postern-test-{}", std::process::id());
    let capture = format!(
        "  outbound: {{ listener: egress, own: {{ uid: 1337 }}, from: {{ cgroup: {name}/inner }} }}\n"
    );
    let Some(scene) = Scene::new(&capture) else { return };
    scene.serve();
    const HIERARCHY: &str = "mount -t cgroup2 none /sys/fs/cgroup && ";
    let shell = |script: String| {
        let mut command = scene.wire.service.command(Path::new("unshare"));
        command.args(["--mount", "bash", "-c", &format!("{HIERARCHY}{script}")]);
        postern_tests::run(command, LIMIT)
    };
    let ask = |cgroup: &str, address: &str| {
        let join = format!("echo $$ > /sys/fs/cgroup/{cgroup}/cgroup.procs");
        shell(format!("{join} && exec 3<>/dev/tcp/{address} && head -n 1 <&3")).expect_code(0).out
    };
    shell(format!("mkdir -p /sys/fs/cgroup/{name}/inner/below /sys/fs/cgroup/{name}/beside")).expect_code(0);
    for backend in scene.backends() {
        let enable = scene.command(&["enable", "--permanent", "--backend", backend]);
        // Its first words, which enter the namespace, are those of the shell too.
        let words: Vec<_> = enable.get_args().skip(1).map(|word| word.to_string_lossy()).collect();
        shell(words.join(" ")).expect_code(0);
        for (cgroup, reached) in [
            ("inner", "egress for 10.77.0.1:80\n"),
            ("inner/below", "egress for 10.77.0.1:80\n"),
            ("beside", "world\n"),
        ] {
            let said = ask(&format!("{name}/{cgroup}"), "10.77.0.1/80");
            assert_eq!(said, reached, "{backend}: {cgroup}");
        }
        scene.capture(&["disable"]).expect_code(0);
    }
    let gone = ["inner/below", "inner", "beside", ""].map(|path| format!("/sys/fs/cgroup/{name}/{path}"));
    shell(format!("rmdir {}", gone.join(" "))).expect_code(0);
}

#[test]
fn what_stood_before_goes_on_and_udp_is_left_alone() {
    let Some(scene) = Scene::new(BOTH_WAYS) else { return };
    scene.serve();
    for backend in scene.backends() {
        let mut inbound = scene.wire.outside.connect(0, SocketAddr::new(Wire::SERVICE[0], 8080));
        let mut outbound = scene.wire.service.connect(SERVICE, SocketAddr::new(Wire::OUTSIDE[1], 80));
        assert_eq!((inbound.read().as_str(), outbound.read().as_str()), ("app", "world"), "{backend}");
        scene.capture(&["enable", "--permanent", "--backend", backend]).expect_code(0);
        assert_eq!((inbound.echo("in").as_str(), outbound.echo("out").as_str()), ("in", "out"), "{backend}");
        for (service, outside) in Wire::SERVICE.into_iter().zip(Wire::OUTSIDE) {
            let [here, there] = [SocketAddr::new(service, 8080), SocketAddr::new(outside, 8080)];
            let ours = scene.wire.service.udp(SERVICE, here);
            let theirs = scene.wire.outside.udp(0, there);
            for (from, to, address) in [(&ours, &theirs, there), (&theirs, &ours, here)] {
                from.send_to(b"ping", address).expect("sending");
                let mut buffer = [0; 8];
                let (bytes, _) = to.recv_from(&mut buffer).expect("a datagram");
                assert_eq!(&buffer[..bytes], b"ping", "{backend}");
            }
        }
        scene.capture(&["disable"]).expect_code(0);
    }
}

#[test]
fn disabling_leaves_the_rules_of_others_as_they_were() {
    let Some(scene) = Scene::new(BOTH_WAYS) else { return };
    scene.foreign_rules();
    let before = scene.ruleset();
    assert!(before.contains("7777") && before.contains("inet foreign"), "{before}");
    for backend in scene.backends() {
        assert_eq!(scene.state(), "off");
        scene.capture(&["enable", "--permanent", "--backend", backend]).expect_code(0);
        assert_ne!(scene.ruleset(), before, "{backend}");
        assert_eq!((scene.state().as_str(), &scene.status()["backend"]), ("on", &Value::from(backend)));
        scene.capture(&["disable"]).expect_code(0);
        assert_eq!(scene.ruleset(), before, "{backend}");
        assert!(scene.capture(&["disable"]).expect_code(0).out.contains("there were no rules"));
    }
    // Nobody remembers what was applied: it is taken away all the same.
    for backend in scene.backends() {
        scene.capture(&["enable", "--permanent", "--backend", backend]).expect_code(0);
        fs::remove_file(scene.path("state/state.json")).expect("the state");
        assert_eq!(scene.status()["as_applied"], false, "{backend}");
        scene.capture(&["enable", "--permanent", "--backend", backend]).expect_code(1);
        scene.capture(&["disable"]).expect_code(0);
        assert_eq!(scene.ruleset(), before, "{backend}");
    }
}

#[test]
fn the_same_rules_are_applied_once_and_others_only_when_asked_for() {
    let Some(scene) = Scene::new(BOTH_WAYS) else { return };
    for backend in scene.backends() {
        let enable = |words: &[&str]| {
            scene.capture(&[&["enable", "--permanent", "--json", "--backend", backend], words].concat())
        };
        scene.configure(BOTH_WAYS);
        let changed = |output: Output| -> Value {
            let report: Value = serde_json::from_str(&output.expect_code(0).out).expect("JSON");
            report["changed"].clone()
        };
        assert_eq!(changed(enable(&[])), true, "{backend}");
        let once = scene.ruleset();
        assert_eq!(changed(enable(&[])), false, "{backend}");
        assert_eq!(scene.ruleset(), once, "{backend}");
        let as_configured = || -> Value {
            let file = scene.path("postern.yaml");
            let words = ["status", "--json", "-c", file.to_str().expect("text")];
            let report: Value =
                serde_json::from_str(&scene.capture(&words).expect_code(0).out).expect("JSON");
            report["as_configured"].clone()
        };
        assert_eq!(as_configured(), true, "{backend}");
        scene.configure(&BOTH_WAYS.replace("8080", "8081"));
        assert_eq!(as_configured(), false, "{backend}");
        assert!(enable(&[]).expect_code(1).out.contains("--replace"), "{backend}");
        assert_eq!(scene.ruleset(), once, "{backend}");
        assert_eq!(changed(enable(&["--replace"])), true, "{backend}");
        let twice = scene.ruleset();
        assert!(twice.contains("8081") && !twice.contains("8080"), "{backend}: {twice}");
        scene.capture(&["disable"]).expect_code(0);
    }
    // From one tool to another, with no rule left behind.
    scene.capture(&["enable", "--permanent", "--backend", "iptables"]).expect_code(0);
    scene.capture(&["enable", "--permanent", "--backend", "nft", "--replace"]).expect_code(0);
    let ruleset = scene.ruleset();
    assert!(ruleset.contains("table inet postern") && !ruleset.contains("POSTERN_"), "{ruleset}");
}

#[test]
fn rules_that_nobody_confirms_are_undone_though_the_session_is_killed() {
    let Some(scene) = Scene::new(BOTH_WAYS) else { return };
    scene.foreign_rules();
    let before = scene.ruleset();
    for backend in scene.backends() {
        // A session like that of a remote shell, which the rules cut off.
        let script = "\"$@\"; sleep 60";
        let enable = scene.command(&["enable", "--confirm-within", "2s", "--backend", backend]);
        let mut session = Command::new("setsid");
        session.args(["sh", "-c", script, "sh"]).arg(enable.get_program()).args(enable.get_args());
        let mut session = Running::start(backend, session, scene.wire.folder.path());
        session.wait_for("the rules", LIMIT, |output| output.contains("undone at").then_some(()));
        let id = i32::try_from(session.id()).ok().and_then(Pid::from_raw).expect("a process id");
        for signal in [Signal::HUP, Signal::KILL] {
            // The first may have ended all of them.
            kill_process_group(id, signal).ok();
        }
        session.wait_for_end(LIMIT);
        assert_eq!(scene.state(), "unconfirmed", "{backend}");
        assert_eq!(scene.status()["timer"], true, "{backend}");
        wait("the rules to be undone", LIMIT, || (scene.state() == "off").then_some(()));
        assert_eq!(scene.ruleset(), before, "{backend}");
        scene.capture(&["confirm"]).expect_code(1);
    }
}

/// Whether the process that would undo something has ended: it holds a lock while it lives.
fn timer_is_gone(folder: &Path) -> bool {
    let file = fs::File::open(folder.join("timer")).expect("its file");
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

#[test]
fn rules_that_are_confirmed_stay_and_what_replaces_them_gives_way_again() {
    let Some(scene) = Scene::new(BOTH_WAYS) else { return };
    for backend in scene.backends() {
        scene.configure(BOTH_WAYS);
        scene.capture(&["enable", "--confirm-within", "1m", "--backend", backend]).expect_code(0);
        let confirmed = scene.rules();
        scene.capture(&["confirm"]).expect_code(0);
        wait("the timer to end", LIMIT, || timer_is_gone(&scene.path("state")).then_some(()));
        assert_eq!((scene.state(), scene.rules()), ("on".to_owned(), confirmed.clone()), "{backend}");

        scene.configure(&BOTH_WAYS.replace("8080", "8081"));
        let replace = ["enable", "--replace", "--confirm-within", "1s", "--backend", backend];
        scene.capture(&replace).expect_code(0);
        assert!(scene.ruleset().contains("8081"), "{backend}");
        scene.configure(&BOTH_WAYS.replace("8080", "8082"));
        assert!(scene.capture(&replace).expect_code(1).err.contains("wait to be confirmed"), "{backend}");
        wait("the rules to be undone", LIMIT, || (scene.state() == "on").then_some(()));
        assert_eq!(scene.rules(), confirmed, "{backend}");
        scene.capture(&["disable"]).expect_code(0);
    }
}

#[test]
fn what_cannot_be_applied_or_undone_is_told_and_changes_nothing() {
    let capture = "  outbound: { listener: egress, own: { uid: 1337 }, from: { cgroup: no/such.service } }\n";
    let Some(scene) = Scene::new(capture) else { return };
    let before = scene.ruleset();
    for backend in ["nft", "iptables"] {
        let refused = scene.capture(&["enable", "--backend", backend]).expect_code(1);
        assert!(refused.err.contains(" says: "), "{}", refused.err);
        assert_eq!(scene.state(), "off", "{backend}");
        assert!(!scene.ruleset().to_lowercase().contains("postern"), "{backend}: {}", scene.ruleset());
        wait("the timer to end", LIMIT, || timer_is_gone(&scene.path("state")).then_some(()));
    }
    assert!(!before.contains("postern"));

    // One family of addresses is applied, and the other cannot be.
    scene.configure(BOTH_WAYS);
    let tools = scene.path("tools");
    fs::create_dir(&tools).expect("a folder");
    let tool = |name: &str, script: &str| {
        let path = tools.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    };
    let no_more = "echo 'no more' >&2; exit 1";
    tool("ip6tables-restore", no_more);
    let refused = scene.capture_with(&tools, &["enable", "--backend", "iptables"]).expect_code(1);
    assert!(refused.err.contains("no more"), "{}", refused.err);
    assert_eq!(scene.state(), "off");
    assert!(!scene.ruleset().to_lowercase().contains("postern"), "{}", scene.ruleset());

    // The tool fails when the time is over.
    tool("nft", &format!("exec {} \"$@\"", scene.tools.nft.display()));
    scene.capture_with(&tools, &["enable", "--confirm-within", "1s", "--backend", "nft"]).expect_code(0);
    tool("nft", no_more);
    let error = wait("the failure", LIMIT, || scene.status()["undo_error"].as_str().map(str::to_owned));
    assert!(error.contains("no more"), "{error}");
    assert_eq!(scene.state(), "on");
    scene.capture(&["disable"]).expect_code(0);
    assert_eq!(scene.state(), "off");
}

#[test]
fn a_state_is_about_one_namespace() {
    let Some(scene) = Scene::new(BOTH_WAYS) else { return };
    scene.capture(&["enable", "--permanent", "--backend", "nft"]).expect_code(0);
    let mut elsewhere = scene.wire.outside.command(&postern());
    elsewhere.args(["capture", "disable", "--state-dir"]).arg(scene.path("state"));
    let refused = postern_tests::run(elsewhere, LIMIT).expect_code(1);
    assert!(refused.err.contains("another network namespace"), "{}", refused.err);
    assert_eq!(scene.state(), "on");
}
