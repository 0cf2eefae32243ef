//! The collectors. Each is one file and one line of [`COLLECTORS`].
//!
//! A collector is its own arguments: the type that a profile's `with:` is read into. It reaches the host and the
//! evidence only through its [`Session`], so that the same code runs in a collection, in a plan and in a test.
//!
//! Architecture invariant: a collector runs no program, opens nothing for writing, and knows nothing of bundles, of
//! outputs or of the network. Its tier is its own: no profile can move it.

pub mod accounts;
pub mod agent_files;
pub mod application_logs;
pub mod audit_log;
pub mod audit_state;
pub mod auth_log;
pub mod block_devices;
pub mod bpf;
pub mod cloud_identity;
pub mod conntrack;
pub mod containers;
pub mod deleted_files;
pub mod executable_hashes;
pub mod file_timeline;
pub mod files;
pub mod firewall;
pub mod firmware;
pub mod hidden_modules;
pub mod hidden_processes;
pub mod hidden_sockets;
pub mod host_facts;
pub mod ipc;
pub mod journal;
pub mod kernel_log;
pub mod kernel_modules;
pub mod kernel_state;
pub mod kernel_symbols;
pub mod kubernetes_node;
pub mod login_records;
pub mod logs;
pub mod memory_maps;
mod mount_rules;
pub mod mounts;
pub mod namespaces;
mod netlink_dumps;
pub mod network_state;
pub mod open_files;
pub mod package_verification;
pub mod packages;
pub mod packet_capture;
mod per_process;
pub mod persistence;
pub mod physical_memory;
pub mod preload;
pub mod process_identity;
pub mod process_images;
pub mod process_memory;
pub mod processes;
pub mod recent_files;
pub mod routing_rules;
pub mod rows;
pub mod sessions;
pub mod sockets;
pub mod ssh_sessions;
pub mod suid_and_capabilities;
pub mod supply_chain;
pub mod swap;
pub mod temp_files;
pub mod user_activity;
pub mod web_logs;
pub mod web_roots;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wire::Tier;

use crate::host::Host;
use crate::run::session::{Session, Stopped};
use rows::RowType;

/// Every collector of this agent, in the order in which `holdfast-agent collectors` lists them.
pub const COLLECTORS: &[Collector] = &[
    Collector::of::<host_facts::HostFacts>(),
    Collector::of::<processes::Processes>(),
    Collector::of::<process_identity::ProcessIdentity>(),
    Collector::of::<memory_maps::MemoryMaps>(),
    Collector::of::<open_files::OpenFiles>(),
    Collector::of::<sockets::Sockets>(),
    Collector::of::<hidden_processes::HiddenProcesses>(),
    Collector::of::<hidden_sockets::HiddenSockets>(),
    Collector::of::<network_state::NetworkState>(),
    Collector::of::<conntrack::Conntrack>(),
    Collector::of::<firewall::Firewall>(),
    Collector::of::<routing_rules::RoutingRules>(),
    Collector::of::<namespaces::Namespaces>(),
    Collector::of::<ipc::Ipc>(),
    Collector::of::<sessions::Sessions>(),
    Collector::of::<ssh_sessions::SshSessions>(),
    Collector::of::<kernel_modules::KernelModules>(),
    Collector::of::<hidden_modules::HiddenModules>(),
    Collector::of::<kernel_state::KernelState>(),
    Collector::of::<bpf::Bpf>(),
    Collector::of::<audit_state::AuditState>(),
    Collector::of::<kernel_log::KernelLog>(),
    Collector::of::<deleted_files::DeletedFiles>(),
    Collector::of::<process_images::ProcessImages>(),
    Collector::of::<process_memory::ProcessMemory>(),
    Collector::of::<swap::Swap>(),
    Collector::of::<packet_capture::PacketCapture>(),
    Collector::of::<physical_memory::PhysicalMemory>(),
    Collector::of::<mounts::Mounts>(),
    Collector::of::<block_devices::BlockDevices>(),
    Collector::of::<kernel_symbols::KernelSymbols>(),
    Collector::of::<firmware::Firmware>(),
    Collector::of::<containers::Containers>(),
    Collector::of::<kubernetes_node::KubernetesNode>(),
    Collector::of::<agent_files::AgentFiles>(),
    Collector::of::<persistence::Persistence>(),
    Collector::of::<preload::Preload>(),
    Collector::of::<accounts::Accounts>(),
    Collector::of::<cloud_identity::CloudIdentity>(),
    Collector::of::<login_records::LoginRecords>(),
    Collector::of::<journal::JournalEntries>(),
    Collector::of::<auth_log::AuthLog>(),
    Collector::of::<audit_log::AuditLog>(),
    Collector::of::<web_logs::WebLogs>(),
    Collector::of::<application_logs::ApplicationLogs>(),
    Collector::of::<logs::Logs>(),
    Collector::of::<files::Files>(),
    Collector::of::<user_activity::UserActivity>(),
    Collector::of::<web_roots::WebRoots>(),
    Collector::of::<temp_files::TempFiles>(),
    Collector::of::<recent_files::RecentFiles>(),
    Collector::of::<file_timeline::FileTimeline>(),
    Collector::of::<packages::Packages>(),
    Collector::of::<supply_chain::SupplyChain>(),
    Collector::of::<package_verification::PackageVerification>(),
    Collector::of::<suid_and_capabilities::SuidAndCapabilities>(),
    Collector::of::<executable_hashes::ExecutableHashes>(),
];

