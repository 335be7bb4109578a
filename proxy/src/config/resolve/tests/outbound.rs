//! Listeners for the local workload.
use super::{LEAST, check, least, read, taken};
use crate::config::{Bind, Direction, ListenerTls, LocalDoor, TokenRule};

const INBOUND: &str =
    "inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }";

#[test]
fn an_outbound_listener_is_for_the_local_workload_alone() {
    let config = taken(&least(INBOUND, "outbound: { address: \"127.0.0.1:15001\" }"));
    let listener = &config.listeners[0];
    assert_eq!((listener.direction, &listener.tls), (Direction::Outbound, &ListenerTls::None));
    assert_eq!(listener.routes[0].tokens, TokenRule::Ignored);
    for address in ["0.0.0.0:15001", "192.0.2.1:15001", "[::]:15001"] {
        let written = format!("outbound: {{ address: \"{address}\" }}");
        check(INBOUND, &written, "listeners.app.outbound.address", "not loopback");
    }
    taken(&least(INBOUND, "outbound: { address: \"[::1]:15001\" }"));
}

#[test]
fn a_unix_socket_is_for_whom_it_names() {
    let bound = |written: &str| {
        let config =
            taken(&least(INBOUND, &format!("outbound: {{ socket: \"unix:///run/e.sock\"{written} }}")));
        config.listeners[0].bind.clone()
    };
    let door = |mode, uids: Option<&[u32]>| {
        let uids = uids.map(<[u32]>::to_vec);
        Bind::Local(LocalDoor { socket: "/run/e.sock".into(), mode, uids })
    };
    assert_eq!(bound(""), door(0o600, None));
    assert_eq!(bound(", mode: \"0660\""), door(0o660, None));
    assert_eq!(bound(", mode: \"0666\", uids: [1000, 1001]"), door(0o666, Some(&[1000, 1001])));
    let key = "listeners.app.outbound";
    for (written, at, what) in [
        ("", "", "nowhere"),
        ("socket: /run/e.sock, address: 127.0.0.1:15001", "", "both"),
        ("socket: e.sock", ".socket", "is not a Unix socket"),
        ("address: 127.0.0.1:15001, uids: [1000]", ".uids", "no kernel"),
        ("address: 127.0.0.1:15001, mode: \"0660\"", ".mode", "no kernel"),
        ("socket: /run/e.sock, captured: redirect", ".captured", "no packet rule"),
        ("socket: /run/e.sock, captured: transparent", ".captured", "no packet rule"),
        ("socket: /run/e.sock, mode: \"0666\"", ".mode", "every user"),
        ("socket: /run/e.sock, mode: \"0770\"", ".mode", "no mode of a socket"),
        ("socket: /run/e.sock, mode: \"0060\"", ".mode", "no mode of a socket"),
        ("socket: /run/e.sock, mode: \"432\"", ".mode", "no mode of a socket"),
        ("socket: /run/e.sock, mode: \"+660\"", ".mode", "no mode of a socket"),
        ("socket: /run/e.sock, uids: []", ".uids", "no user"),
        ("socket: /run/e.sock, uids: [1000, 1000]", ".uids[1]", "stands here twice"),
        ("socket: /run/e.sock, uids: [65534]", ".uids[0]", "no number here"),
    ] {
        check(INBOUND, &format!("outbound: {{ {written} }}"), &format!("{key}{at}"), what);
    }
}

#[test]
fn a_path_is_bound_once() {
    let text = least(INBOUND, "outbound: { socket: /run/e.sock }")
        .replace("version: 1", "version: 1\nadmin: { socket: \"unix:///run/e.sock\" }");
    let findings = read(&text).expect_err("a refusal");
    assert!(findings.list.iter().any(|f| f.what.contains("already taken by `admin.socket`")), "{findings}");
}

