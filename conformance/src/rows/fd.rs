//! Federation: bundles of other trust domains from their own endpoints. On real sockets with real TLS, against servers
//! that serve what each case tells them to.

use std::time::Duration;

use postern_identity::{Role, TrustBundles, verify_chain};
use postern_proxy::config::{EndpointProof, load_text};
use postern_proxy::demo::ca::Ca;
use postern_proxy::sources::identity::federation::FederationUpdate;

use crate::kit::bundle_endpoint::{
    Client, ENDPOINT, FRIEND, SILENCE, Server, Shown, document, expired, ok, redirect, status, svid, web,
};
use crate::kit::workload_api::{authority, block_on, now};
use crate::{Row, row};

/// Longer than any case.
const NEVER: Duration = Duration::from_secs(3600);
/// Short enough to see the next fetch.
const SOON: Duration = Duration::from_millis(150);

type Outcome<T = ()> = Result<T, String>;

pub(super) fn rows() -> Vec<Row> {
    [profiles(), configured(), web_pki(), spiffe(), redirects(), bundles(), lifecycle()]
        .into_iter()
        .flatten()
        .collect()
}

fn profiles() -> Vec<Row> {
    vec![
        row("FD-01", "both profiles", "Federation §5")
            .accepts("https_web", || block_on(by_web(web("localhost", |_| {}))))
            .accepts("https_spiffe", || block_on(by_spiffe(ENDPOINT)))
            .refuses("another profile", "https_other", || {
                config("https://friend.org/", "{ https_other: {} }")
            }),
    ]
}

/// What comes of an endpoint with this certificate under this root.
async fn by_web((root, shown): (String, Shown)) -> Outcome {
    let mut client = Client::new(&[], NEVER);
    let friend = authority(FRIEND);
    let server = Server::start(shown, vec![ok(&document(&[&friend], ""))]).await;
    client.want(vec![client.by_web(server.url(), &root)]);
    client.fetched().await?;
    judge(&friend, &client.trust)
}

/// What comes of an endpoint of this SPIFFE ID where [`ENDPOINT`] is expected.
async fn by_spiffe(id: &str) -> Outcome {
    let friend = authority(FRIEND);
    by_spiffe_of(&friend, svid(&friend, id)).await
}

async fn by_spiffe_of(friend: &Ca, shown: Shown) -> Outcome {
    let mut client = Client::new(&[], NEVER);
    let server = Server::start(shown, vec![ok(&document(&[friend], ""))]).await;
    client.want(vec![client.by_spiffe(server.url(), friend)]);
    client.fetched().await?;
    judge(friend, &client.trust)
}

/// Whether a caller of this authority is proven.
fn judge(ca: &Ca, trust: &TrustBundles) -> Outcome {
    let id = format!("spiffe://{}/caller", ca.trust_domain()).parse().expect("a SPIFFE ID");
    let issued = ca.issue(&id, Duration::from_secs(60), now()).map_err(|error| error.to_string())?;
    let chain = [issued.chain_der().clone()];
    verify_chain(&chain, trust, Role::Client, now()).map(drop).map_err(|error| error.to_string())
}

fn configured() -> Vec<Row> {
    let web = "{ https_web: {} }";
    let spiffe =
        "{ https_spiffe: { endpoint_spiffe_id: \"spiffe://friend.org/s\", bootstrap_bundle: b.pem } }";
    vec![
        row("FD-02", "all is written, nothing inferred", "Federation §5.1, §7.2")
            .accepts("the three parameters", move || config("https://friend.org/", web))
            .refuses("no trust domain", "`trust_domain` is missing", move || {
                written(&format!("{{ url: \"https://friend.org/\", profile: {web} }}"))
            })
            .refuses("no URL", "`url` is missing", move || {
                written(&format!("{{ trust_domain: friend.org, profile: {web} }}"))
            })
            .refuses("no profile", "`profile` is missing", || {
                written("{ trust_domain: friend.org, url: \"https://friend.org/\" }")
            })
            .refuses("a web server where an SVID is expected", "does not prove", || {
                block_on(async {
                    let (_, shown) = crate::kit::bundle_endpoint::web("localhost", |_| {});
                    by_spiffe_of(&authority(FRIEND), shown).await
                })
            })
            .refuses("an SVID where a web server is expected", "tls with", || {
                block_on(async {
                    let friend = authority(FRIEND);
                    by_web((friend.bundle_pem(), svid(&friend, ENDPOINT))).await
                })
            }),
        row("FD-03", "https without userinfo", "Federation §5.2.1.1, §5.2.2.1")
            .accepts("https_web", move || config("https://friend.org/a?b", web))
            .accepts("https_spiffe", move || config("https://friend.org:8443/", spiffe))
            .refuses("http", "without TLS", move || config("http://friend.org/", web))
            .refuses("http on loopback", "without TLS", move || config("http://127.0.0.1/", spiffe))
            .refuses("userinfo", "user information", move || config("https://user:secret@friend.org/", web)),
    ]
}

