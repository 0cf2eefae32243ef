//! The servers that share a PostgreSQL database: what they tell each other, and which of them leads.
//!
//! News are for whoever waits for something now; nothing here is kept. They travel by LISTEN and NOTIFY, and when some may
//! have been lost, because a connection was, that is told instead: [`News::Missed`]. The leader is the one whose session
//! holds an advisory lock. When it ends or its connection does, PostgreSQL lets go of the lock, and within
//! [`LOOK_EVERY`] another has it. Nothing stands on there being one leader at each moment: what leaders do is guarded by
//! the versions of what they write, and two would do it twice in vain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use wire::api::LiveEvent;
use wire::{AgentId, IncidentId};

use super::postgres::Address;

/// Where the news are told, in this database.
const CHANNEL: &str = "holdfast";
/// Any number, the same in all servers: `holdfast` in ASCII.
const LEADER: i64 = 0x686f_6c64_6661_7374;
/// How often the lock is asked for, or the connection that holds it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A database that does not answer for so long is asked anew, over another connection.
const ANSWER_SECS_MAX: Duration = Duration::from_secs(5);
/// News that wait to be told.
const WAITING_MAX: usize = 1024;
const AT_A_TIME_MAX: usize = 64;
/// PostgreSQL takes less than 8000 bytes.
const NEWS_BYTES_MAX: usize = 7900;

/// What one server tells the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// Something happened in an incident.
    Live(IncidentId, Box<LiveEvent>),
    /// Some news may have been lost: whoever waits looks for itself.
    Missed,
    /// The site's files were read again.
    Site,
    /// There is something for this agent.
    Wake(AgentId),
}

/// News and who told them: each hears its own as well.
#[derive(Serialize, Deserialize)]
struct Told<N> {
    by: String,
    news: N,
}

/// This server's side.
#[derive(Clone, Debug)]
pub struct Peers {
    leads: Arc<AtomicBool>,
    /// None when there are no others.
    out: Option<Out>,
}

#[derive(Clone, Debug)]
struct Out {
    /// News were more than the queue took.
    overflowed: Arc<AtomicBool>,
    queue: mpsc::Sender<News>,
}

impl Default for Peers {
    /// There are no others.
    fn default() -> Self {
        Self { leads: Arc::new(AtomicBool::new(true)), out: None }
    }
}

impl Peers {
    /// Joins those that share this database, until the server stops. What the others tell comes out of the receiver.
    pub fn join(address: &Address, stop: CancellationToken) -> Result<(Self, mpsc::Receiver<News>), sqlx::Error> {
        let options = address.options()?;
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let (heard, news) = mpsc::channel(WAITING_MAX);
        let out = Out { overflowed: Arc::default(), queue };
        let me = Me { leads: Arc::default(), name: name(), options, overflowed: Arc::clone(&out.overflowed), stop };
        let peers = Self { leads: Arc::clone(&me.leads), out: Some(out) };
        tokio::spawn(me.clone().hear_until_stopped(heard));
        tokio::spawn(me.speak_until_stopped(waiting));
        Ok((peers, news))
    }

    /// True for the one server that does what only one should.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// True when other servers may share the records.
    pub fn has_others(&self) -> bool {
        self.out.is_some()
    }

    /// Tells the others, soon.
    pub fn tell(&self, news: News) {
        let Some(out) = &self.out else { return };
        if out.queue.try_send(news).is_err() {
            out.overflowed.store(true, Ordering::Relaxed);
        }
    }
}

/// A name that no other server has.
fn name() -> String {
    let mut bytes = [0; 8];
    // Without random numbers nothing else works either; then the process's number will do.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = u64::from(std::process::id()).to_be_bytes();
    }
    format!("{:016x}", u64::from_be_bytes(bytes))
}

#[derive(Clone)]
struct Me {
    leads: Arc<AtomicBool>,
    name: String,
    options: PgConnectOptions,
    overflowed: Arc<AtomicBool>,
    stop: CancellationToken,
}

