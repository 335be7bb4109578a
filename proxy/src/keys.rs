//! How a worker asks for fresh token keys: it wishes, waits a little, and looks again. The fetch itself runs
//! on the control thread, once for all who wish.
use postern_identity::token::TokenError;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// What a worker lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The issuer, by its place in the list.
    pub issuer: usize,
    /// It has no keys at all there; else it lacks one of them.
    pub without_keys: bool,
}

impl Wish {
    /// What a token calls for that cannot be verified for want of a key.
    pub(crate) fn of(error: &TokenError) -> Option<Self> {
        let without_keys = matches!(error, TokenError::KeysUnavailable { .. });
        error.unknown_key().map(|issuer| Self { issuer, without_keys })
    }
}

/// A worker's way to the control thread.
#[derive(Clone, Debug)]
pub struct KeyRequests {
    wishes: mpsc::Sender<Wish>,
    generation: watch::Receiver<u64>,
}

/// Longer than this no request waits for keys.
const WAIT_MAX: Duration = Duration::from_millis(500);

impl KeyRequests {
    /// From the control thread's ends: wishes go in, the generation of keys in force comes out.
    pub fn new(wishes: mpsc::Sender<Wish>, generation: watch::Receiver<u64>) -> Self {
        Self { wishes, generation }
    }

    /// Asks for the issuer's keys and waits until newer ones are in force, or the wait is over.
    pub(crate) async fn refresh(&self, wish: Wish, seen: u64) {
        // A full queue means that others have asked already.
        _ = self.wishes.try_send(wish);
        let mut generation = self.generation.clone();
        drop(tokio::time::timeout(WAIT_MAX, generation.wait_for(|newest| *newest > seen)).await);
    }
}

/// Key ids that an issuer did not have a moment ago. Anybody can invent one; asked for again, it makes no request wait
/// a second time. New keys in force make all of them worth another look.
#[derive(Debug, Default)]
pub(crate) struct Missed {
    generation: u64,
    /// The issuer, the id, and the second until which it counts; the oldest first.
    ids: VecDeque<(usize, Option<String>, u64)>,
}

const MISSED_MAX: usize = 64;
const MISSED_SECONDS: u64 = 60;

impl Missed {
    /// Whether the key that a token lacks was missed under the same keys less than a minute ago.
    pub(crate) fn has(&self, error: &TokenError, generation: u64, now: u64) -> bool {
        let TokenError::KeyUnknown { issuer, key_id } = error else { return false };
        let same =
            |(of, id, until): &(usize, Option<String>, u64)| of == issuer && id == key_id && now < *until;
        self.generation == generation && self.ids.iter().any(same)
    }

    /// Notes the key that a token still lacks after the wait for newer keys.
    pub(crate) fn note(&mut self, error: &TokenError, generation: u64, now: u64) {
        let TokenError::KeyUnknown { issuer, key_id } = error else { return };
        if self.generation != generation {
            self.ids.clear();
            self.generation = generation;
        }
        if self.ids.len() >= MISSED_MAX {
            self.ids.pop_front();
        }
        self.ids.push_back((*issuer, key_id.clone(), now.saturating_add(MISSED_SECONDS)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    fn lacks(issuer: usize, id: &str) -> TokenError {
        TokenError::KeyUnknown { issuer, key_id: Some(id.to_owned()) }
    }

    #[test]
    fn a_missed_key_is_missed_for_a_minute_and_until_there_are_new_keys() {
        let mut missed = Missed::default();
        assert!(!missed.has(&lacks(0, "a"), 1, 100));
        missed.note(&lacks(0, "a"), 1, 100);
        assert!(missed.has(&lacks(0, "a"), 1, 159));
        for (error, generation, now) in [
            (lacks(0, "a"), 1, 160),
            (lacks(0, "a"), 2, 100),
            (lacks(1, "a"), 1, 100),
            (lacks(0, "b"), 1, 100),
        ] {
            assert!(!missed.has(&error, generation, now), "{error:?} {generation} {now}");
        }
        // An issuer without any keys is not one that lacks a key.
        missed.note(&TokenError::KeysUnavailable { issuer: 0 }, 1, 100);
        assert!(!missed.has(&TokenError::KeysUnavailable { issuer: 0 }, 1, 100));
    }

    #[test]
    fn only_so_many_missed_keys_are_remembered() {
        let mut missed = Missed::default();
        (0..1000).for_each(|n| missed.note(&lacks(0, &n.to_string()), 1, 100));
        assert_eq!(missed.ids.len(), MISSED_MAX);
        assert!(missed.has(&lacks(0, "999"), 1, 100) && !missed.has(&lacks(0, "0"), 1, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_keys_longer_than_half_a_second() {
        let (wishes, mut wished) = mpsc::channel(1);
        let (in_force, generation) = watch::channel(4);
        let requests = KeyRequests::new(wishes, generation);
        let began = Instant::now();
        let wish = |issuer| Wish { issuer, without_keys: false };
        requests.refresh(wish(7), 4).await;
        assert_eq!((began.elapsed(), wished.try_recv()), (WAIT_MAX, Ok(wish(7))));
        // A queue that is full, and newer keys that come while one waits.
        let waits = async {
            requests.refresh(wish(7), 4).await;
            requests.refresh(wish(8), 4).await;
            began.elapsed()
        };
        let comes = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            in_force.send_replace(5);
        };
        let (took, ()) = tokio::join!(waits, comes);
        assert_eq!(took, WAIT_MAX + Duration::from_millis(100));
    }
}
