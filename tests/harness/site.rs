//! A site of its own for one test: a server on loopback, a responder, and hosts with agents. The real programs, over
//! real TLS.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use wire::ticket::Ticket;

use crate::disk::Disk;
use crate::postgres::Postgres;
use crate::process::{Ended, Running, until};
use crate::programs::{agent, holdfast, server};
use crate::proxy::Cable;
use crate::replica::{DATABASE, Replica};

const DEADLINE: Duration = Duration::from_mins(1);

/// The name under which the responder of a site signs.
pub const RESPONDER: &str = "ada@example.org";

/// How a site differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Our address at which the agents find the cable; loopback, when it is not given.
    pub cable_at: Option<IpAddr>,
    /// Where the records are, when they are not in the server's data folder: `postgres://…`.
    pub database: Option<String>,
    /// The length of a disk for the server's data alone.
    pub disk_bytes: Option<u64>,
    /// More words for `holdfast-server serve`.
    pub serve: Vec<String>,
    /// More variables for it.
    pub variables: Vec<(String, String)>,
}

/// See the module.
pub struct Site {
    server: Option<Running>,
    /// What the server's data lies on, where it has a disk of its own.
    pub disk: Option<Disk>,
    folder: TempDir,
    address: SocketAddr,
    database: Option<String>,
    serve: Vec<String>,
    variables: Vec<(String, String)>,
    /// What lies between the agents and the server.
    pub cable: Cable,
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// A server in a fresh folder, and a responder who is signed in and has a key.
    pub fn new() -> Self {
        Self::with(Setup::default())
    }

    /// The same, with its records in a fresh database of PostgreSQL; `None` where there is none, which is said.
    pub fn on_postgres() -> Option<Self> {
        Postgres::shared().map(|postgres| Self::over(postgres.database()))
    }

    /// The same, with its records in this database.
    pub fn over(database: String) -> Self {
        Self::with(Setup { database: Some(database), ..Setup::default() })
    }

    /// The same, with differences.
    pub fn with(setup: Setup) -> Self {
        let folder = tempfile::Builder::new().prefix("holdfast-site-").tempdir().unwrap();
        // The port stays the site's own over restarts of the server.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let cable = setup.cable_at.map_or_else(|| Cable::to(address), |at| Cable::from(at, address));
        let disk = setup.disk_bytes.map(|bytes| Disk::mount(&folder.path().join("data"), bytes));
        let Setup { database, serve, variables, .. } = setup;
        let mut site = Self { server: None, disk, folder, address, database, serve, variables, cable };
        site.start_server();
        site.write("responder.token", site.token("ada", "responder"));
        let login = ["login", &site.url(), "--ca-sha256", &site.ca_sha256(), "--token", &site.text("responder.token")];
        site.holdfast(&login).expect_code(0);
        site.holdfast(&["keys", "new", "--file", &site.text("responder_key")]).expect_code(0);
        site.holdfast(&["keys", "use", &site.text("responder_key"), "--principal", RESPONDER]).expect_code(0);
        let line = site.holdfast(&["keys", "show"]).expect_code(0).stdout;
        site.write("signers", line);
        site
    }

