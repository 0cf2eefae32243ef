//! `holdfast-server serve`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use wire::ByteSize;

use super::records::Records;
use super::{Failure, token};
use crate::app::limits::Limits;
use crate::objects::Bucket;
use crate::process::{Config, Server};
use crate::witness::To;

/// Run the server. Everything that it owns is made at the first start.
#[derive(clap::Args)]
pub struct Serve {
    /// Seconds for which the certificate of an agent is good; it is renewed when a third of them is left
    #[arg(long, value_name = "SECS", default_value_t = Limits::default().certificate_secs, value_parser = clap::value_parser!(u64).range(6..=7_776_000))]
    certificate_secs: u64,
    /// The directory that holds keys, records and evidence
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Connections that one address may have at a time; half of all that the server takes, unless you say otherwise
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    connections_of_address_max: Option<u32>,
    /// Bytes that stay free where the evidence lies: an upload that would take of them is told to come again later
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    free_bytes_min: ByteSize,
    /// A file elsewhere, or a folder, to which the signed heads of the custody log are appended as well
    #[arg(long, value_name = "FILE|DIR")]
    heads_to: Option<PathBuf>,
    /// Seconds without a byte after which an upload is verified as far as it came
    #[arg(long, value_name = "SECS", default_value_t = Limits::default().idle_secs, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    idle_secs: u64,
    /// Print where the server is as one line of JSON
    #[arg(long)]
    json: bool,
    /// Where to listen: this host only, unless you say otherwise
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// A name or address under which others reach the server, for its certificate and for tickets; may be repeated
    #[arg(long = "name", value_name = "HOST", value_parser = host_name)]
    names: Vec<String>,
    /// Where the objects are: s3://BUCKET or s3://BUCKET/PREFIX; DATA/objects when absent. Keys come from the environment
    #[arg(long, value_name = "URL")]
    objects: Option<Bucket>,
    /// A time-stamping authority (RFC 3161) that is asked daily, and at the stop, to sign for the custody log's head
    #[arg(long, value_name = "URL", value_parser = authority)]
    timestamp_url: Option<reqwest::Url>,
    /// See [`Records`].
    #[command(flatten)]
    records: Records,
    /// Seconds after which a host that was not heard has gone silent
    #[arg(long, value_name = "SECS", default_value_t = Limits::default().silent_secs, value_parser = clap::value_parser!(u64).range(90..=604_800))]
    silent_secs: u64,
    /// The folder of the site's own files, contacts.yaml and others; DATA/site, when it is there
    #[arg(long, value_name = "DIR")]
    site: Option<PathBuf>,
}

/// Many authorities answer plain HTTP: what they sign needs no secrecy, and is checked.
fn authority(text: &str) -> Result<reqwest::Url, String> {
    let url = reqwest::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| "http://HOST/… or https://HOST/… is wanted".to_owned())
}

/// What stands in a certificate and in an address.
fn host_name(text: &str) -> Result<String, String> {
    let is_name = (1..=253).contains(&text.len())
        && !text.starts_with(['-', '.'])
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if is_name || text.parse::<std::net::IpAddr>().is_ok() {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a host name or an address without a port is wanted".to_owned())
    }
}

impl Serve {
    /// Runs until SIGTERM or SIGINT; SIGHUP has the site's files read again.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(self) -> Result<(), Failure> {
        install_log();
        crate::http::health::count_from_now_on();
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let connections_of_address_max =
            self.connections_of_address_max.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        let limits = Limits {
            certificate_secs: self.certificate_secs,
            connections_of_address_max,
            free_bytes_min: self.free_bytes_min.0,
            idle_secs: self.idle_secs,
            silent_secs: self.silent_secs,
            ..Limits::default()
        };
        let site = self.site.or_else(|| Some(self.data.join("site")).filter(|folder| folder.is_dir()));
        let heads = To { elsewhere: self.heads_to, authority: self.timestamp_url };
        let Self { data, listen, names, objects, records, .. } = self;
        let config = Config { data, database: records.address()?, heads, limits, listen, names, objects, site };
        let server = Server::start(config).await?;
        announce(&server, self.json)?;
        let hint = token::hint_without_tokens(&*server.app.store, server.folder()).await.unwrap_or_default();
        if let Some(hint) = hint {
            writeln!(std::io::stderr(), "hint: {hint}")?;
        }
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = hangup.recv() => match server.reload().await {
                    Ok(()) => tracing::info!("the site's files were read again"),
                    Err(error) => tracing::error!(error = format!("{error:#}"), "the site's files were not taken over"),
                },
            }
        }
        tracing::info!("stopping");
        Ok(server.stop().await?)
    }
}

fn announce(server: &Server, as_json: bool) -> std::io::Result<()> {
    let (data, servers) = (server.folder().display(), &server.app.reach.servers);
    let mut out = std::io::stdout();
    if as_json {
        let line = json!({
            "address": server.address,
            "ca_sha256": server.ca_sha256(),
            "data": server.folder(),
            "objects": server.app.objects.to_string(),
            "server_signer": server.app.signer.public_line(),
            "servers": servers,
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "address    {}", servers.join(" "))?;
        writeln!(out, "listening  {}", server.address)?;
        writeln!(out, "ca sha256  {}", server.ca_sha256())?;
        writeln!(out, "ca file    {data}/ca.pem")?;
        writeln!(out, "data       {data}")?;
        writeln!(out, "objects    {}", server.app.objects)?;
    }
    out.flush()
}

/// To standard error. `HOLDFAST_LOG` is error, warn, info or debug.
fn install_log() {
    let level = std::env::var("HOLDFAST_LOG").ok().and_then(|level| level.parse().ok());
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(level.unwrap_or(tracing::Level::INFO));
    // An error only says that there is a log already.
    let _ = log.try_init();
}
