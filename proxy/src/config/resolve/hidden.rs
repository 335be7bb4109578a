//! Routes that none is enough to hide, and several are.

use super::context::Context;
use super::routes::covers;
use crate::config::places::{entry, member};
use crate::config::settings::{RouteConfig, RouteMatch};

/// How many comparisons a route is worth: far more than people write.
const COMPARISONS_MAX: usize = 100_000;

/// Warns of routes all whose requests are taken by earlier ones together. `routes_key` is that of all; `are_alike` says
/// whether two of them, the earlier first, are for the same kind of requests.
///
/// What a route takes is cut up by host names, methods and destinations, as they are written; each part that an earlier
/// route takes alone is hidden. More is not looked for: what is found is true, and two networks that make up a third are
/// not put together.
pub(super) fn check(
    context: &mut Context<'_>,
    routes_key: &str,
    routes: &[RouteConfig],
    are_alike: &dyn Fn(usize, usize) -> bool,
) {
    for (index, route) in routes.iter().enumerate() {
        let is_before = |(earlier, _): &(usize, &RouteConfig)| are_alike(*earlier, index);
        let before: Vec<&RouteConfig> =
            routes.iter().enumerate().take(index).filter(is_before).map(|(_, earlier)| earlier).collect();
        let count = parts_count(&route.matches);
        if count < 2 || count.saturating_mul(before.len()) > COMPARISONS_MAX {
            continue;
        }
        let Some(names) = hiding(&route.matches, &before) else { continue };
        let what = format!("this route can never match: {names} take all its requests before it");
        let mend = "put the more specific route first, or leave this one out";
        context.warn(&member(&entry(routes_key, index), "match"), what, mend);
    }
}

/// Those that hide it, where they are several: that one does is said already.
fn hiding(matches: &RouteMatch, before: &[&RouteConfig]) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for part in parts(matches) {
        let taker = before.iter().find(|earlier| covers(&earlier.matches, &part))?;
        if !names.contains(&taker.name.as_str()) {
            names.push(&taker.name);
        }
    }
    let by_one = before.iter().any(|earlier| covers(&earlier.matches, matches));
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    (!by_one).then(|| names.join(" and "))
}

fn parts_count(matches: &RouteMatch) -> usize {
    let lengths = [matches.authorities.len(), matches.methods.len(), matches.destinations.len()];
    lengths.into_iter().fold(1, |all, length| all.saturating_mul(length.max(1)))
}

/// Matches that take together what this one takes, each with at most one host name, one method and one destination.
fn parts(matches: &RouteMatch) -> Vec<RouteMatch> {
    let mut parts = Vec::new();
    for authorities in singles(&matches.authorities) {
        for methods in singles(&matches.methods) {
            for destinations in singles(&matches.destinations) {
                let (authorities, methods) = (authorities.clone(), methods.clone());
                parts.push(RouteMatch { authorities, methods, destinations, ..matches.clone() });
            }
        }
    }
    parts
}

/// Each for itself. None means any, which is no list that could be cut up.
fn singles<T: Clone>(all: &[T]) -> Vec<Vec<T>> {
    match all {
        [] => vec![Vec::new()],
        some => some.iter().map(|one| vec![one.clone()]).collect(),
    }
}
