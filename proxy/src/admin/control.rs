//! What the admin socket answers: what the sidecar runs with, and the commands `drain` and `reload`.

use std::convert::Infallible;
use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::warn;

use super::server::{self, ACCEPT_PAUSE, Answer, Answers, Places, ServerLimits};
use super::socket::{AdminSocket, Caller};
use super::status::Check;
use crate::handover::{Offer, PROTOCOL};

/// Commands that may wait to be taken; one more is refused.
const COMMANDS_MAX: usize = 4;
const PATHS: &str = "there is GET /status, GET /config, POST /drain, POST /reload and POST /take-over\n";
/// Every caller of the socket is on this machine: they share one bound.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What an operator wants done.
#[derive(Debug)]
pub enum AdminCommand {
    /// Take no new connections, finish what runs, stop.
    Drain(Reply),
    /// Read the configuration again.
    Reload(Reply),
    /// Another process accepts on our sockets: take no new connections, finish what runs, stop.
    Relieved,
}

/// Where the answer to a command goes. Dropping it tells the operator that the sidecar is stopping.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Result<String, String>>);

impl Reply {
    /// It is done, or under way: a sentence for the operator. That nobody waits any more is no error.
    pub fn done(self, message: impl Into<String>) {
        drop(self.0.send(Ok(message.into())));
    }

    /// It is not, and why.
    pub fn refused(self, reason: impl Into<String>) {
        drop(self.0.send(Err(reason.into())));
    }
}

/// Where the admin socket puts commands, and where the control thread takes them.
#[must_use]
pub fn commands() -> (mpsc::Sender<AdminCommand>, mpsc::Receiver<AdminCommand>) {
    mpsc::channel(COMMANDS_MAX)
}

/// What the admin socket shows. Asked on the admin thread.
pub trait AdminView: Debug + Send + Sync {
    /// What runs, and how well.
    fn status(&self) -> Status;
    /// The configuration in force. Secrets are file names in it, and stay so.
    fn config(&self) -> serde_json::Value;
}

/// What runs, and how well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Version of the binary.
    pub version: &'static str,
    /// Whether the sidecar was ever ready.
    pub started: bool,
    /// Our identity; `None` until the source gave one.
    pub identity: Option<IdentityStatus>,
    /// Counts up with every policy put in force; 0 before the first.
    pub policy_generation: u64,
    /// The policy bundles in force.
    pub policy: Vec<BundleStatus>,
    /// The checks of `/readyz`.
    pub checks: Vec<Check>,
    /// Who comes in plain text, on each listener that takes some beside mutual TLS, or took some.
    pub plaintext: Vec<PlaintextStatus>,
}

/// Who comes in plain text on one listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlaintextStatus {
    /// Its name in the configuration.
    pub listener: String,
    /// When it is taken no more, in whole seconds since the Unix epoch; `None` where it is not taken now.
    pub until_unix_s: Option<u64>,
    /// Connections of all callers that were taken since this process began.
    pub connections: u64,
    /// When the last one came.
    pub last_unix_s: Option<u64>,
    /// The last callers by address, latest first; 64 at most.
    pub callers: Vec<PlaintextCaller>,
    /// How often an address was forgotten for others that came later.
    pub forgotten: u64,
}

/// One address from which callers come in plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlaintextCaller {
    /// It.
    pub address: IpAddr,
    /// Its connections since it was met, or met again.
    pub connections: u64,
    /// When the last of them came.
    pub last_unix_s: u64,
}

/// Our identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdentityStatus {
    /// Our SPIFFE ID.
    pub spiffe_id: String,
    /// When our SVID expires, in whole seconds since the Unix epoch.
    pub expires_unix_s: u64,
}

/// One policy bundle in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundleStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its own revision.
    pub revision: String,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// Serves the admin socket until it is dropped, which closes every connection and removes the socket.
