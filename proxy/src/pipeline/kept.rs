//! A request body that is kept while it is sent, so that it can be sent again.
use bytes::{Bytes, BytesMut};
use http_body::Frame;
use std::cell::{Cell, RefCell};

/// What of a body has gone by.
#[derive(Debug)]
pub(super) struct Kept {
    parts: RefCell<BytesMut>,
    bytes_max: usize,
    state: Cell<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// More of it may come.
    Begun,
    Whole,
    /// It is too long, or ends in trailers.
    Lost,
}

impl Kept {
    /// Nothing yet, and never more than `bytes_max`.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { parts: RefCell::default(), bytes_max, state: Cell::new(State::Begun) }
    }

    pub(super) fn see(&self, frame: &Frame<Bytes>) {
        if self.state.get() != State::Begun {
            return;
        }
        let mut parts = self.parts.borrow_mut();
        match frame.data_ref() {
            Some(data) if parts.len().saturating_add(data.len()) <= self.bytes_max => {
                parts.extend_from_slice(data);
            }
            Some(_) | None => {
                *parts = BytesMut::new();
                self.state.set(State::Lost);
            }
        }
    }

    pub(super) fn end(&self) {
        if self.state.get() == State::Begun {
            self.state.set(State::Whole);
        }
    }

    /// All of it, if it is whole and was kept.
    pub(super) fn whole(&self) -> Option<Bytes> {
        (self.state.get() == State::Whole).then(|| Bytes::copy_from_slice(&self.parts.borrow()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(frames: &[&'static str], ends: bool, whole: Option<&'static str>) {
        let kept = Kept::new(4);
        frames.iter().for_each(|part| kept.see(&Frame::data(Bytes::from_static(part.as_bytes()))));
        if ends {
            kept.end();
        }
        assert_eq!(kept.whole().as_deref(), whole.map(str::as_bytes), "{frames:?}");
    }

    #[test]
    fn a_body_is_sent_again_whole_or_not_at_all() {
        check(&[], true, Some(""));
        check(&["ab", "cd"], true, Some("abcd"));
        check(&["ab", "cd"], false, None);
        check(&["ab", "cde"], true, None);
        check(&["abcde", "f"], true, None);
        let kept = Kept::new(4);
        kept.see(&Frame::trailers(http::HeaderMap::new()));
        kept.end();
        assert_eq!(kept.whole(), None, "trailers are not sent again");
    }
}
