//! A site that has automation switched on, and a host of it behind a line of its own, in namespaces of the test's own: it
//! sees its own processes and its own network alone. Only for root.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::line::Line;
use crate::process::{Ended, Running, keeper_ends, until};
use crate::programs::agent;
use crate::site::{Host, Setup, Site};

const SOON: Duration = Duration::from_mins(1);
/// Where the host takes connections.
const PORT: u16 = 8099;
/// Kills a process the moment that the server's records say something; comes before all else where root may have that,
/// because some of what it waits for is over in milliseconds.
const KILL_WHEN: &str = "
import os, sqlite3, sys, time
pid, records, sql, ready = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
try: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
except OSError: pass
deadline = time.monotonic() + 30
records = sqlite3.connect(f'file:{records}?mode=ro', uri=True)
open(ready, 'w').close()
while not records.execute(sql).fetchone():
    if time.monotonic() > deadline: sys.exit('the records never said so: ' + sql)
    time.sleep(0.0001)
os.kill(pid, 9)
";

/// See the module.
pub struct Automated {
    /// The agent.
    pub daemon: Running,
    /// The host.
    pub host: Host,
    /// The server.
    pub site: Site,
    files: TempDir,
    line: Line,
    prefix: Vec<String>,
    _service: Running,
}

impl Drop for Automated {
    fn drop(&mut self) {
        self.at_the_console(&["release", "--all"]);
        keeper_ends(self.host.state(), SOON);
    }
}

impl Automated {
    /// A host with so many more processes, which waits for orders. `None`, with the reason on standard error, where the
    /// kernel lacks what the line is made of, or the agent the action.
    pub fn start(processes: usize) -> Option<Self> {
        Self::start_with(processes, "restore")
    }