/// Whether a configuration with this relationship is taken.
fn config(url: &str, profile: &str) -> Outcome {
    written(&format!("{{ trust_domain: friend.org, url: \"{url}\", profile: {profile} }}"))
}

fn written(relationships: &str) -> Outcome {
    let text = format!(
        "version: 1
identity:
  source: {{ workload_api: {{ socket: \"unix:///agent.sock\" }} }}
  federation: [{relationships}]
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
    load_text(&text, std::path::Path::new("postern.yaml")).map(drop).map_err(|findings| findings.to_string())
}

fn web_pki() -> Vec<Row> {
    vec![
        row("FD-04", "https_web server is the URL's host", "Federation §5.2.1.4")
            .accepts("a certificate for it", || block_on(by_web(web("localhost", |_| {}))))
            .refuses("a certificate for another host", "not valid for name", || {
                block_on(by_web(web("other.example", |_| {})))
            })
            .refuses("an authority that is not trusted", "invalid peer certificate", || {
                block_on(by_web((web("localhost", |_| {}).0, web("localhost", |_| {}).1)))
            })
            .refuses("an expired certificate", "certificate expired", || {
                block_on(by_web(web("localhost", expired)))
            }),
    ]
}

fn spiffe() -> Vec<Row> {
    let profile = |inside: &str| format!("{{ https_spiffe: {{ {inside} }} }}");
    vec![
        row("FD-05", "https_spiffe server is the configured ID", "Federation §5.2.2.2, §5.2.2.4")
            .accepts("its SVID", || block_on(by_spiffe(ENDPOINT)))
            .accepts("an endpoint of another trust domain in force", || block_on(elsewhere(true)))
            .refuses("another ID", "not an identity that is expected", || {
                block_on(by_spiffe("spiffe://friend.org/other"))
            })
            .refuses("an authority of the same name", "no path leads", || {
                block_on(by_spiffe_of(&authority(FRIEND), svid(&authority(FRIEND), ENDPOINT)))
            })
            .refuses("an endpoint of a trust domain that is not in force", "federate with it", || {
                block_on(elsewhere(false))
            })
            .refuses("no ID", "`endpoint_spiffe_id` is missing", move || {
                config("https://friend.org/", &profile("bootstrap_bundle: b.pem"))
            })
            .refuses("no bootstrap bundle", "nothing proves", move || {
                config("https://friend.org/", &profile(&format!("endpoint_spiffe_id: \"{ENDPOINT}\"")))
            }),
        row("FD-06", "the latest bundle proves the endpoint", "Federation §5.2.2.4")
            .accepts("an authority that the last bundle brought", || block_on(rotated(true)))
            .refuses("one that the last bundle dropped", "no path leads", || block_on(rotated(false))),
    ]
}

/// The endpoint of `friend.org` is `hub.org`'s, which is in force or not.
async fn elsewhere(in_force: bool) -> Outcome {
    let (hub, friend) = (authority("hub.org"), authority(FRIEND));
    let own: &[&Ca] = if in_force { &[&hub] } else { &[] };
    let mut client = Client::new(own, NEVER);
    let id = "spiffe://hub.org/bundles";
    let server = Server::start(svid(&hub, id), vec![ok(&document(&[&friend], ""))]).await;
    client.want(vec![client.with_proof(server.url(), id, EndpointProof::InForce)]);
    client.fetched().await?;
    judge(&friend, &client.trust)
}

/// The endpoint's bundle goes over from one authority to another, and the endpoint goes with it or stays behind.
async fn rotated(goes_with_it: bool) -> Outcome {
    let (old, new) = (authority(FRIEND), authority(FRIEND));
    let mut client = Client::new(&[], SOON);
    let server = Server::start(svid(&old, ENDPOINT), vec![ok(&document(&[&new], ""))]).await;
    client.want(vec![client.by_spiffe(server.url(), &old)]);
    client.fetched().await?;
    if goes_with_it {
        server.show(svid(&new, ENDPOINT));
    }
    // A fetch that was under way when the certificate changed is not counted.
    for _ in 0..5 {
        match client.fetched().await {
            Ok(_) if goes_with_it => return judge(&new, &client.trust),
            Err(error) if !goes_with_it => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Err("it goes on as if nothing had happened".to_owned())
}

fn redirects() -> Vec<Row> {
    vec![
        row("FD-07", "redirects to bundle endpoints alone", "Federation §5.2.1.4, §5.2.2.4 (S)")
            .accepts("to the same ID elsewhere", || block_on(redirected(ENDPOINT, Server::url)))
            .accepts("to a path on the same server", || block_on(redirected_within()))
            .accepts("the next fetch begins anew", || block_on(not_stored()))
            .refuses("to another ID", "not an identity that is expected", || {
                block_on(redirected("spiffe://friend.org/other", Server::url))
            })
            .refuses("to http", "scheme `http`", || {
                block_on(redirected(ENDPOINT, |server| server.url().replace("https:", "http:")))
            })
            .refuses("to userinfo", "user information", || {
                block_on(redirected(ENDPOINT, |server| server.url().replace("https://", "https://a:b@")))
            })
            .refuses("for ever", "more than 3 times", || {
                block_on(async {
                    let mut client = Client::new(&[], NEVER);
                    let friend = authority(FRIEND);
                    let server = Server::start(svid(&friend, ENDPOINT), vec![redirect("/bundle")]).await;
                    client.want(vec![client.by_spiffe(server.url(), &friend)]);
                    client.fetched().await.map(drop)
                })
            }),
    ]
}

/// The configured server redirects to one of this ID.
async fn redirected(id: &str, location: fn(&Server) -> String) -> Outcome {
    let mut client = Client::new(&[], NEVER);
    let friend = authority(FRIEND);
    let target = Server::start(svid(&friend, id), vec![ok(&document(&[&friend], ""))]).await;
    let server = Server::start(svid(&friend, ENDPOINT), vec![redirect(&location(&target))]).await;
    client.want(vec![client.by_spiffe(server.url(), &friend)]);
    client.fetched().await.map(drop)
}

async fn redirected_within() -> Outcome {
    let mut client = Client::new(&[], NEVER);
    let friend = authority(FRIEND);
    let answers = vec![redirect("/elsewhere"), ok(&document(&[&friend], ""))];
    let server = Server::start(svid(&friend, ENDPOINT), answers).await;
    client.want(vec![client.by_spiffe(server.url(), &friend)]);
    client.fetched().await.map(drop)
}

async fn not_stored() -> Outcome {
    let mut client = Client::new(&[], SOON);
    let friend = authority(FRIEND);
    let target = Server::start(svid(&friend, ENDPOINT), vec![ok(&document(&[&friend], ""))]).await;
    let server = Server::start(svid(&friend, ENDPOINT), vec![redirect(&target.url())]).await;
    client.want(vec![client.by_spiffe(server.url(), &friend)]);
    client.fetched().await?;
    client.fetched().await?;
    if server.asked() >= 2 {
        Ok(())
    } else {
        Err(format!("the first server was asked {} times", server.asked()))
    }
}

fn bundles() -> Vec<Row> {
    vec![
        row("FD-08", "bundles are never merged", "Federation §4.2, §7.3")
            .accepts("a caller of each trust domain", || {
                block_on(async {
                    let (ours, friend) = (authority("example.org"), authority(FRIEND));
                    let client = federated(&ours, &friend).await?;
                    judge(&ours, &client.trust).and_then(|()| judge(&friend, &client.trust))
                })
            })
            .refuses("our caller by the friend's authority", "no path leads", || {
                block_on(async {
                    let (ours, friend) = (authority("example.org"), authority(FRIEND));
                    let client = federated(&ours, &friend).await?;
                    // An authority of our name, whose certificate the friend could put into its bundle.
                    let forged = authority("example.org");
                    judge(&ours, &client.trust)?;
                    judge(&forged, &client.trust)
                })
            })
            .refuses("two endpoints for one trust domain", "never merged", || {
                let web = "{ trust_domain: friend.org, url: \"https://a/\", profile: { https_web: {} } }";
                written(&format!("{web}, {}", web.replace("https://a/", "https://b/")))
            }),
    ]
}

/// A client that believes `ours`, and what `friend` serves: its own authority and one that bears our name.
async fn federated(ours: &Ca, friend: &Ca) -> Outcome<Client> {
    let mut client = Client::new(&[ours], NEVER);
    let forged = authority("example.org");
    let served = ok(&document(&[friend, &forged], ""));
    let server = Server::start(svid(friend, ENDPOINT), vec![served]).await;
    client.want(vec![client.by_spiffe(server.url(), friend)]);
    client.fetched().await?;
    Ok(client)
}

fn lifecycle() -> Vec<Row> {
    vec![
        row("FD-09", "polled at its hint, kept on disk", "Federation §4.1, §4.2, §6.2 (S)")
            .accepts("the hint", || block_on(interval(r#","spiffe_refresh_hint":60"#, 60)))
            .accepts("five minutes without one", || block_on(interval("", 300)))
            .accepts("no less than 30 s", || block_on(interval(r#","spiffe_refresh_hint":1"#, 30)))
            .accepts("no more than a day", || block_on(interval(r#","spiffe_refresh_hint":1000000"#, 86_400)))
            .accepts("a start while the endpoint is away", || block_on(offline()))
            .accepts("what cannot be fetched changes nothing", || block_on(last_good(status(500))))
            .accepts("what is no bundle changes nothing", || block_on(last_good(ok("{\"keys\":{}}"))))
            .accepts("an earlier bundle changes nothing", || {
                block_on(last_good(ok(&document(&[], r#","spiffe_sequence":1"#))))
            })
            .refuses("an endpoint that fails is not asked at once", "answered 500", || {
                block_on(async {
                    let mut client = Client::new(&[], NEVER);
                    let friend = authority(FRIEND);
                    let server = Server::start(svid(&friend, ENDPOINT), vec![status(500)]).await;
                    client.want(vec![client.by_spiffe(server.url(), &friend)]);
                    let refused = client.fetched().await.map(drop);
                    tokio::time::sleep(SOON * 2).await;
                    if server.asked() == 1 { refused } else { Err("it was asked again".to_owned()) }
                })
            })
            .refuses("more than a bundle may hold", "more than 1048576 bytes", || {
                block_on(served(ok(&format!("{}{}", document(&[], ""), " ".repeat(1 << 20)))))
            })
            .refuses("one member twice", "occurs twice", || {
                block_on(served(ok(&document(&[], r#","keys":[]"#))))
            })
            .refuses("an endpoint that says nothing", "did not answer within", || {
                block_on(served(SILENCE.to_owned()))
            })
            .refuses("half a document", "broke off", || {
                block_on(served("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"keys\"".to_owned()))
            }),
        row("FD-10", "a relationship ends with all it brought", "Federation §6.3")
            .accepts("while it lasts", || block_on(ended(false)))
            .refuses("once it has ended", "no trust bundle", || block_on(ended(true))),
    ]
}

async fn interval(member: &str, seconds: u64) -> Outcome {
    let mut client = Client::new(&[], NEVER);
    let friend = authority(FRIEND);
    let server = Server::start(svid(&friend, ENDPOINT), vec![ok(&document(&[&friend], member))]).await;
    client.want(vec![client.by_spiffe(server.url(), &friend)]);
    let interval = client.fetched().await?.refresh_interval();
    if interval.as_secs() == seconds { Ok(()) } else { Err(format!("{interval:?}")) }
}

async fn offline() -> Outcome {
    let friend = authority(FRIEND);
    let mut client = Client::new(&[], NEVER);
    let server = Server::start(svid(&friend, ENDPOINT), vec![ok(&document(&[&friend], ""))]).await;
    let relationship = client.by_spiffe(server.url(), &friend);
    client.want(vec![relationship.clone()]);
    client.fetched().await?;
    server.say(status(503));
    let mut again = Client::in_folder(client.folder, &[], NEVER);
    again.want(vec![relationship]);
    match again.next().await? {
        FederationUpdate::Kept(_) => judge(&friend, &again.trust),
        other => Err(format!("{other:?}")),
    }
}

/// A good bundle comes first, then this answer; the friend's callers are still believed.
async fn last_good(then: String) -> Outcome {
    let friend = authority(FRIEND);
    let mut client = Client::new(&[], SOON);
    let first = ok(&document(&[&friend], r#","spiffe_sequence":2"#));
    let server = Server::start(svid(&friend, ENDPOINT), vec![first, then]).await;
    client.want(vec![client.by_spiffe(server.url(), &friend)]);
    client.fetched().await?;
    match client.next().await? {
        FederationUpdate::Failed { .. } => judge(&friend, &client.trust),
        other => Err(format!("{other:?}")),
    }
}

/// What comes of this answer.
async fn served(answer: String) -> Outcome {
    let friend = authority(FRIEND);
    let mut client = Client::new(&[], NEVER);
    let server = Server::start(svid(&friend, ENDPOINT), vec![answer]).await;
    client.want(vec![client.by_spiffe(server.url(), &friend)]);
    client.fetched().await.map(drop)
}

async fn ended(ends: bool) -> Outcome {
    let friend = authority(FRIEND);
    let mut client = Client::new(&[&authority("example.org")], NEVER);
    let server = Server::start(svid(&friend, ENDPOINT), vec![ok(&document(&[&friend], ""))]).await;
    client.want(vec![client.by_spiffe(server.url(), &friend)]);
    client.fetched().await?;
    if client.kept() != 1 {
        return Err("it is not kept".to_owned());
    }
    if ends {
        client.want(Vec::new());
        match client.next().await? {
            FederationUpdate::Ended(_) => {}
            other => return Err(format!("{other:?}")),
        }
        // What was kept goes right after it was told.
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if client.kept() == 0 {
                break;
            }
        }
        if client.kept() != 0 {
            return Err("it is still kept".to_owned());
        }
    }
    judge(&friend, &client.trust)
}
