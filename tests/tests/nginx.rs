//! nginx as the service, curl as the caller: uploads with and without a length, downloads whole and in parts, compressed
//! on the way, and what is not modified.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use postern_tests::sidecar::assert_log_is_whole;
use postern_tests::{Output, Running, Scene, peer, port, run};
use serde_json::json;

const START_LIMIT: Duration = Duration::from_secs(30);
const CALL_LIMIT: Duration = Duration::from_secs(40);

/// No multiple of any buffer.
const UPLOAD_BYTES: usize = 33_333_331;

fn nginx(program: &Path, folder: &Path) -> (SocketAddr, Running) {
    let at = port::free();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String =
        kinds.iter().map(|kind| format!("{kind}_temp_path {}/nginx-{kind};\n", folder.display())).collect();
    let text = format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; sendfile on; keepalive_requests 100000; client_max_body_size 100m;\n{temporary}\
         gzip on; gzip_types *; gzip_min_length 1;\n\
         server {{ listen {at}; root {folder}/files; default_type text/plain;\n\
         add_header X-Requests $connection_requests always; dav_methods PUT DELETE; }} }}\n",
        folder = folder.display(),
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, text).expect("nginx's configuration");
    fs::create_dir(folder.join("files")).expect("its files");
    let mut command = Command::new(program);
    command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(path);
    let mut running = Running::start("nginx", command, folder);
    running.wait_for_port(at, START_LIMIT);
    (at, running)
}

struct Caller<'s> {
    program: &'s Path,
    scene: &'s Scene,
    identity: (String, String),
}

impl Caller<'_> {
    /// Prints the status, and what came in how many bytes; what came is in the file `got`.
    fn curl(&self, version: &str, path: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.program);
        command.args(["--silent", "--show-error", "--max-time", "30", version, "--cert", &self.identity.0]);
        command.args(["--key", &self.identity.1, "--cacert"]).arg(self.scene.path("trust.pem"));
        command.args(["--write-out", "%{http_code} %{size_download} %header{x-requests}", "--output"]);
        command.arg(self.scene.path("got")).args(arguments);
        command.arg(format!("https://localhost:{}{path}", self.scene.listener.port()));
        run(command, CALL_LIMIT)
    }

    fn check(&self, version: &str, path: &str, arguments: &[&str], said: &str) {
        let output = self.curl(version, path, arguments);
        assert!(
            output.code == Some(0) && output.out.starts_with(said),
            "{version} {path} {arguments:?}: {output:?}"
        );
    }

    fn got(&self) -> Vec<u8> {
        fs::read(self.scene.path("got")).expect("what came")
    }
}

#[test]
fn files_of_nginx_come_and_go_as_they_are() {
    let (Some(nginx_program), Some(curl)) = (peer("POSTERN_NGINX"), peer("POSTERN_CURL")) else { return };
    let mut scene = Scene::new();
    let (at, _nginx) = nginx(&nginx_program, scene.folder.path());
    scene.config["upstreams"]["app"]["endpoints"] = json!([at.to_string()]);
    scene.config["workers"] = json!(1);
    scene.config["listeners"]["app"]["limits"] = json!({ "body_bytes_max": "64MiB" });
    scene.write_policy("package postern.authz\ndefault decision := true\n");
    let sidecar = scene.start();
    let (certificate, key, _) = scene.files("/client");
    let identity = (certificate.display().to_string(), key.display().to_string());
    let caller = Caller { program: &curl, scene: &scene, identity };

    let sent: Vec<u8> = (0..UPLOAD_BYTES).map(|at| u8::try_from(at % 251).expect("a byte")).collect();
    fs::write(scene.path("sent"), &sent).expect("a file");
    let file = scene.path("sent").display().to_string();
    for version in ["--http1.1", "--http2"] {
        // With a length, without one, and asking first.
        let kept = scene.path("files/kept");
        let uploads: [&[&str]; 3] =
            [&[], &["--header", "Transfer-Encoding: chunked"], &["--header", "Expect: 100-continue"]];
        for arguments in uploads {
            drop(fs::remove_file(&kept));
            caller.check(version, "/kept", &[arguments, &["--upload-file", &file]].concat(), "201 ");
            assert!(fs::read(&kept).expect("it was kept") == sent, "{version} {arguments:?}");
        }
        caller.check(version, "/kept", &[], &format!("200 {UPLOAD_BYTES} "));
        assert!(caller.got() == sent, "{version}");
        caller.check(version, "/kept", &["--range", "1000-1999"], "206 1000 ");
        assert_eq!(caller.got(), sent[1000..2000]);
        caller.check(version, "/kept", &["--range", "0-9,20-29"], "206 ");
        caller.check(version, "/kept", &["--range", "99999999-"], "416 ");
        // Compressed on the way, so that nobody knows how long it will be.
        caller.check(version, "/kept", &["--compressed"], "200 ");
        assert!(caller.got() == sent, "{version}, compressed");
        let modified = fs::metadata(&kept).and_then(|meta| meta.modified()).expect("a time");
        let tag = modified.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let known = format!("If-None-Match: \"{tag:x}-{UPLOAD_BYTES:x}\"");
        caller.check(version, "/kept", &["--header", &known], "304 0 ");
        caller.check(version, "/kept", &["--head"], "200 ");
        caller.check(version, "/missing", &[], "404 ");
    }
    // Callers come and go; the connection to nginx stays.
    let output = caller.curl("--http1.1", "/missing", &[]);
    let requests: usize = output.out.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    assert!(requests > 10, "{output:?}");
    sidecar.stop();
    assert_log_is_whole(&scene.audit());
}
