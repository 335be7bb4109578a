//! The demo's upstream: a bank that trusts whoever reaches it, as services behind a sidecar do.
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use tokio::net::TcpListener;

/// A payment order is short.
const ORDER_BYTES_MAX: usize = 16 * 1024;

/// Serves the bank on a bound socket, until the runtime ends.
pub async fn serve(socket: TcpListener) {
    loop {
        let Ok((stream, _)) = socket.accept().await else { continue };
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(
            TokioIo::new(stream),
            service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) }),
        );
        drop(tokio::spawn(connection));
    }
}

async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let segments: Vec<_> = path.split('/').skip(1).collect();
    match (request.method(), segments.as_slice()) {
        (&Method::GET, ["healthz"]) => json(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
        (&Method::GET, ["accounts", id]) => json(
            StatusCode::OK,
            &serde_json::json!({ "account": id, "owner": "A. Customer", "balance_cents": 104_250 }),
        ),
        (&Method::POST, ["accounts", id, "payments"]) => {
            let account = (*id).to_owned();
            let Ok(order) = Limited::new(request.into_body(), ORDER_BYTES_MAX).collect().await else {
                return json(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    &serde_json::json!({ "error": "order too long" }),
                );
            };
            let bytes = order.to_bytes().len();
            json(
                StatusCode::CREATED,
                &serde_json::json!({ "account": account, "accepted": true, "order_bytes": bytes }),
            )
        }
        _ => json(StatusCode::NOT_FOUND, &serde_json::json!({ "error": "no such thing at this bank" })),
    }
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
