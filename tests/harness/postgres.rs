//! PostgreSQL from the distribution's package, in a temporary folder: reached through a socket in it, with a password,
//! and nothing of it is left when the test program ends, however it ends.

use std::fs;
use std::io::{PipeWriter, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Where Debian and others put programs that are not in the search path, by version.
const HOMES: &str = "/usr/lib/postgresql";
/// `nobody`: PostgreSQL does not run as root.
const UNPRIVILEGED: u32 = 65_534;
const USER: &str = "holdfast";
const PASSWORD: &str = "a password of the tests";
const DEADLINE: Duration = Duration::from_mins(1);

/// A server of PostgreSQL.
pub struct Postgres {
    folder: TempDir,
    home: PathBuf,
    running: Mutex<Option<Process>>,
}

/// It ends when its standard input does.
struct Process {
    child: Child,
    stop: PipeWriter,
}

impl Postgres {
    /// One for all tests of this program; `None` where it is not installed, which is said in the test's output.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// One of a test's own, to be restarted.
    pub fn start() -> Option<Self> {
        let Some(home) = home() else {
            // Not eprintln: the test runner would swallow it with the output of a test that passes.
            let _ = writeln!(std::io::stderr(), "skipped: PostgreSQL: there is none in {HOMES}");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("holdfast-postgres-").tempdir().unwrap();
        if is_root() {
            chown(folder.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
        }
        let this = Self { folder, home, running: Mutex::default() };
        let password = this.folder.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
        let mut initdb = this.unprivileged("initdb");
        initdb.args(["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256"]);
        initdb.args(["--username", USER, "--pwfile"]).arg(&password).arg("--pgdata").arg(this.data());
        said(initdb.output().unwrap());
        this.run();
        Some(this)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program of PostgreSQL, as a user who is not root.
    fn unprivileged(&self, program: &str) -> Command {
        let program = self.home.join(program);
        if !is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        let id = UNPRIVILEGED.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(program);
        command.current_dir(self.folder.path());
        command
    }

    /// Starts it, and waits until it answers.
    fn run(&self) {
        let mut postgres = self.unprivileged("postgres");
        postgres.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        // Connections from the network are none of the tests' business.
        postgres.args(["-c", "listen_addresses=", "-c", "max_connections=400", "-c", "log_min_messages=warning"]);
        let words = std::iter::once(postgres.get_program()).chain(postgres.get_args());
        let (reader, stop) = std::io::pipe().unwrap();
        // A test program that ends drops no static, and one that is killed drops nothing; but its end of the pipe is closed.
        let script = "folder=$1; shift; \"$@\" & pid=$!; word=$(cat); kill -INT $pid; wait $pid; \
                      test -n \"$word\" || rm -rf \"$folder\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(self.folder.path()).args(words);
        shell.stdin(reader).stdout(Stdio::null()).current_dir("/");
        shell.stderr(fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap());
        *self.running.lock().unwrap() = Some(Process { child: shell.spawn().unwrap(), stop });
        let started = Instant::now();
        while !self.psql("postgres", "SELECT 1").status.success() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(started.elapsed() < DEADLINE, "PostgreSQL does not answer: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it, with every connection, and starts it again.
    pub fn restart(&self) {
        self.stop();
        self.run();
    }

    /// Ends it, with every connection.
    pub fn stop(&self) {
        let Some(Process { mut child, mut stop }) = self.running.lock().unwrap().take() else { return };
        stop.write_all(b"and keep the folder").unwrap();
        drop(stop);
        child.wait().unwrap();
    }

    /// A new database, as `postgres://…` with its password.
    pub fn database(&self) -> String {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let name = format!("holdfast_{}", LAST.fetch_add(1, Ordering::Relaxed));
        said(self.psql("postgres", &format!("CREATE DATABASE {name}")));
        format!("postgres://{USER}:{}@localhost/{name}?host={}", PASSWORD.replace(' ', "%20"), self.socket().display())
    }

    /// What SQL says, in the database of this address.
    #[track_caller]
    pub fn ask(&self, address: &str, sql: &str) -> String {
        let name = address.split('?').next().and_then(|address| address.rsplit('/').next()).unwrap();
        said(self.psql(name, sql)).trim().to_owned()
    }

    fn psql(&self, database: &str, sql: &str) -> Output {
        let mut psql = Command::new(self.home.join("psql"));
        psql.args(["--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-At", "-U", USER, "-d", database, "-c", sql, "-h"]);
        psql.arg(self.socket()).env("PGPASSWORD", PASSWORD).current_dir("/").output().unwrap()
    }

    /// The folder with its socket.
    pub fn socket(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

#[track_caller]
fn said(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn home() -> Option<PathBuf> {
    let mut homes: Vec<PathBuf> =
        fs::read_dir(HOMES).ok()?.filter_map(Result::ok).map(|version| version.path().join("bin")).collect();
    homes.retain(|home| home.join("initdb").is_file());
    homes.sort();
    homes.pop()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