    /// A path in the site's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().unwrap()
    }

    /// A file in the site's folder.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Where the server answers.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The same as an address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's data folder.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Starts the server, and waits until it answers.
    pub fn start_server(&mut self) {
        self.launch_server(&[]);
        let client = self.client();
        until("the server is ready", DEADLINE, || self.is_ready(&client).then_some(()));
    }

    /// Starts the server behind these words, and does not wait: where its disk is full it may not come up.
    pub fn launch_server(&mut self, prefix: &[String]) {
        let mut serve = behind(prefix, server());
        serve.args(["serve", "--listen", &self.address.to_string(), "--data"]).arg(self.data()).args(&self.serve);
        serve.envs(self.variables.iter().cloned());
        if let Some(database) = self.database() {
            serve.env(DATABASE, database);
        }
        self.server = Some(Running::start(&mut serve));
    }

    /// True when the server says that it can do its work.
    pub fn is_ready(&self, client: &reqwest::blocking::Client) -> bool {
        client.get(format!("{}/readyz", self.url())).send().is_ok_and(|answer| answer.status().is_success())
    }

    /// The server's process.
    pub fn server_process(&self) -> Option<&Running> {
        self.server.as_ref()
    }

    /// Kills the server as a power cut would, and returns what it had said.
    #[allow(clippy::return_self_not_must_use, clippy::must_use_candidate, reason = "most do not ask for its words")]
    pub fn kill_server(&mut self) -> Ended {
        let running = self.server.take().unwrap();
        if !running.is_over() {
            running.signal(rustix::process::Signal::KILL);
        }
        running.wait(DEADLINE)
    }

    /// Asks the server to end, and returns what it said.
    pub fn stop_server(&mut self) -> Ended {
        let running = self.server.take().unwrap();
        running.signal(rustix::process::Signal::TERM);
        running.wait(DEADLINE)
    }

    /// Has the server read its files again.
    pub fn hang_up_server(&self) {
        self.server.as_ref().unwrap().signal(rustix::process::Signal::HUP);
    }

    /// `holdfast-server COMMAND … --data D`.
    pub fn server(&self, words: &[&str]) -> Ended {
        let mut command = Command::new(server());
        command.args(words).arg("--data").arg(self.data());
        if let Some(database) = self.database() {
            command.env(DATABASE, database);
        }
        Running::start(&mut command).wait(DEADLINE)
    }

    /// Where the records are, when they are in PostgreSQL.
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// Another server over the same records and objects, with the same keys.
    pub fn replica(&self) -> Replica {
        let replica = Replica::prepared(&self.data(), self.path("replica"), self.database().unwrap());
        replica.with(&self.serve, &self.variables).started(&self.client())
    }

    /// Changes the records behind the server's back, and says how many rows.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        if let Some(address) = self.database() {
            return Postgres::shared().unwrap().ask(address, sql);
        }
        let script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); \
                      print('UPDATE', db.execute(sys.argv[2]).rowcount); db.commit()";
        let mut python = Command::new("python3");
        python.args(["-c", script]).arg(self.data().join("holdfast.db")).arg(sql);
        Running::start(&mut python).wait(DEADLINE).expect_code(0).stdout.trim().to_owned()
    }

    /// Digest of the CA's certificate.
    pub fn ca_sha256(&self) -> String {
        let said = self.server(&["ca", "show", "--json"]).expect_code(0).stdout;
        let said: Value = serde_json::from_str(&said).unwrap();
        said["sha256"].as_str().unwrap().to_owned()
    }

    /// A new token for this name and role.
    pub fn token(&self, name: &str, role: &str) -> String {
        self.server(&["token", "add", name, "--role", role]).expect_code(0).stdout.trim().to_owned()
    }

    /// An HTTPS client that does not look at certificates: what is tested is behind them.
    pub fn client(&self) -> reqwest::blocking::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::blocking::Client::builder().tls_danger_accept_invalid_certs(true).timeout(DEADLINE).build().unwrap()
    }

    /// The responder's token.
    pub fn responder_token(&self) -> String {
        fs::read_to_string(self.path("responder.token")).unwrap().trim().to_owned()
    }

    /// What the API answers to the responder.
    #[track_caller]
    pub fn api(&self, path: &str) -> Value {
        self.api_at(&self.url(), path)
    }

    /// What the API of the server there answers to the responder.
    #[track_caller]
    pub fn api_at(&self, url: &str, path: &str) -> Value {
        let answer = self.client().get(format!("{url}/api/v1/{path}")).bearer_auth(self.responder_token());
        let answer = answer.send().unwrap();
        let (status, text) = (answer.status(), answer.text().unwrap());
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// `holdfast …`, as the responder.
    pub fn holdfast(&self, words: &[&str]) -> Ended {
        self.holdfast_within(words, DEADLINE)
    }

    /// The same with a deadline.
    pub fn holdfast_within(&self, words: &[&str], deadline: Duration) -> Ended {
        self.start_holdfast(words).wait(deadline)
    }

    /// `holdfast …`, started.
    pub fn start_holdfast(&self, words: &[&str]) -> Running {
        let mut command = Command::new(holdfast());
        command.args(words).current_dir(self.folder.path()).env("HOLDFAST_CONFIG_DIR", self.path("config"));
        Running::start(&mut command)
    }

    /// What `holdfast … --json` answers.
    #[track_caller]
    pub fn ask(&self, words: &[&str]) -> Value {
        let said = self.holdfast(&[words, &["--json"]].concat()).expect_code(0).stdout;
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"))
    }

    /// Sends an alert, and returns the id of its incident.
    #[track_caller]
    pub fn alert(&self, source: &str, alert: &Value) -> String {
        let file = self.write("alert.json", alert.to_string());
        let told = self.ask(&["alert", "send", file.to_str().unwrap(), "--source", source]);
        told["alerts"][0]["incident"].as_str().unwrap_or_else(|| panic!("no incident: {told}")).to_owned()
    }

    /// Enrols a host, whose agent reaches the server over the cable.
    pub fn enroll(&self, name: &str) -> Host {
        self.enroll_with(name, &[])
    }

    /// The same, with more words for `holdfast-agent enroll`.
    pub fn enroll_with(&self, name: &str, more: &[&str]) -> Host {
        let mut ticket: Ticket = self.holdfast(&["host", "enroll-ticket"]).expect_code(0).stdout.parse().unwrap();
        ticket.servers = vec![format!("https://{}", self.cable.address())];
        let token = self.write(&format!("{name}.ticket"), ticket.to_text());
        let (host, signers) = (self.host(name), self.text("signers"));
        let words = ["enroll", "--token", token.to_str().unwrap(), "--signers", &signers];
        host.run(&[&words, more].concat()).expect_code(0);
        host
    }

    /// A host that was enrolled before.
    pub fn host(&self, name: &str) -> Host {
        Host { state: self.path(name) }
    }

    /// Waits until an order is in this state, and returns it.
    #[track_caller]
    pub fn await_order(&self, order: &str, state: &str, deadline: Duration) -> Value {
        let mut last = Value::Null;
        until(&format!("order {order} is {state}"), deadline, || {
            last = self.api(&format!("orders/{order}"));
            (last["state"] == state).then(|| last.clone())
        })
    }
}

