//! What a configuration means, in a few lines: who is let in where, who decides, what is recorded.

use std::fmt;

use crate::config::moment::moment_text;
use crate::config::{
    AdminConfig, AuditMode, BundleSource, BundleTrust, Config, EndpointOrigin, EndpointProfile, Enforcement,
    FederationConfig, IdentitySource, ListenerConfig, ListenerTls, Otlp, PolicyConfig, PolicyDecision,
    RouteConfig, StatusConfig, TokenRule,
};

/// Displays the meaning of a configuration.
pub(super) struct Summary<'a>(pub(super) &'a Config);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        let identity = match &config.identity.source {
            IdentitySource::WorkloadApi { endpoint, origin, selection } => {
                let said = match origin {
                    EndpointOrigin::Configuration => "",
                    EndpointOrigin::Environment => " (SPIFFE_ENDPOINT_SOCKET)",
                };
                format!("the Workload API at {endpoint}{said}, {selection}")
            }
            IdentitySource::Files { certificate, .. } => certificate.display().to_string(),
        };
        writeln!(f, "identity  from {identity}")?;
        for FederationConfig { trust_domain, url, profile } in &config.identity.federation {
            match profile {
                EndpointProfile::HttpsWeb { .. } => writeln!(f, "federated with {trust_domain}, by {url}")?,
                EndpointProfile::HttpsSpiffe { endpoint, .. } => {
                    writeln!(f, "federated with {trust_domain}, by {url} as {endpoint}")?;
                }
            }
        }
        for issuer in &config.tokens {
            writeln!(f, "tokens    of {}, for {}", issuer.issuer, issuer.audiences.join(", "))?;
        }
        policy(&config.policy, f)?;
        for listener in &config.listeners {
            self::listener(listener, f)?;
        }
        let mode = audit_mode(config.audit.mode);
        writeln!(f, "audit     {mode}, in {}", config.audit.directory.display())?;
        match &config.telemetry.otlp {
            Otlp::Off => {}
            Otlp::Grpc(server) => writeln!(f, "traces    to {}", server.url)?,
        }
        match config.status {
            StatusConfig::Closed => writeln!(f, "status    no port")?,
            StatusConfig::Open { address } => writeln!(f, "status    on {address}")?,
        }
        match &config.admin {
            AdminConfig::Closed => writeln!(f, "admin     no socket"),
            AdminConfig::Open { socket } => writeln!(f, "admin     at {}", socket.display()),
        }
    }
}

fn policy(policy: &PolicyConfig, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for bundle in &policy.bundles {
        let source = match &bundle.source {
            BundleSource::Directory { path, .. } => path.display().to_string(),
            BundleSource::Http { server, .. } => server.url.clone(),
        };
        let trust = match &bundle.trust {
            BundleTrust::Signers(signers) => format!("signed by one of {} keys", signers.len()),
            BundleTrust::UnsignedForDevelopment => "UNSIGNED".to_owned(),
        };
        writeln!(f, "policy    {} from {source}, {trust}", bundle.name)?;
    }
    match &policy.decision {
        PolicyDecision::Rego { path } => writeln!(f, "decision  rego {path}"),
        PolicyDecision::Cedar => writeln!(f, "decision  cedar"),
    }
}

fn listener(listener: &ListenerConfig, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "listener  {} on {} ", listener.name, listener.bind)?;
    match &listener.tls {
        ListenerTls::Mutual { trust_domains, .. } => {
            let names: Vec<&str> = trust_domains.iter().map(postern_identity::TrustDomain::as_str).collect();
            write!(f, "for members of {}", names.join(", "))?;
            match listener.permissive {
                None => writeln!(f)?,
                Some(terms) => writeln!(f, ", OPEN in plain text until {}", moment_text(terms.until_unix_s))?,
            }
        }
        ListenerTls::None => writeln!(f, "for the local workload")?,
    }
    listener.routes.iter().try_for_each(|route| self::route(route, f))
}

fn route(route: &RouteConfig, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let any = |list: &[String], any: &str| if list.is_empty() { any.to_owned() } else { list.join("|") };
    let methods = any(&route.matches.methods, "*");
    let authorities = any(&route.matches.authorities, "");
    let below = if route.matches.path_prefix == "/" { "" } else { "[/…]" };
    write!(
        f,
        "  route   {}: {methods} {authorities}{}{below} → {}",
        route.name, route.matches.path_prefix, route.leads
    )?;
    match route.enforcement {
        Enforcement::Enforce => {}
        Enforcement::Observe => write!(f, ", OPEN (observe)")?,
    }
    match route.tokens {
        TokenRule::Required => write!(f, ", token required")?,
        TokenRule::Optional | TokenRule::Ignored => {}
    }
    writeln!(f, ", audit {}", audit_mode(route.audit_mode))
}

fn audit_mode(mode: AuditMode) -> &'static str {
    match mode {
        AuditMode::BestEffort => "best_effort",
        AuditMode::Async => "async",
        AuditMode::Durable => "durable",
    }
}