#[test]
fn users_whom_the_mode_shuts_out_are_warned_of() {
    let warned = |written: &str| {
        let text = least(INBOUND, &format!("outbound: {{ socket: /run/e.sock, {written} }}"));
        let loaded = read(&text).unwrap_or_else(|findings| panic!("{findings}"));
        loaded.warnings.list.iter().any(|finding| finding.what.contains("0600"))
    };
    assert!(warned("uids: [1000, 1001]"));
    assert!(!warned("uids: [0, 1000]"));
    assert!(!warned("uids: [1000, 1001], mode: \"0666\""));
}

/// Every sidecar of a fleet may listen on the same port.
#[test]
fn another_machine_with_our_port_is_not_this_one() {
    let everywhere = LEAST.replace("127.0.0.1:8443", "0.0.0.0:8443");
    let mutual = "tls: { mutual: { spiffe_ids: [\"spiffe://example.org/a\"] } }";
    let with =
        |endpoint: &str| everywhere.replace("[\"127.0.0.1:8080\"]", &format!("[\"{endpoint}\"], {mutual}"));
    taken(&with("192.0.2.10:8443"));
    let findings = read(&with("127.0.0.1:8443")).expect_err("a refusal");
    assert!(findings.list.iter().any(|finding| finding.what.contains("leads back")), "{findings}");
}

#[test]
fn a_listener_leads_one_way() {
    let both = format!("{INBOUND}\n    outbound: {{ address: \"127.0.0.1:15001\" }}");
    check(INBOUND, &both, "listeners.app", "both");
    check(INBOUND, "limits: {}", "listeners.app", "neither");
}

#[test]
fn no_upstream_leads_back_to_it() {
    let back = LEAST
        .replace("127.0.0.1:8080", "127.0.0.1:15001")
        .replace(INBOUND, "outbound: { address: \"127.0.0.1:15001\" }");
    let findings = read(&back).expect_err("a refusal");
    assert!(findings.list.iter().any(|finding| finding.what.contains("leads back")), "{findings}");
}

#[test]
fn a_load_balancer_is_named_by_its_addresses() {
    let with = |from: &str| {
        least(
            "address: 127.0.0.1:8443,",
            &format!("address: 127.0.0.1:8443, proxy_protocol: {{ from: [{from}] }},"),
        )
    };
    let key = "listeners.app.inbound.proxy_protocol.from";
    for (from, at, what) in [
        ("", "", "no address"),
        ("10.0.0.1/8", "[0]", "bits set"),
        ("10.0.0.0/40", "[0]", "0 to 32"),
        ("balancer", "[0]", "no IP address"),
        ("10.0.0.0/8, 10.0.0.0/8", "[1]", "twice"),
    ] {
        let written = format!("address: 127.0.0.1:8443, proxy_protocol: {{ from: [{from}] }},");
        check("address: 127.0.0.1:8443,", &written, &format!("{key}{at}"), what);
    }
    assert_eq!(taken(&with("10.0.0.0/8, \"2001:db8::/32\"")).listeners[0].proxy_protocol.len(), 2);
}

#[test]
fn handshakes_are_limited_where_there_are_some_and_the_limit_can_be_reached() {
    let key = "listeners.app.limits.handshakes_per_source_max";
    let with = |limits: &str| format!("{INBOUND}\n    limits: {{ {limits} }}");
    check(INBOUND, &with("handshakes_per_source_max: 0"), key, "out of range");
    let never = with("connections_max: 10, handshakes_per_source_max: 11");
    check(INBOUND, &never, key, "reached first");
    let outbound = "outbound: { address: \"127.0.0.1:15001\" }\n    limits: { handshakes_per_source_max: 9 }";
    check(INBOUND, outbound, key, "no handshakes");
    let limits = taken(&least(INBOUND, &with("handshakes_per_source_max: 9"))).listeners[0].limits;
    assert_eq!(limits.handshakes_per_source_max, 9);
    taken(&least(INBOUND, &with("connections_max: 10")));
}
