//! Rewrites the tree of a glob into matchers, as gobwas does it, wherever that leads.
use super::matcher::{Matcher, Tree};
use super::syntax::Node;
use crate::builtins::BuiltinError;

/// The deepest tree of matchers: each level is a level of recursion.
const DEPTH_MAX: usize = 192;

fn too_deep() -> BuiltinError {
    BuiltinError::Budget("a glob has too many parts of unknown length".to_owned())
}

/// The matcher of a tree.
pub(super) fn compile(node: &Node, separators: &[u32]) -> Result<Matcher, BuiltinError> {
    let matcher = compile_node(node, separators, 0)?;
    if matcher.depth() > DEPTH_MAX { Err(too_deep()) } else { Ok(matcher) }
}

fn compile_node(node: &Node, separators: &[u32], depth: usize) -> Result<Matcher, BuiltinError> {
    if depth > DEPTH_MAX.saturating_mul(2) {
        return Err(too_deep());
    }
    let below = depth.saturating_add(1);
    let matcher = match node {
        Node::AnyOf(children) => {
            return match common_factored(children) {
                Some(factored) => compile_node(&factored, separators, below),
                None => Ok(Matcher::AnyOf(compile_all(children, separators, below)?)),
            };
        }
        Node::Pattern(children) if children.is_empty() => return Ok(Matcher::Nothing),
        Node::Pattern(children) => {
            let mut matchers = compile_all(children, separators, below)?;
            minimize(&mut matchers);
            tree(matchers, 0)?
        }
        Node::Any => Matcher::Any(separators.to_vec()),
        Node::Super => Matcher::Super,
        Node::Single => Matcher::Single(separators.to_vec()),
        Node::Nothing => Matcher::Nothing,
        Node::List { characters, not } => {
            Matcher::List { characters: characters.chars().map(u32::from).collect(), not: *not }
        }
        Node::Range { low, high, not } => {
            Matcher::Range { low: u32::from(*low), high: u32::from(*high), not: *not }
        }
        Node::Text(text) => Matcher::text(text.as_bytes()),
    };
    Ok(optimized(matcher))
}

fn compile_all(children: &[Node], separators: &[u32], depth: usize) -> Result<Vec<Matcher>, BuiltinError> {
    children.iter().map(|child| compile_node(child, separators, depth).map(optimized)).collect()
}

/// A simpler matcher of the same kind, where there is one.
fn optimized(matcher: Matcher) -> Matcher {
    match matcher {
        Matcher::Any(separators) if separators.is_empty() => Matcher::Super,
        Matcher::AnyOf(mut matchers) if matchers.len() == 1 => matchers.pop().unwrap_or(Matcher::Nothing),
        Matcher::List { characters, not: false } if characters.len() == 1 => {
            let text: String = characters.into_iter().filter_map(char::from_u32).collect();
            Matcher::text(text.as_bytes())
        }
        Matcher::Tree(tree) => optimized_tree(*tree),
        other => other,
    }
}

fn optimized_tree(mut tree: Tree) -> Matcher {
    tree.left = tree.left.map(optimized);
    tree.right = tree.right.map(optimized);
    let Matcher::Text { bytes, .. } = &tree.value else { return Matcher::Tree(Box::new(tree)) };
    let text = bytes.clone();
    match (tree.left, tree.right) {
        (None, None) => Matcher::text(&text),
        (Some(Matcher::Super), Some(Matcher::Super)) => Matcher::Contains { needle: text, not: false },
        (Some(Matcher::Super), None) => Matcher::Suffix(text),
        (None, Some(Matcher::Super)) => Matcher::Prefix(text),
        (None, Some(Matcher::Suffix(suffix))) => Matcher::PrefixSuffix { prefix: text, suffix },
        (Some(Matcher::Prefix(prefix)), None) => Matcher::PrefixSuffix { prefix, suffix: text },
        (Some(Matcher::Any(separators)), None) => Matcher::SuffixAny { suffix: text, separators },
        (None, Some(Matcher::Any(separators))) => Matcher::PrefixAny { prefix: text, separators },
        (left, right) => Matcher::Tree(Box::new(Tree { left, right, ..tree })),
    }
}