/// What a collector must provide. The implementing type holds the arguments, already checked.
pub trait Collect: Send + Sync + 'static {
    /// The name in profiles, in paths and in records.
    const NAME: &'static str;
    /// Where it stands in the order of volatility.
    const TIER: Tier;
    /// One line for people: what it takes.
    const SUMMARY: &'static str;
    /// The privileges without which it takes less, as people know them: `CAP_SYS_PTRACE`, `root`.
    const NEEDS: &'static [&'static str];
    /// True for what only a running kernel has: on an image such a step is skipped.
    const NEEDS_LIVE_HOST: bool = matches!(Self::TIER, Tier::Volatile | Tier::Memory);
    /// True when a run must not wait for it: its evidence then stands in a bundle of its own, beside that of the run.
    const OWN_BUNDLE: bool = false;

    /// Takes the evidence. What cannot be read is noted as an item; `Err` means that the collector itself cannot go on.
    ///
    /// # Errors
    /// [`Failure::Stopped`] when the session says so, [`Failure::Failed`] when nothing more can be taken.
    fn collect(&self, session: &mut Session) -> Result<(), Failure>;

    /// The types of its rows; none for a collector that hands over files only.
    fn rows() -> Vec<RowType> {
        Vec::new()
    }

    /// What a collection would read on this host.
    fn plan(&self, _host: &Host) -> Plan {
        Plan::default()
    }
}

/// What a step would read, told beforehand.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// Where it reads: paths, globs or kernel interfaces.
    pub reads: Vec<String>,
    /// How many files it would read, if that can be told without reading them.
    pub files: Option<u64>,
    /// How many bytes it would read, if that can be told without reading them.
    pub bytes: Option<u64>,
    /// What it would do to the host beyond reading, in words: freeze a process, load the network.
    pub disturbs: Vec<String>,
}

/// Why a collector ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The session ended it: deadline, interrupt or a full limit.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// It could not go on; `what` names the subject.
    #[error("{what}")]
    Failed {
        /// What could not be read.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Failure {
    /// For `map_err`: the collector cannot go on without `what`.
    pub fn reading(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Failed { what, source }
    }
}

/// One line of the list: a collector, its arguments not yet bound.
#[derive(Clone, Copy)]
pub struct Collector {
    /// See [`Collect::NAME`].
    pub name: &'static str,
    /// See [`Collect::TIER`].
    pub tier: Tier,
    /// See [`Collect::SUMMARY`].
    pub summary: &'static str,
    /// See [`Collect::NEEDS`].
    pub needs: &'static [&'static str],
    /// See [`Collect::NEEDS_LIVE_HOST`].
    pub needs_live_host: bool,
    /// See [`Collect::OWN_BUNDLE`].
    pub own_bundle: bool,
    /// Reads a profile's `with:` into the collector's arguments.
    pub bind: fn(serde_json::Value) -> Result<Box<dyn Step>, wire::profile::ArgumentError>,
    /// The JSON Schema of its arguments.
    pub schema: fn() -> schemars::Schema,
    /// See [`Collect::rows`].
    pub rows: fn() -> Vec<RowType>,
}

impl Collector {
    const fn of<C: Collect + DeserializeOwned + JsonSchema>() -> Self {
        Self {
            name: C::NAME,
            tier: C::TIER,
            summary: C::SUMMARY,
            needs: C::NEEDS,
            needs_live_host: C::NEEDS_LIVE_HOST,
            own_bundle: C::OWN_BUNDLE,
            bind: |with| Ok(Box::new(wire::profile::arguments::<C>(with)?)),
            schema: || schemars::schema_for!(C),
            rows: C::rows,
        }
    }

    /// The collector of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        COLLECTORS.iter().find(|collector| collector.name == name)
    }
}

/// A collector with its arguments bound, ready to run.
pub trait Step: Send + Sync {
    /// See [`Collect::collect`].
    fn collect(&self, session: &mut Session) -> Result<(), Failure>;
    /// See [`Collect::plan`].
    fn plan(&self, host: &Host) -> Plan;
}

impl<C: Collect> Step for C {
    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        Collect::collect(self, session)
    }

    fn plan(&self, host: &Host) -> Plan {
        Collect::plan(self, host)
    }
}
