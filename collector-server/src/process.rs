//! The process: everything put together, listening, and taken apart again.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use axum_server::Handle;
use bundle::time::Clock;
use hyper_util::rt::TokioTimer;
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use wire::{Instant, Sha256};

use crate::app::limits::Limits;
use crate::app::{App, Problem, Reach};
use crate::authority::InForce;
use crate::data_dir::DataDir;
use crate::http;
use crate::http::places::Places;
use crate::http::tls::Acceptor;
use crate::objects::{Bucket, Objects};
use crate::site::Site;
use crate::store::sql::Database;
use crate::store::sql::peers::{News, Peers};
use crate::store::sql::postgres::Address;
use crate::witness::{self, Witness};

/// Names under which the server is always reached on its own host.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Connections at a time, where the limit of open files leaves room for them.
const CONNECTIONS_MAX: u64 = 4096;
/// Descriptors for everything else.
const FILES_RESERVED: u64 = 256;
/// The head of a request must come within this time; a connection that is idle ends after it.
const HEAD_SECS_MAX: u64 = 30;
/// Requests of one HTTP/2 connection at a time.
const STREAMS_MAX: u32 = 64;
/// Requests that are under way when the server stops have so long to end.
const STOP_SECS_MAX: u64 = 20;
/// How often overdue things are looked for.
const SWEEP_SECS: u64 = 5;
/// How often the metrics are tidied up.
const METRICS_SECS: u64 = 60;

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// The database that this server shares with others; a file in the data directory, when there is none.
    pub database: Option<Address>,
    /// Where custody heads go.
    pub heads: witness::To,
    /// How much is taken.
    pub limits: Limits,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Names under which others reach the server, the best first.
    pub names: Vec<String>,
    /// The bucket of the objects; a folder of the data directory when absent.
    pub objects: Option<Bucket>,
    /// The folder of the site's own files.
    pub site: Option<PathBuf>,
}

/// A server that listens.
pub struct Server {
    acceptor: Acceptor,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it decides with.
    pub app: Arc<App>,
    background: JoinHandle<()>,
    dir: DataDir,
    handle: Handle<SocketAddr>,
    listening: JoinHandle<std::io::Result<()>>,
    /// For the server's certificate.
    names: Vec<String>,
    /// The folder of the site's own files.
    site: Option<PathBuf>,
}

