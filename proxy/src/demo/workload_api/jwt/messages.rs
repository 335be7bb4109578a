//! The JWT messages of `workload.proto`, and of `google/protobuf/struct.proto` what they need.

use std::collections::HashMap;

pub(in super::super) const FETCH_JWT_SVID: &str = "/SpiffeWorkloadAPI/FetchJWTSVID";
pub(in super::super) const VALIDATE_JWT_SVID: &str = "/SpiffeWorkloadAPI/ValidateJWTSVID";

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(in super::super) struct FetchJwtSvidRequest {
    #[prost(string, repeated, tag = "1")]
    pub(in super::super) audience: Vec<String>,
    #[prost(string, tag = "2")]
    pub(in super::super) spiffe_id: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(in super::super) struct FetchJwtSvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) svids: Vec<JwtSvid>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub(in super::super) struct JwtSvid {
    #[prost(string, tag = "1")]
    pub(in super::super) spiffe_id: String,
    #[prost(string, tag = "2")]
    pub(in super::super) svid: String,
    #[prost(string, tag = "3")]
    pub(in super::super) hint: String,
}

/// Shows no token.
impl std::fmt::Debug for JwtSvid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtSvid").field("spiffe_id", &self.spiffe_id).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub(in super::super) struct ValidateJwtSvidRequest {
    #[prost(string, tag = "1")]
    pub(in super::super) audience: String,
    #[prost(string, tag = "2")]
    pub(in super::super) svid: String,
}

/// Shows no token.
impl std::fmt::Debug for ValidateJwtSvidRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ValidateJwtSvidRequest").field("audience", &self.audience).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct ValidateJwtSvidResponse {
    #[prost(string, tag = "1")]
    pub(in super::super) spiffe_id: String,
    #[prost(message, optional, tag = "2")]
    pub(in super::super) claims: Option<Object>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct Object {
    #[prost(map = "string, message", tag = "1")]
    pub(in super::super) fields: HashMap<String, Value>,
}

/// `google.protobuf.ListValue`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct List {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) values: Vec<Value>,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, prost::Message)]
pub(in super::super) struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub(in super::super) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(in super::super) enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Flag(bool),
    #[prost(message, tag = "5")]
    Object(Object),
    #[prost(message, tag = "6")]
    List(List),
}
