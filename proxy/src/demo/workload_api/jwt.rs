//! The JWT half of the demo's Workload API.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::unfold;
use postern_identity::token::{Algorithm, Claims, Issuer, KeySet, Profile, verify};
use serde_json::Value as Json;
use tonic::server::{ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status};

use super::{Answer, Messages, Source, streaming};
use crate::sources::identity::workload_api::messages::{JwtBundlesRequest, JwtBundlesResponse};
use messages::{
    FetchJwtSvidRequest, FetchJwtSvidResponse, JwtSvid, Kind, List, Object, ValidateJwtSvidRequest,
    ValidateJwtSvidResponse, Value,
};

pub(super) mod messages;

/// Audiences in one request.
const AUDIENCES_MAX: usize = 16;

type Reply<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

fn reply<T: Send + 'static>(answer: Result<T, Status>) -> Reply<T> {
    Box::pin(std::future::ready(answer.map(Response::new)))
}

impl Source {
    fn jwt_svid(&self, request: &FetchJwtSvidRequest) -> Result<FetchJwtSvidResponse, Status> {
        let audiences = &request.audience;
        if audiences.is_empty() || audiences.len() > AUDIENCES_MAX || audiences.iter().any(String::is_empty) {
            return Err(Status::invalid_argument("between 1 and 16 audiences have to be named"));
        }
        let id = self.workload.id.to_string();
        if !request.spiffe_id.is_empty() && request.spiffe_id != id {
            return Err(Status::permission_denied(format!("this endpoint is that of `{id}`")));
        }
        let svid = self
            .ca
            .issue_jwt(&self.workload.id, audiences, self.workload.ttl, self.clock.unix_time())
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok(FetchJwtSvidResponse { svids: vec![JwtSvid { spiffe_id: id, svid, hint: String::new() }] })
    }

    fn jwt_bundles(&self) -> JwtBundlesResponse {
        let name = format!("spiffe://{}", self.ca.trust_domain());
        JwtBundlesResponse { bundles: [(name, self.ca.jwt_bundle().into_bytes())].into() }
    }

    /// By the same rules as the sidecar's own.
    fn validate(&self, request: &ValidateJwtSvidRequest) -> Result<ValidateJwtSvidResponse, Status> {
        let broken = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
        let invalid = |error: &dyn std::fmt::Display| Status::invalid_argument(error.to_string());
        let domain = self.ca.trust_domain();
        let issuer = Issuer::new(domain.to_string(), vec![request.audience.clone()], vec![Algorithm::Es256])
            .and_then(|issuer| issuer.with_profile(Profile::JwtSvid(domain.clone())))
            .map_err(|error| invalid(&error))?;
        let keys = KeySet::parse(self.ca.jwt_bundle().as_bytes()).map_err(|error| broken(&error))?;
        let keys = Arc::new(keys);
        let now = self.clock.unix_time();
        let claims = verify(&request.svid, &[issuer], &|_| Some(Arc::clone(&keys)), now)
            .map_err(|error| invalid(&error))?;
        Ok(response(claims))
    }
}

fn response(claims: Claims) -> ValidateJwtSvidResponse {
    let members = claims.members.into_iter().map(|(name, value)| (name, convert(value)));
    ValidateJwtSvidResponse {
        spiffe_id: claims.subject.unwrap_or_default(),
        claims: Some(Object { fields: members.collect::<HashMap<_, _>>() }),
    }
}

/// The nesting is bounded by the reader of tokens.
fn convert(value: Json) -> Value {
    let kind = match value {
        Json::Null => Kind::Null(0),
        Json::Bool(flag) => Kind::Flag(flag),
        Json::Number(number) => Kind::Number(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::Text(text),
        Json::Array(values) => Kind::List(List { values: values.into_iter().map(convert).collect() }),
        Json::Object(members) => Kind::Object(Object {
            fields: members.into_iter().map(|(name, value)| (name, convert(value))).collect(),
        }),
    };
    Value { kind: Some(kind) }
}

impl UnaryService<FetchJwtSvidRequest> for Source {
    type Response = FetchJwtSvidResponse;
    type Future = Reply<FetchJwtSvidResponse>;

    fn call(&mut self, request: Request<FetchJwtSvidRequest>) -> Self::Future {
        reply(self.jwt_svid(request.get_ref()))
    }
}

impl UnaryService<ValidateJwtSvidRequest> for Source {
    type Response = ValidateJwtSvidResponse;
    type Future = Reply<ValidateJwtSvidResponse>;

    fn call(&mut self, request: Request<ValidateJwtSvidRequest>) -> Self::Future {
        reply(self.validate(request.get_ref()))
    }
}

impl ServerStreamingService<JwtBundlesRequest> for Source {
    type Response = JwtBundlesResponse;
    type ResponseStream = Messages<JwtBundlesResponse>;
    type Future = Answer<JwtBundlesResponse>;

    /// The bundle at once. It never changes, and the stream stays open.
    fn call(&mut self, _request: Request<JwtBundlesRequest>) -> Self::Future {
        streaming(unfold(Some(self.jwt_bundles()), |next| async move {
            match next {
                Some(bundles) => Some((Ok(bundles), None)),
                None => pending().await,
            }
        }))
    }
}
