//! Endpoints that are names: asked for again as often as their records say, between 5 s and 5 min.
//!
//! What cannot be resolved changes nothing: the addresses found last stay in force, and so they do where the answer is
//! that there are none. An upstream whose names have never been resolved has no endpoint.
mod services;
mod system;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use self::services::Targets;
pub use self::services::{ServiceRecord, Services};
pub use self::system::System;
use super::backoff::Backoff;
use crate::clock::Clock;
use crate::config::NamedEndpoint;
use crate::reachable::{Unreachable, is_elsewhere, is_host};
use crate::routing::{Located, Named};

/// The shortest and the longest interval, whatever the records say.
const INTERVAL_MIN: Duration = Duration::from_secs(5);
const INTERVAL_MAX: Duration = Duration::from_secs(300);
/// The first wait after a failure, and the longest.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// For one name, both families and all that is searched for it.
const TIMEOUT: Duration = Duration::from_secs(10);
const LATE: &str = "no answer within 10 s";
/// Most addresses of one name that are taken: the first in their order, so that every refresh takes the same ones.
const ADDRESSES_MAX: usize = 256;
/// Most addresses that the process log is told of at one time.
const LEFT_OUT_TOLD: usize = 8;

/// Asks for the addresses of names.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// The addresses of a host. The caller bounds the time.
    fn resolve<'r>(&'r self, host: &'r str) -> Resolving<'r>;

    /// The records of a service. The caller bounds the time.
    fn services<'r>(&'r self, _name: &'r str) -> ResolvingServices<'r> {
        Box::pin(std::future::ready(Err(Trouble::Failed("no services are known here".to_owned()))))
    }
}

/// The records of a service on their way.
pub type ResolvingServices<'r> = Pin<Box<dyn Future<Output = Result<Services, Trouble>> + Send + 'r>>;

/// An answer on its way.
pub type Resolving<'r> = Pin<Box<dyn Future<Output = Answer> + Send + 'r>>;

/// What was found, each family by itself.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Of type A.
    pub v4: Result<Found, Trouble>,
    /// Of type AAAA.
    pub v6: Result<Found, Trouble>,
}

/// Addresses of one family.
#[derive(Clone, Debug)]
pub struct Found {
    /// In any order.
    pub addresses: Vec<IpAddr>,
    /// How long they may be believed.
    pub ttl: Duration,
}

/// Why there are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no such name, or no such record of it.
    #[error("it has no address")]
    Nothing,
    /// Nobody could say.
    #[error("{0}")]
    Failed(String),
}

/// What became of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameUpdate {
    /// Which.
    pub named: Named,
    /// Its places, or why those found last stay in force.
    pub found: Result<Vec<Located>, String>,
    /// Why a part of them is as it was, or is not there.
    pub trouble: Option<String>,
}

/// What names are followed with.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Who is asked.
    pub resolver: Arc<dyn Resolve>,
    /// What time it is; for chance alone.
    pub clock: Arc<dyn Clock>,
    /// Where this sidecar itself listens.
    pub own: watch::Receiver<Arc<[SocketAddr]>>,
    /// Where it is told what becomes of names: once a refresh.
    pub updates: mpsc::Sender<NameUpdate>,
}

/// Follows names as they are configured, until the future is dropped or nobody configures any more. One that stays is not
/// asked for anew.
pub async fn run(mut wanted: watch::Receiver<Vec<Named>>, surroundings: Surroundings) {
    let mut followers = JoinSet::new();
    let mut running: Vec<(Named, AbortHandle)> = Vec::new();
    loop {
        let list = wanted.borrow_and_update().clone();
        let (keep, end): (Vec<_>, Vec<_>) = running.into_iter().partition(|(named, _)| list.contains(named));
        running = keep;
        end.iter().for_each(|(_, follower)| follower.abort());
        for named in list {
            if running.iter().all(|(known, _)| *known != named) {
                let follower = followers.spawn(follow(named.clone(), surroundings.clone()));
                running.push((named, follower));
            }
        }
        let ended = async { while followers.join_next().await.is_some() {} };
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { break },
            () = ended => if wanted.changed().await.is_err() { break },
        }
    }
    // Nobody configures any more; what is configured is followed until this future is dropped.
    while followers.join_next().await.is_some() {}
}