impl Server {
    /// Starts a server over this data directory. It listens when this returns.
    ///
    /// # Errors
    /// What is wrong with the directory, the address or the records; a [`crate::data_dir::DataDirError`] has a hint.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let clock = SystemClock;
        // First, so that a mistake in it leaves nothing half made.
        let site = Site::default();
        if let Some(folder) = &config.site {
            site.load(folder)?;
        }
        let dir = DataDir::open(&config.data)?;
        let ca_lock = DataDir::beside(&config.data)?;
        let in_force = dir.in_force(clock.realtime())?;
        drop(ca_lock);
        let mut names: Vec<String> = LOCAL_NAMES.map(str::to_owned).to_vec();
        names.extend(config.names.iter().cloned());
        let listens_at = config.listen.ip();
        if !listens_at.is_unspecified() {
            names.push(listens_at.to_string());
        }
        names.sort();
        names.dedup();
        let certified = dir.certified(&in_force.issuing, &names, clock.realtime())?;
        let places = Places::new(connections_max(), config.limits.connections_of_address_max);
        let acceptor = Acceptor::new(&in_force, &certified, places)?;
        let listener =
            TcpListener::bind(config.listen).with_context(|| format!("cannot listen at {}", config.listen))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let reach = Reach { ca_sha256: in_force.issuing.sha256(), servers: addresses(&config.names, address) };
        let objects = open_objects(&dir.objects(), config.objects.as_ref()).await?;
        let store = match &config.database {
            Some(address) => Database::at(address).await,
            None => Database::in_file(&dir.database()).await,
        };
        let store = store.context("the records cannot be opened")?;
        let heads = Witness::new(dir.custody_heads(), dir.timestamps(), config.heads)
            .map_err(|why| anyhow::anyhow!("custody heads cannot leave: {why}"))?;
        let mut app = App::new(Box::new(clock), objects, reach, dir.signer()?, Arc::new(store));
        app.spool = Some(dir.spool_key()?);
        app.automation = Some(dir.automation_key()?);
        let news = match &config.database {
            Some(address) => Some(join(&mut app, address, &in_force).await?),
            None => None,
        };
        app.authorities.put(in_force);
        app.limits = config.limits;
        app.site = site;
        app.record_rules().await.map_err(in_words)?;
        let app = Arc::new(app);
        if let Some(news) = news {
            tokio::spawn(hear(Arc::clone(&app), news, config.site.clone()));
        }
        let handle = Handle::new();
        let listening = tokio::spawn(listen(listener, acceptor.clone(), handle.clone(), &app)?);
        let background = tokio::spawn(keep_up(Arc::clone(&app), heads));
        Ok(Self { acceptor, address, app, background, dir, handle, listening, names, site: config.site })
    }

    /// Digest of the CA's certificate.
    pub fn ca_sha256(&self) -> Sha256 {
        self.app.ca_sha256()
    }

    /// The data directory.
    pub fn folder(&self) -> &Path {
        self.dir.folder()
    }

    /// Reads the site's files again, and which authorities are in force; and has the servers that share the records read
    /// theirs. With a mistake in them everything stays as it was.
    ///
    /// # Errors
    /// The mistakes, or that nobody could be told of the change.
    pub async fn reload(&self) -> anyhow::Result<()> {
        self.reload_authorities()?;
        if let Some(in_force) = self.app.authorities.get().filter(|_| self.app.peers.has_others()) {
            self.app.check_identity(&in_force.sha256s()).await.map_err(in_words)?;
        }
        let Some(folder) = &self.site else { return Ok(()) };
        reload(&self.app, folder).await?;
        self.app.peers.tell(News::Site);
        Ok(())
    }

    /// Another CA may be in force: `ca roll` and `ca retire` work beside the server.
    fn reload_authorities(&self) -> anyhow::Result<()> {
        let now = SystemClock.realtime();
        let in_force = {
            // Held while it is read: a change of two files may be under way.
            let _lock = DataDir::beside(self.dir.folder())?;
            self.dir.in_force(now)?
        };
        let known = self.app.authorities.get().map(|known| known.sha256s());
        if known.is_some_and(|known| known == in_force.sha256s()) {
            return Ok(());
        }
        let certified = self.dir.certified(&in_force.issuing, &self.names, now)?;
        self.acceptor.put(&in_force, &certified)?;
        tracing::info!(cas = ?in_force.sha256s(), "other authorities are in force");
        self.app.authorities.put(in_force);
        Ok(())
    }

    /// Ends the server: whoever waits is answered, what is under way ends, and the last custody head is written down.
    ///
    /// # Errors
    /// When the listening part failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.app.stop.cancel();
        self.handle.graceful_shutdown(Some(Duration::from_secs(STOP_SECS_MAX)));
        let listened = self.listening.await;
        self.background.await?;
        listened?.context("listening failed")
    }
}

/// The objects in this bucket, or in the folder. Who this server is to the bucket stands in its environment.
///
/// # Errors
/// That they cannot be used.
pub async fn open_objects(folder: &Path, bucket: Option<&Bucket>) -> anyhow::Result<Objects> {
    match bucket {
        Some(bucket) => {
            // The first to use TLS as a client would choose for the whole process.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let variables = std::env::vars_os();
            let texts =
                variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
            Ok(Objects::in_bucket(bucket, texts).await?)
        }
        None => Objects::in_folder(folder).context("the folder of the objects cannot be used"),
    }
}

/// Becomes one of the servers that share this database.
async fn join(app: &mut App, address: &Address, in_force: &InForce) -> anyhow::Result<Receiver<News>> {
    app.check_identity(&in_force.sha256s()).await.map_err(in_words)?;
    let (peers, news) = Peers::join(address, app.stop.clone()).context("the records cannot be shared")?;
    app.join(&peers);
    Ok(news)
}

async fn hear(app: Arc<App>, news: Receiver<News>, site: Option<PathBuf>) {
    let changed = Notify::new();
    let read_again = async {
        loop {
            changed.notified().await;
            let Some(folder) = &site else { continue };
            match reload(&app, folder).await {
                Ok(()) => tracing::info!("the site's files were read again, as another server's were"),
                Err(error) => tracing::error!(error = format!("{error:#}"), "the site's files were not taken over"),
            }
        }
    };
    tokio::select! {
        () = app.hear(news, &changed) => {}
        () = read_again => {}
    }
}