/// A binary tree around the longest matcher of a known length.
fn tree(mut matchers: Vec<Matcher>, depth: usize) -> Result<Matcher, BuiltinError> {
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    if matchers.len() <= 1 {
        return Ok(matchers.pop().unwrap_or(Matcher::Nothing));
    }
    if let Some(glued) = glued(&matchers) {
        return Ok(glued);
    }
    let below = depth.saturating_add(1);
    let mut longest: Option<(usize, usize)> = None;
    for (index, matcher) in matchers.iter().enumerate() {
        if let Some(length) = matcher.len()
            && longest.is_none_or(|(_, most)| length >= most)
        {
            longest = Some((index, length));
        }
    }
    let at = longest.map_or(0, |(index, _)| index);
    let right = matchers.split_off(at.saturating_add(1));
    let value = matchers.pop().unwrap_or(Matcher::Nothing);
    let side = |side: Vec<Matcher>| if side.is_empty() { Ok(None) } else { tree(side, below).map(Some) };
    let (left, right) = (side(matchers)?, side(right)?);
    Ok(Matcher::Tree(Box::new(Tree::new(value, left, right))))
}

/// Several matchers as one, if they can be.
fn glued(matchers: &[Matcher]) -> Option<Matcher> {
    if matchers.len() <= 1 {
        return None;
    }
    glued_as_every(matchers).or_else(|| glued_as_row(matchers))
}

fn glued_as_row(matchers: &[Matcher]) -> Option<Matcher> {
    let runes = matchers.iter().try_fold(0usize, |all, matcher| Some(all.saturating_add(matcher.len()?)))?;
    Some(Matcher::Row { matchers: matchers.to_vec(), runes })
}

/// The separators of a matcher of single characters or runs, if it is one. A negated list counts as separators.
fn separators(matcher: &Matcher) -> Option<&[u32]> {
    match matcher {
        Matcher::Super => Some(&[]),
        Matcher::Any(separators) | Matcher::Single(separators) => Some(separators),
        Matcher::List { characters, not: true } => Some(characters),
        _ => None,
    }
}

fn glued_as_every(matchers: &[Matcher]) -> Option<Matcher> {
    let shared = separators(matchers.first()?)?;
    if matchers.iter().any(|matcher| separators(matcher) != Some(shared)) {
        return None;
    }
    let some = |kind: fn(&Matcher) -> bool| matchers.iter().any(kind);
    let has_super = some(|matcher| matches!(matcher, Matcher::Super));
    let has_any = some(|matcher| matches!(matcher, Matcher::Any(_)));
    let singles = matchers.iter().filter(|m| !matches!(m, Matcher::Super | Matcher::Any(_))).count();
    if singles == 0 && !has_any {
        return Some(Matcher::Super);
    }
    if singles == 0 && !has_super {
        return Some(Matcher::Any(shared.to_vec()));
    }
    if (has_any || has_super) && singles > 0 && shared.is_empty() {
        return Some(Matcher::Min(singles));
    }
    let mut every = Vec::new();
    if singles > 0 {
        every.push(Matcher::Min(singles));
        if !has_any && !has_super {
            every.push(Matcher::Max(singles));
        }
    }
    if !shared.is_empty() {
        // All separators as one text, not each of them.
        let needle: String = shared.iter().copied().filter_map(char::from_u32).collect();
        every.push(Matcher::Contains { needle: needle.into_bytes(), not: true });
    }
    Some(Matcher::EveryOf(every))
}

/// Glues what can be glued, the largest groups first.
fn minimize(matchers: &mut Vec<Matcher>) {
    while let Some((begin, end)) = best_group(matchers) {
        let Some(glued) = matchers.get(begin..end).and_then(glued) else { return };
        matchers.splice(begin..end, [glued]);
    }
}

