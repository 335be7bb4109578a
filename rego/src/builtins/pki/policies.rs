//! Certificate policies (RFC 5280, section 6.1, as RFC 9618 mends it): whether a chain has a valid one where some
//! certificate of it asks for one. Any policy is acceptable to the caller.
use super::certificate::Certificate;
use super::extensions::Limit;
use crate::builtins::{BuiltinError, Context};
use std::collections::{BTreeMap, BTreeSet};

/// The content of the object identifier of `anyPolicy`, 2.5.29.32.0.
const ANY: &[u8] = &[0x55, 0x1d, 0x20, 0x00];

/// A policy that is valid at some depth. Its neighbours are known by their policies, of which each depth has one node.
#[derive(Clone, Debug, Default)]
struct Node {
    expected: Vec<Vec<u8>>,
    parents: BTreeSet<Vec<u8>>,
    children: BTreeSet<Vec<u8>>,
}

type Depth = BTreeMap<Vec<u8>, Node>;

/// Node by policy, depth by depth.
struct Graph(Vec<Depth>);

impl Graph {
    fn new() -> Self {
        let root = Node { expected: vec![ANY.to_vec()], ..Node::default() };
        Self(vec![BTreeMap::from([(ANY.to_vec(), root)])])
    }

    fn leaves(&self) -> Option<&Depth> {
        self.0.last()
    }

    fn parents(&self) -> Option<&Depth> {
        self.0.get(self.0.len().checked_sub(2)?)
    }

    fn insert(&mut self, policy: &[u8], parents: BTreeSet<Vec<u8>>, expected: Vec<Vec<u8>>) {
        let above = self.0.len().saturating_sub(2);
        for parent in &parents {
            if let Some(parent) = self.0.get_mut(above).and_then(|depth| depth.get_mut(parent)) {
                parent.children.insert(policy.to_vec());
            }
        }
        if let Some(leaves) = self.0.last_mut() {
            leaves.insert(policy.to_vec(), Node { expected, parents, ..Node::default() });
        }
    }

    fn remove(&mut self, depth: usize, policy: &[u8]) {
        let Some(node) = self.0.get_mut(depth).and_then(|nodes| nodes.remove(policy)) else { return };
        let Some(above) = depth.checked_sub(1).and_then(|above| self.0.get_mut(above)) else { return };
        for parent in &node.parents {
            if let Some(parent) = above.get_mut(parent) {
                parent.children.remove(policy);
            }
        }
    }

    /// Removes what has no children, from below; the root stays.
    fn prune(&mut self) {
        for depth in (1..self.0.len().saturating_sub(1)).rev() {
            let Some(nodes) = self.0.get(depth) else { continue };
            let barren: Vec<_> = nodes.iter().filter(|(_, node)| node.children.is_empty()).collect();
            let barren: Vec<_> = barren.into_iter().map(|(policy, _)| policy.clone()).collect();
            for policy in barren {
                self.remove(depth, &policy);
            }
        }
    }

    /// The policies of a certificate, below those that expect them.
    fn add(&mut self, policies: &[Vec<u8>], any_counts: bool) {
        self.0.push(Depth::new());
        for policy in policies.iter().filter(|policy| *policy != ANY) {
            let Some(above) = self.parents() else { return };
            let expecting = above.iter().filter(|(_, node)| node.expected.contains(policy));
            let mut parents: BTreeSet<Vec<u8>> = expecting.map(|(policy, _)| policy.clone()).collect();
            if parents.is_empty() && above.contains_key(ANY) {
                parents.insert(ANY.to_vec());
            }
            if !parents.is_empty() {
                self.insert(policy, parents, vec![policy.clone()]);
            }
        }
        if any_counts && policies.iter().any(|policy| policy == ANY) {
            let mut missing: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> = BTreeMap::new();
            for (policy, node) in self.parents().into_iter().flatten() {
                for expected in &node.expected {
                    if self.leaves().is_some_and(|leaves| !leaves.contains_key(expected)) {
                        missing.entry(expected.clone()).or_default().insert(policy.clone());
                    }
                }
            }
            for (policy, parents) in missing {
                self.insert(&policy, parents, vec![policy.clone()]);
            }
        }
        self.prune();
    }

