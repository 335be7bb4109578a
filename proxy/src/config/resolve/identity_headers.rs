//! `identity_headers:` of a route.

use super::context::{Context, Reported};
use crate::config::file::{
    ClientCertFile, IdentityHeadersFile, TokenPassageFile, TokenRuleFile, XfccDetailFile, XfccFile,
    XfccModeFile,
};
use crate::config::places::member;
use crate::config::settings::{ClientCert, IdentityHeaders, TokenPassage, XfccDetail, XfccMode};
use crate::pipeline::may_carry_claim;

/// Headers that a request has for other reasons, and that would mean something else with a claim in them.
const TAKEN: [&str; 12] = [
    "accept",
    "accept-encoding",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-type",
    "cookie",
    "origin",
    "range",
    "referer",
    "traceparent",
    "user-agent",
];
/// Longest name of a claim, in bytes.
const CLAIM_BYTES_MAX: usize = 256;

pub(super) fn identity_headers(
    context: &mut Context<'_>,
    key: &str,
    file: &IdentityHeadersFile,
    tokens: Option<TokenRuleFile>,
) -> Result<IdentityHeaders, Reported> {
    let claims_key = member(key, "claims");
    context.few(&claims_key, file.claims.len(), "claim header")?;
    if !file.claims.is_empty() && matches!(tokens, Some(TokenRuleFile::Ignored)) {
        let what = "claims are to be sent on, and this route looks at no token";
        return Err(context.error(&claims_key, what, "write `tokens: required`, or leave `claims` out"));
    }
    let mut claims = Vec::with_capacity(file.claims.len());
    for (header, claim) in &file.claims {
        let key = member(&claims_key, header);
        if !may_carry_claim(header) || TAKEN.contains(&header.as_str()) {
            let what = format!("`{header}` is no header that a claim may stand in");
            let mend = "use lower-case letters, digits and hyphens, and a name with no other meaning, such as `x-user`";
            return Err(context.error(&key, what, mend));
        }
        if claim.is_empty() || claim.len() > CLAIM_BYTES_MAX {
            let what = "a claim has a name of 1 to 256 bytes";
            return Err(context.error(
                &key,
                what,
                "name a member of the token, or a JSON pointer such as `/realm/roles`",
            ));
        }
        claims.push((header.clone(), claim.clone()));
    }
    let (xfcc, xfcc_details) = xfcc(file.xfcc.as_ref());
    let client_cert = match file.client_cert {
        None => ClientCert::None,
        Some(ClientCertFile::Leaf) => ClientCert::Leaf,
        Some(ClientCertFile::Chain) => ClientCert::Chain,
    };
    let token = match file.token {
        None | Some(TokenPassageFile::Forward) => TokenPassage::Forward,
        Some(TokenPassageFile::Strip) => TokenPassage::Strip,
    };
    Ok(IdentityHeaders { xfcc, xfcc_details, client_cert, token, claims })
}

fn xfcc(file: Option<&XfccFile>) -> (XfccMode, Vec<XfccDetail>) {
    let Some(file) = file else { return (XfccMode::Sanitize, Vec::new()) };
    let mode = match file.mode {
        XfccModeFile::Sanitize => XfccMode::Sanitize,
        XfccModeFile::ForwardOnly => XfccMode::ForwardOnly,
        XfccModeFile::AppendForward => XfccMode::AppendForward,
        XfccModeFile::SanitizeSet => XfccMode::SanitizeSet,
        XfccModeFile::AlwaysForwardOnly => XfccMode::AlwaysForwardOnly,
    };
    let details =
        file.details.as_deref().unwrap_or(&[XfccDetailFile::Uri]).iter().map(|detail| match detail {
            XfccDetailFile::Cert => XfccDetail::Cert,
            XfccDetailFile::Chain => XfccDetail::Chain,
            XfccDetailFile::Subject => XfccDetail::Subject,
            XfccDetailFile::Uri => XfccDetail::Uri,
            XfccDetailFile::Dns => XfccDetail::Dns,
        });
    let mut details: Vec<_> = details.collect();
    details.sort();
    details.dedup();
    (mode, details)
}
