//! Asking an endpoint how it is. A probe is made of the configuration alone: nothing of any caller can be in it.
use super::pool::{Maker, Pool};
use super::target::{Protocol, Target};
use crate::config::{HealthConfig, HealthProbe};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use prost::Message;
use std::rc::Rc;

/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

impl Pool {
    /// Whether the endpoint is well, or why not. Its place among the upstream's connections is not asked for: a check must
    /// not fail because the upstream is busy.
    pub(crate) fn probe(
        &self,
        target: &Target,
        health: &HealthConfig,
    ) -> LocalBoxFuture<'static, Result<(), String>> {
        let (maker, target, health) = (self.maker(), target.clone(), health.clone());
        async move {
            match tokio::time::timeout(health.timeout, ask(&maker, &target, &health.probe)).await {
                Ok(result) => result,
                Err(_) => Err("no answer in time".to_owned()),
            }
        }
        .boxed_local()
    }
}

async fn ask(maker: &Rc<Maker>, target: &Target, probe: &HealthProbe) -> Result<(), String> {
    let (io, _) = maker.stream(target).await.map_err(|refusal| refusal.code().to_owned())?;
    let io = TokioIo::new(io);
    let request = match probe {
        HealthProbe::Connect => return Ok(()),
        HealthProbe::Http { path, host } => {
            let host = host.clone().unwrap_or_else(|| target.host());
            let request = http_request(target, path, &host).map_err(|error| error.to_string())?;
            let status = send(io, target.protocol, request).await?.status().as_u16();
            return match status {
                200..400 => Ok(()),
                _ => Err(format!("status {status}")),
            };
        }
        HealthProbe::Grpc { service } => grpc_request(target, service).map_err(|error| error.to_string())?,
    };
    let response = send(io, target.protocol, request).await?;
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    let message = unframed(&body).ok_or("no health status in the answer")?;
    match HealthCheckResponse::decode(message) {
        Ok(HealthCheckResponse { status: SERVING }) => Ok(()),
        Ok(HealthCheckResponse { status }) => Err(format!("health status {status}")),
        Err(error) => Err(error.to_string()),
    }
}

fn http_request(
    target: &Target,
    path: &http::uri::PathAndQuery,
    host: &str,
) -> http::Result<Request<Full<Bytes>>> {
    let request = Request::get(uri(target, host, path.as_str())).header(USER_AGENT, AGENT);
    let request = match target.protocol {
        Protocol::Http1 | Protocol::Tcp => request.uri(path.as_str()).header(HOST, host),
        Protocol::H2 | Protocol::H2c => request,
    };
    request.body(Full::default())
}

fn grpc_request(target: &Target, service: &str) -> http::Result<Request<Full<Bytes>>> {
    let body = framed(&HealthCheckRequest { service: service.to_owned() });
    let host = target.host();
    Request::post(uri(target, &host, "/grpc.health.v1.Health/Check"))
        .header(USER_AGENT, AGENT)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .body(Full::new(body))
}

/// A message as gRPC sends it: a flag and the length stand before it.
pub(super) fn framed(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    body.extend(message);
    body.into()
}

/// The one message of an answer, which nobody has asked to compress.
pub(super) fn unframed(body: &[u8]) -> Option<&[u8]> {
    let (flag, rest) = body.split_first()?;
    let (length, message) = rest.split_first_chunk()?;
    (*flag == 0 && usize::try_from(u32::from_be_bytes(*length)) == Ok(message.len())).then_some(message)
}

pub(super) fn uri(target: &Target, host: &str, path: &str) -> String {
    let scheme = if target.security.is_some() { "https" } else { "http" };
    format!("{scheme}://{host}{path}")
}

const AGENT: &str = "postern-health";

async fn send<I>(
    io: TokioIo<I>,
    protocol: Protocol,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, String>
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let failed = |error: hyper::Error| error.to_string();
    match protocol {
        Protocol::Http1 | Protocol::Tcp => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(failed)?;
            drop(tokio::task::spawn_local(connection));
            sender.send_request(request).await.map_err(failed)
        }
        Protocol::H2 | Protocol::H2c => {
            let executor = super::executor::LocalExecutor;
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(executor, io).await.map_err(failed)?;
            drop(tokio::task::spawn_local(connection));
            sender.send_request(request).await.map_err(failed)
        }
    }
}
