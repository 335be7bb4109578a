//! From a query to Cedar's context, under the contract schema. Only what is read is built.
use super::names::Names;
use super::parts;
use super::reads::{Member, Reads};
use crate::engine::NoAnswer;
use crate::engine::url;
use crate::query::{Body, Http, Query};
use cedar_policy_core::ast::{Context, Entity, EntityUID, Value};
use std::net::SocketAddr;
use std::sync::Arc;

/// Values that outlive a request, because the next one likely has them too.
#[derive(Default)]
pub(super) struct Lasting {
    now: Option<(u64, Value)>,
    source: Option<(Option<SocketAddr>, Value)>,
    destination: Option<(Option<SocketAddr>, Value)>,
}

/// What is kept under this key, or else what is made now.
fn kept<K: PartialEq>(
    slot: &mut Option<(K, Value)>,
    key: K,
    make: impl FnOnce(&K) -> Result<Value, NoAnswer>,
) -> Result<Value, NoAnswer> {
    match slot {
        Some((have, value)) if *have == key => Ok(value.clone()),
        _ => {
            let value = make(&key)?;
            *slot = Some((key, value.clone()));
            Ok(value)
        }
    }
}

/// The context, and the entities that belong to this request alone.
pub(super) struct Built {
    pub(super) context: Context,
    pub(super) entities: Vec<Arc<Entity>>,
}

/// What a request is made of: the context's members so far, and the entities that they point to.
struct Builder<'a> {
    names: &'a Names,
    reads: &'a Reads,
    members: Vec<(&'static str, Value)>,
    entities: Vec<Arc<Entity>>,
}

pub(super) fn build(
    query: &Query<'_>,
    names: &Names,
    reads: &Reads,
    lasting: &mut Lasting,
) -> Result<Built, NoAnswer> {
    let mut builder = Builder { names, reads, members: Vec::new(), entities: Vec::new() };
    builder.common(query, lasting)?;
    if let Some(http) = &query.http {
        builder.http(http)?;
        builder.tokens(query);
        builder.body(http)?;
    }
    let members = builder.members.into_iter().map(|(name, value)| (name.into(), value)).collect();
    Ok(Built { context: Context::Value(Arc::new(members)), entities: builder.entities })
}

impl Builder<'_> {
    fn put(&mut self, member: Member, value: impl Into<Value>) {
        self.members.push((member.name(), value.into()));
    }

    fn put_text(&mut self, member: Member, text: &str) {
        if self.reads.has(member) {
            self.put(member, text);
        }
    }

    fn put_entity(&mut self, member: Member, uid: &Arc<EntityUID>, entity: Entity) {
        self.put(member, Arc::clone(uid));
        self.entities.push(Arc::new(entity));
    }

    fn common(&mut self, query: &Query<'_>, lasting: &mut Lasting) -> Result<(), NoAnswer> {
        let names = self.names;
        if self.reads.has(Member::Now) {
            // Cedar's moments have milliseconds.
            let now = kept(&mut lasting.now, query.now_ns / 1_000_000, |_| names.datetime(query.now_ns))?;
            self.put(Member::Now, now);
        }
        if self.reads.has(Member::Source) {
            let source = kept(&mut lasting.source, query.source.address, |from| endpoint(*from, names))?;
            self.put(Member::Source, source);
        }
        if self.reads.has(Member::Destination) {
            let destination = kept(&mut lasting.destination, query.destination, |to| endpoint(*to, names))?;
            self.put(Member::Destination, destination);
        }
        if self.reads.has(Member::Tls) {
            let source = &query.source;
            let given = [("server_name", source.sni), ("certificate_serial", source.certificate_serial)];
            let given = given.into_iter().filter_map(|(name, text)| Some((name, text?)));
            self.put(Member::Tls, Value::record(given, None));
        }
        Ok(())
    }

    fn http(&mut self, http: &Http<'_>) -> Result<(), NoAnswer> {
        self.put_text(Member::Id, http.id);
        self.put_text(Member::Scheme, http.scheme);
        self.put_text(Member::Authority, http.authority);
        self.put_text(Member::Path, http.path);
        self.put_text(Member::Protocol, http.protocol);
        if self.reads.has(Member::Segments) || self.reads.has(Member::Depth) {
            let segments = url::path_segments(http.path)
                .map_err(|what| NoAnswer::Engine(format!("the path cannot be decoded: {what}")))?;
            let first = SEGMENTS.into_iter().zip(&segments).map(|(name, segment)| (name, segment.as_str()));
            self.put(Member::Segments, Value::record(first, None));
            self.put(Member::Depth, i64::try_from(segments.len()).unwrap_or(i64::MAX));
        }
        let names = self.names;
        if self.reads.has(Member::Headers) {
            let headers = parts::headers(http, names, &self.reads.tags);
            self.put_entity(Member::Headers, &names.headers, headers);
        }
        if self.reads.has(Member::Query) {
            let parameters = parts::query_parameters(http, names, &self.reads.tags)?;
            self.put_entity(Member::Query, &names.query, parameters);
        }
        Ok(())
    }

    fn tokens(&mut self, query: &Query<'_>) {
        let (names, tags) = (self.names, &self.reads.tags);
        if let (Some(claims), true) = (query.claims, self.reads.has(Member::Claims)) {
            let entity = parts::claims(&names.claims, claims, query.token_issuer, tags);
            self.put_entity(Member::Claims, &names.claims, entity);
        }
        if let (Some(claims), true) = (query.transaction, self.reads.has(Member::Transaction)) {
            let entity = parts::claims(&names.transaction, claims, None, tags);
            self.put_entity(Member::Transaction, &names.transaction, entity);
        }
        if let (Some(token), true) = (&query.workload_token, self.reads.has(Member::WorkloadToken)) {
            let entity = parts::workload_token(token, names, tags);
            self.put_entity(Member::WorkloadToken, &names.workload_token, entity);
        }
    }

    fn body(&mut self, http: &Http<'_>) -> Result<(), NoAnswer> {
        if !self.reads.has(Member::Body) {
            return Ok(());
        }
        match http.body {
            Body::NotRead => Ok(()),
            // A rule about the content would find nothing to object to in a body that nobody read.
            Body::Stream => {
                Err(NoAnswer::Engine("a policy reads bodies and this one is streamed".to_owned()))
            }
            Body::Whole(bytes) => {
                let names = self.names;
                let (body, numbers) = parts::body(bytes, http, names, &self.reads.tags)?;
                self.put_entity(Member::Body, &names.body, body);
                self.entities.push(Arc::new(numbers));
                Ok(())
            }
        }
    }
}

/// A Unix socket has no address; the contract promises one, and a rule that forbids some would find nothing to object to.
fn endpoint(address: Option<SocketAddr>, names: &Names) -> Result<Value, NoAnswer> {
    let no_address = || NoAnswer::Engine("a policy reads addresses and a Unix socket has none".to_owned());
    let address = address.ok_or_else(no_address)?;
    let port = Value::from(i64::from(address.port()));
    Ok(Value::record([("address", names.ip(address.ip())?), ("port", port)], None))
}

/// The segments that the contract names; deeper ones are in `path`.
const SEGMENTS: [&str; 16] =
    ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "s16"];
