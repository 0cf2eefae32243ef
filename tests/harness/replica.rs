//! Another server of a site: over the same database and the same objects, with the same keys.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{Ended, Running, until};
use crate::programs::server;

const DEADLINE: Duration = Duration::from_mins(1);
/// How a server is told where its records are, password and all.
pub(crate) const DATABASE: &str = "HOLDFAST_DATABASE_URL";
/// What the servers of a site have in common.
const KEYS: [&str; 5] = ["automation_key", "ca.pem", "ca.key", "server_key", "spool_key"];

/// See the module.
pub struct Replica {
    address: SocketAddr,
    data: PathBuf,
    database: String,
    running: Option<Running>,
    serve: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Replica {
    /// A data folder with the keys and the objects of the first server's.
    pub fn prepared(first: &Path, data: PathBuf, database: &str) -> Self {
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        for name in KEYS {
            // With its mode, which is the owner's alone.
            fs::copy(first.join(name), data.join(name)).unwrap();
        }
        if first.join("objects").exists() {
            symlink(first.join("objects"), data.join("objects")).unwrap();
        }
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { address, data, database: database.to_owned(), running: None, serve: Vec::new(), variables: Vec::new() }
    }

    /// The same, with more words and variables for `holdfast-server serve`.
    #[must_use]
    pub fn with(self, serve: &[String], variables: &[(String, String)]) -> Self {
        Self { serve: serve.to_vec(), variables: variables.to_vec(), ..self }
    }

    /// The same, when it answers.
    #[must_use]
    pub fn started(mut self, client: &reqwest::blocking::Client) -> Self {
        self.running = Some(self.start());
        until("the other server is ready", DEADLINE, || {
            let answer = client.get(format!("{}/readyz", self.url())).send();
            answer.is_ok_and(|answer| answer.status().is_success()).then_some(())
        });
        self
    }

    fn start(&self) -> Running {
        let mut serve = Command::new(server());
        serve.args(["serve", "--listen", &self.address.to_string(), "--data"]).arg(&self.data).args(&self.serve);
        serve.envs(self.variables.iter().cloned());
        Running::start(serve.env(DATABASE, &self.database))
    }

    /// Starts it, and waits for its end.
    pub fn refused(&self) -> Ended {
        self.start().wait(DEADLINE)
    }

    /// Where it keeps what is its own.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The same, without its scheme.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        let running = self.running.take().unwrap();
        running.signal(Signal::KILL);
        running.wait(DEADLINE);
    }
}
