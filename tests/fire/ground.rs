//! The ground of some rounds: a site whose server and whose host each have a small disk, a line between them that can
//! lose packets, and an agent behind it.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::{Courier, Disk, Ended, Host, Lab, Line, Parcel, Postgres, Random, Running, Setup, Site, until};
use rustix::process::Signal;
use serde_json::json;

use crate::fault::{Fault, Kind};
use crate::round::Plan;
use crate::truth::{Told, Watch};

const SERVER_DISK_BYTES: u64 = 512 << 20;
const HOST_DISK_BYTES: u64 = 64 << 20;
/// What the server keeps free. A disk may be filled up to this, and beyond.
const FLOOR: &str = "4MiB";
const FILES: usize = 12;
/// A narrow line still carries a collection in some seconds.
const NARROW_BYTES_PER_SEC: u64 = 1 << 20;
const SOON: Duration = Duration::from_mins(1);
/// From the last failure to the end of everything that it broke off: an agent that was away asks again after some time.
pub const PATIENCE: Duration = Duration::from_mins(3);
const NAME: &str = "web-1";

/// See the module.
pub struct Ground {
    /// Rounds that were gone through here.
    pub rounds: u64,
    pub(crate) site: Site,
    pub(crate) host: Host,
    daemon: Option<Running>,
    host_disk: Disk,
    line: Option<Line>,
    pub(crate) incident: String,
    lab: Lab,
    /// A bundle of an earlier round, for those who read slowly.
    pub(crate) earlier: Option<String>,
    /// What processes said that have ended.
    logs: Vec<String>,
    /// Where the records are, when they are not in the server's data folder.
    postgres: Option<Postgres>,
    is_database_down: bool,
}

/// The beginning or the end of a failure.
struct Event {
    at: u64,
    fault: Fault,
    begins: bool,
}

impl Ground {
    /// A fresh one, its agent waiting for orders.
    pub fn new(on_postgres: bool) -> Self {
        // Of its own: others must not lose theirs.
        let postgres = on_postgres.then(|| Postgres::start().unwrap());
        let database = postgres.as_ref().map(Postgres::database);
        let line = Line::lay();
        let near = line.as_ref().map(Line::near);
        let mut serve = vec!["--free-bytes-min".to_owned(), FLOOR.to_owned()];
        serve.extend(near.iter().flat_map(|near| ["--name".to_owned(), near.to_string()]));
        let setup = Setup {
            cable_at: near.map(Into::into),
            database,
            disk_bytes: Some(SERVER_DISK_BYTES),
            serve,
            ..Setup::default()
        };
        let site = Site::with(setup);
        let host_disk = Disk::mount(site.host(NAME).state(), HOST_DISK_BYTES);
        let host = site.enroll(NAME);
        let incident = site.alert("edr", &json!({"event_type": "malware", "host": NAME, "details": "fire"}));
        let lab = Lab::new();
        let mut random = Random::seeded();
        for number in 0..FILES {
            lab.plant(&format!("{number}.bin"), random.bytes(1 << 20));
        }
        let (daemon, earlier, logs) = (None, None, Vec::new());
        let mut ground = Self {
            rounds: 0,
            site,
            host,
            daemon,
            host_disk,
            line,
            incident,
            lab,
            earlier,
            logs,
            postgres,
            is_database_down: false,
        };
        ground.start_agent(&[]);
        ground
    }

