//! What people are shown of listeners that take plain text for a while: who still comes so, and since when nobody does.
use crate::admin::{PlaintextCaller, PlaintextStatus};
use crate::config::moment::moment_text;
use crate::listener::Listener;
use std::sync::Arc;

/// Of those that take some, or took some.
pub(super) fn statuses(listeners: &[Arc<Listener>]) -> Vec<PlaintextStatus> {
    listeners.iter().filter_map(|listener| status(listener)).collect()
}

fn status(listener: &Listener) -> Option<PlaintextStatus> {
    let (terms, callers) = (listener.permissive.terms(), listener.permissive.callers());
    if terms.is_none() && callers.connections == 0 {
        return None;
    }
    let caller = |(address, connections, last_unix_s)| PlaintextCaller { address, connections, last_unix_s };
    Some(PlaintextStatus {
        listener: listener.name.to_string(),
        until_unix_s: terms.map(|terms| terms.until_unix_s),
        connections: callers.connections,
        last_unix_s: callers.last_unix_s,
        callers: callers.by_address.into_iter().map(caller).collect(),
        forgotten: callers.forgotten,
    })
}

/// In a sentence; `since_unix_s` is when this process began to look.
pub(super) fn remark(status: &PlaintextStatus, since_unix_s: u64) -> String {
    let name = &status.listener;
    let until = match status.until_unix_s {
        Some(until) => format!("listener `{name}` takes plain text until {}", moment_text(until)),
        None => format!("listener `{name}` takes plain text no more"),
    };
    match status.last_unix_s {
        Some(last) => format!("{until}, the last such caller came at {}", moment_text(last)),
        None => format!("{until}, and nobody has come so since {}", moment_text(since_unix_s)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_says_since_when_nobody_comes_in_plain_text() {
        let check = |until_unix_s, last_unix_s: Option<u64>, said: &str| {
            let status = PlaintextStatus {
                listener: "app".to_owned(),
                until_unix_s,
                connections: u64::from(last_unix_s.is_some()),
                last_unix_s,
                callers: Vec::new(),
                forgotten: 0,
            };
            assert_eq!(remark(&status, 951_782_399), said);
        };
        check(
            Some(1_803_859_200),
            None,
            "listener `app` takes plain text until 2027-03-01T00:00:00Z, and nobody has come so since 2000-02-28T23:59:59Z",
        );
        check(
            Some(1_803_859_200),
            Some(1_795_400_552),
            "listener `app` takes plain text until 2027-03-01T00:00:00Z, the last such caller came at 2026-11-23T02:22:32Z",
        );
        check(
            None,
            Some(1_795_400_552),
            "listener `app` takes plain text no more, the last such caller came at 2026-11-23T02:22:32Z",
        );
    }
}
