//! Raw streams that carry bytes for as long as somebody takes them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::load::{WARM_UP, on_this_thread};
use crate::{StreamArgs, identities, proc};

const MIB: f64 = 1024.0 * 1024.0;

/// `stream`.
pub(crate) fn run(args: &StreamArgs) -> Result<Value, String> {
    let caller = identities::caller(&args.target.identities)?;
    let pid = args.target.pid;
    let taken = Rc::new(Cell::new(0_u64));
    let (cpu_ns, measured, bytes) = on_this_thread(async {
        for _ in 0..args.connections {
            let mut stream = caller.stream(args.target.address).await?;
            let taken = Rc::clone(&taken);
            drop(tokio::task::spawn_local(async move {
                let mut buffer = vec![0; 256 * 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    taken.set(taken.get() + read as u64);
                }
            }));
        }
        tokio::time::sleep(WARM_UP).await;
        let (cpu, began, bytes) = (proc::cpu_ns(pid)?, Instant::now(), taken.get());
        tokio::time::sleep(Duration::from_secs_f64(args.seconds)).await;
        Ok((proc::cpu_ns(pid)? - cpu, began.elapsed(), taken.get() - bytes))
    })?;
    let mib = bytes as f64 / MIB;
    Ok(json!({
        "failed": u64::from(bytes == 0),
        "mib": mib,
        "mib_per_second": mib / measured.as_secs_f64(),
        "cpu_us_per_mib": cpu_ns as f64 / 1000.0 / mib.max(1.0),
    }))
}
