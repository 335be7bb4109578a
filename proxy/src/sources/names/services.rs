//! Services (RFC 2782): records that name hosts with their ports, of which some come first and each has a weight.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;

use super::{Combined, INTERVAL_MAX, LATE, Resolve, TIMEOUT, Trouble, combine};
use crate::routing::Located;
use crate::traffic::share::Share;

/// Most records of one service that are taken: the first in their order, so that every refresh takes the same ones.
const RECORDS_MAX: usize = 64;
/// The weight of the heaviest place of each priority: enough for the others to be parts of it.
const HEAVIEST: u64 = 1_000_000;

/// The records of a service.
#[derive(Clone, Debug)]
pub struct Services {
    /// In any order.
    pub records: Vec<ServiceRecord>,
    /// How long they may be believed.
    pub ttl: Duration,
}

/// One record. They are ordered as they are taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceRecord {
    /// The lowest comes first.
    pub priority: u16,
    /// A host; `.` says that there is no such service.
    pub target: String,
    /// Where it listens.
    pub port: u16,
    /// Its share among those of the same priority.
    pub weight: u16,
}

/// The addresses of the hosts to which a service led last.
#[derive(Clone, Debug, Default)]
pub(super) struct Targets(BTreeMap<String, Vec<IpAddr>>);

/// What became of a service.
#[derive(Debug)]
pub(super) struct Found {
    /// Where it is, those that come first first.
    pub(super) places: Vec<Located>,
    pub(super) targets: Targets,
    pub(super) ttl: Duration,
    /// Why a part of it is as it was, or is not there.
    pub(super) trouble: Option<String>,
    /// Whether every host that it names could be resolved.
    pub(super) is_whole: bool,
}

/// Asks for a service and for all hosts that it names. A host that cannot be resolved keeps the addresses that it had; one
/// that had none is left out.
pub(super) async fn find(resolver: &dyn Resolve, name: &str, last: &Targets) -> Result<Found, String> {
    let services = tokio::time::timeout(TIMEOUT, resolver.services(name)).await;
    let services = services.unwrap_or_else(|_| Err(Trouble::Failed(LATE.to_owned())));
    let Services { records, ttl } = services.map_err(|trouble| match trouble {
        Trouble::Nothing => NO_RECORD.to_owned(),
        Trouble::Failed(why) => format!("SRV: {why}"),
    })?;
    let (mut ttl, mut trouble) = (ttl.min(INTERVAL_MAX), None);
    let records = taken(records, &mut trouble)?;
    let hosts: BTreeSet<String> = records.iter().map(|record| record.target.clone()).collect();
    let asked = hosts.into_iter().map(|host| async move { (super::ask(resolver, &host).await, host) });
    let (mut targets, mut is_whole) = (Targets::default(), true);
    for (answer, host) in join_all(asked).await {
        let known = last.0.get(&host);
        let (addresses, why) = match combine(answer, known.map_or(&[], Vec::as_slice)) {
            Ok(of_host) => {
                let Combined { addresses, ttl: of_host, trouble } = of_host;
                ttl = ttl.min(of_host);
                (Some(addresses), trouble)
            }
            Err(why) => (known.cloned(), Some(why)),
        };
        is_whole &= why.is_none();
        trouble = trouble.or_else(|| why.map(|why| format!("{}: {why}", host.trim_end_matches('.'))));
        targets.0.extend(addresses.map(|addresses| (host, addresses)));
    }
    if targets.0.is_empty() {
        return Err(trouble.unwrap_or_else(|| NO_RECORD.to_owned()));
    }
    Ok(Found { places: places(&records, &targets), targets, ttl, trouble, is_whole })
}

/// The records that lead somewhere, in order.
fn taken(
    mut records: Vec<ServiceRecord>,
    trouble: &mut Option<String>,
) -> Result<Vec<ServiceRecord>, String> {
    records.retain(|record| record.target != "." && record.port != 0);
    records.sort_unstable();
    records.dedup();
    if records.is_empty() {
        return Err(NO_RECORD.to_owned());
    }
    if records.len() > RECORDS_MAX {
        *trouble = Some(format!("it has {} records, of which {RECORDS_MAX} are taken", records.len()));
        records.truncate(RECORDS_MAX);
    }
    Ok(records)
}

/// Each once, as what comes first.
fn places(records: &[ServiceRecord], targets: &Targets) -> Vec<Located> {
    let mut seen = BTreeSet::new();
    let groups = records.chunk_by(|one, other| one.priority == other.priority);
    let places = groups.flat_map(|group| weighed(group, targets));
    places.filter(|place| seen.insert(place.address)).collect()
}

/// The places of one priority, each once. The addresses of a host share its weight. One without a weight gets next to
/// nothing, unless none has any: then all get the same.
fn weighed(records: &[ServiceRecord], targets: &Targets) -> Vec<Located> {
    let is_weighed = records.iter().any(|record| record.weight > 0);
    let mut weights: BTreeMap<SocketAddr, u64> = BTreeMap::new();
    for record in records {
        let addresses = targets.0.get(&record.target).map_or(&[][..], Vec::as_slice);
        let weight = if is_weighed { u64::from(record.weight) } else { 1 };
        let all = u64::try_from(addresses.len()).unwrap_or(u64::MAX).max(1);
        for ip in addresses {
            *weights.entry(SocketAddr::new(*ip, record.port)).or_default() += weight * HEAVIEST / all;
        }
    }
    let priority = records.first().map_or(0, |record| record.priority);
    let heaviest = weights.values().copied().max().unwrap_or(1).max(1);
    let share = |weight: u64| {
        let weight = u32::try_from(weight.saturating_mul(HEAVIEST) / heaviest).unwrap_or(u32::MAX);
        Share { priority, weight: weight.max(1) }
    };
    weights.into_iter().map(|(address, weight)| Located { address, share: share(weight) }).collect()
}

const NO_RECORD: &str = "it has no record that names a host with its port (SRV)";