impl Me {
    async fn speak_until_stopped(self, mut waiting: mpsc::Receiver<News>) {
        while !self.stop.is_cancelled() {
            let ended = self.speak(&mut waiting).await;
            if self.leads.swap(false, Ordering::Relaxed) {
                tracing::info!("this server leads no longer");
                metrics::gauge!("holdfast_leads").set(0);
            }
            let Err(error) = ended else { return };
            tracing::warn!(%error, "the other servers cannot be told anything; it is tried again");
            // What is queued was lost, or comes late.
            self.overflowed.store(true, Ordering::Relaxed);
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Tells what is to be told, and holds or asks for the lock, over one connection.
    async fn speak(&self, waiting: &mut mpsc::Receiver<News>) -> Result<(), sqlx::Error> {
        let mut connection = answered(self.options.connect()).await?;
        sqlx::raw_sql(super::postgres::PREPARE).execute(&mut connection).await?;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut news = Vec::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => {
                    self.leads.store(false, Ordering::Relaxed);
                    // The lock goes with the session, at once.
                    return answered(connection.close()).await;
                }
                _ = look.tick() => self.look(&mut connection).await?,
                count = waiting.recv_many(&mut news, AT_A_TIME_MAX) => {
                    if count == 0 {
                        return Ok(());
                    }
                }
            }
            if self.overflowed.swap(false, Ordering::Relaxed) {
                news.push(News::Missed);
            }
            self.notify(&mut connection, &mut news).await?;
        }
    }

    async fn look(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.leads.load(Ordering::Relaxed) {
            return answered(connection.ping()).await;
        }
        let sql = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LEADER);
        if answered(sql.fetch_one(connection)).await? {
            self.leads.store(true, Ordering::Relaxed);
            tracing::info!("this server leads");
            metrics::gauge!("holdfast_leads").set(1);
        }
        Ok(())
    }

    async fn notify(&self, connection: &mut PgConnection, news: &mut Vec<News>) -> Result<(), sqlx::Error> {
        if news.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> = news.drain(..).map(|news| self.text(news)).collect();
        let sql = "SELECT pg_notify($1, told) FROM unnest($2) AS told";
        answered(sqlx::query(sql).bind(CHANNEL).bind(texts).execute(connection)).await.map(|_| ())
    }

    /// News as they are told. Those that are too long are only said to be there.
    fn text(&self, news: News) -> String {
        let text = |news| serde_json::to_string(&Told { by: self.name.clone(), news }).unwrap_or_default();
        let told = text(news);
        if told.len() <= NEWS_BYTES_MAX { told } else { text(News::Missed) }
    }

    async fn hear_until_stopped(self, heard: mpsc::Sender<News>) {
        while !self.stop.is_cancelled() {
            let error = tokio::select! {
                () = self.stop.cancelled() => return,
                ended = self.hear(&heard) => ended,
            };
            if let Err(error) = error {
                tracing::warn!(%error, "the other servers are not heard; it is tried again");
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn hear(&self, heard: &mpsc::Sender<News>) -> Result<(), sqlx::Error> {
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(ANSWER_SECS_MAX);
        let pool = pool.max_lifetime(None).idle_timeout(None).connect_with(self.options.clone()).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        // Also at the start: an order may have come between the last poll and this.
        let mut next = Some(News::Missed);
        loop {
            // The connection was lost: what was told meanwhile is, too.
            let news = next.take().unwrap_or(News::Missed);
            if heard.send(news).await.is_err() {
                return Ok(());
            }
            while let Some(told) = listener.try_recv().await? {
                if let Some(news) = self.read(told.payload())
                    && heard.send(news).await.is_err()
                {
                    return Ok(());
                }
            }
        }
    }

    /// What another told; a newer one may tell what this one does not know.
    fn read(&self, text: &str) -> Option<News> {
        let told: Told<serde_json::Value> = serde_json::from_str(text).ok()?;
        (told.by != self.name).then(|| serde_json::from_value(told.news).unwrap_or(News::Missed))
    }
}

/// The answer of the database, when it comes in time.
async fn answered<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let late = |_| sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::TimedOut));
    timeout(ANSWER_SECS_MAX, answer).await.map_err(late)?
}
