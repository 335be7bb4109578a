//! The Workload API: where it is, what is asked, and what becomes of the answers. On a real socket, against an
//! endpoint that says what each case tells it to.

mod lists;

use std::sync::Arc;
use std::time::Duration;

use postern_identity::token::{Algorithm, Claims, Issuer, Profile, verify};
use postern_identity::{Role, TrustBundles, verify_chain};
use postern_proxy::config::{Environment, SvidSelection, WorkloadEndpoint, load_text_in};
use postern_proxy::sources::identity::workload_api::JwtBundles;
use postern_proxy::sources::identity::workload_api::messages::{
    FETCH_JWT_BUNDLES, FETCH_X509_SVID, SECURITY_HEADER, X509SvidMessage,
};
use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::kit::grpc::{self, INVALID_ARGUMENT, PERMISSION_DENIED, Said, UNAVAILABLE, UNIMPLEMENTED};
use crate::kit::workload_api::{
    ID, World, authority, block_on, demo, federated, follow_keys, jwt_bundles, now, svids, token,
};
use crate::{Row, row};

/// How long it is watched that something is not asked again. The first retry would come after 200 ms.
const WATCH: Duration = Duration::from_millis(600);

type Outcome<T = ()> = Result<T, String>;

pub(super) fn rows() -> Vec<Row> {
    [calls(), address(), codes(), messages(), bundles(), identities(), material()]
        .into_iter()
        .flatten()
        .collect()
}

fn calls() -> Vec<Row> {
    vec![
        row("WA-01", "every call carries the metadata", "Workload_Endpoint §3")
            .accepts("each of our calls", || block_on(metadata()))
            .refuses("a call without it", "security header", || block_on(demo_call(&[])))
            .refuses("a call with another value", "security header", || {
                block_on(demo_call(&[(SECURITY_HEADER, "TRUE")]))
            }),
        row("WA-02", "gRPC without TLS, Unix or TCP", "Workload_Endpoint §3.1, §5")
            .accepts("on a Unix socket", || {
                block_on(async {
                    let world = World::unix();
                    world.say(vec![svids(vec![world.entry(ID)])]).follow().id().await
                })
            })
            .accepts("on a port", || {
                block_on(async {
                    let world = World::tcp().await;
                    world.say(vec![svids(vec![world.entry(ID)])]).follow().id().await
                })
            })
            .refuses("a server of something else", "is not there", || block_on(no_grpc())),
    ]
}

async fn metadata() -> Outcome {
    let world = World::unix();
    world.say(vec![svids(vec![world.entry(ID)])]).say_keys(vec![jwt_bundles(&[&world.ca])]);
    world.follow().id().await?;
    world.follow_keys().keys(|keys| keys.iter().count() == 1).await?;
    let calls = [world.scripts.calls(FETCH_X509_SVID), world.scripts.calls(FETCH_JWT_BUNDLES)].concat();
    let marked = calls.iter().filter(|call| call.headers.get(SECURITY_HEADER).is_some_and(|v| v == "true"));
    if calls.len() == 2 && marked.count() == 2 { Ok(()) } else { Err(format!("{calls:?}")) }
}

async fn demo_call(headers: &[(&'static str, &'static str)]) -> Outcome {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let socket = demo(folder.path(), Arc::new(authority("example.org")));
    grpc::call(&socket, FETCH_X509_SVID, headers, b"").await.map(drop)
}

async fn no_grpc() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
    let mut world = World::tcp().await;
    world.endpoint = WorkloadEndpoint::Tcp(listener.local_addr().map_err(|error| error.to_string())?);
    drop(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await);
        }
    }));
    Err(world.follow().trouble().await)
}

