//! The revocation lists of a message: they speak for whichever trust domain's authority signed them.

use postern_proxy::sources::identity::workload_api::messages::X509SvidResponse;
use prost::Message;

use super::Outcome;
use crate::Row;
use crate::kit::certificates::{Ca, Leaf, judge};
use crate::kit::grpc::Said;
use crate::kit::workload_api::{ID, World, block_on};

const FRIEND: &str = "spiffe://friend.org";

pub(super) fn row() -> Row {
    crate::row("WA-13", "revocation lists count", "Workload_API §5.1")
        .accepts("a caller that its list does not name", || heard(|ca, _| vec![ca.list_der(&[], 60)]))
        .accepts("a caller that another authority's list names", || {
            heard(|_, leaf| vec![Ca::root().list_der(&[&leaf.der], 60)])
        })
        .refuses("a caller that its list names", "tls.chain.revoked", || {
            heard(|ca, leaf| vec![ca.list_der(&[&leaf.der], 60)])
        })
        .refuses("a caller that the last of several lists names", "tls.chain.revoked", || {
            heard(|ca, leaf| vec![Ca::root().list_der(&[], 60), ca.list_der(&[&leaf.der], 60)])
        })
}

/// Whether a caller of a federated trust domain is believed, when the message also has these lists.
fn heard(lists: fn(&Ca, &Leaf) -> Vec<Vec<u8>>) -> Outcome {
    let ca = Ca::root();
    let leaf = ca.leaf(&format!("{FRIEND}/web"));
    let crl = lists(&ca, &leaf);
    let trust = block_on(async {
        let world = World::unix();
        let response = X509SvidResponse {
            svids: vec![world.entry(ID)],
            federated_bundles: [(FRIEND.to_owned(), ca.der.to_vec())].into(),
            crl,
        };
        world.say(vec![Said::Message(response.encode_to_vec())]);
        world.follow().next().await.map(|update| update.trust)
    })?;
    judge(&[leaf.der], &trust).map(drop)
}
