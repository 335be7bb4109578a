//! Listeners that take plain text for a while.
use super::{LEAST, check, least, taken};
use crate::config::{PermissiveConfig, Silence};

const MUTUAL: &str = "mutual: { trust_domains: [example.org] }";
const KEY: &str = "listeners.app.inbound.tls.mutual.permissive";

fn mutual(permissive: &str) -> String {
    format!("mutual: {{ trust_domains: [example.org], permissive: {{ {permissive} }} }}")
}

/// The listener takes raw streams.
fn tcp(permissive: &str) -> String {
    least(MUTUAL, &mutual(permissive))
        .replace("    inbound:", "    protocol: tcp\n    inbound:")
        .replace("{ path_prefix: / }", "{}")
        .replace("\"127.0.0.1:8080\"]", "\"127.0.0.1:8080\"], protocol: tcp")
}

#[test]
fn plain_text_is_taken_until_a_moment_that_is_written() {
    let meant = |text: &str| taken(text).listeners[0].permissive;
    let until = |until_unix_s, silence| Some(PermissiveConfig { until_unix_s, silence });
    assert_eq!(meant(LEAST), None);
    let written = |permissive: &str| meant(&least(MUTUAL, &mutual(permissive)));
    assert_eq!(written("until: 2027-03-01"), until(1_803_859_200, Silence::Refused));
    assert_eq!(written("until: \"2027-03-01T06:00:00Z\""), until(1_803_880_800, Silence::Refused));
    assert_eq!(
        meant(&tcp("until: 2027-03-01, silence: plaintext")),
        until(1_803_859_200, Silence::Plaintext)
    );
}

#[test]
fn a_time_without_an_end_is_refused() {
    for permissive in ["", "silence: refused"] {
        check(MUTUAL, &mutual(permissive), KEY, "`until` is missing");
    }
    for until in ["never", "2027-02-30", "\"2027-03-01T06:00:00+01:00\"", "2027"] {
        let what = "no date and no moment in UTC";
        check(MUTUAL, &mutual(&format!("until: {until}")), &format!("{KEY}.until"), what);
    }
}

#[test]
fn silence_means_something_where_a_service_may_speak_first() {
    let silent = mutual("until: 2027-03-01, silence: plaintext");
    check(MUTUAL, &silent, &format!("{KEY}.silence"), "speaks first");
    let waiting = "limits: { detect_timeout: 1s }\n    inbound:";
    let tcp = tcp("until: 2027-03-01, silence: plaintext").replace("inbound:", waiting);
    assert_eq!(taken(&tcp).listeners[0].limits.detect_timeout.as_secs(), 1);
    let refused = tcp.replace(", silence: plaintext", "");
    let findings = super::read(&refused).expect_err("a refusal").to_string();
    assert!(findings.contains("listeners.app.limits.detect_timeout"), "{findings}");
}

#[test]
fn policies_about_workloads_let_nobody_else_in() {
    let cedar = least("decision: { rego: postern/authz/decision }", "decision: { cedar: {} }");
    let with = |text: &str| super::read(&text.replace(MUTUAL, &mutual("until: 2027-03-01")));
    let [warning] = &*with(&cedar).expect("taken").warnings.list else { panic!("one warning") };
    assert!(warning.key == KEY && warning.what.contains("whoever comes in plain text is refused"));
    let observing = cedar.replace("upstream: app }", "upstream: app, enforcement: observe }");
    let warned = with(&observing).expect("taken").warnings;
    assert!(warned.list.iter().all(|finding| finding.key != KEY), "{warned}");
}

#[test]
fn only_callers_from_elsewhere_can_be_permitted_plain_text() {
    let outbound = "outbound: { address: 127.0.0.1:15001, permissive: { until: 2027-03-01 } }";
    let door = "inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }";
    check(door, outbound, "listeners.app.outbound.permissive", "unknown key");
}