fn address() -> Vec<Row> {
    let parse = |text: &'static str| move || text.parse::<WorkloadEndpoint>();
    vec![
        row("WA-03", "explicit address, else the variable", "Workload_Endpoint §4")
            .accepts("the configuration comes first", || {
                configured("{ socket: \"unix:///file.sock\" }", Some("unix:///env.sock"), "unix:///file.sock")
            })
            .accepts("without it the variable", || {
                configured("{}", Some("unix:///env.sock"), "unix:///env.sock")
            })
            .refuses("neither", "nothing says where", || configured("{}", None, ""))
            .refuses("a variable that says something else", "SPIFFE_ENDPOINT_SOCKET", || {
                configured("{}", Some("agent"), "")
            }),
        row("WA-04", "unix or tcp, nothing besides", "Workload_Endpoint §4")
            .accepts("a socket", parse("unix:///run/agent.sock"))
            .accepts("an IPv4 address and a port", parse("tcp://127.0.0.1:8000"))
            .accepts("an IPv6 address and a port", parse("tcp://[::1]:8000"))
            .refuses("a socket with an authority", "authority", parse("unix://host/agent.sock"))
            .refuses("a relative path", "absolute path", parse("unix:agent.sock"))
            .refuses("a socket with a query", "query", parse("unix:///agent.sock?a=b"))
            .refuses("a socket with a fragment", "fragment", parse("unix:///agent.sock#a"))
            .refuses("a host name", "IP address", parse("tcp://localhost:8000"))
            .refuses("no port", "port", parse("tcp://127.0.0.1"))
            .refuses("tcp with a path", "alone", parse("tcp://127.0.0.1:8000/foo"))
            .refuses("tcp with userinfo", "alone", parse("tcp://user@127.0.0.1:8000"))
            .refuses("another scheme", "no Workload API", parse("http://127.0.0.1:8000"))
            .refuses("a bare path", "no Workload API", parse("/run/agent.sock")),
    ]
}

