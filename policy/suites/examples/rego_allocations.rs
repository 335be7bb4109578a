//! What a Rego decision allocates, and what a loaded policy holds: `cargo run --release --example rego_allocations`. Apart from
//! the times, which the counting would lengthen.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]
mod decisions;

use allocation_counter::measure;
use postern_policy::Scratch;
use std::error::Error;
use std::hint::black_box;

/// Decisions of which the mean is taken, after as many that fill what is kept.
const DECISIONS: u64 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let headers = vec![("x-tenant".to_owned(), "a".to_owned())];
    let query = decisions::query(&headers)?;
    println!("| decision | allocations | bytes | policy in memory |\n|---|---|---|---|");
    for case in decisions::all() {
        let mut loaded = None;
        let load = measure(|| loaded = Some(case.load()));
        let pdp = loaded.ok_or("not loaded")??;
        let mut scratch = Scratch::default();
        let mut decide = || {
            (0..DECISIONS).for_each(|_| {
                black_box(pdp.decide(&mut scratch, black_box(&query)));
            });
        };
        decide();
        let decided = measure(decide);
        let (count, bytes) = (decided.count_total / DECISIONS, decided.bytes_total / DECISIONS);
        println!("| {} | {count} | {bytes} | {} KiB |", case.name, load.bytes_current / 1024);
    }
    Ok(())
}
