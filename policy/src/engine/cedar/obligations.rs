//! What a determining policy demands by its annotations: `@reason`, `@deny_status`, `@set_request_header`.
use crate::Decision;
use crate::engine::NoAnswer;
use crate::header;
use crate::verdict::{MESSAGE_BYTES_MAX, Obligations};
use cedar_policy::{Effect, Policy};

/// The demands of one policy, checked at load.
#[derive(Clone, Debug, Default)]
pub(super) struct Duties {
    reason: Option<String>,
    deny_status: Option<u16>,
    set_request_header: Option<(String, String)>,
}

/// Annotations that mean nothing here are free (`@owner`, `@doc`); a misspelt one of ours must not pass as free.
const OURS: [&str; 4] = ["id", "reason", "deny_status", "set_request_header"];

impl Duties {
    pub(super) fn of(policy: &Policy) -> Result<Self, String> {
        let mut duties = Self::default();
        for (name, value) in policy.annotations() {
            match name {
                "reason" if value.len() <= MESSAGE_BYTES_MAX => duties.reason = Some(value.to_owned()),
                "reason" => return Err(format!("`@reason` is longer than {MESSAGE_BYTES_MAX} bytes")),
                "deny_status" if policy.effect() == Effect::Forbid => {
                    duties.deny_status = Some(status(value)?);
                }
                "deny_status" => {
                    return Err("`@deny_status` stands on a permit, where it has no effect".to_owned());
                }
                "set_request_header" if policy.effect() == Effect::Permit => {
                    duties.set_request_header = Some(field(value)?);
                }
                "set_request_header" => {
                    return Err("`@set_request_header` stands on a forbid, where it has no effect".to_owned());
                }
                other => refuse_misspelt(other)?,
            }
        }
        Ok(duties)
    }
}

fn refuse_misspelt(name: &str) -> Result<(), String> {
    let plain = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    let misspelt =
        OURS.iter().find(|ours| **ours != name && plain(ours) == plain(name).trim_end_matches('s'));
    misspelt.map_or(Ok(()), |ours| Err(format!("annotation `@{name}` is not known; did you mean `@{ours}`?")))
}

fn status(value: &str) -> Result<u16, String> {
    let status = value.parse().ok().filter(|status| (400..600).contains(status));
    status.ok_or_else(|| format!("`@deny_status(\"{value}\")` is no number from 400 to 599"))
}

fn field(value: &str) -> Result<(String, String), String> {
    let Some((name, value)) = value.split_once(':') else {
        return Err("`@set_request_header` is written `name: value`".to_owned());
    };
    header::checked(name.trim(), value).map_err(|error| error.to_string())
}

/// The demands of all determining policies together. Two permits that set one header differently cannot both be
/// obeyed: that denies. Two forbids with different statuses deny either way: then the status is left out.
pub(super) fn combined(
    decision: Decision,
    duties: &[&Duties],
) -> Result<(Option<String>, Obligations), NoAnswer> {
    let mut obligations = Obligations::default();
    let message = duties.iter().find_map(|duty| duty.reason.clone());
    match decision {
        Decision::Allow => {
            for (name, value) in duties.iter().filter_map(|duty| duty.set_request_header.as_ref()) {
                match obligations.request_headers_set.iter().find(|(have, _)| have == name) {
                    Some((_, have)) if have != value => {
                        let what = format!("two policies set header `{name}` to different values");
                        return Err(NoAnswer::Obligation(what));
                    }
                    Some(_) => {}
                    None => obligations.request_headers_set.push((name.clone(), value.clone())),
                }
            }
        }
        Decision::Deny => {
            let mut statuses: Vec<u16> = duties.iter().filter_map(|duty| duty.deny_status).collect();
            statuses.dedup();
            if let [one] = statuses.as_slice() {
                obligations.deny_status = Some(*one);
            }
        }
    }
    Ok((message, obligations))
}
