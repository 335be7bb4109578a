//! What a loaded policy can read, for tools that hold only a part of a request.
use super::cedar::CedarPolicies;
use super::rego::RegoPolicies;
use crate::Pdp;
use crate::pdp::Policies;

impl Pdp {
    /// Whether the policies can read something at, above or below one of these paths of `input` (Rego), or this member
    /// of `context` (Cedar).
    pub(crate) fn may_read(&self, paths: &[&[&str]], member: &str) -> bool {
        match self.policies() {
            Policies::Rego(rego) => paths.iter().any(|path| rego.can_read(path)),
            Policies::Cedar(cedar) => cedar.can_read(member),
        }
    }

    /// Whether the policies ask for the moment by a builtin.
    pub(crate) fn calls_the_clock(&self) -> bool {
        match self.policies() {
            Policies::Rego(rego) => rego.is_nondeterministic(),
            Policies::Cedar(_) => false,
        }
    }

    /// Whether the policies can read other claims of the token than these.
    pub(crate) fn reads_claims_beyond(&self, held: &[&str]) -> bool {
        match self.policies() {
            Policies::Rego(rego) => rego.reads_claims_beyond(held),
            Policies::Cedar(cedar) => cedar.can_read("claims"),
        }
    }
}

impl RegoPolicies {
    fn can_read(&self, path: &[&str]) -> bool {
        self.read_set().touches(path)
    }

    fn is_nondeterministic(&self) -> bool {
        !self.read_set().nondeterministic.is_empty()
    }

    fn reads_claims_beyond(&self, held: &[&str]) -> bool {
        let reads = self.read_set();
        let below = |path: &&Vec<std::sync::Arc<str>>| match path.first().map(AsRef::as_ref) {
            None => true,
            Some("claims") => path.get(1).is_none_or(|name| !held.contains(&name.as_ref())),
            Some(_) => false,
        };
        reads.input.iter().any(|path| below(&path)) || reads.touches(&["postern", "token_trust_domain"])
    }
}

impl CedarPolicies {
    fn can_read(&self, member: &str) -> bool {
        self.reads_member(member)
    }
}
