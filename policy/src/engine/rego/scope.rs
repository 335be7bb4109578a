//! What the names of a module mean: its package, its imports, and the functions of the whole policy set.
use super::ast::{Chain, Selector};
use regorus::unstable::{Module, Rule, RuleHead};
use std::collections::{BTreeMap, BTreeSet};

/// The names of one module.
#[derive(Debug)]
pub(super) struct Scope {
    /// `["data", "a", "b"]` for `package a.b`.
    pub(super) package: Vec<String>,
    /// Aliases of imports with the path they stand for.
    pub(super) imports: BTreeMap<String, Vec<String>>,
    /// The first names of the module's own rules and functions.
    pub(super) rules: BTreeSet<String>,
}

impl Scope {
    pub(super) fn of(module: &Module) -> Self {
        let mut package = vec!["data".to_owned()];
        package.extend(leading_fields(&Chain::of(&module.package.refr)));
        let mut imports = BTreeMap::new();
        for import in &module.imports {
            let path = leading_fields(&Chain::of(&import.refr));
            let alias = match &import.r#as {
                Some(alias) => Some(alias.text().to_owned()),
                None => path.last().cloned(),
            };
            let is_keyword = matches!(path.first().map(String::as_str), Some("rego" | "future"));
            if let (Some(alias), false) = (alias, is_keyword) {
                imports.insert(alias, path);
            }
        }
        let rules = module
            .policy
            .iter()
            .filter_map(|rule| leading_fields(&Chain::of(head_of(rule))).first().cloned());
        Self { package, imports, rules: rules.collect() }
    }

    /// The full path of a name: imports are resolved, own rules get the package in front.
    pub(super) fn resolve(&self, path: &[String]) -> Vec<String> {
        let Some((first, rest)) = path.split_first() else { return Vec::new() };
        if let Some(target) = self.imports.get(first) {
            return target.iter().chain(rest).cloned().collect();
        }
        if self.rules.contains(first) {
            return self.package.iter().chain(path).cloned().collect();
        }
        path.to_vec()
    }
}

/// The expression that names a rule.
pub(super) fn head_of(rule: &Rule) -> &regorus::unstable::Expr {
    match rule {
        Rule::Spec { head, .. } => match head {
            RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. } => refr,
        },
        Rule::Default { refr, .. } => refr,
    }
}

/// Whether a rule is a function.
pub(super) fn is_function(rule: &Rule) -> bool {
    match rule {
        Rule::Spec { head, .. } => matches!(head, RuleHead::Func { .. }),
        Rule::Default { args, .. } => !args.is_empty(),
    }
}

/// The names of a reference up to the first dynamic step.
pub(super) fn leading_fields(chain: &Chain<'_>) -> Vec<String> {
    let mut path: Vec<String> = chain.root().map(str::to_owned).into_iter().collect();
    for selector in &chain.selectors {
        match selector {
            Selector::Field(name) => path.push((*name).to_owned()),
            Selector::Dynamic(_) => break,
        }
    }
    path
}
