//! The decisions that are measured.
use postern_policy::{
    Body, BundleError, BundleLimits, Entry, Http, LoadError, Pdp, PdpLimits, PolicyBundle, Query, Signers,
    Source,
};
use std::time::Duration;

const CALLER: &str = "spiffe://example.org/u7";

/// A policy, its data, and what it is called in the table.
pub(crate) struct Case {
    /// In the table.
    pub(crate) name: String,
    /// Rego.
    pub(crate) policy: String,
    /// JSON.
    pub(crate) data: String,
}

/// Roles of a caller are looked up, and one glob is matched.
fn rbac(bindings: usize, caller: &str) -> Case {
    let rows: Vec<String> =
        (0..bindings).map(|n| format!(r#""spiffe://example.org/u{n}": ["reader", "writer"]"#)).collect();
    let policy = format!(
        r#"package t
import input.attributes.request.http
default allow := false
allow if {{
	some role in data.bindings[{caller}]
	some grant in data.roles[role]
	grant.method == http.method
	glob.match(grant.path, ["/"], http.path)
}}
"#
    );
    let data = format!(
        r#"{{"bindings": {{{}}}, "roles": {{"reader": [{{"method": "GET", "path": "/orders/*/items"}}],
            "writer": [{{"method": "PUT", "path": "/orders/**"}}]}}}}"#,
        rows.join(", ")
    );
    Case { name: format!("roles of a caller, one glob, {bindings} bindings"), policy, data }
}

/// So many rules of one name, of which one can hold.
fn rules(count: usize, matching: usize) -> Case {
    let mut policy = "package t\ndefault allow := false\n".to_owned();
    for n in 0..count {
        let user = if n == matching { 7 } else { count.saturating_add(n) };
        policy.push_str(&format!(
            "allow if {{ input.attributes.source.principal == \"spiffe://example.org/u{user}\"; \
             startswith(input.attributes.request.http.path, \"/orders\") }}\n"
        ));
    }
    let place = if matching == 0 { "first" } else { "last" };
    Case { name: format!("{count} rules, the {place} holds"), policy, data: "{}".to_owned() }
}

/// An item is looked for in a list.
fn list(count: usize) -> Case {
    let rows: Vec<String> = (0..count).map(|n| format!(r#"{{"user": "u{n}"}}"#)).collect();
    let wanted = count.saturating_sub(1);
    let policy = format!("package t\nallow if {{ some b in data.list; b.user == \"u{wanted}\" }}\n");
    Case {
        name: format!("a list of {count}, the last one"),
        policy,
        data: format!("{{\"list\": [{}]}}", rows.join(", ")),
    }
}

/// What is asked.
pub(crate) fn query(headers: &Vec<(String, String)>) -> Result<Query<'_>, std::net::AddrParseError> {
    Ok(Query {
        now_ns: 1_700_000_000_123_456_789,
        action: "GET",
        source: Source {
            address: Some("10.0.0.7:4711".parse()?),
            spiffe_id: Some(CALLER),
            trust_domain: Some("example.org"),
            sni: Some("orders.example.org"),
            certificate_serial: Some("0a0b0c"),
            tls: postern_policy::Tls::default(),
        },
        destination: Some("10.0.0.8:8443".parse()?),
        destination_principal: None,
        http: Some(Http {
            id: "01JD0000000000000000000000",
            scheme: "https",
            authority: "orders.example.org",
            path: "/orders/7/items",
            query: None,
            protocol: "HTTP/2",
            headers,
            body: Body::NotRead,
            size: 0,
        }),
        claims: None,
        token_issuer: None,
        transaction: None,
        workload_token: None,
        route: "orders",
        service: "orders",
    })
}

/// All of them, from the smallest.
pub(crate) fn all() -> impl Iterator<Item = Case> {
    let principal = "input.attributes.source.principal";
    [10, 1_000, 100_000]
        .into_iter()
        .flat_map(move |n| [rbac(n, principal), rbac(n, "input.attributes.nobody")])
        .chain([10, 1_000, 10_000].into_iter().flat_map(|n| [rules(n, 0), rules(n, n.saturating_sub(1))]))
        .chain([10, 1_000, 100_000].into_iter().map(list))
}

impl Case {
    /// As the proxy loads it, but for bounds that would end the larger ones.
    pub(crate) fn load(&self) -> Result<Pdp, Failure> {
        let signers = Signers::UnsignedAllowedForDevelopment;
        let limits = BundleLimits {
            file_bytes_max: 1 << 30,
            decompressed_bytes_max: 1 << 30,
            ..BundleLimits::default()
        };
        let files = [("p.rego", self.policy.as_bytes()), ("data.json", self.data.as_bytes())];
        let bundle = PolicyBundle::from_files(files, &limits, &signers)?;
        let limits =
            PdpLimits { timeout: Duration::from_secs(60), steps_max: u64::MAX, ..PdpLimits::default() };
        Ok(Pdp::load(&[("b", bundle)], &Entry::Rego { path: "t/allow".to_owned() }, &limits)?)
    }
}

/// Why a case cannot be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Its files.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Its policy.
    #[error(transparent)]
    Load(#[from] LoadError),
}