///
/// # Errors
/// When the runtime cannot take the socket over.
pub(super) async fn serve(
    socket: AdminSocket,
    answers: AdminPort,
    limits: ServerLimits,
) -> io::Result<Infallible> {
    let socket = socket.serve()?;
    let places = Places::new(limits);
    let answers = Arc::new(answers);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, Caller::Trusted)) => {
                    if let Some(place) = places.take(HERE) {
                        connections.spawn(place.serve(stream, Arc::clone(&answers)));
                    }
                }
                Ok((_, Caller::Stranger { uid })) => warn!(uid, "a stranger at the admin socket was sent away"),
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// What answers at the admin socket.
#[derive(Debug)]
pub(super) struct AdminPort {
    pub(super) view: Arc<dyn AdminView>,
    pub(super) commands: mpsc::Sender<AdminCommand>,
    pub(super) offer: Offer,
}

impl Answers for AdminPort {
    async fn answer(&self, request: Request<()>) -> Answer {
        match (request.uri().path(), request.method()) {
            ("/status", &Method::GET) => server::json(StatusCode::OK, &self.view.status()),
            ("/config", &Method::GET) => server::json(StatusCode::OK, &self.view.config()),
            ("/drain", &Method::POST) => self.command(AdminCommand::Drain).await,
            ("/reload", &Method::POST) => self.command(AdminCommand::Reload).await,
            ("/take-over", &Method::POST) => self.take_over(request),
            ("/status" | "/config", _) => server::method_not_allowed("GET"),
            ("/drain" | "/reload" | "/take-over", _) => server::method_not_allowed("POST"),
            (_, _) => server::text(StatusCode::NOT_FOUND, PATHS),
        }
    }
}

impl AdminPort {
    /// Goes on with the bare socket: descriptors travel beside bytes, not in them.
    fn take_over(&self, mut request: Request<()>) -> Answer {
        let asked = request.headers().get(UPGRADE).is_some_and(|value| value == PROTOCOL);
        if !asked {
            return server::text(
                StatusCode::UPGRADE_REQUIRED,
                "`postern run --take-over` asks for this, with an upgrade\n",
            );
        }
        let upgrade = hyper::upgrade::on(&mut request);
        let (offer, commands) = (self.offer.clone(), self.commands.clone());
        tokio::spawn(async move {
            let relieved = async {
                let upgraded = upgrade.await.map_err(io::Error::other)?;
                let socket = upgraded.downcast::<TokioIo<UnixStream>>();
                let socket = socket.map_err(|_| io::Error::other("not the admin socket"))?.io.into_inner();
                crate::handover::hand_over(socket, &offer).await
            };
            match relieved.await {
                Ok(()) => drop(commands.send(AdminCommand::Relieved).await),
                Err(error) => warn!(%error, "a handover came to nothing: this process goes on"),
            }
        });
        let mut answer = server::text(StatusCode::SWITCHING_PROTOCOLS, "");
        let headers = answer.headers_mut();
        headers.clear();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
        answer
    }

    async fn command(&self, command: fn(Reply) -> AdminCommand) -> Answer {
        let (reply, answer) = oneshot::channel();
        if self.commands.try_send(command(Reply(reply))).is_err() {
            return told(
                StatusCode::SERVICE_UNAVAILABLE,
                "other commands are waiting, or the sidecar is stopping",
            );
        }
        match answer.await {
            Ok(Ok(done)) => told(StatusCode::OK, &done),
            Ok(Err(refused)) => told(StatusCode::CONFLICT, &refused),
            Err(_) => told(StatusCode::SERVICE_UNAVAILABLE, "the sidecar is stopping"),
        }
    }
}

fn told(status: StatusCode, message: &str) -> Answer {
    #[derive(Serialize)]
    struct Told<'a> {
        ok: bool,
        message: &'a str,
    }
    server::json(status, &Told { ok: status == StatusCode::OK, message })
}

#[cfg(test)]
mod tests;
