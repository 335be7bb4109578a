//! Resolution as the machine does it: `/etc/hosts`, and the servers and search list of `/etc/resolv.conf`.
//!
//! By `hickory-resolver`, because the C library's `getaddrinfo` does not tell how long an answer may be believed.
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use hickory_resolver::TokioResolver;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::{Answer, Found, Resolve, Resolving, ResolvingServices, ServiceRecord, Services, Trouble};
use crate::sources::watched_file::Stamp;

/// The files that say how names are resolved.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// The machine's own resolution. It follows its files.
#[derive(Default)]
pub struct System {
    made: Mutex<Option<([Option<Stamp>; 2], TokioResolver)>>,
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("System")
    }
}

impl System {
    /// The resolver that the files describe now.
    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let stamps = FILES.map(|file| Stamp::now(Path::new(file)));
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, resolver)) = &*made
            && *of == stamps
        {
            return Ok(resolver.clone());
        }
        let mut builder = TokioResolver::builder_tokio()?;
        // Whoever asks here knows himself how long to believe an answer.
        builder.options_mut().cache_size = 0;
        let resolver = builder.build()?;
        *made = Some((stamps, resolver.clone()));
        Ok(resolver)
    }
}

impl Resolve for System {
    fn resolve<'r>(&'r self, host: &'r str) -> Resolving<'r> {
        async move {
            match self.resolver() {
                Ok(resolver) => look_up(&resolver, host).await,
                Err(error) => {
                    let trouble = failed(&error);
                    Answer { v4: Err(trouble.clone()), v6: Err(trouble) }
                }
            }
        }
        .boxed()
    }

    fn services<'r>(&'r self, name: &'r str) -> ResolvingServices<'r> {
        async move {
            let resolver = self.resolver().map_err(|error| failed(&error))?;
            look_up_services(&resolver, name).await
        }
        .boxed()
    }
}

/// The records of a service.
pub(super) async fn look_up_services(resolver: &TokioResolver, name: &str) -> Result<Services, Trouble> {
    let lookup = resolver.lookup(name, RecordType::SRV).await.map_err(|error| trouble(&error))?;
    let records = lookup.answers().iter().filter_map(|record| {
        let RData::SRV(of) = &record.data else { return None };
        let mut target = of.target.to_lowercase();
        // Whatever the server's spelling, the search list has no say in it.
        target.set_fqdn(true);
        let (priority, weight, port) = (of.priority, of.weight, of.port);
        Some((ServiceRecord { priority, target: target.to_ascii(), port, weight }, record.ttl))
    });
    let (records, ttls): (Vec<_>, Vec<_>) = records.unzip();
    let ttl = ttls.into_iter().min().ok_or(Trouble::Nothing)?;
    Ok(Services { records, ttl: Duration::from_secs(u64::from(ttl)) })
}

/// Both families of a host. The second one is asked for by the very name under which the first was found: going through
/// the search list again, one server that fails could lead to another host.
pub(super) async fn look_up(resolver: &TokioResolver, host: &str) -> Answer {
    let (v4, name) = family(resolver, host, RecordType::A).await;
    match name {
        Some(name) => {
            let (v6, _) = family(resolver, &name.to_ascii(), RecordType::AAAA).await;
            Answer { v4, v6 }
        }
        None => {
            let (v6, _) = family(resolver, host, RecordType::AAAA).await;
            Answer { v4, v6 }
        }
    }
}

/// One family, and the name under which it was found.
async fn family(
    resolver: &TokioResolver,
    host: &str,
    kind: RecordType,
) -> (Result<Found, Trouble>, Option<Name>) {
    let lookup = match resolver.lookup(host, kind).await {
        Ok(lookup) => lookup,
        Err(error) => return (Err(trouble(&error)), None),
    };
    let records = lookup.answers().iter();
    let records = records.filter_map(|record| Some((record.data.ip_addr()?, record.ttl)));
    let (addresses, ttls): (Vec<_>, Vec<_>) = records.unzip();
    let Some(ttl) = ttls.into_iter().min() else { return (Err(Trouble::Nothing), None) };
    let mut name = lookup.query().name().clone();
    name.set_fqdn(true);
    (Ok(Found { addresses, ttl: Duration::from_secs(u64::from(ttl)) }), Some(name))
}

fn trouble(error: &NetError) -> Trouble {
    if let NetError::Dns(DnsError::NoRecordsFound(_)) = error { Trouble::Nothing } else { failed(error) }
}

fn failed(error: &NetError) -> Trouble {
    Trouble::Failed(error.to_string())
}
