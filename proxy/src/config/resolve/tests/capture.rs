//! What `postern capture` is to make rules of.
use super::{LEAST, Level, read, taken};
use crate::config::{CaptureConfig, CaptureFrom, CaptureOwn, CapturePorts, Captured, Config};

/// A sidecar for both ways, whose `capture` is all of it that matters.
fn with(capture: &str) -> String {
    let inbound = LEAST.replace("127.0.0.1:8443", "\"[::]:8443\", captured: redirect");
    let outbound = "\
listeners:
  egress:
    outbound: { address: \"127.0.0.1:15001\", captured: redirect }
    routes: [{ match: { path_prefix: / }, upstream: app }]
  egress6:
    outbound: { address: \"[::1]:15006\", captured: redirect }
    routes: [{ match: { path_prefix: / }, upstream: app }]
  elsewhere:
    inbound: { address: 192.0.2.1:9443, captured: transparent, tls: { mutual: { trust_domains: [example.org] } } }
    routes: [{ match: { path_prefix: / }, upstream: app }]
";
    let text = inbound.replace("listeners:\n", outbound);
    format!("{text}status: {{ address: 127.0.0.1:9901 }}\ncapture: {capture}\n")
}

fn capture(text: &str) -> CaptureConfig {
    let Config { capture, .. } = taken(&with(text));
    capture
}

/// It is refused, with one error at that key below `capture`.
#[track_caller]
fn check(written: &str, key: &str, what: &str) {
    let findings = read(&with(written)).expect_err("a refusal");
    let errors: Vec<_> = findings.list.iter().filter(|finding| finding.level == Level::Error).collect();
    let [error] = errors.as_slice() else { panic!("{} errors\n{findings}", errors.len()) };
    assert_eq!(error.key, format!("capture{key}"), "\n{findings}");
    assert!(error.what.contains(what) || error.mend.contains(what), "\n{findings}");
    assert!(error.place.is_some(), "\n{findings}");
}

/// It is taken, with one warning at that key below `capture`.
#[track_caller]
fn check_warning(written: &str, key: &str, what: &str) {
    let loaded = read(&with(written)).unwrap_or_else(|findings| panic!("{findings}"));
    let [warning] = loaded.warnings.list.as_slice() else { panic!("{}", loaded.warnings) };
    assert_eq!(warning.key, format!("capture{key}"), "{}", loaded.warnings);
    assert!(warning.what.contains(what), "{}", loaded.warnings);
}

fn outbound(rest: &str) -> String {
    format!("{{ outbound: {{ listener: egress, {rest} }} }}")
}

#[test]
fn nothing_is_captured_unless_written() {
    assert_eq!(taken(LEAST).capture, CaptureConfig::default());
    check("{}", "", "nothing is captured");
}

#[test]
fn inbound_capture_leads_the_services_ports_to_an_open_inbound_listener() {
    let inbound =
        capture("{ inbound: { listener: app, ports: { only: [9000, 8080] } } }").inbound.expect("one");
    assert_eq!((inbound.port, inbound.ipv4, inbound.ipv6), (8443, true, true));
    assert_eq!((inbound.ports, inbound.way), (CapturePorts::Only(vec![8080, 9000]), Captured::Redirect));
    let transparent = with("{ inbound: { listener: app, ports: { except: [22] } } }")
        .replace("8443\", captured: redirect", "8443\", captured: transparent");
    let except = taken(&transparent).capture.inbound.expect("one");
    assert_eq!(except.way, Captured::Transparent);
    assert_eq!(except.ports, CapturePorts::Except(vec![22, 8443, 9443, 9901, 15001, 15006]));

    let key = ".inbound.listener";
    check("{ inbound: { listener: apps, ports: { only: [80] } } }", key, "write `app` or `elsewhere`");
    check("{ inbound: { listener: egress, ports: { only: [80] } } }", key, "is not inbound");
    check("{ inbound: { listener: elsewhere, ports: { only: [80] } } }", key, "[::]:9443");
    for (ports, key, what) in [
        ("[]", ".only", "at least one"),
        ("[0]", ".only[0]", "1 to 65535"),
        ("[80, 65536]", ".only[1]", "1 to 65535"),
        ("[80, 80]", ".only[1]", "twice"),
        ("[80, 8443]", ".only[1]", "of the sidecar itself"),
        ("[9901]", ".only[0]", "of the sidecar itself"),
        ("[15001]", ".only[0]", "of the sidecar itself"),
    ] {
        let written = format!("{{ inbound: {{ listener: app, ports: {{ only: {ports} }} }} }}");
        check(&written, &format!(".inbound.ports{key}"), what);
    }
    check_warning("{ inbound: { listener: app, ports: all } }", ".inbound.ports", "remote shell");
    let own = "{ inbound: { listener: app, ports: { except: [9901] } } }";
    check_warning(own, ".inbound.ports.except[0]", "never captured");
}

#[test]
fn outbound_capture_leads_to_loopback_and_never_the_sidecars_own() {
    let least = capture(&outbound("own: { uid: 1337 }")).outbound.expect("one");
    assert_eq!((least.port_ipv4, least.port_ipv6), (Some(15001), None));
    assert_eq!((least.from, least.own), (CaptureFrom::Everyone, CaptureOwn::Uid(1337)));
    let both = capture(&outbound("listener_ipv6: egress6, own: { uid: 1337 }, from: { uids: [7, 5] }"));
    let both = both.outbound.expect("one");
    assert_eq!((both.port_ipv4, both.port_ipv6), (Some(15001), Some(15006)));
    assert_eq!(both.from, CaptureFrom::Uids(vec![5, 7]));
    let marked = capture(&outbound("own: { mark: 0x539 }, from: { uids: [5] }"));
    assert_eq!((marked.own_mark(), capture(&outbound("own: { uid: 5 }")).own_mark()), (Some(1337), None));
    let six = capture("{ outbound: { listener: egress6, own: { uid: 1 } } }").outbound.expect("one");
    assert_eq!((six.port_ipv4, six.port_ipv6), (None, Some(15006)));

    for (rest, key, what) in [
        ("own: { uid: 4294967295 }", ".own.uid", "not a user id"),
        ("own: { uid: 5 }, from: { uids: [5] }", ".own.uid", "lead back"),
        ("own: { mark: 0 }", ".own.mark", "from 1"),
        ("own: { mark: 4294967296 }", ".own.mark", "from 1"),
        ("own: { uid: 5 }, from: { uids: [] }", ".from.uids", "at least one"),
        ("own: { uid: 5 }, from: { uids: [6, 6] }", ".from.uids[1]", "twice"),
        ("own: { uid: 5 }, from: { cgroup: /a }", ".from.cgroup", "no slash in front"),
        ("own: { uid: 5 }, from: { cgroup: a/../b }", ".from.cgroup", "not the path"),
        ("own: { uid: 5 }, from: { cgroup: 'a\" accept' }", ".from.cgroup", "not the path"),
        ("own: { uid: 5 }, listener_ipv6: egress", ".listener_ipv6", "[::1]:15001"),
        ("own: { uid: 5 }, listener_ipv6: app", ".listener_ipv6", "is not outbound"),
        ("own: { uid: 5 }, exclude: { ports: [0] }", ".exclude.ports[0]", "not a port"),
        ("own: { uid: 5 }, exclude: { networks: [10.0.0.1/8] }", ".exclude.networks[0]", "bits set"),
        (
            "own: { uid: 5 }, exclude: { networks: [10.0.0.0/8, 10.1.0.0/16] }",
            ".exclude.networks[1]",
            "share addresses",
        ),
        (
            "own: { uid: 5 }, from: { uids: [6] }, exclude: { uids: [6] }",
            ".exclude.uids[0]",
            "one of the two",
        ),
    ] {
        check(&outbound(rest), &format!(".outbound{key}"), what);
    }
    let six = "{ outbound: { listener: egress6, listener_ipv6: egress6, own: { uid: 1 } } }";
    check(six, ".outbound.listener", "127.0.0.1:15006");
}

#[test]
fn what_has_no_effect_is_told() {
    for (rest, key, what) in [
        ("own: { uid: 0 }", ".own.uid", "runs as root"),
        ("own: { uid: 5 }, exclude: { uids: [5] }", ".exclude.uids[0]", "never captured"),
        ("own: { uid: 5 }, from: { uids: [6] }, exclude: { uids: [7] }", ".exclude.uids[0]", "not among"),
        ("own: { uid: 5 }, exclude: { networks: [127.0.0.0/8] }", ".exclude.networks[0]", "loopback"),
    ] {
        check_warning(&outbound(rest), &format!(".outbound{key}"), what);
    }
}

#[test]
fn what_is_captured_is_led_to_listeners_that_say_so() {
    let written = "{ inbound: { listener: app, ports: { only: [80] } }, outbound: { listener: egress, listener_ipv6: egress6, own: { uid: 1 } } }";
    for (from, to, key) in [
        ("[::]:8443\", captured: redirect", "[::]:8443\"", "inbound.listener"),
        ("15001\", captured: redirect", "15001\"", "outbound.listener"),
        ("15001\", captured: redirect", "15001\", captured: transparent", "outbound.listener"),
        ("15006\", captured: redirect", "15006\"", "outbound.listener_ipv6"),
    ] {
        let text = with(written);
        assert!(text.contains(from), "{from}");
        let findings = read(&text.replace(from, to)).expect_err("a refusal");
        let [error] = findings.list.as_slice() else { panic!("{findings}") };
        assert_eq!(error.key, format!("capture.{key}"), "{findings}");
        assert!(error.mend.contains("captured: redirect"), "{findings}");
    }
}