async fn follow(named: Named, surroundings: Surroundings) {
    let backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    let mut follower = Follower {
        last: Vec::new(),
        targets: Targets::default(),
        has_found: false,
        left_out: Vec::new(),
        told: None,
        backoff,
        named,
        surroundings,
    };
    while !follower.surroundings.updates.is_closed() {
        let wait = follower.refresh().await;
        tokio::time::sleep(wait).await;
    }
}

struct Follower {
    named: Named,
    /// All that was found last, also what is not used.
    last: Vec<IpAddr>,
    /// The same of each host to which a service led last.
    targets: Targets,
    /// Whether it has led anywhere yet.
    has_found: bool,
    /// What of it is not used, and why.
    left_out: Vec<(IpAddr, &'static str)>,
    /// The trouble that was told last.
    told: Option<String>,
    backoff: Backoff,
    surroundings: Surroundings,
}

impl Follower {
    /// Asks once, and gives back how long to wait before the next time.
    async fn refresh(&mut self) -> Duration {
        let found = match self.named.endpoint.port {
            Some(port) => self.find_host(port).await,
            None => self.find_service().await,
        };
        match found {
            Ok(News { places, ttl, trouble, is_whole }) => {
                self.tell(
                    trouble.clone(),
                    "a name cannot be resolved in full, what can be found is in force",
                );
                self.has_found = true;
                self.send(Ok(places), trouble).await;
                let ttl = ttl.clamp(INTERVAL_MIN, INTERVAL_MAX);
                if is_whole {
                    self.backoff.reset();
                    return ttl;
                }
                // What is missing is not left out for as long as the rest may be believed.
                self.backoff.wait(&*self.surroundings.clock).min(ttl)
            }
            Err(trouble) => {
                let first = "a name cannot be resolved, it has no endpoint yet";
                let later = "a name cannot be resolved, what was found last stays in force";
                self.tell(Some(trouble.clone()), if self.has_found { later } else { first });
                self.send(Err(trouble), None).await;
                self.backoff.wait(&*self.surroundings.clock)
            }
        }
    }

    async fn find_host(&mut self, port: u16) -> Result<News, String> {
        let answer = ask(&*self.surroundings.resolver, &self.named.endpoint.host).await;
        let Combined { addresses, ttl, trouble } = combine(answer, &self.last)?;
        let places = addresses.iter().map(|ip| SocketAddr::new(*ip, port).into()).collect();
        let places = self.usable(places)?;
        self.last = addresses;
        Ok(News { places, ttl, is_whole: trouble.is_none(), trouble })
    }

    async fn find_service(&mut self) -> Result<News, String> {
        let (resolver, name) = (&*self.surroundings.resolver, &self.named.endpoint.host);
        let found = services::find(resolver, name, &self.targets).await?;
        let services::Found { places, targets, ttl, trouble, is_whole } = found;
        let places = self.usable(places)?;
        self.targets = targets;
        Ok(News { places, ttl, trouble, is_whole })
    }

    async fn send(&self, found: Result<Vec<Located>, String>, trouble: Option<String>) {
        let update = NameUpdate { named: self.named.clone(), found, trouble };
        drop(self.surroundings.updates.send(update).await);
    }

    /// Says what is wrong when it goes wrong, and when it is well again; not with every refresh.
    fn tell(&mut self, trouble: Option<String>, what: &str) {
        let (upstream, name) = (&*self.named.upstream, &self.named.endpoint);
        match (&self.told, &trouble) {
            (_, Some(now)) if self.told != trouble => {
                tracing::warn!(upstream, %name, "{what}: {now}");
            }
            (Some(_), None) => tracing::info!(upstream, %name, "a name can be resolved again"),
            _ => {}
        }
        self.told = trouble;
    }

