//! Real OPA as a server on a socket: policies come and go one by one, so that one that it refuses spoils no other.
use super::{Answer, Case};
use crate::Value;
use crate::ast::Version;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(super) struct Opa {
    process: Child,
    version: Version,
    folder: PathBuf,
    /// The data that it holds.
    data: String,
}

/// How often the socket of a new process is tried, every 20 milliseconds: a foreign process says in no better way that
/// it listens.
const TRIES: usize = 3000;

impl Opa {
    /// `None` where there is no OPA to ask.
    pub(super) fn start(version: Version, name: &str) -> Option<Self> {
        std::env::var_os("POSTERN_OPA")?;
        let folder = crate::builtins::testing::new_folder(name);
        let process = spawn(version, &folder);
        Some(Self { process, version, folder, data: String::new() })
    }

    /// Some policies end OPA's process.
    fn revive(&mut self) {
        if self.process.try_wait().unwrap().is_some() {
            self.process = spawn(self.version, &self.folder);
            self.data.clear();
        }
    }

    /// The status and the body of the answer.
    fn request(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        // OPA answers nothing where it panics.
        self.try_request(method, path, body).unwrap_or((PANIC, String::new()))
    }

    fn try_request(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(self.folder.join("opa.sock")).ok()?;
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some((status, body.to_owned()))
    }

    fn put(&self, name: &str, text: &str) -> Result<(), String> {
        let (status, body) = self.request("PUT", &format!("/v1/policies/{name}"), text);
        if status == 200 { Ok(()) } else { Err(body) }
    }

    /// Loads the modules of a case; the reason if OPA refuses them.
    pub(super) fn load(&mut self, case: &Case) -> Result<(), String> {
        self.revive();
        if self.data != case.data {
            let (status, body) = self.request("PUT", "/v1/data", &case.data);
            assert_eq!(status, 204, "{body}");
            self.data.clone_from(&case.data);
        }
        for (index, text) in case.modules.iter().enumerate() {
            if let Err(why) = self.put(&format!("m{index}"), text) {
                self.unload(index);
                return Err(why);
            }
        }
        Ok(())
    }

    /// Removes the first modules of a case, the last one first: each may need those before it.
    pub(super) fn unload(&self, modules: usize) {
        for index in (0..modules).rev() {
            let (status, body) = self.request("DELETE", &format!("/v1/policies/m{index}"), "");
            assert!(status == 200 || status == PANIC, "{body}");
        }
    }

    /// What a document is; `None` if OPA dies of the question.
    pub(super) fn ask(&self, path: &[String], input: Option<&str>, strict: bool) -> Option<Answer> {
        let names: Vec<String> = path.iter().map(|name| encoded(name)).collect();
        let strict = if strict { "?strict-builtin-errors=true" } else { "" };
        let body = input.map_or("{}".to_owned(), |input| format!("{{\"input\": {input}}}"));
        let (status, body) = self.request("POST", &format!("/v1/data/{}{strict}", names.join("/")), &body);
        match status {
            PANIC => None,
            200 => {
                let answer = Value::from_json(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
                let value = answer.member("result").map(Value::to_json);
                Some(value.map_or(Answer::Undefined, Answer::Value))
            }
            _ => Some(Answer::Error(body)),
        }
    }
}

/// No status of HTTP: there was no answer.
const PANIC: u16 = 0;

fn spawn(version: Version, folder: &Path) -> Child {
    let socket = folder.join("opa.sock");
    std::fs::remove_file(&socket).ok();
    let mut command = Command::new(std::env::var_os("POSTERN_OPA").unwrap());
    command.args(["run", "--server", "--disable-telemetry", "--log-level", "error", "--addr"]);
    command.arg(format!("unix://{}", socket.display()));
    if version == Version::V0 {
        command.arg("--v0-compatible");
    }
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..TRIES {
        if UnixStream::connect(&socket).is_ok() {
            return process;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    panic!("OPA does not listen");
}

impl Drop for Opa {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