    /// Goes through a round; says how it ended.
    pub fn round(&mut self, plan: &Plan) -> String {
        let parcel = self.parcel();
        let profile = self.profile(plan);
        let mut courier = Courier::over_cable(&self.site);
        let watch = Watch::new(self);
        let order = self.host.dispatch(&self.site, &self.incident, &profile);
        let dispatched = Instant::now();
        let over = AtomicBool::new(false);
        let incident = self.incident.clone();
        let told = std::thread::scope(|scope| {
            let told = scope.spawn(|| watch.until(&order, &over));
            let brought = scope.spawn(|| {
                wait_until(dispatched, plan.courier_at);
                courier.bring(&parcel, &incident, PATIENCE);
            });
            // Whatever happens, the others are told that it is over: a scope waits for its threads.
            let burnt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.burn(plan, dispatched);
                self.restore();
                self.settled(&order)
            }));
            let brought = brought.join();
            over.store(true, Ordering::SeqCst);
            let mut told: Told = told.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            for ended in [burnt.map(|state| told.state = state), brought] {
                if let Err(panic) = ended {
                    std::panic::resume_unwind(panic);
                }
            }
            told
        });
        self.judge(&order, &told, &parcel, &courier)
    }

    /// A sealed bundle for the courier.
    fn parcel(&self) -> Parcel {
        let profile = self.lab.profile(
            "name: parcel\nsummary: A test.\ncollect:\n  - collect: files\n    with: { paths: [\"TREE/[0-2].bin\"] }\n",
        );
        let sealed = self.lab.collect(profile).output(self.lab.path(&format!("parcel-{}", self.rounds))).sealed();
        Parcel::of(&sealed)
    }

    fn profile(&self, plan: &Plan) -> String {
        let mut yaml = format!(
            "name: fire\nsummary: A test.\nlimits: {{ read_bytes_per_sec_max: {}MiB }}\ncollect:\n  - collect: host_facts\n  - collect: processes\n  - collect: files\n    with:\n      paths:\n",
            plan.mebibytes_per_sec
        );
        for number in 0..plan.files {
            let _ = writeln!(yaml, "        - \"TREE/{number}.bin\"");
        }
        self.lab.profile(&yaml).into_os_string().into_string().unwrap()
    }

    /// Lets everything fail as planned.
    fn burn(&mut self, plan: &Plan, dispatched: Instant) {
        let both = |fault: &Fault| {
            [(fault.at, true), (fault.until, false)].map(|(at, begins)| Event { at, fault: *fault, begins })
        };
        let mut events: Vec<Event> = plan.faults.iter().flat_map(both).collect();
        events.sort_by_key(|event| event.at);
        for Event { at, fault, begins } in events {
            // A failure comes at a time, whatever the others are doing.
            wait_until(dispatched, at);
            if begins {
                self.begin(fault);
            } else {
                self.end(fault);
            }
        }
    }

    fn begin(&mut self, fault: Fault) {
        match fault.kind {
            Kind::AgentKilled => self.kill_agent(),
            Kind::ServerKilled => self.kill_server(),
            Kind::BothKilled => {
                self.kill_agent();
                self.kill_server();
            }
            Kind::Cut => self.site.cable.cut(),
            Kind::Loss => {
                let delay = self.line.as_ref().map_or(Duration::from_millis(200), Line::worsen);
                self.site.cable.delay(delay / 2);
            }
            Kind::Silence => self.site.cable.block(),
            // Up to where the server itself says no, or to the last page.
            Kind::ServerDiskFull => {
                self.site.disk.as_ref().unwrap().fill(if fault.number.is_multiple_of(2) { 0 } else { 2 << 20 });
            }
            Kind::HostDiskFull => self.host_disk.fill(0),
            Kind::DatabaseRestarted => {
                self.postgres.iter().for_each(Postgres::stop);
                self.is_database_down = true;
            }
            Kind::ObjectsFail => self.site.disk.as_mut().unwrap().write_protect("objects"),
            Kind::ClockJump => {
                if fault.number.is_multiple_of(2) {
                    self.kill_agent();
                } else {
                    self.kill_server();
                }
            }
            Kind::SlowReader => {
                self.site.cable.narrow(NARROW_BYTES_PER_SEC);
                self.read_slowly(Duration::from_millis(fault.until - fault.at));
            }
        }
    }

    fn end(&mut self, fault: Fault) {
        match fault.kind {
            Kind::AgentKilled => self.start_agent(&[]),
            Kind::ServerKilled => self.start_server(&[]),
            Kind::BothKilled => {
                self.start_server(&[]);
                self.start_agent(&[]);
            }
            Kind::Cut => self.site.cable.mend(),
            Kind::Loss => {
                self.site.cable.delay(Duration::ZERO);
                self.line.iter().for_each(Line::better);
            }
            Kind::Silence | Kind::SlowReader => self.site.cable.calm(),
            Kind::ServerDiskFull => self.site.disk.as_ref().unwrap().empty(),
            Kind::HostDiskFull => self.host_disk.empty(),
            Kind::DatabaseRestarted => self.restart_database(),
            Kind::ObjectsFail => self.site.disk.as_ref().unwrap().allow_writes(),
            // Only these clocks have namespaces; the calendar's clock is all of the machine's.
            Kind::ClockJump => {
                let secs = (1 + fault.number / 2 % 30) * 24 * 3600;
                let jump = ["unshare", "--time", "--boottime", &secs.to_string(), "--monotonic", &secs.to_string()];
                let jump = jump.map(str::to_owned);
                if fault.number.is_multiple_of(2) { self.start_agent(&jump) } else { self.start_server(&jump) }
            }
        }
    }

    /// Mends everything, and waits until server and agent are there again.
    fn restore(&mut self) {
        let disk = self.site.disk.as_ref().unwrap();
        disk.empty();
        disk.allow_writes();
        self.host_disk.empty();
        self.restart_database();
        self.site.cable.mend();
        self.site.cable.calm();
        self.line.iter().for_each(Line::better);
        let client = self.site.client();
        until("the server is back", SOON, || {
            self.start_server(&[]);
            self.site.is_ready(&client).then_some(())
        });
        self.start_agent(&[]);
    }

    fn restart_database(&mut self) {
        if std::mem::take(&mut self.is_database_down) {
            self.postgres.iter().for_each(Postgres::restart);
        }
    }

    fn kill_agent(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            let was_over = daemon.is_over();
            if !was_over {
                daemon.signal(Signal::KILL);
            }
            self.buried(&daemon.wait(SOON), "agent", was_over);
        }
    }

    fn kill_server(&mut self) {
        if let Some(process) = self.site.server_process() {
            let was_over = process.is_over();
            let ended = self.site.kill_server();
            self.buried(&ended, "server", was_over);
        }
    }

    /// Starts the agent, if there is none.
    fn start_agent(&mut self, clock: &[String]) {
        if self.daemon.as_ref().is_some_and(Running::is_over) {
            self.kill_agent();
        }
        if self.daemon.is_none() {
            let mut prefix: Vec<String> = self.line.iter().flat_map(Line::prefix).collect();
            prefix.extend_from_slice(clock);
            self.daemon = Some(self.host.daemon_behind(&prefix));
        }
    }

    /// Starts the server, if there is none.
    fn start_server(&mut self, clock: &[String]) {
        if self.site.server_process().is_some_and(Running::is_over) {
            self.kill_server();
        }
        if self.site.server_process().is_none() {
            self.site.launch_server(clock);
        }
    }

    /// A process that ended of itself has said why; and none ever falls over, or finds that acknowledged bytes are gone.
    fn buried(&mut self, ended: &Ended, what: &str, was_over: bool) {
        let said = ended.said();
        self.logs.push(format!("--- {what}, {}\n{said}", ended.status));
        assert!(!said.contains("panicked"), "the {what} fell over: {said}");
        assert!(!said.contains("acknowledged are lost"), "{said}");
        if was_over {
            // As the two programs begin their last line.
            let is_said = ["error: ", "holdfast-agent: "].iter().any(|begin| ended.stderr.contains(begin));
            assert!(ended.code().is_some() && is_said, "the {what} ended, silent: {said}");
        }
    }

    /// Reads the bundle of an earlier round, a few bytes at a time.
    fn read_slowly(&self, lasting: Duration) {
        let Some(earlier) = &self.earlier else { return };
        let url = format!("https://{}/api/v1/evidence/{earlier}/content", self.site.cable.address());
        let (client, token) = (self.site.client(), self.site.responder_token());
        std::thread::spawn(move || {
            let started = Instant::now();
            let Ok(mut answer) = client.get(url).bearer_auth(token).send() else { return };
            let mut few = [0; 512];
            while started.elapsed() < lasting && answer.read(&mut few).is_ok_and(|bytes| bytes > 0) {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    }

    /// What the processes said, for a round that failed.
    pub fn tell_logs(mut self) {
        self.kill_agent_quietly();
        for log in self.logs.iter().rev().take(4).rev() {
            crate::say(log);
        }
    }

    fn kill_agent_quietly(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            let _ = rustix::process::kill_process(daemon.pid(), Signal::KILL);
            let said = daemon.wait(SOON).said();
            self.logs.push(format!("--- agent\n{said}"));
        }
        if self.site.server_process().is_some() {
            let said = self.site.kill_server().said();
            self.logs.push(format!("--- server\n{said}"));
        }
        let journal = fs::read_to_string(self.host.state().join("journal.json")).unwrap_or_default();
        self.logs.push(format!("--- journal\n{journal}"));
    }
}

/// Until so many milliseconds after that moment.
fn wait_until(moment: Instant, ms: u64) {
    std::thread::sleep(Duration::from_millis(ms).saturating_sub(moment.elapsed()));
}
