//! The query as policy wants it: its parameters set and removed, everything else as it was sent.
use super::{GuardError, GuardLimits, Normalised, is_grpc, target};
use http::Uri;

impl Normalised {
    /// The target with these parameters set, each in the place of all of its name, and then those removed. It has gone
    /// through the guard again: what could not have been asked for is not forwarded either, and the path is the one
    /// that was decided on.
    ///
    /// A parameter has the name that an application reads: `%61` is `a`.
    ///
    /// # Errors
    /// What would be wrong with a request for it.
    pub(crate) fn target_with(
        &self,
        set: &[(String, String)],
        remove: &[String],
        limits: &GuardLimits,
    ) -> Result<Uri, GuardError> {
        let gone: Vec<Vec<u8>> =
            set.iter().map(|(name, _)| name).chain(remove).map(|name| read(name)).collect();
        let removed: Vec<Vec<u8>> = remove.iter().map(|name| read(name)).collect();
        let kept = self.query().into_iter().flat_map(|query| query.split('&'));
        let kept = kept.filter(|parameter| !gone.contains(&read(name_of(parameter)))).map(str::to_owned);
        let added = set.iter().filter(|(name, _)| !removed.contains(&read(name)));
        let all: Vec<String> = kept.chain(added.map(|(name, value)| format!("{name}={value}"))).collect();
        let query = all.join("&");
        // Whoever parses the target would take the rest for a fragment, and drop it.
        if query.contains('#') {
            return Err(GuardError::Query);
        }
        let path = self.path();
        let spelled = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let uri = Uri::try_from(spelled).map_err(|_| GuardError::Query)?;
        let (target, differs) = target(uri, limits)?;
        if differs || target.path() != path {
            return Err(GuardError::PathForm);
        }
        if target.query().is_some() && is_grpc(&self.headers) {
            return Err(GuardError::GrpcPath);
        }
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query = Some(target);
        Uri::from_parts(parts).map_err(|_| GuardError::TargetForm)
    }
}

fn name_of(parameter: &str) -> &str {
    parameter.split_once('=').map_or(parameter, |(name, _)| name)
}

/// A name as an application reads it (WHATWG URL, "application/x-www-form-urlencoded parsing").
fn read(name: &str) -> Vec<u8> {
    let mut rest = name.as_bytes();
    let mut out = Vec::with_capacity(rest.len());
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        out.push(match (first, tail) {
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                (_, _) => b'%',
            },
            (b'+', _) => b' ',
            (other, _) => *other,
        });
    }
    out
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
