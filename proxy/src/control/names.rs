//! What becomes of endpoints that are names.

use std::sync::Arc;

use crate::sources::names::NameUpdate;
use crate::state::Shared;
use crate::status::Status;
use crate::telemetry::Metrics;

/// Takes a refresh into account, and puts other addresses in force where it brought any. Called by the control thread
/// alone.
pub(crate) fn refreshed(update: &NameUpdate, (shared, status, metrics): (&Shared, &Status, &Metrics)) {
    let NameUpdate { named, found, trouble } = update;
    let in_force = shared.load();
    let Some(upstream) = in_force.routing.upstreams().find(|upstream| upstream.name == named.upstream) else {
        return;
    };
    upstream.metrics.name_refreshed(found.is_ok());
    status.name(named, found.as_ref().map(|_| trouble.clone()).map_err(Clone::clone));
    let Ok(places) = found else { return };
    let Some(routing) = in_force.routing.with_places(named, places, metrics) else { return };
    shared.publish(|next| next.routing = Arc::new(routing));
    let (upstream, name) = (&*named.upstream, &named.endpoint);
    let addresses: Vec<_> = places.iter().map(|place| place.address).collect();
    tracing::info!(upstream, %name, ?addresses, "a name leads elsewhere");
}