    /// The places that may be connected to; an error where there is none among them.
    fn usable(&mut self, found: Vec<Located>) -> Result<Vec<Located>, String> {
        let (mut usable, mut left_out) = (Vec::new(), Vec::new());
        for place in found {
            let ip = place.address.ip();
            match judge(place.address, &self.named.endpoint, &self.surroundings.own.borrow()) {
                Ok(()) if usable.len() >= ADDRESSES_MAX => left_out.push((ip, "is one too many")),
                Ok(()) => usable.push(place),
                Err(why) => left_out.push((ip, why)),
            }
        }
        if left_out != self.left_out {
            let (upstream, name) = (&*self.named.upstream, &self.named.endpoint);
            for (address, why) in left_out.iter().take(LEFT_OUT_TOLD) {
                tracing::warn!(upstream, %name, %address, "an address of a name is left out: it {why}");
            }
        }
        self.left_out = left_out;
        match self.left_out.first() {
            Some((ip, why)) if usable.is_empty() => {
                Err(format!("none of its addresses can be used: {ip} {why}"))
            }
            _ => Ok(usable),
        }
    }
}

/// The addresses of a host, or that nobody says in time.
async fn ask(resolver: &dyn Resolve, host: &str) -> Answer {
    let answer = tokio::time::timeout(TIMEOUT, resolver.resolve(host)).await;
    let late = || Err(Trouble::Failed(LATE.to_owned()));
    answer.unwrap_or_else(|_| Answer { v4: late(), v6: late() })
}

/// What a name has come to.
struct News {
    /// Never empty.
    places: Vec<Located>,
    ttl: Duration,
    /// Why a part of it is as it was, or is not there.
    trouble: Option<String>,
    /// Whether asking again before the time could bring nothing more.
    is_whole: bool,
}

/// What both families come to.
struct Combined {
    /// Sorted, each once; never empty.
    addresses: Vec<IpAddr>,
    ttl: Duration,
    /// Why one family is as it was.
    trouble: Option<String>,
}

/// Puts the families together. One of which nobody could say anything keeps the addresses that it had.
fn combine(answer: Answer, last: &[IpAddr]) -> Result<Combined, String> {
    let Answer { v4, v6 } = answer;
    let (mut addresses, mut ttl, mut trouble) = (Vec::new(), INTERVAL_MAX, None);
    let mut has_found = false;
    for (family, is_ipv6) in [(v4, false), (v6, true)] {
        match family {
            Ok(found) => {
                has_found |= !found.addresses.is_empty();
                addresses.extend(found.addresses.iter().map(IpAddr::to_canonical));
                ttl = ttl.min(found.ttl);
            }
            Err(Trouble::Nothing) => {}
            Err(Trouble::Failed(why)) => {
                addresses.extend(last.iter().filter(|ip| ip.is_ipv6() == is_ipv6));
                let family = if is_ipv6 { "AAAA" } else { "A" };
                trouble = Some(format!("{family}: {why}"));
            }
        }
    }
    if !has_found {
        return Err(trouble.unwrap_or_else(|| Trouble::Nothing.to_string()));
    }
    addresses.sort_unstable();
    addresses.dedup();
    Ok(Combined { addresses, ttl, trouble })
}

/// Whether an address that a name leads to may be connected to, or why not.
fn judge(address: SocketAddr, endpoint: &NamedEndpoint, own: &[SocketAddr]) -> Result<(), &'static str> {
    let ip = address.ip();
    is_host(ip).map_err(told)?;
    if endpoint.loopback_only && !ip.is_loopback() {
        return Err("is beyond loopback, and what is spoken there has no TLS");
    }
    is_elsewhere(address, own).map_err(told)
}

fn told(why: Unreachable) -> &'static str {
    match why {
        Unreachable::NoHost => "is not the address of a host",
        Unreachable::LeadsBack => "leads back to this sidecar",
    }
}
