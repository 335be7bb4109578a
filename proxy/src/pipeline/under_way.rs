//! An attempt that is under way: the connection that it rests on.
use super::exchange::Exchange;
use crate::upstream::{Choosing, Proof};
use std::rc::Rc;

/// An attempt until its end is seen.
pub(super) struct UnderWay<'a> {
    exchange: &'a Exchange,
}

impl<'a> UnderWay<'a> {
    pub(super) fn begin(exchange: &'a Exchange) -> Self {
        Self { exchange }
    }
}

impl Choosing for UnderWay<'_> {
    fn may_use(&self, proof: Option<&Proof>) -> bool {
        self.exchange.worker.may_use(proof)
    }

    fn chose(&self, proof: Option<Rc<Proof>>) {
        self.exchange.rests_on(proof);
    }
}