    /// What a certificate maps to what. Without leave to map, what it would map is gone.
    fn map(&mut self, mappings: &[(Vec<u8>, Vec<u8>)], allowed: bool) -> Option<()> {
        let mut to: BTreeMap<&[u8], Vec<Vec<u8>>> = BTreeMap::new();
        let depth = self.0.len().saturating_sub(1);
        for (issuer, subject) in mappings {
            if !allowed {
                self.remove(depth, issuer);
            } else if issuer == ANY || subject == ANY {
                return None;
            } else {
                to.entry(issuer).or_default().push(subject.clone());
            }
        }
        self.prune();
        for (issuer, subjects) in to {
            let leaves = self.0.last_mut()?;
            if let Some(leaf) = leaves.get_mut(issuer) {
                leaf.expected = subjects;
            } else if leaves.contains_key(ANY) {
                // The parent of this one stands at its own depth, and counts as such nowhere but here.
                leaves.insert(
                    issuer.to_vec(),
                    Node { expected: subjects, parents: BTreeSet::from([ANY.to_vec()]), ..Node::default() },
                );
            }
        }
        Some(())
    }

    /// Whether there is a policy that somebody above has named, or any may be.
    fn has_valid(&self) -> bool {
        let below_any = |node: &Node| node.parents.len() == 1 && node.parents.contains(ANY);
        let named = self.0.iter().flatten().any(|(policy, node)| policy != ANY && below_any(node));
        named || self.leaves().is_some_and(|leaves| leaves.contains_key(ANY))
    }
}

/// Whether the chain, from its leaf to its root, satisfies what it asks for.
pub(crate) fn hold(context: &mut Context, chain: &[&Certificate]) -> Result<bool, BuiltinError> {
    let asks =
        |one: &&Certificate| one.extensions.has(36) || one.extensions.has(33) || one.extensions.has(54);
    // Nothing else can make a policy necessary or refuse one.
    if chain.len() < 2 || !chain.iter().any(asks) {
        return Ok(true);
    }
    let sizes = chain.iter().map(|one| one.extensions.large_oids().count());
    let size = sizes.fold(8_usize, usize::saturating_add);
    context.charge_items(size.saturating_mul(size))?;
    Ok(satisfied(chain).is_some())
}

fn satisfied(chain: &[&Certificate]) -> Option<()> {
    let length = i64::try_from(chain.len()).ok()?;
    let (mut explicit, mut mapping, mut any) = (length, length, length);
    let mut graph = Some(Graph::new());
    let [leaf, ..] = chain else { return Some(()) };
    for (index, one) in chain.iter().enumerate().rev().skip(1) {
        let self_issued = one.raw_issuer == one.raw_subject;
        let policies = one.extensions.policies.as_deref().unwrap_or_default();
        if policies.is_empty() {
            graph = None;
        }
        if explicit == 0 && graph.is_none() {
            return None;
        }
        if let Some(graph) = &mut graph {
            graph.add(policies, any > 0 || (index > 0 && self_issued));
            if index > 0 && !one.extensions.mappings.is_empty() {
                graph.map(&one.extensions.mappings, mapping > 0)?;
            }
        }
        if index > 0 {
            if !self_issued {
                [&mut explicit, &mut mapping, &mut any]
                    .into_iter()
                    .for_each(|limit| *limit = (*limit - 1).max(0));
            }
            let lower = |limit: &mut i64, to: Limit| {
                if let Some(to) = to.0.filter(|to| *to >= 0) {
                    *limit = to.min(*limit);
                }
            };
            lower(&mut explicit, one.extensions.require_explicit_policy);
            lower(&mut mapping, one.extensions.inhibit_policy_mapping);
            lower(&mut any, one.extensions.inhibit_any_policy);
        }
    }
    explicit = (explicit - 1).max(0);
    if leaf.extensions.require_explicit_policy.0 == Some(0) {
        explicit = 0;
    }
    (explicit > 0 || graph.is_some_and(|graph| graph.has_valid())).then_some(())
}
