//! A real SPIRE server and agent: what the sidecar makes of everything that their operators do.

mod agent;
mod authorities;
mod federation;
mod peers;
mod tokens;

use std::path::Path;
use std::time::Duration;

use postern_tests::load::Pressure;
use postern_tests::{Caller, Scene, Version};
use serde_json::{Value, json};

/// Longest wait for anything that SPIRE and the sidecar bring about together.
const LIMIT: Duration = Duration::from_secs(75);

const PRESSURE: Pressure = Pressure { callers: 4, pause: Duration::from_millis(10), version: Version::Http2 };

/// A scene whose identity comes from this socket; `more` are further keys of the source.
fn scene(socket: &Path, more: &Value) -> Scene {
    let mut scene = Scene::new();
    let mut source = json!({ "socket": format!("unix://{}", socket.display()) });
    for (key, value) in more.as_object().expect("keys") {
        source[key] = value.clone();
    }
    scene.config["identity"] = json!({ "source": { "workload_api": source } });
    scene
}

/// Whether a request on a connection of its own is answered with 200; anything else is a refusal, and why.
fn ask(caller: &Caller, scene: &Scene) -> Result<(), String> {
    let answer = caller.get(scene.listener, Version::Http2, "/things")?;
    if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
}
