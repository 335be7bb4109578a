//! One stream of the Workload API, kept open for ever: what every profile has in common.

use std::future::{Future, pending};
use std::time::Duration;

use http::uri::PathAndQuery;
use tokio::time::Instant;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::messages::SECURITY_HEADER;
use crate::clock::Clock;
use crate::config::WorkloadEndpoint;
use crate::sources::backoff::Backoff;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The first message comes "without delay" (SPIFFE_Workload_API §4.3). An endpoint that takes a call and then says
/// nothing hangs.
const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(15);
/// gRPC servers in Go hang up on peers that ping more often than every five minutes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(330);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_LONGEST: Duration = Duration::from_secs(10);
/// A stream that ends is opened again at once, but not one that ends again and again.
const AT_ONCE_INTERVAL: Duration = Duration::from_secs(1);
/// How often a profile may look around while nothing comes.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// One message: some SVIDs and the bundles of all federated trust domains.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A profile of the Workload API: one call, and what becomes of its answers. What happens to one profile is nothing
/// to the others: an endpoint may offer X.509-SVIDs alone.
pub(super) trait Profile {
    type Request: prost::Message + Default + 'static;
    type Response: prost::Message + Default + 'static;
    /// The call.
    const CALL: &'static str;

    /// A message came. It is the whole state (§4.4).
    fn take(&mut self, message: Self::Response) -> impl Future<Output = ()> + Send;
    /// We are denied what we had.
    fn withdraw(&mut self, reason: &str) -> impl Future<Output = ()> + Send;
    /// Nothing will come from here any more.
    fn refused(&mut self, reason: &str);
    /// The endpoint is not there. What it last said stays in force.
    fn lost(&mut self, reason: String);
    /// Nothing came for a while.
    fn idle(&mut self) {}
}

/// Follows one call for ever. Dropping the future closes the connection.
pub(super) async fn follow<P: Profile>(endpoint: &WorkloadEndpoint, profile: &mut P, clock: &dyn Clock) {
    let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_LONGEST);
    let mut reopened_at: Option<Instant> = None;
    loop {
        let Ended { status, messages } = follow_once(endpoint, profile).await;
        if messages > 0 {
            backoff.reset();
        }
        let code = status.code();
        if code == Code::PermissionDenied {
            // What we had is gone until the endpoint says otherwise, whatever the clock says about a certificate.
            profile.withdraw(status.message()).await;
        } else if matches!(code, Code::InvalidArgument | Code::Unimplemented) {
            // Workload_Endpoint §6: asking again cannot help. Ending here would only hide that.
            let call = P::CALL.rsplit('/').next().unwrap_or(P::CALL);
            let said = status.message();
            profile.refused(&format!("the Workload API refuses `{call}` for good: {said}"));
            pending::<()>().await;
        } else if messages > 0 && reopened_at.is_none_or(|at| at.elapsed() >= AT_ONCE_INTERVAL) {
            // Workload_API §4.2: at once.
            reopened_at = Some(Instant::now());
            continue;
        } else {
            let why = with_causes(&status);
            profile.lost(format!("the Workload API at `{endpoint}` is not there: {why}"));
        }
        tokio::time::sleep(backoff.wait(clock)).await;
    }
}

struct Ended {
    status: Status,
    messages: usize,
}

async fn follow_once<P: Profile>(endpoint: &WorkloadEndpoint, profile: &mut P) -> Ended {
    let mut messages = 0;
    let hangs = || Status::unavailable(format!("it has not answered within {FIRST_MESSAGE_TIMEOUT:?}"));
    let begun = tokio::time::timeout(FIRST_MESSAGE_TIMEOUT, begin::<P>(endpoint)).await;
    let (mut stream, mut next) = match begun.map_err(|_elapsed| hangs()).and_then(|begun| begun) {
        Ok(begun) => begun,
        Err(status) => return Ended { status, messages },
    };
    loop {
        let Some(message) = next else {
            return Ended { status: Status::unavailable("the stream ended"), messages };
        };
        messages += 1;
        profile.take(message).await;
        next = loop {
            tokio::select! {
                message = stream.message() => match message {
                    Ok(message) => break message,
                    Err(status) => return Ended { status, messages },
                },
                () = tokio::time::sleep(IDLE_INTERVAL) => profile.idle(),
            }
        };
    }
}

type Begun<M> = (Streaming<M>, Option<M>);

async fn begin<P: Profile>(endpoint: &WorkloadEndpoint) -> Result<Begun<P::Response>, Status> {
    let mut stream = open::<P>(endpoint).await?;
    let first = stream.message().await?;
    Ok((stream, first))
}

async fn open<P: Profile>(endpoint: &WorkloadEndpoint) -> Result<Streaming<P::Response>, Status> {
    let unreachable = |error: tonic::transport::Error| Status::from_error(Box::new(error));
    let uri = match endpoint {
        WorkloadEndpoint::Unix(path) => format!("unix:{}", path.display()),
        // Workload_Endpoint §3.1: no TLS.
        WorkloadEndpoint::Tcp(address) => format!("http://{address}"),
    };
    let channel: Channel = Endpoint::from_shared(uri)
        .map_err(unreachable)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .connect()
        .await
        .map_err(unreachable)?;
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    client.ready().await.map_err(unreachable)?;
    let mut request = Request::new(P::Request::default());
    request.metadata_mut().insert(SECURITY_HEADER, MetadataValue::from_static("true"));
    let codec = ProstCodec::<P::Request, P::Response>::default();
    Ok(client.server_streaming(request, PathAndQuery::from_static(P::CALL), codec).await?.into_inner())
}

/// tonic's own words ("transport error") leave out what happened.
fn with_causes(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    for _ in 0..8 {
        let Some(error) = cause else { break };
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
