//! `faults:` of a route.
use super::{check, check_warning, least};
use crate::config::{AbortConfig, DelayConfig};
use http::StatusCode;
use std::time::Duration;

const KEY: &str = "listeners.app.routes[0].faults";
const APP: &str = "upstream: app }";

fn faults(value: &str) -> String {
    format!("upstream: app, faults: {value} }}")
}

#[test]
fn a_fault_that_makes_no_sense_is_one_error() {
    for (value, at, what) in [
        ("{ abort: { percent: 0 } }", ".abort.percent", "1 to 100"),
        ("{ abort: { percent: 101 } }", ".abort.percent", "1 to 100"),
        ("{ abort: { percent: 1, status: 399 } }", ".abort.status", "400 to 599"),
        ("{ abort: { percent: 1, status: 600 } }", ".abort.status", "400 to 599"),
        ("{ delay: { percent: 0, duration: 1s } }", ".delay.percent", "1 to 100"),
        ("{ delay: { percent: 1, duration: 0s } }", ".delay.duration", "1ms to 1m"),
        ("{ delay: { percent: 1, duration: 61s } }", ".delay.duration", "1ms to 1m"),
        ("{ abort: { percent: 1 } }, upgrades: [connect]", "", "CONNECT"),
        ("{}", "", "`delay`, `abort` or both"),
    ] {
        let text = least(APP, &faults(value));
        let findings = super::read(&text).expect_err("a refusal");
        let found = findings.list.iter().any(|finding| {
            let says = finding.what.contains(what) || finding.mend.contains(what);
            finding.key == format!("{KEY}{at}") && says && finding.place.is_some()
        });
        assert!(found, "{value}\n{findings}");
    }
    check(APP, &faults("{ abort: { percent: 1, delay: 2s } }"), &format!("{KEY}.abort.delay"), "delay");
}

#[test]
fn a_fault_is_warned_of() {
    check_warning(APP, &faults("{ abort: { percent: 7 } }"), KEY, "7 % fail on purpose");
    let slow = faults("{ delay: { percent: 7, duration: 1500ms } }");
    check_warning(APP, &slow, KEY, "7 % wait for 1500ms on purpose");
}

#[test]
fn a_fault_is_what_is_written_and_503_where_no_status_is() {
    for (value, percent, status) in [
        ("{ abort: { percent: 100 } }", 100, StatusCode::SERVICE_UNAVAILABLE),
        ("{ abort: { percent: 1, status: 429 } }", 1, StatusCode::TOO_MANY_REQUESTS),
    ] {
        let config = super::taken(&least(APP, &faults(value)));
        let faults = config.listeners[0].routes[0].faults.unwrap();
        assert_eq!(faults.abort, Some(AbortConfig { percent, status }), "{value}");
        assert_eq!(faults.delay, None, "{value}");
    }
    let config =
        super::taken(&least(APP, &faults("{ delay: { percent: 3, duration: 1m }, abort: { percent: 2 } }")));
    let both = config.listeners[0].routes[0].faults.unwrap();
    assert_eq!(both.delay, Some(DelayConfig { percent: 3, duration: Duration::from_secs(60) }));
    assert_eq!(both.abort.map(|abort| abort.percent), Some(2));
}