    /// The same, whose policy says this of an isolation that does not hold.
    pub fn start_with(processes: usize, on_invalid: &str) -> Option<Self> {
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
        let policy = shown["policy"].as_str().unwrap();
        assert!(policy.contains("[contain]\n"), "{policy}");
        let policy = policy.replace("[contain]\n", &format!("[contain]\non_invalid = \"{on_invalid}\"\n"));
        let policy = site.write("policy.toml", policy);
        let host = site.enroll_with("web-1", &["--policy", policy.to_str().unwrap()]);
        let script = format!("for i in $(seq {processes}); do sleep infinity & done; exec \"$0\" \"$@\"");
        let own = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script];
        let prefix: Vec<String> = line.prefix().into_iter().chain(own.map(str::to_owned)).collect();
        let daemon = host.daemon_behind(&prefix);
        let mut service = Command::new("nsenter");
        service.arg(&line.prefix()[1]).args(["python3", "-m", "http.server", &PORT.to_string()]);
        let service = Running::start(service.current_dir(files.path()));
        let automated = Self { daemon, host, site, files, line, prefix, _service: service };
        until("the agent waits for orders", SOON, || {
            let hosts = automated.site.api("hosts");
            (hosts["items"][0]["connected"] == true).then_some(())
        });
        until("the host takes connections", SOON, || automated.is_open().then_some(()));
        Some(automated)
    }

    /// True while the host takes a connection from here.
    pub fn is_open(&self) -> bool {
        TcpStream::connect_timeout(&SocketAddr::new(self.line.far().into(), PORT), Duration::from_millis(500)).is_ok()
    }

    /// True while a keeper is at work. One that root started at the console must be through before the host goes: it would
    /// put back the folder that was taken from it.
    pub fn is_kept(&self) -> bool {
        let lock = fs::File::open(self.host.state().join("contain/keeper.lock"));
        lock.is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
    }

    /// `holdfast-agent …`, as root at the host's console.
    pub fn at_the_console(&self, words: &[&str]) -> Ended {
        let mut command = Command::new("nsenter");
        command.arg(&self.line.prefix()[1]).arg(agent()).args(words).env("HOLDFAST_STATE_DIR", self.host.state());
        Running::start(&mut command).wait(SOON)
    }

    /// Somebody on the way takes the host's connections in its stead, so that its isolation cannot be seen from the server.
    pub fn answer_instead(&self) -> Running {
        let instead = self.line.answer_instead(PORT);
        until("somebody answers instead of the host", SOON, || self.is_open().then_some(()));
        instead
    }

    /// An alert of a product, under a token of its own; its incident.
    pub fn alert(&self, product: &str) -> String {
        let told = self.send_alert(product).unwrap();
        told["alerts"][0]["incident"].as_str().unwrap_or_else(|| panic!("no incident: {told}")).to_owned()
    }

    /// The same; `None` where the server went away.
    pub fn send_alert(&self, product: &str) -> Option<Value> {
        let token = self.site.token(product, "source");
        let alert = json!({
            "event_type": "ransomware", "source": product, "agent_id": self.host.agent(), "host": "web-1",
            "id": product, "details": "README_DECRYPT.txt was written to 40 folders",
        });
        let request = self.site.client().post(format!("{}/api/v1/alerts", self.site.url())).bearer_auth(token);
        let answer = request.header("content-type", "application/json").body(alert.to_string()).send().ok()?;
        serde_json::from_str(&answer.text().ok()?).ok()
    }

    /// Kills the server as a power cut would the moment that automation is at this stage, which `cause` brings about.
    pub fn kill_server_at(&mut self, stage: &str, cause: impl FnOnce(&Self)) {
        self.kill_server_when(&is_at(stage), cause);
    }

    /// The same the moment that this query of the records answers anything.
    pub fn kill_server_when(&mut self, sql: &str, cause: impl FnOnce(&Self)) {
        let killer = self.killer(self.site.server_process().unwrap().pid(), sql);
        cause(self);
        self.await_kill(killer);
        self.site.kill_server();
    }

    /// Starts the server, and kills it again the moment that automation is at this stage, to which it goes by itself.
    pub fn start_and_kill_server_at(&mut self, stage: &str) {
        self.site.launch_server(&[]);
        self.kill_server_at(stage, |_| {});
    }

    /// Kills all that the agent is, its keeper as well, the moment that this query of the records answers anything, which
    /// `cause` brings about; and starts the daemon again.
    pub fn kill_agent_when(&mut self, sql: &str, cause: impl FnOnce(&Self)) {
        // With the first process of their namespace all others go.
        let killer = self.killer(self.daemon.pid(), sql);
        cause(self);
        self.await_kill(killer);
        let next = self.host.daemon_behind(&self.prefix);
        let ended = std::mem::replace(&mut self.daemon, next);
        assert_eq!(ended.wait(SOON).code(), None);
    }

    fn killer(&self, pid: Pid, sql: &str) -> Running {
        let ready = self.files.path().join("ready");
        let _ = fs::remove_file(&ready);
        let mut killer = Command::new("python3");
        killer.args(["-c", KILL_WHEN, &pid.as_raw_nonzero().to_string()]);
        let killer = Running::start(killer.arg(self.site.data().join("holdfast.db")).arg(sql).arg(&ready));
        until("the killer waits", SOON, || ready.exists().then_some(()));
        killer
    }

    #[track_caller]
    fn await_kill(&self, killer: Running) {
        let ended = killer.wait(SOON);
        if ended.code() != Some(0) {
            let incidents = self.site.api("incidents");
            let id = incidents["items"][0]["incident"].as_str().unwrap_or_default();
            let view = self.site.api(&format!("incidents/{id}"));
            panic!("{}: {:#} {:#}", ended.said(), view["automation"], view["orders"]);
        }
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

/// A query that answers when automation is at this stage.
pub fn is_at(stage: &str) -> String {
    format!("SELECT 1 FROM automations WHERE json_extract(stands, '$.stage') = '{stage}'")
}