/// A program, or the words that end by becoming it.
fn behind(prefix: &[String], program: &Path) -> Command {
    let Some((first, words)) = prefix.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(words).arg(program);
    command
}

/// A host with an agent.
pub struct Host {
    state: PathBuf,
}

impl Host {
    /// Its state folder.
    pub fn state(&self) -> &Path {
        &self.state
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(agent());
        command.args(words).env("HOLDFAST_STATE_DIR", &self.state);
        command
    }

    /// `holdfast-agent …`.
    pub fn run(&self, words: &[&str]) -> Ended {
        self.start(words).wait(DEADLINE)
    }

    /// `holdfast-agent …`, started.
    pub fn start(&self, words: &[&str]) -> Running {
        Running::start(&mut self.command(words))
    }

    /// `holdfast-agent run`.
    pub fn daemon(&self) -> Running {
        self.daemon_behind(&[])
    }

    /// The same, behind these words: in a namespace, say.
    pub fn daemon_behind(&self, prefix: &[String]) -> Running {
        let mut command = behind(prefix, agent());
        command.arg("run").env("HOLDFAST_STATE_DIR", &self.state);
        Running::start(&mut command)
    }

    /// Its id.
    pub fn agent(&self) -> String {
        fs::read_to_string(self.state.join("agent_id")).unwrap().trim().to_owned()
    }

    /// A signed collection order for it; returns the order's id.
    #[track_caller]
    pub fn dispatch(&self, site: &Site, incident: &str, profile: &str) -> String {
        let told = site.ask(&["dispatch", incident, "--host", &self.agent(), "--profile", profile]);
        told["order"].as_str().unwrap_or_else(|| panic!("no order: {told}")).to_owned()
    }
}
