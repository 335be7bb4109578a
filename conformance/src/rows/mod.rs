//! The rows, a file a family.

mod fd;
mod js;
mod jt;
mod jt_pop;
mod open;
mod sid;
mod tb;
mod tl;
mod wa;
mod wt;
mod x5;

use crate::Row;

/// Every row, in the order of the table: families as the identity specification lists them, numbers upwards.
pub(crate) fn all() -> Vec<Row> {
    let families = [
        sid::rows(),
        x5::rows(),
        js::rows(),
        wa::rows(),
        tb::rows(),
        fd::rows(),
        wt::rows(),
        jt::rows().into_iter().chain(jt_pop::rows()).collect(),
        tl::rows(),
    ];
    let mut all = Vec::new();
    for mut family in families {
        family.sort_by_key(|row| row.id);
        all.append(&mut family);
    }
    all
}
