//! The status port: `/livez`, `/readyz`, `/startupz` and `/metrics`, for probes and scrapers. It tells and
//! changes nothing.

use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::Arc;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::server::{self, ACCEPT_PAUSE, Answer, Answers, Places, ServerLimits};
use crate::telemetry::metrics;

const PATHS: &str = "there is /livez, /readyz, /startupz and /metrics\n";

/// One thing that must be well for the sidecar to do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A stable name: `identity`, `trust`, `policy`, `audit`, `keys`, `listeners`, `draining` …
    pub name: &'static str,
    /// Whether it is well.
    pub ok: bool,
    /// Why it is not, or what an operator should know although it is. Never a secret.
    pub reason: String,
}

impl Check {
    /// A check by its outcome: a remark where all is well, or the reason why not.
    #[must_use]
    pub fn new(name: &'static str, outcome: Result<String, String>) -> Self {
        let ok = outcome.is_ok();
        let (Ok(reason) | Err(reason)) = outcome;
        Self { name, ok, reason }
    }
}

/// What the status port shows. Asked on the admin thread, so that it may take locks, but must not wait for
/// a worker.
pub trait StatusView: Debug + Send + Sync {
    /// What must hold for this process not to be killed: its own threads, never what it depends on. A
    /// process that answers is alive, unless the view knows better.
    fn live(&self) -> Vec<Check> {
        Vec::new()
    }
    /// What must hold for traffic to be sent here.
    fn checks(&self) -> Vec<Check>;
    /// Whether the sidecar was ever ready.
    fn is_started(&self) -> bool;
    /// All metrics, of the type [`metrics::CONTENT_TYPE`].
    fn metrics(&self) -> String;
}

/// Serves the status port until it is dropped, which closes every connection.
pub(super) async fn serve(
    listener: TcpListener,
    state: Arc<dyn StatusView>,
    limits: ServerLimits,
) -> Infallible {
    let places = Places::new(limits);
    let answers = Arc::new(StatusPort(state));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Without a place the stream is dropped here, which closes it.
                    if let Some(place) = places.take(peer.ip().to_canonical()) {
                        connections.spawn(place.serve(stream, Arc::clone(&answers)));
                    }
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

#[derive(Debug)]
struct StatusPort(Arc<dyn StatusView>);

impl Answers for StatusPort {
    async fn answer(&self, request: Request<()>) -> Answer {
        let path = request.uri().path();
        let checks = match path {
            "/livez" => self.0.live(),
            "/readyz" => self.0.checks(),
            "/startupz" => vec![startup(&*self.0)],
            "/metrics" => Vec::new(),
            _ => return server::text(StatusCode::NOT_FOUND, PATHS),
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return server::method_not_allowed("GET, HEAD");
        }
        if path == "/metrics" {
            return server::answer(StatusCode::OK, metrics::CONTENT_TYPE, self.0.metrics());
        }
        match form(&request) {
            Form::Brief => brief(&checks),
            Form::Json => detailed(&checks),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Brief,
    Json,
}

fn form(request: &Request<()>) -> Form {
    let mut parameters = request.uri().query().unwrap_or_default().split('&');
    let verbose = parameters.any(|parameter| matches!(parameter, "verbose" | "verbose=1" | "verbose=true"));
    if verbose || accepts_json(request.headers()) { Form::Json } else { Form::Brief }
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| HeaderValue::to_str(value).ok());
    let mut types = values.flat_map(|value| value.split(',')).filter_map(|part| part.split(';').next());
    types.any(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"))
}

fn startup(state: &dyn StatusView) -> Check {
    let started = "the sidecar was ready at least once".to_owned();
    Check::new(
        "started",
        if state.is_started() { Ok(started) } else { Err("the sidecar has not been ready yet".to_owned()) },
    )
}

fn status_of(checks: &[Check]) -> StatusCode {
    if checks.iter().all(|check| check.ok) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// `ok`, or one line for each thing that is not.
fn brief(checks: &[Check]) -> Answer {
    let failing = checks.iter().filter(|check| !check.ok);
    let mut body: String = failing.map(|check| format!("{}: {}\n", check.name, check.reason)).collect();
    if body.is_empty() {
        body.push_str("ok\n");
    }
    server::text(status_of(checks), body)
}

fn detailed(checks: &[Check]) -> Answer {
    #[derive(Serialize)]
    struct Detailed<'a> {
        ok: bool,
        checks: &'a [Check],
    }
    let status = status_of(checks);
    server::json(status, &Detailed { ok: status == StatusCode::OK, checks })
}

#[cfg(test)]
mod tests;