/// The endpoint that a configuration means, with this variable.
fn configured(source: &str, variable: Option<&str>, expected: &str) -> Outcome {
    let text = format!(
        "version: 1
identity: {{ source: {{ workload_api: {source} }} }}
policy:
  bundles: {{ authz: {{ source: {{ directory: {{ path: policy }} }}, signers: [policy.pub.pem] }} }}
  decision: {{ rego: postern/authz/decision }}
listeners:
  app:
    inbound: {{ address: 127.0.0.1:8443, tls: {{ mutual: {{ trust_domains: [example.org] }} }} }}
    routes: [{{ match: {{ path_prefix: / }}, upstream: app }}]
upstreams: {{ app: {{ endpoints: [\"127.0.0.1:8080\"] }} }}
audit: {{ directory: audit, signer: {{ ed25519: {{ key: audit.pem }} }} }}
"
    );
    let environment = Environment { spiffe_endpoint_socket: variable.map(Into::into) };
    let loaded = load_text_in(&text, std::path::Path::new("postern.yaml"), &environment);
    let identity = loaded.map_err(|findings| findings.to_string())?.config.identity;
    let shown = format!("{:?}", identity.source);
    let wanted: WorkloadEndpoint =
        expected.parse().map_err(|error: postern_proxy::config::EndpointError| error.to_string())?;
    if shown.contains(&format!("{wanted:?}")) { Ok(()) } else { Err(shown) }
}

fn codes() -> Vec<Row> {
    vec![
        row("WA-05", "which status is asked again", "Workload_Endpoint §6 (S)")
            .accepts("unavailable, then there", || block_on(after(Said::End(UNAVAILABLE, "starting"))))
            .accepts("denied, then granted", || block_on(after(Said::End(PERMISSION_DENIED, "no identity"))))
            .refuses("an invalid argument", "for good", || {
                block_on(once(Said::End(INVALID_ARGUMENT, "no header")))
            })
            .refuses("not implemented", "for good", || {
                block_on(once(Said::End(UNIMPLEMENTED, "no such call")))
            }),
        row("WA-06", "a stream that ends is reopened", "Workload_API §4.2 (S)")
            .accepts("an endpoint that ends it", || block_on(reopened()))
            .refuses("an endpoint that is gone", "Stale", || {
                block_on(async {
                    let world = World::unix();
                    world.say(vec![svids(vec![world.entry(ID)]), Said::End(UNAVAILABLE, "bye")]);
                    let mut followed = world.follow();
                    followed.id().await?;
                    let said = followed.trouble().await;
                    // What came before stays in force.
                    if followed.is_quiet() { Err::<(), _>(said) } else { Err("a state came".to_owned()) }
                })
            }),
        row("WA-15", "unimplemented ends one profile alone", "Workload_API §7 (S)")
            .accepts("the others go on", || {
                block_on(async {
                    let world = World::unix();
                    world.say_keys(vec![Said::End(UNIMPLEMENTED, "no such profile")]);
                    let mut keys = world.follow_keys();
                    keys.trouble().await;
                    world.say(vec![svids(vec![world.entry(ID)])]).follow().id().await
                })
            })
            .refuses("the profile is not asked for again", "for good", || block_on(profile_once())),
    ]
}

/// The endpoint answers with this, and at the next call with an SVID.
async fn after(first: Said) -> Outcome {
    let world = World::unix();
    world.say(vec![first]).say(vec![svids(vec![world.entry(ID)])]);
    let mut followed = world.follow();
    followed.trouble().await;
    followed.id().await.map(drop)
}

/// The endpoint answers with this, and would give an SVID at the next call, which must not come.
async fn once(only: Said) -> Outcome {
    let world = World::unix();
    world.say(vec![only]).say(vec![svids(vec![world.entry(ID)])]);
    let mut followed = world.follow();
    let said = followed.trouble().await;
    tokio::time::sleep(WATCH).await;
    match world.scripts.calls(FETCH_X509_SVID).len() {
        1 => Err(said),
        calls => Err(format!("it was asked {calls} times")),
    }
}

async fn profile_once() -> Outcome {
    let world = World::unix();
    world.say_keys(vec![Said::End(UNIMPLEMENTED, "no such profile")]);
    let said = world.follow_keys().trouble().await;
    tokio::time::sleep(WATCH).await;
    match world.scripts.calls(FETCH_JWT_BUNDLES).len() {
        1 => Err(said),
        calls => Err(format!("it was asked {calls} times")),
    }
}

async fn reopened() -> Outcome {
    let world = World::unix();
    world.say(vec![svids(vec![world.entry(ID)]), Said::End(0, "")]);
    world.say(vec![svids(vec![world.entry("spiffe://example.org/second")])]);
    let mut followed = world.follow();
    followed.id().await?;
    let second = followed.id().await?;
    if second.as_str().ends_with("/second") { Ok(()) } else { Err(second.to_string()) }
}

fn messages() -> Vec<Row> {
    vec![
        row("WA-07", "a message is the whole state", "Workload_API §4.4")
            .accepts("what it brings", || block_on(redacted(&["friend.org"])))
            .refuses("a bundle that it leaves out", "no trust bundle", || block_on(redacted(&[])))
            .accepts("a JWT bundle that it brings", || block_on(redacted_keys(true)))
            .refuses("a JWT bundle that it leaves out", "not available", || block_on(redacted_keys(false))),
        row("WA-08", "no mandatory field is empty", "Workload_API §4.5 (S)")
            .accepts("all are there", || block_on(mandatory(|_| {})))
            .refuses("no SVID", "no SVID", || block_on(discarded(svids(vec![]))))
            .refuses("no ID", "not a SPIFFE ID", || block_on(mandatory(|svid| svid.spiffe_id.clear())))
            .refuses("no certificate", "left `x509_svid`", || {
                block_on(mandatory(|svid| svid.x509_svid.clear()))
            })
            .refuses("no key", "left `x509_svid_key`", || {
                block_on(mandatory(|svid| svid.x509_svid_key.clear()))
            })
            .refuses("no bundle", "left `bundle`", || block_on(mandatory(|svid| svid.bundle.clear())))
            .refuses("bytes that are no message", "decode", || {
                block_on(async {
                    let world = World::unix();
                    world.say(vec![Said::Message(b"\x0a\xff".to_vec())]);
                    Err::<(), _>(world.follow().trouble().await)
                })
            })
            .refuses("a message beyond all measure", "too large", || {
                block_on(async {
                    let world = World::unix();
                    world.say(vec![Said::Message(vec![0; 17 << 20])]);
                    Err::<(), _>(world.follow().trouble().await)
                })
            })
            .refuses("no JWT bundle", "no JWT bundle", || {
                block_on(async {
                    let world = World::unix();
                    let mut keys = world.say_keys(vec![jwt_bundles(&[])]).follow_keys();
                    Err::<(), _>(keys.trouble().await)
                })
            }),
    ]
}

/// Whether a caller of `friend.org`, trusted by the message before, is trusted after one that brings these bundles.
async fn redacted(then: &[&str]) -> Outcome {
    let world = World::unix();
    let friend = authority("friend.org");
    let kept: Vec<_> = then.iter().map(|_| &friend).collect();
    world.say(vec![federated(vec![world.entry(ID)], &[&friend]), federated(vec![world.entry(ID)], &kept)]);
    let mut followed = world.follow();
    let before = followed.next().await?.trust;
    judge(&friend, &before)?;
    let after = followed.next().await?.trust;
    judge(&friend, &after)
}

/// Whether a caller of this authority's trust domain is proven by these bundles.
fn judge(ca: &postern_proxy::demo::ca::Ca, trust: &TrustBundles) -> Outcome {
    let id = format!("spiffe://{}/caller", ca.trust_domain()).parse().expect("a SPIFFE ID");
    let issued = ca.issue(&id, Duration::from_secs(60), now()).map_err(|error| error.to_string())?;
    let chain = [issued.chain_der().clone()];
    verify_chain(&chain, trust, Role::Client, now()).map(drop).map_err(|error| error.to_string())
}

async fn redacted_keys(kept: bool) -> Outcome {
    let world = World::unix();
    let friend = authority("friend.org");
    let then = if kept { jwt_bundles(&[&world.ca, &friend]) } else { jwt_bundles(&[&world.ca]) };
    world.say_keys(vec![jwt_bundles(&[&friend]), then]);
    let ours = world.ca.trust_domain();
    let keys = world.follow_keys().keys(|keys| keys.get(ours).is_some()).await?;
    judge_token(&friend, &keys).map(drop)
}

/// Whether a JWT-SVID of this authority's trust domain is proven by these keys.
fn judge_token(ca: &postern_proxy::demo::ca::Ca, keys: &JwtBundles) -> Outcome<Claims> {
    verified(&token(ca), "orders", ca, keys)
}

fn verified(
    token: &str,
    audience: &str,
    ca: &postern_proxy::demo::ca::Ca,
    keys: &JwtBundles,
) -> Outcome<Claims> {
    let domain = ca.trust_domain();
    let issuer = Issuer::new(domain.to_string(), vec![audience.to_owned()], vec![Algorithm::Es256])
        .and_then(|issuer| issuer.with_profile(Profile::JwtSvid(domain.clone())))
        .map_err(|error| error.to_string())?;
    verify(token, &[issuer], &|_| keys.get(domain).cloned(), now()).map_err(|error| error.to_string())
}

/// An SVID that is bent comes after a good one, which stays in force.
async fn mandatory(bend: fn(&mut X509SvidMessage)) -> Outcome {
    let world = World::unix();
    let mut bent = world.entry(ID);
    bend(&mut bent);
    let taken = !bent.spiffe_id.is_empty()
        && [&bent.x509_svid, &bent.x509_svid_key, &bent.bundle].iter().all(|field| !field.is_empty());
    if taken {
        return world.say(vec![svids(vec![bent])]).follow().id().await.map(drop);
    }
    discarded(svids(vec![bent])).await
}

async fn discarded(message: Said) -> Outcome {
    let world = World::unix();
    world.say(vec![svids(vec![world.entry(ID)]), message]);
    let mut followed = world.follow();
    followed.id().await?;
    let said = followed.trouble().await;
    if followed.is_quiet() { Err(said) } else { Err("a state came of it".to_owned()) }
}

fn bundles() -> Vec<Row> {
    vec![
        row("WA-09", "bundles prove their own kind alone", "Workload_API §5.2, §6.2")
            .accepts("an X.509-SVID by an X.509 bundle", || {
                block_on(async {
                    let world = World::unix();
                    world.say(vec![svids(vec![world.entry(ID)])]);
                    judge(&world.ca, &world.follow().next().await?.trust)
                })
            })
            .accepts("a JWT-SVID by a JWT bundle", || {
                block_on(async {
                    let world = World::unix();
                    world.say_keys(vec![jwt_bundles(&[&world.ca])]);
                    let keys = world.follow_keys().keys(|keys| keys.iter().count() > 0).await?;
                    judge_token(&world.ca, &keys)
                })
            })
            .refuses("a JWT-SVID where there is an X.509 bundle", "not available", || {
                block_on(one_kind(Kind::X509))
            })
            .refuses("an X.509-SVID where there is a JWT bundle", "no trust bundle", || {
                block_on(one_kind(Kind::Jwt))
            }),
        row("WA-10", "what is denied is not used", "Workload_API §5.2.1, §6.2.2 (S)")
            .accepts("an identity that comes back", || block_on(denied(true)))
            .refuses("an SVID", "no identity issued", || block_on(denied(false)))
            .refuses("X.509 bundles", "no trust bundle", || {
                block_on(async {
                    let world = World::unix();
                    world.say(vec![
                        svids(vec![world.entry(ID)]),
                        Said::End(PERMISSION_DENIED, "no identity issued"),
                    ]);
                    let mut followed = world.follow();
                    followed.id().await?;
                    judge(&world.ca, &followed.next().await?.trust)
                })
            })
            .refuses("JWT bundles", "not available", || {
                block_on(async {
                    let world = World::unix();
                    world.say_keys(vec![
                        jwt_bundles(&[&world.ca]),
                        Said::End(PERMISSION_DENIED, "no identity issued"),
                    ]);
                    let mut followed = world.follow_keys();
                    followed.trouble().await;
                    let keys = followed.keys(|keys| keys.iter().count() == 0).await?;
                    judge_token(&world.ca, &keys).map(drop)
                })
            }),
        row("WA-14", "JWT-SVIDs are judged alike", "Workload_API §6.3 (S)")
            .accepts("a good one", || block_on(both_judge("orders", |token| token)))
            .refuses("one for another audience", "both refuse", || {
                block_on(both_judge("bank", |token| token))
            })
            .refuses("a forged one", "both refuse", || {
                block_on(both_judge("orders", |token| format!("{}AAAA", &token[..token.len() - 4])))
            }),
    ]
}

enum Kind {
    X509,
    Jwt,
}

/// `friend.org` has a bundle of one kind; its SVID of the other kind is judged.
async fn one_kind(kind: Kind) -> Outcome {
    let world = World::unix();
    let friend = authority("friend.org");
    match kind {
        Kind::X509 => {
            world.say(vec![federated(vec![world.entry(ID)], &[&friend])]);
            world.say_keys(vec![jwt_bundles(&[&world.ca])]);
        }
        Kind::Jwt => {
            world.say(vec![svids(vec![world.entry(ID)])]);
            world.say_keys(vec![jwt_bundles(&[&world.ca, &friend])]);
        }
    }
    let trust = world.follow().next().await?.trust;
    let keys = world.follow_keys().keys(|keys| keys.iter().count() > 0).await?;
    match kind {
        Kind::X509 => judge(&friend, &trust).and_then(|()| judge_token(&friend, &keys).map(drop)),
        Kind::Jwt => judge_token(&friend, &keys).and_then(|_| judge(&friend, &trust)),
    }
}

async fn denied(comes_back: bool) -> Outcome {
    let world = World::unix();
    world.say(vec![svids(vec![world.entry(ID)]), Said::End(PERMISSION_DENIED, "no identity issued")]);
    if comes_back {
        world.say(vec![svids(vec![world.entry(ID)])]);
    }
    let mut followed = world.follow();
    followed.id().await?;
    let withdrawn = followed.id().await;
    if comes_back { followed.id().await.map(drop) } else { withdrawn.map(drop) }
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Validate {
    #[prost(string, tag = "1")]
    audience: String,
    #[prost(string, tag = "2")]
    svid: String,
}

/// A token, bent, judged by us with the keys of `FetchJWTBundles`, and by the endpoint.
async fn both_judge(audience: &str, bend: fn(String) -> String) -> Outcome {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let ca = Arc::new(authority("example.org"));
    let socket = demo(folder.path(), Arc::clone(&ca));
    let token = bend(token(&ca));
    let mut followed = follow_keys(WorkloadEndpoint::Unix(socket.clone()));
    let keys = followed.keys(|keys| keys.get(ca.trust_domain()).is_some()).await?;
    let ours = verified(&token, audience, &ca, &keys);
    let message = Validate { audience: audience.to_owned(), svid: token }.encode_to_vec();
    let path = "/SpiffeWorkloadAPI/ValidateJWTSVID";
    let theirs = grpc::call(&socket, path, &[(SECURITY_HEADER, "true")], &message).await;
    match (ours, theirs) {
        (Ok(_), Ok(_)) => Ok(()),
        (Err(ours), Err(theirs)) => Err(format!("both refuse: {ours}; {theirs}")),
        (ours, theirs) => Err(format!("{ours:?} here, {theirs:?} there")),
    }
}

fn identities() -> Vec<Row> {
    let first = || SvidSelection::First;
    let by_id = |id: &str| SvidSelection::SpiffeId(id.parse().expect("a SPIFFE ID"));
    let by_hint = |hint: &str| SvidSelection::Hint(hint.to_owned());
    vec![
        row("WA-11", "the first is the default identity", "Workload_API §5.2.1, §8")
            .accepts("the first", move || block_on(selected(first(), "/a")))
            .accepts("the one of an ID", move || block_on(selected(by_id("spiffe://example.org/b"), "/b")))
            .accepts("the first of two with one hint", move || block_on(selected(by_hint("internal"), "/b")))
            .refuses("an ID that is not offered", "does not offer `spiffe://example.org/x`", move || {
                block_on(selected(by_id("spiffe://example.org/x"), "/x"))
            })
            .refuses("a hint that is not offered", "the hint `external`", move || {
                block_on(selected(by_hint("external"), "/x"))
            })
            .refuses("an ID that is offered no more", "does not offer", move || {
                block_on(async move {
                    let world = World::unix();
                    let (a, b) =
                        (world.entry("spiffe://example.org/a"), world.entry("spiffe://example.org/b"));
                    world.say(vec![svids(vec![a.clone(), b]), svids(vec![a])]);
                    let mut followed = world.follow_selected(by_id("spiffe://example.org/b"));
                    followed.id().await?;
                    followed.id().await.map(drop)
                })
            }),
    ]
}

/// `/a` without a hint, `/b` and `/c` with the hint `internal`.
async fn selected(selection: SvidSelection, expected: &str) -> Outcome {
    let world = World::unix();
    let hinted = |path: &str, hint: &str| X509SvidMessage {
        hint: hint.to_owned(),
        ..world.entry(&format!("spiffe://example.org{path}"))
    };
    world.say(vec![svids(vec![hinted("/a", ""), hinted("/b", "internal"), hinted("/c", "internal")])]);
    let id = world.follow_selected(selection).id().await?;
    if id.as_str().ends_with(expected) { Ok(()) } else { Err(id.to_string()) }
}

fn material() -> Vec<Row> {
    vec![
        row("WA-12", "PKCS#8 key, chain in DER, leaf first", "Workload_API §5.1")
            .accepts("both", || block_on(with(|_, _| {})))
            .refuses("a key in SEC 1", "cannot be used", || {
                block_on(with(|svid, _| svid.x509_svid_key = sec1(&svid.x509_svid_key)))
            })
            .refuses("a key in PEM", "cannot be used", || {
                block_on(with(|svid, _| svid.x509_svid_key = b"-----BEGIN PRIVATE KEY-----".to_vec()))
            })
            .refuses("a key of another certificate", "does not match", || {
                block_on(with(|svid, other| svid.x509_svid_key.clone_from(&other.x509_svid_key)))
            })
            .refuses("another certificate first", "not an SVID", || {
                block_on(with(|svid, _| svid.x509_svid = [&svid.bundle[..], &svid.x509_svid].concat()))
            })
            .refuses("bytes between certificates", "cannot be read", || {
                block_on(with(|svid, _| svid.x509_svid = [&svid.x509_svid[..], b"\0", &svid.bundle].concat()))
            })
            .refuses("a chain in PEM", "cannot be read", || {
                block_on(with(|svid, _| svid.x509_svid = b"-----BEGIN CERTIFICATE-----".to_vec()))
            }),
        lists::row(),
    ]
}

/// One SVID, bent with the help of another, as the whole message.
async fn with(bend: fn(&mut X509SvidMessage, &X509SvidMessage)) -> Outcome {
    let world = World::unix();
    let (mut svid, other) = (world.entry(ID), world.entry(ID));
    let sound = svid.clone();
    bend(&mut svid, &other);
    let is_sound = svid == sound;
    let mut followed = world.say(vec![svids(vec![svid])]).follow();
    if is_sound { followed.id().await.map(drop) } else { Err(followed.trouble().await) }
}

/// The `ECPrivateKey` inside a P-256 key in PKCS#8: the octet string that ends it.
fn sec1(pkcs8: &[u8]) -> Vec<u8> {
    let at = pkcs8.windows(2).position(|window| window == [0x02, 0x01]).and_then(|first| {
        let rest = &pkcs8[first + 2..];
        rest.windows(3).position(|window| window == [0x02, 0x01, 0x01]).map(|second| first + 2 + second)
    });
    // Two bytes before its version 1: the head of the sequence.
    at.map_or_else(Vec::new, |at| pkcs8[at - 2..].to_vec())
}
