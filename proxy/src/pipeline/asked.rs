//! What it takes to ask policy about a request once more: an exchange may outlive the policy that permitted it.
use super::body::BodySeen;
use super::credentials::Credentials;
use super::decide::{self, Answered, Question};
use super::normalise::Normalised;
use super::refusal::Refusal;
use crate::config::Enforcement;
use crate::listener::Connection;
use crate::routing::Route;
use crate::state::{Policy, Snapshot};
use crate::worker::Worker;
use postern_audit::Id;
use postern_identity::Principal;
use postern_policy::Decision;
use std::rc::Rc;
use std::sync::Arc;

/// A request that policy has permitted, as policy has seen it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: Id,
    pub(super) connection: Rc<Connection>,
    pub(super) credentials: Credentials,
    pub(super) request: Normalised,
    pub(super) principal: Principal,
    pub(super) route: Arc<Route>,
    pub(super) body: BodySeen,
}

impl Asked {
    /// Whether the policy in force permits it too, and which one that is. Whether its caller is still believed is not
    /// looked at.
    pub(super) fn again(&self, worker: &Worker, snapshot: &Snapshot) -> Result<Arc<Policy>, Refusal> {
        let question = Question {
            id: self.id.as_str(),
            connection: &self.connection,
            credentials: &self.credentials,
            request: &self.request,
            principal: &self.principal,
            route: &self.route,
            body: &self.body,
        };
        let Answered { verdict, policy, .. } = decide::ask(worker, &question, snapshot)?;
        match (verdict.decision, self.route.enforcement) {
            (Decision::Allow, _) | (Decision::Deny, Enforcement::Observe) => Ok(policy),
            (Decision::Deny, Enforcement::Enforce) => {
                Err(Refusal::from_code(verdict.code).unwrap_or(Refusal::PolicyDenied))
            }
        }
    }
}
