//! What is to be known of listeners that take plain text for a while.

use postern_identity::UnixTime;

use crate::config::moment::moment_text;
use crate::config::{Config, Finding, ListenerConfig, PermissiveConfig, member};

/// What is meant for a while should not be that far away.
const FAR_S: u64 = 366 * 86_400;

/// Findings about their ends, seen from now.
pub(super) fn check(config: &Config, now: UnixTime) -> Vec<Finding> {
    let finding =
        |listener: &ListenerConfig| Some(finding(&listener.name, listener.permissive?, now.as_secs()));
    config.listeners.iter().filter_map(finding).collect()
}

fn finding(listener: &str, terms: PermissiveConfig, now_s: u64) -> Finding {
    let key = format!("{}.inbound.tls.mutual.permissive.until", member("listeners", listener));
    let until = moment_text(terms.until_unix_s);
    if terms.until_unix_s <= now_s {
        let what = format!("the time for plain text was over at {until}: it is refused");
        return Finding::warning(key, what, "leave `permissive` out, or write a moment that is to come");
    }
    if terms.until_unix_s - now_s > FAR_S {
        let what = format!("plain text is taken until {until}, which is more than a year from now");
        let mend = format!("write a nearer end, such as `{}`", moment_text(now_s.saturating_add(FAR_S / 12)));
        return Finding::warning(key, what, mend);
    }
    let what = format!("plain text is taken until {until}, from callers who have proven nothing");
    Finding::warning(key, what, "leave `permissive` out as soon as `GET /status` shows that nobody comes so")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Silence;

    #[test]
    fn the_end_of_plain_text_is_told_and_so_is_one_that_is_over_or_far() {
        let now_s = 1_795_219_200;
        for (until_unix_s, expected) in [
            (now_s - 1, "was over at 2026-11-20T23:59:59Z: it is refused"),
            (now_s, "was over at 2026-11-21T00:00:00Z"),
            (now_s + 1, "is taken until 2026-11-21T00:00:01Z, from callers"),
            (now_s + FAR_S, "is taken until 2027-11-22T00:00:00Z, from callers"),
            (now_s + FAR_S + 1, "more than a year from now"),
        ] {
            let terms = PermissiveConfig { until_unix_s, silence: Silence::Refused };
            let found = finding("app", terms, now_s);
            assert!(found.what.contains(expected), "{found:?}");
            assert_eq!(found.key, "listeners.app.inbound.tls.mutual.permissive.until");
        }
    }
}
