//! A site that has automation switched on, and a host of it behind a line of its own, in namespaces of the test's own: it
//! sees its own processes and its own network alone. Only for root.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::line::Line;
use crate::process::{Running, until};
use crate::programs::agent;
use crate::site::{Host, Setup, Site};

const SOON: Duration = Duration::from_mins(1);
/// Where the host takes connections.
const PORT: u16 = 8099;

/// See the module.
pub struct Automated {
    /// The agent.
    pub daemon: Running,
    /// The host.
    pub host: Host,
    /// The server.
    pub site: Site,
    _files: TempDir,
    line: Line,
    _service: Running,
}

impl Automated {
    /// A host with so many more processes, which waits for orders. `None`, with the reason on standard error, where the
    /// kernel lacks what the line is made of, or the agent the action.
    pub fn start(processes: usize) -> Option<Self> {
        let knows = Running::start(Command::new(agent()).args(["contain", "isolate_network", "--help"])).wait(SOON);
        if knows.code() != Some(0) {
            let _ = writeln!(std::io::stderr(), "skipped: automation isolates a host: this agent cannot");
            return None;
        }
        let line = Line::lay()?;
        let files = tempfile::tempdir().unwrap();
        fs::write(files.path().join("automation.yaml"), "on: true\nlease_minutes: 30\n").unwrap();
        let contacts = "contacts:\n  - name: On call\n    roles: [incident commander, SOC lead]\n    channels:\n      - \
                        webhook: { url: http://127.0.0.1:9/, secret_file: secret }\n";
        fs::write(files.path().join("contacts.yaml"), contacts).unwrap();
        let secret = files.path().join("secret");
        fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&secret, mode).unwrap();
        let near = line.near().to_string();
        let serve = ["--site", files.path().to_str().unwrap(), "--name", &near].map(str::to_owned).to_vec();
        let site = Site::with(Setup { cable_at: Some(line.near().into()), serve, ..Setup::default() });
        let shown = site.server(&["automation", "show", "--json"]).expect_code(0).stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let signers = fs::read_to_string(site.path("signers")).unwrap();
        site.write("signers", format!("{signers}{}\n", shown["allowed_signers"].as_str().unwrap()));
        let policy = site.write("policy.toml", shown["policy"].as_str().unwrap());
        let host = site.enroll_with("web-1", &["--policy", policy.to_str().unwrap()]);
        let script = format!("for i in $(seq {processes}); do sleep infinity & done; exec \"$0\" \"$@\"");
        let own = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script];
        let prefix: Vec<String> = line.prefix().into_iter().chain(own.map(str::to_owned)).collect();
        let daemon = host.daemon_behind(&prefix);
        let mut service = Command::new("nsenter");
        service.arg(&line.prefix()[1]).args(["python3", "-m", "http.server", &PORT.to_string()]);
        let service = Running::start(service.current_dir(files.path()));
        let automated = Self { daemon, host, site, _files: files, line, _service: service };
        until("the agent waits for orders", SOON, || {
            let hosts = automated.site.api("hosts");
            (hosts["items"][0]["connected"] == true).then_some(())
        });
        until("the host takes connections", SOON, || automated.is_open().then_some(()));
        Some(automated)
    }

    /// True while the host takes a connection from here.
    pub fn is_open(&self) -> bool {
        let far = Ipv4Addr::from(u32::from(self.line.near()) + 5);
        TcpStream::connect_timeout(&SocketAddr::new(far.into(), PORT), Duration::from_millis(500)).is_ok()
    }

    /// An alert of a product, under a token of its own; its incident.
    pub fn alert(&self, product: &str) -> String {
        let token = self.site.token(product, "source");
        let alert = json!({
            "event_type": "ransomware", "source": product, "agent_id": self.host.agent(), "host": "web-1",
            "id": product, "details": "README_DECRYPT.txt was written to 40 folders",
        });
        let request = self.site.client().post(format!("{}/api/v1/alerts", self.site.url())).bearer_auth(token);
        let answer = request.header("content-type", "application/json").body(alert.to_string()).send().unwrap();
        let told: Value = serde_json::from_str(&answer.text().unwrap()).unwrap();
        told["alerts"][0]["incident"].as_str().unwrap_or_else(|| panic!("no incident: {told}")).to_owned()
    }

    /// What automation does about the host, once it is there.
    #[track_caller]
    pub fn await_stage(&self, incident: &str, stage: &str) -> Value {
        let mut last = Value::Null;
        until(&format!("automation is {stage}"), SOON, || {
            last = self.site.api(&format!("incidents/{incident}"));
            let now = &last["automation"][0];
            assert!(stage == "ended" || now["stage"] != "ended", "{now} {}", last["orders"]);
            (now["stage"] == stage).then(|| now.clone())
        })
    }
}
