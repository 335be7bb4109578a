//! Endpoints that are names, from the answer of a resolver to the answer of an endpoint.
use super::ALLOW;
use super::peers::played;
use super::world::World;
use crate::clock::Clock;
use crate::control;
use crate::sources::names::{self, Answer, Found, Resolve, Resolving, Surroundings, Trouble};
use crate::status::{NameTrouble, Status};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, watch};

const GET: &str = "GET /api/x HTTP/1.1\nHost: a.test\n\n";

/// What it answers until it is told otherwise: addresses, those of one family and no answer for the other, nothing, or a
/// failure.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<&'static str>>);

impl Resolve for Told {
    fn resolve<'r>(&'r self, host: &'r str) -> Resolving<'r> {
        assert_eq!(host, "orders.test");
        let says = *self.0.lock().unwrap();
        let v6 = match says.ends_with(" half") {
            true => Err(Trouble::Failed("refused".to_owned())),
            false => Err(Trouble::Nothing),
        };
        let v4 = match says {
            "" => Err(Trouble::Nothing),
            "fails" => Err(Trouble::Failed("no route to host".to_owned())),
            found => {
                let found = found.trim_end_matches(" half");
                let addresses = found.split(' ').map(|ip| ip.parse().unwrap()).collect();
                Ok(Found { addresses, ttl: Duration::from_secs(5) })
            }
        };
        Box::pin(async move { Answer { v4, v6 } })
    }
}

/// Endpoints that answer with the last byte of their address over 200, and the connections to them that have ended.
fn endpoints(
    ended: &Rc<RefCell<Vec<SocketAddr>>>,
) -> impl Fn(SocketAddr) -> std::io::Result<crate::upstream::BoxIo> + 'static {
    let ended = Rc::clone(ended);
    move |endpoint: SocketAddr| {
        let ended = Rc::clone(&ended);
        played(move |_, mut stream: DuplexStream| {
            let ended = Rc::clone(&ended);
            async move {
                let mut heard = [0; 4096];
                while stream.read(&mut heard).await.unwrap_or(0) > 0 {
                    let SocketAddr::V4(v4) = endpoint else { panic!("{endpoint}") };
                    let status = 200 + u16::from(v4.ip().octets()[3]);
                    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
                ended.borrow_mut().push(endpoint);
            }
        })(0)
    }
}

/// What is asked of a world whose upstream is a name: each step is what the resolver says from then on, and which statuses
/// come of eight requests once it has been asked again.
fn check(steps: &[(&'static str, &[u16])]) -> (Vec<SocketAddr>, String, Vec<NameTrouble>) {
    let ended = Rc::default();
    let written = "'orders.test:80'], plaintext: any_address, balance: round_robin";
    let world = World::configured(Some(ALLOW), &[("127.0.0.1:1, 127.0.0.1:2]", written)])
        .with_endpoints(endpoints(&ended));
    let (found, _) = world.run(async |world, _| {
        let (told, status) = (Told::default(), Status::default());
        let wanted = world.shared.load().routing.names();
        status.names(&wanted);
        let (updates, mut refreshed) = mpsc::channel(1);
        let (_wanted, wanting) = watch::channel(wanted);
        let clock = Arc::clone(&world.clock) as Arc<dyn Clock>;
        let resolver = Arc::new(told.clone());
        *told.0.lock().unwrap() = steps[0].0;
        let following = tokio::task::spawn_local(names::run(
            wanting,
            Surroundings { resolver, clock, own: watch::channel(Arc::default()).1, updates },
        ));
        for (says, expected) in steps {
            *told.0.lock().unwrap() = says;
            let update = refreshed.recv().await.unwrap();
            control::names::refreshed(&update, (&world.shared, &status, &world.metrics));
            // What was asked before it was told otherwise is still on its way.
            let update = refreshed.recv().await.unwrap();
            control::names::refreshed(&update, (&world.shared, &status, &world.metrics));
            let mut found = Vec::new();
            for _ in 0..8 {
                found.push(super::status(&world.caller().await.ask(GET).await));
            }
            found.sort_unstable();
            found.dedup();
            assert_eq!(found, *expected, "{says}");
        }
        following.abort();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let troubles = status.parts().names.into_iter().map(|(_, trouble)| trouble).collect();
        (ended.borrow().clone(), world.metrics.encode(), troubles)
    });
    found
}

#[test]
fn without_an_answer_there_is_no_endpoint_and_the_first_one_brings_all() {
    let (_, metrics, troubles) = check(&[("fails", &[503]), ("10.0.0.1 10.0.0.2", &[201, 202])]);
    assert_eq!(troubles, []);
    let refreshes = "postern_upstream_dns_refreshes_total{upstream=\"app\",result=";
    for line in ["\"success\"} 2", "\"failure\"} 2"] {
        assert!(metrics.contains(&format!("{refreshes}{line}")), "{metrics}");
    }
    assert!(
        metrics.contains("postern_upstream_endpoints{upstream=\"app\",state=\"available\"} 2"),
        "{metrics}"
    );
    assert!(metrics.contains("postern_upstream_panics_total{upstream=\"app\"} 0"), "{metrics}");
}

#[test]
fn requests_follow_a_name_and_idle_connections_to_where_it_led_are_closed() {
    let (ended, _, _) = check(&[("10.0.0.1 10.0.0.2", &[201, 202]), ("10.0.0.3 10.0.0.2", &[202, 203])]);
    // The worker has not ended yet, and nothing has been idle for long.
    assert!(!ended.is_empty() && ended.iter().all(|at| at.ip().to_string() == "10.0.0.1"), "{ended:?}");
}

#[test]
fn what_was_found_last_stays_in_force_where_nothing_is_found() {
    for nothing in ["fails", ""] {
        let (_, _, troubles) = check(&[("10.0.0.1", &[201]), (nothing, &[201])]);
        assert!(matches!(*troubles, [NameTrouble::Stale(_)]), "{troubles:?}");
    }
    let half = ("10.0.0.2 half", &[202][..]);
    let (_, _, troubles) = check(&[("10.0.0.1", &[201]), half]);
    assert!(matches!(&*troubles, [NameTrouble::Partly(why)] if why == "AAAA: refused"), "{troubles:?}");
    let (_, _, troubles) = check(&[half, ("fails", &[202])]);
    assert!(matches!(*troubles, [NameTrouble::Stale(_)]), "{troubles:?}");
    let (_, _, troubles) = check(&[("", &[503])]);
    assert!(matches!(*troubles, [NameTrouble::Never(_)]), "{troubles:?}");
}
