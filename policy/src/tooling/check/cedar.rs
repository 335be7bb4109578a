//! Cedar policies: by Cedar's own strict validation against the contract, each error at its place.
use super::codes::{CEDAR, CEDAR_ADVICE, CEDAR_BUNDLE, IMPOSSIBLE, SYNTAX};
use super::{Found, Gather};
use crate::engine::cedar::examine::{self, Kind};
use crate::{Entry, Pdp, PolicyBundle};

pub(super) fn check(bundle: &PolicyBundle, found: &mut Gather) {
    for problem in examine::problems(bundle) {
        let code = match problem.kind {
            Kind::Syntax => &SYNTAX,
            Kind::Invalid => &CEDAR,
            Kind::Bundle => &CEDAR_BUNDLE,
            Kind::Impossible => &IMPOSSIBLE,
            Kind::Advice => &CEDAR_ADVICE,
        };
        let help = problem.help.filter(|help| is_near(&problem.what, help));
        let told = match help {
            Some(help) => Found::new(problem.what, help),
            None => Found::plain(problem.what, code),
        };
        found.at(code, (&problem.file, problem.row, problem.col), told);
    }
    if found.any_error() {
        return;
    }
    if let Err(error) = Pdp::load(&[("", bundle.clone())], &Entry::Cedar, &super::limits()) {
        let text = error.to_string();
        let text = text.trim_start_matches('/');
        let place = text.split([':', ' ']).next().filter(|place| place.contains('.')).unwrap_or("");
        let rest = text.strip_prefix(place).unwrap_or(text).trim_start_matches(':').trim_start();
        found.whole(&CEDAR_BUNDLE, place, Found::plain(rest.to_owned(), &CEDAR_BUNDLE));
    }
}

/// Whether a suggestion has something in common with the name that it is for: Cedar always suggests the nearest.
fn is_near(what: &str, help: &str) -> bool {
    const NEAR_ENOUGH: f64 = 0.75;
    let quoted = |text: &str| text.split('`').nth(1).map(str::to_lowercase);
    match (help.starts_with("did you mean"), quoted(what), quoted(help)) {
        (true, Some(name), Some(meant)) => strsim::jaro_winkler(&name, &meant) >= NEAR_ENOUGH,
        _ => true,
    }
}
