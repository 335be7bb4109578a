//! How many refusals one principal may cause: cheap denies must not drown the log or take the CPU of those who
//! are let in.
//!
//! Each refusal spends from the principal's budget, which refills steadily (GCRA) and holds two seconds' worth.
//! While it is spent, every request of the principal is refused before policy is asked.
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// The budgets of the principals that this worker serves; looked up once a connection.
#[derive(Debug, Default)]
pub struct Budgets(RefCell<HashMap<Arc<str>, Rc<Budget>>>);

/// One principal's budget on one worker.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// The moment, on the monotonic clock, at which everything spent so far is refilled.
    refilled_ns: Cell<u64>,
}

const SECOND_NS: u64 = 1_000_000_000;
/// What a budget holds.
const HELD_NS: u64 = 2 * SECOND_NS;

impl Budgets {
    /// The principal's budget, shared by its connections.
    pub(crate) fn of(&self, principal: &Arc<str>) -> Rc<Budget> {
        Rc::clone(self.0.borrow_mut().entry(Arc::clone(principal)).or_default())
    }

    /// Forgets budgets that are full again and that no connection holds.
    pub(crate) fn sweep(&self, now_ns: u64) {
        self.0
            .borrow_mut()
            .retain(|_, budget| Rc::strong_count(budget) > 1 || budget.refilled_ns.get() > now_ns);
    }
}

impl Budget {
    /// Whether the principal has anything left to spend.
    pub(crate) fn is_spent(&self, now_ns: u64, refusals_per_second: u32) -> bool {
        self.refilled_ns.get().saturating_add(cost_ns(refusals_per_second)) > now_ns.saturating_add(HELD_NS)
    }

    /// Pays for one refusal.
    pub(crate) fn spend(&self, now_ns: u64, refusals_per_second: u32) {
        let refilled_ns = self.refilled_ns.get().max(now_ns).saturating_add(cost_ns(refusals_per_second));
        self.refilled_ns.set(refilled_ns.min(now_ns.saturating_add(HELD_NS)));
    }
}

fn cost_ns(refusals_per_second: u32) -> u64 {
    SECOND_NS / u64::from(refusals_per_second.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At this rate, how many refusals pass from `now_ns` on before the budget is spent.
    fn check(budget: &Budget, now_ns: u64, refusals_per_second: u32, passed: u32) {
        let mut count = 0;
        while !budget.is_spent(now_ns, refusals_per_second) && count < 10_000 {
            budget.spend(now_ns, refusals_per_second);
            count += 1;
        }
        assert_eq!(count, passed, "at {now_ns} ns, {refusals_per_second}/s");
    }

    #[test]
    fn a_budget_holds_two_seconds_and_refills_steadily() {
        let budget = Budget::default();
        check(&budget, SECOND_NS, 100, 200);
        check(&budget, SECOND_NS, 100, 0);
        check(&budget, SECOND_NS + SECOND_NS / 2, 100, 50);
        check(&budget, 10 * SECOND_NS, 100, 200);
    }

    #[test]
    fn a_full_budget_that_nobody_holds_is_forgotten() {
        let budgets = Budgets::default();
        let held = budgets.of(&"a".into());
        budgets.of(&"b".into()).spend(0, 1);
        budgets.sweep(0);
        assert_eq!(budgets.0.borrow().len(), 2);
        budgets.sweep(SECOND_NS);
        assert_eq!(budgets.0.borrow().len(), 1);
        drop(held);
        budgets.sweep(SECOND_NS);
        assert!(budgets.0.borrow().is_empty());
    }
}
