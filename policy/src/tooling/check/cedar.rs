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
        let mend = problem.help.unwrap_or_else(|| code.mend.to_owned());
        found.at(code, (&problem.file, problem.row, problem.col), Found::new(problem.what, mend));
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