async fn reload(app: &App, folder: &Path) -> anyhow::Result<()> {
    app.site.load(folder)?;
    app.record_rules().await.map_err(in_words)
}

fn in_words(problem: Problem) -> anyhow::Error {
    let Problem { cause, hint, message, .. } = problem;
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    let hint = hint.map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    anyhow::anyhow!("{message}{cause}{hint}")
}

/// The future that serves.
fn listen(
    listener: TcpListener,
    acceptor: Acceptor,
    handle: Handle<SocketAddr>,
    app: &Arc<App>,
) -> std::io::Result<impl Future<Output = std::io::Result<()>> + use<>> {
    let mut server = axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle);
    let head = Duration::from_secs(HEAD_SECS_MAX);
    let builder = server.http_builder();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(head)
        .keep_alive_timeout(head)
        .adaptive_window(true)
        .max_concurrent_streams(STREAMS_MAX);
    let service = http::router(app).into_make_service_with_connect_info::<SocketAddr>();
    Ok(server.serve(service))
}

/// What is done from time to time, until the server stops.
async fn keep_up(app: Arc<App>, heads: Witness) {
    let ingest = tokio::spawn(Arc::clone(&app).run_ingest());
    let findings = tokio::spawn(Arc::clone(&app).run_findings());
    let outbox = tokio::spawn(Arc::clone(&app).run_outbox());
    let looks = tokio::spawn(Arc::clone(&app).run_looks());
    let automation = tokio::spawn(Arc::clone(&app).run_automation());
    let probes = tokio::spawn(Arc::clone(&app).run_probes());
    let hunts = tokio::spawn({
        let app = Arc::clone(&app);
        async move { app.run_hunts().await }
    });
    let mut sweep = tokio::time::interval(Duration::from_secs(SWEEP_SECS));
    let mut metrics = tokio::time::interval(Duration::from_secs(METRICS_SECS));
    let heads = tokio::spawn(heads.run(Arc::clone(&app)));
    loop {
        tokio::select! {
            () = app.stop.cancelled() => break,
            _ = sweep.tick() => app.sweep().await,
            _ = metrics.tick() => {
                if let Some(metrics) = http::health::count_from_now_on() {
                    metrics.run_upkeep();
                }
            }
        }
    }
    // What was being verified is broken off, and found again at the next start.
    let _ = ingest.await;
    let _ = findings.await;
    // Pages under way are bounded in time; what was not sent is queued still.
    let _ = outbox.await;
    let _ = hunts.await;
    let _ = looks.await;
    let _ = automation.await;
    let _ = probes.await;
    if let Ok(mut heads) = heads.await {
        heads.round(&app, true).await;
    }
}

/// Where others find the server: by its names, or at its own address.
fn addresses(names: &[String], address: SocketAddr) -> Vec<String> {
    let at = |host: String| format!("https://{host}:{}", address.port());
    if names.is_empty() {
        let ip = if address.ip().is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { address.ip() };
        return vec![format!("https://{}", SocketAddr::new(ip, address.port()))];
    }
    let bracketed = |name: &String| match name.parse::<std::net::Ipv6Addr>() {
        Ok(address) => at(format!("[{address}]")),
        Err(_) => at(name.clone()),
    };
    names.iter().map(bracketed).collect()
}

/// As many connections as the limit of open files allows, which is first raised as far as it goes.
fn connections_max() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let there = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: there.maximum, ..there };
    let files = if setrlimit(Resource::Nofile, raised).is_ok() { there.maximum } else { there.current };
    let room = files.unwrap_or(u64::MAX).saturating_sub(FILES_RESERVED).clamp(16, CONNECTIONS_MAX);
    usize::try_from(room).unwrap_or(usize::MAX)
}

/// The clocks of this host.
pub struct SystemClock;

impl Clock for SystemClock {
    fn realtime(&self) -> Instant {
        // Asked through the C library: a test can give a server another time than the machine's.
        let nanoseconds = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Instant(nanoseconds(since)),
            Err(before) => Instant(-nanoseconds(before.duration())),
        }
    }

    fn boottime_ns(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
    }
}
