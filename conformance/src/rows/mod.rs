//! The rows, a file a family.

mod fd;
mod jt_pop;
mod sid;
mod tb;
mod tl;
mod wa;
mod wt;
mod x5;

use crate::Row;

/// Every row, in the order of the table: families as the identity specification lists them, numbers upwards.
pub(crate) fn all() -> Vec<Row> {
    let families =
        [sid::rows(), x5::rows(), wa::rows(), tb::rows(), fd::rows(), wt::rows(), jt_pop::rows(), tl::rows()];
    let mut all = Vec::new();
    for mut family in families {
        family.sort_by_key(|row| row.id);
        all.append(&mut family);
    }
    all
}
