use super::*;
use crate::local_socket::SocketError;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

#[derive(Debug)]
struct View;

impl AdminView for View {
    fn status(&self) -> Status {
        Status {
            version: "1.2.3",
            started: true,
            identity: Some(IdentityStatus {
                spiffe_id: "spiffe://example.org/app".to_owned(),
                expires_unix_s: 1_700_000_000,
            }),
            policy_generation: 3,
            policy: vec![BundleStatus {
                name: "authz".to_owned(),
                revision: "r7".to_owned(),
                sha256: "00ff".to_owned(),
            }],
            checks: vec![Check { name: "audit", ok: false, reason: "the disk is full".to_owned() }],
            plaintext: vec![PlaintextStatus {
                listener: "app".to_owned(),
                until_unix_s: Some(1_800_000_000),
                connections: 3,
                last_unix_s: Some(1_700_000_009),
                callers: vec![PlaintextCaller {
                    address: [192, 0, 2, 7].into(),
                    connections: 2,
                    last_unix_s: 1_700_000_009,
                }],
                forgotten: 1,
            }],
        }
    }

    fn config(&self) -> serde_json::Value {
        serde_json::json!({ "version": 1 })
    }
}

/// A served socket, and the other end of its commands.
struct Desk {
    folder: tempfile::TempDir,
    commands: mpsc::Receiver<AdminCommand>,
    serving: tokio::task::JoinHandle<io::Result<Infallible>>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn desk() -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let socket = AdminSocket::bind(&folder.path().join("s")).unwrap();
    let (sender, commands) = commands();
    let answers = AdminPort { view: Arc::new(View), commands: sender, offer: Offer::default() };
    let serving = tokio::spawn(serve(socket, answers, ServerLimits::ADMIN));
    Desk { folder, commands, serving }
}

async fn ask(socket: &Path, line: &str) -> (u16, serde_json::Value) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

#[tokio::test]
async fn the_socket_says_what_runs() {
    let desk = desk().await;
    let socket = desk.folder.path().join("s");
    let (status, body) = ask(&socket, "GET /status").await;
    assert_eq!(status, 200);
    let expected = serde_json::json!({
        "version": "1.2.3", "started": true,
        "identity": { "spiffe_id": "spiffe://example.org/app", "expires_unix_s": 1_700_000_000 },
        "policy_generation": 3,
        "policy": [{ "name": "authz", "revision": "r7", "sha256": "00ff" }],
        "checks": [{ "name": "audit", "ok": false, "reason": "the disk is full" }],
        "plaintext": [{
            "listener": "app", "until_unix_s": 1_800_000_000, "connections": 3, "last_unix_s": 1_700_000_009,
            "callers": [{ "address": "192.0.2.7", "connections": 2, "last_unix_s": 1_700_000_009 }], "forgotten": 1,
        }],
    });
    assert_eq!(body, expected);
    assert_eq!(ask(&socket, "GET /config").await, (200, serde_json::json!({ "version": 1 })));
}

/// What the control thread does with a command.
type React = fn(AdminCommand);

fn drain(command: AdminCommand) -> Reply {
    match command {
        AdminCommand::Drain(reply) => reply,
        AdminCommand::Reload(_) | AdminCommand::Relieved => panic!("drain was asked"),
    }
}

fn reload(command: AdminCommand) -> Reply {
    match command {
        AdminCommand::Reload(reply) => reply,
        AdminCommand::Drain(_) | AdminCommand::Relieved => panic!("reload was asked"),
    }
}

#[tokio::test]
async fn a_command_is_answered_with_what_became_of_it() {
    let mut desk = desk().await;
    let socket = desk.folder.path().join("s");
    let rows: [(&str, React, u16, &str); 3] = [
        ("POST /drain", |command| drain(command).done("draining"), 200, "draining"),
        ("POST /reload", |command| reload(command).refused("`port` is no port"), 409, "`port` is no port"),
        ("POST /reload", |command| drop(reload(command)), 503, "the sidecar is stopping"),
    ];
    for (line, react, status, message) in rows {
        let (answer, ()) =
            tokio::join!(ask(&socket, line), async { react(desk.commands.recv().await.unwrap()) });
        assert_eq!(
            answer,
            (status, serde_json::json!({ "ok": status == 200, "message": message })),
            "{line}"
        );
    }
    desk.commands.close();
    assert_eq!(ask(&socket, "POST /drain").await.0, 503);
}

#[tokio::test]
async fn a_command_that_is_only_looked_at_does_nothing() {
    let mut desk = desk().await;
    let socket = desk.folder.path().join("s");
    for (line, status) in [
        ("GET /drain", 405),
        ("POST /status", 405),
        ("DELETE /config", 405),
        ("POST /drain/", 404),
        ("GET /", 404),
    ] {
        assert_eq!(ask(&socket, line).await.0, status, "{line}");
    }
    assert!(desk.commands.try_recv().is_err());
}

#[tokio::test]
async fn the_socket_is_its_owners_alone_and_goes_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let socket = AdminSocket::bind(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the dead socket's file stays");
    let live = AdminSocket::bind(&path).unwrap();
    let error = AdminSocket::bind(&path).unwrap_err();
    assert!(matches!(error, SocketError::InUse { .. }), "{error}");
    assert!(path.exists());
    drop(live);
}

#[tokio::test]
async fn a_successors_socket_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let first = AdminSocket::bind(&path).unwrap();
    // Kept elsewhere, so that the file system cannot give its inode to the next.
    std::fs::rename(&path, folder.path().join("moved")).unwrap();
    let _second = AdminSocket::bind(&path).unwrap();
    drop(first);
    assert!(path.exists());
}

#[tokio::test]
async fn a_path_that_cannot_be_a_socket_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "keep me").unwrap();
    let check = |path: &Path, expected: &str| {
        let error = AdminSocket::bind(path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&file, "is no socket");
    check(folder.path(), "is no socket");
    check(&folder.path().join("absent/s"), "cannot be made");
    check(&folder.path().join("x".repeat(120)), "too long");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "keep me");
}
