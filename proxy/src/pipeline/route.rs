//! Step 6: which route takes the request.
use super::exchange::Exchange;
use super::normalise::{Normalised, Switch};
use super::refusal::Refusal;
use crate::routing::{Head, Route};
use std::sync::Arc;

/// Kept a function of its own in optimised builds, so that its instructions can be counted.
#[inline(never)]
pub(super) fn find(exchange: &mut Exchange, request: &Normalised) -> Result<Arc<Route>, Refusal> {
    let snapshot = exchange.worker.snapshots.pin();
    let (listener, destination) = (&exchange.connection.listener.name, exchange.connection.destination);
    let (authority, method, headers) = (request.authority(), request.method().as_str(), request.headers());
    let find =
        |path: &str| snapshot.routing.find(listener, &Head { authority, path, method, headers, destination });
    let none = match request.switch() {
        Switch::Connect => Refusal::RequestConnect,
        Switch::Nothing | Switch::WebSocket | Switch::ExtendedConnect => Refusal::RouteNone,
    };
    let route = find(request.path()).ok_or(none)?;
    if request.path().contains(';') {
        // Some applications cut `;…` off before they look at a path: it must not lead elsewhere then.
        let bare = find(&request.path_without_params());
        if !bare.is_some_and(|bare| Arc::ptr_eq(bare, route)) {
            return Err(Refusal::RequestPathParams);
        }
    }
    let caller = exchange.connection.spiffe_id();
    let route = route.chosen((caller, headers), &exchange.worker.random);
    exchange.note_route(route);
    Ok(Arc::clone(route))
}
