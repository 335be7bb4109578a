//! Which parts of the input a policy can read: found in the source, too much rather than too little, so that what no
//! policy reads need not be built, and bodies that no policy reads need not be held.
use super::ast::{Chain, Node, walk_module};
use super::scope::{Scope, leading_fields};
use regorus::unstable::Module;
use std::collections::BTreeSet;

/// The read parts of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    paths: BTreeSet<Vec<String>>,
}

impl Reads {
    pub(super) fn add(&mut self, module: &Module, scope: &Scope) {
        walk_module(module, &mut |node| {
            if let Node::Chain(chain) = node {
                self.take(&chain, scope);
            }
        });
    }

    fn take(&mut self, chain: &Chain<'_>, scope: &Scope) {
        let path = scope.resolve(&leading_fields(chain));
        if let Some((root, rest)) = path.split_first()
            && root == "input"
        {
            self.paths.insert(rest.to_vec());
        }
    }

    /// Whether something at, above or below this path is read.
    pub(crate) fn touches(&self, path: &[&str]) -> bool {
        self.paths.iter().any(|read| read.iter().zip(path).all(|(have, want)| have == want))
    }

    /// Whether a field of the input is read by its own name, not only as part of something larger.
    pub(crate) fn names(&self, field: &str) -> bool {
        self.paths.iter().any(|read| read.first().is_some_and(|first| first == field))
    }

    /// The paths in words, for people: `attributes.request.http.method`; the whole input is `*`.
    pub(crate) fn summary(&self) -> Vec<String> {
        self.paths.iter().map(|path| if path.is_empty() { "*".to_owned() } else { path.join(".") }).collect()
    }
}