/// From each place on, how many matchers glue in one way: only the most of them can win, for fewer are neither more nor
/// longer.
fn best_group(matchers: &[Matcher]) -> Option<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::with_capacity(matchers.len());
    let (mut every, mut row) = (0usize, 0usize);
    let mut next: Option<&[u32]> = None;
    for matcher in matchers.iter().rev() {
        let here = separators(matcher);
        every = match here {
            None => 0,
            Some(_) if here == next => every.saturating_add(1),
            Some(_) => 1,
        };
        row = if matcher.len().is_some() { row.saturating_add(1) } else { 0 };
        next = here;
        runs.push((every, row));
    }
    // How many were glued, from where, and how long that is, if it is known.
    let mut best: Option<(usize, usize, Option<usize>)> = None;
    for (begin, (every, row)) in runs.into_iter().rev().enumerate() {
        let many = every.max(row);
        if many < 2 {
            continue;
        }
        let group = matchers.get(begin..begin.saturating_add(many)).unwrap_or_default();
        // What glues as `every` has no known length.
        let length = if every >= many { None } else { glued_as_row(group).and_then(|row| row.len()) };
        let better = match best {
            None => true,
            Some((count, _, have)) => {
                count < many || matches!((have, length), (Some(have), Some(length)) if length > have)
            }
        };
        if better {
            best = Some((many, begin, length));
        }
    }
    best.map(|(many, begin, _)| (begin, begin.saturating_add(many)))
}

/// Alternatives with what they have in common on the left and on the right taken out of them.
fn common_factored(alternatives: &[Node]) -> Option<Node> {
    let patterns: Option<Vec<&[Node]>> = alternatives
        .iter()
        .map(|node| if let Node::Pattern(children) = node { Some(children.as_slice()) } else { None })
        .collect();
    let patterns = patterns?;
    let (left, right) = common(&patterns);
    if left == 0 && right == 0 {
        return None;
    }
    let first = patterns.first()?;
    let mut result = Vec::new();
    if left > 0 {
        result.push(Node::Pattern(first.get(..left)?.to_vec()));
    }
    let mut rests: Vec<Node> = Vec::new();
    for pattern in &patterns {
        let rest = pattern.get(left..pattern.len().checked_sub(right)?)?;
        let node = if rest.is_empty() { Node::Nothing } else { Node::Pattern(rest.to_vec()) };
        if !rests.contains(&node) {
            rests.push(node);
        }
    }
    match rests.as_slice() {
        [Node::Nothing] => {}
        [one] => result.push(one.clone()),
        _ => result.push(Node::AnyOf(rests)),
    }
    if right > 0 {
        result.push(Node::Pattern(first.get(first.len().checked_sub(right)?..)?.to_vec()));
    }
    Some(Node::Pattern(result))
}

/// How many children all patterns have in common on the left, and on the right of those. Both sides are looked at in turn;
/// whether the right one ends where they meet depends on the order of the patterns.
fn common(patterns: &[&[Node]]) -> (usize, usize) {
    if patterns.len() <= 1 {
        return (0, 0);
    }
    let Some((index, shortest)) = patterns.iter().enumerate().min_by_key(|(_, pattern)| pattern.len()) else {
        return (0, 0);
    };
    let length = shortest.len();
    let from_right = |pattern: &[Node], step: usize| pattern.len().checked_sub(step.saturating_add(1));
    let (mut left, mut right) = (0usize, 0usize);
    let (mut left_ends, mut right_ends) = (false, false);
    for step in 0..length {
        if left.saturating_add(right) >= length || (left_ends && right_ends) {
            break;
        }
        let met = from_right(shortest, step).is_some_and(|place| place <= step);
        let right_one = from_right(shortest, step).and_then(|place| shortest.get(place));
        for (_, pattern) in patterns.iter().enumerate().filter(|(other, _)| *other != index) {
            left_ends = left_ends || pattern.get(step) != shortest.get(step);
            right_ends = right_ends
                || (!left_ends && met)
                || from_right(pattern, step).and_then(|place| pattern.get(place)) != right_one;
            if left_ends && right_ends {
                break;
            }
        }
        left = left.saturating_add(usize::from(!left_ends));
        right = right.saturating_add(usize::from(!right_ends));
    }
    (left, right)
}
