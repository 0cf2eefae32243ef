//! Sessions of SSH as they live on this host: who came in, who went out and what they forward, which agents and control
//! sockets there are, and who holds them.
//!
//! Rows:
//! - `server_process`: a process of sshd or dropbear, with the user and terminal that its title names and the addresses
//!   of its connections.
//! - `client`: a process of ssh, scp, sftp and the like, with what its arguments ask for.
//! - `agent_socket`: a socket of an authentication agent, from the environment of processes (SSH_AUTH_SOCK) and from the
//!   table of Unix sockets, with who listens on it and who is told to use it. One that sshd listens on is a forwarded
//!   agent: whoever may open it can use the keys of another host.
//! - `control_socket`: a Unix socket that a client listens on: through it others use its connection without a password
//!   (ControlMaster of ssh_config(5)).
//! - `origin`: a connection that environments name (SSH_CONNECTION), with the processes that came of it. It may be over
//!   while they run on.
//!
//! No connection is made to any socket, and no file is opened but those of `/proc`.
//!
//! Known limits: processes are told by the name of their image, their own name or their title, so that a client under
//! another name is missed here (its socket is in `sockets`). What a configuration file adds to the arguments is not
//! known. OpenSSH binds a control socket under a name of its own making and links it to ControlPath; `control_path` is
//! the name without that ending.

mod arguments;
mod sockets;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;

use bundle::item::shown;
use bundle::time::Instant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use self::arguments::Client;
use self::sockets::{Connection, Sockets, UnixListener};
use super::per_process::{Booted, Walk, every_process};
use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::net_census::Holder;
use crate::host::proc::stat::Stat;
use crate::host::proc::status::Status;
use crate::host::proc::{self, Hands, Process, Reached};
use crate::host::text::List;
use crate::run::session::{Session, Stopped};

/// Bytes of arguments and environment of one process.
const ARGUMENT_BYTES_MAX: usize = 256 << 10;
const FILE_BYTES_MAX: usize = 64 << 10;
/// Processes that a row names.
const PIDS_MAX: usize = 64;
/// Rows of one kind.
const ROWS_MAX: usize = 1 << 14;
/// Arguments of one client that a row has.
const ARGUMENTS_MAX: usize = 256;

/// Names of servers and of clients, as images and as the processes call themselves.
const SERVERS: [&[u8]; 4] = [b"sshd", b"sshd-session", b"sshd-auth", b"dropbear"];
const CLIENTS: [&[u8]; 9] =
    [b"ssh", b"slogin", b"scp", b"sftp", b"autossh", b"sshfs", b"dbclient", b"mosh-client", b"sshuttle"];

/// The collector `ssh_sessions`; it has no arguments.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshSessions {}

/// A process of an SSH server.
#[derive(Debug, Serialize, JsonSchema)]
struct ServerRow {
    /// Arguments joined by blanks; a server writes its title there: `sshd: alice@pts/0`.
    cmdline: String,
    /// Name.
    comm: String,
    /// Its TCP connections and listening sockets.
    connections: Vec<Connection>,
    /// Image.
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<String>,
    /// Process number.
    pid: u32,
    /// Parent's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    ppid: Option<u64>,
    /// `server_process`.
    record: &'static str,
    /// By its title: listener, monitor (the privileged half of a session), preauth (nobody has logged in yet), session,
    /// other.
    role: &'static str,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Instant>,
    /// Terminal that its title names; absent for a session without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    terminal: Option<String>,
    /// Real user that it runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u64>,
    /// The user that its title names.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
}

/// A process of an SSH client. What its arguments ask for is read for ssh, slogin and autossh only.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags of a command line")]
struct ClientRow {
    /// All arguments.
    cmdline: String,
    /// Name.
    comm: String,
    /// What it was told to run there.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    /// Its TCP connections and listening sockets: forwarded ports are among them.
    connections: Vec<Connection>,
    /// Path of its control socket (`-S`, ControlPath, or the title of a master).
    #[serde(skip_serializing_if = "Option::is_none")]
    control_path: Option<String>,
    /// Host, as it was named: `alice@host`, `ssh://…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// Local ports that lead anywhere: SOCKS (`-D`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dynamic_forwards: Vec<String>,
    /// Image.
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<String>,
    /// True when the keys of this host may be used from there (`-A`, ForwardAgent).
    forwards_agent: bool,
    /// Files of keys (`-i`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    identity_files: Vec<String>,
    /// True when it goes into the background (`-f`).
    in_background: bool,
    /// True when it serves others through a control socket (`-M`, ControlMaster, or the title of a master).
    is_master: bool,
    /// Hosts on the way (`-J`, ProxyJump).
    #[serde(skip_serializing_if = "Option::is_none")]
    jump_hosts: Option<String>,
    /// Local ports that lead there (`-L`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    local_forwards: Vec<String>,
    /// Name to log in with (`-l`, or before the `@`).
    #[serde(skip_serializing_if = "Option::is_none")]
    login_name: Option<String>,
    /// Words of ssh_config(5) (`-o`), all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<String>,
    /// Process number.
    pid: u32,
    /// Port (`-p`).
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<String>,
    /// Parent's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    ppid: Option<u64>,
    /// Program that makes the connection (ProxyCommand).
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_command: Option<String>,
    /// `client`.
    record: &'static str,
    /// Ports there that lead here, or anywhere from here (`-R`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remote_forwards: Vec<String>,
    /// True when it runs nothing there (`-N`): it only forwards.
    runs_no_command: bool,
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Instant>,
    /// Where its standard input and output lead (`-W`).
    #[serde(skip_serializing_if = "Option::is_none")]
    stdio_forward: Option<String>,
    /// Controlling terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    terminal: Option<String>,
    /// Tunnel device (`-w`).
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<String>,
    /// Real user that it runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u64>,
}

/// A socket of an authentication agent.
#[derive(Debug, Serialize, JsonSchema)]
struct AgentRow {
    /// Those who listen on it or hold it, at most 64.
    holders: Vec<Holder>,
    /// Its inode; absent when no table lists it.
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    /// True when an SSH server holds it: the keys behind it are another host's.
    is_forwarded: bool,
    /// True when somebody listens on it now.
    is_listening: bool,
    /// Inode of the network namespace whose table lists it.
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<u64>,
    /// Its path.
    path: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// `agent_socket`.
    record: &'static str,
    /// Processes whose environment names it, at most 64.
    user_pids: Vec<u32>,
    /// How many there are.
    users: usize,
}

/// A Unix socket that a client listens on.
#[derive(Debug, Serialize, JsonSchema)]
struct ControlRow {
    /// The path that others open: the socket's without the ending that OpenSSH makes.
    control_path: String,
    /// Those who hold it, at most 64.
    holders: Vec<Holder>,
    /// Its inode.
    inode: u64,
    /// Inode of its network namespace.
    netns: u64,
    /// Its name in the table.
    path: String,
    /// The exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    /// `control_socket`.
    record: &'static str,
}

/// A connection of which processes came.
#[derive(Debug, Serialize, JsonSchema)]
struct OriginRow {
    /// True when a connection between these ends is there now.
    is_connected: bool,
    /// Address that was connected to.
    local_address: String,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    local_port: Option<u16>,
    /// Processes whose environment names it, at most 64.
    pids: Vec<u32>,
    /// How many there are.
    processes: usize,
    /// `origin`.
    record: &'static str,
    /// Address that it came from.
    remote_address: String,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_port: Option<u16>,
    /// Terminals that those environments name (SSH_TTY).
    terminals: BTreeSet<String>,
}

impl Collect for SshSessions {
    const NAME: &'static str = "ssh_sessions";
    const TIER: Tier = Tier::Volatile;
    const SUMMARY: &'static str = "SSH: server sessions, clients and their forwardings, agent and control sockets";
    const NEEDS: &'static [&'static str] = &["CAP_SYS_PTRACE"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        let mut found = Found {
            agents: BTreeMap::new(),
            booted: Booted::of(session.host()),
            endpoints: Vec::new(),
            origins: BTreeMap::new(),
        };
        every_process(session, |session, walk, pid, process| found.process(session, walk, pid, process))?;
        let sockets = Sockets::read(session, &found.paths())?;
        found.finish(session, &sockets)
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<ServerRow>("server_process", "sshd(8), proc_pid_cmdline(5), proc_net(5)"),
            RowType::of::<ClientRow>("client", "ssh(1), proc_pid_cmdline(5), proc_net(5)"),
            RowType::of::<AgentRow>("agent_socket", "ssh-agent(1), proc_net(5), proc_pid_environ(5)"),
            RowType::of::<ControlRow>("control_socket", "ssh_config(5), proc_net(5)"),
            RowType::of::<OriginRow>("origin", "ssh(1), proc_pid_environ(5)"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        Plan {
            reads: vec![
                "/proc/*/{stat,status,cmdline,environ}, /proc/*/{exe,fd/*} (link text)".into(),
                "/proc/*/net/{tcp,tcp6,unix}".into(),
            ],
            ..Plan::default()
        }
    }
}

/// A process of a server or a client.
struct Endpoint {
    arguments: Vec<Vec<u8>>,
    comm: String,
    exe: Option<String>,
    is_server: bool,
    pid: u32,
    ppid: Option<u64>,
    start: Option<Instant>,
    terminal: Option<String>,
    uid: Option<u64>,
}

/// What the processes say.
struct Found {
    agents: BTreeMap<Vec<u8>, Vec<u32>>,
    booted: Booted,
    endpoints: Vec<Endpoint>,
    origins: BTreeMap<Vec<u8>, (Vec<u32>, BTreeSet<String>)>,
}

impl Found {
    fn process(&mut self, session: &mut Session, walk: &mut Walk, pid: u32, process: &Process) -> Result<(), Failure> {
        if process.reached == Reached::MountOnly {
            return Ok(());
        }
        let at = (pid, process.dir.as_fd());
        let Some(line) = walk.read(session, at, c"stat", Hands::AtOnce, FILE_BYTES_MAX)? else { return Ok(()) };
        let Some(stat) = Stat::parse(walk.pages.get(line)) else { return Ok(()) };
        if stat.is_kernel_thread() || stat.is_dead() {
            return Ok(());
        }
        if let Some(environ) = walk.read(session, at, c"environ", Hands::InPieces, ARGUMENT_BYTES_MAX)? {
            self.environment(pid, walk.pages.get(environ));
        }
        let exe = walk.link(session, at, c"exe")?;
        let Some(cmdline) = walk.read(session, at, c"cmdline", Hands::InPieces, ARGUMENT_BYTES_MAX)? else {
            return Ok(());
        };
        let Some(stat) = Stat::parse(walk.pages.get(line)) else { return Ok(()) };
        let image = exe.map(|exe| proc::deleted(walk.pages.get(exe)).0);
        let arguments: Vec<&[u8]> = List::zero_ended(walk.pages.get(cmdline)).parts().take(ARGUMENTS_MAX).collect();
        let names =
            [last_part(image.unwrap_or_default()), stat.comm, title(arguments.first().copied().unwrap_or_default())];
        let is_server = names.iter().any(|name| SERVERS.contains(name));
        if !is_server && !names.iter().any(|name| CLIENTS.contains(name)) || self.endpoints.len() >= ROWS_MAX {
            return Ok(());
        }
        let mut endpoint = Endpoint {
            arguments: arguments.into_iter().map(<[u8]>::to_vec).collect(),
            comm: shown(stat.comm).0,
            exe: image.map(|image| shown(image).0),
            is_server,
            pid,
            ppid: stat.ppid(),
            start: stat.starttime_ticks().map(|ticks| self.booted.start(ticks)),
            terminal: stat.terminal(),
            uid: None,
        };
        if let Some(status) = walk.read(session, at, c"status", Hands::AtOnce, FILE_BYTES_MAX)? {
            endpoint.uid = Status::parse(walk.pages.get(status)).uids.and_then(|uids| uids.get(0));
        }
        self.endpoints.push(endpoint);
        Ok(())
    }

    fn environment(&mut self, pid: u32, environ: &[u8]) {
        let value = |name: &[u8]| {
            List::zero_ended(environ).parts().find_map(|part| part.strip_prefix(name)).filter(|value| !value.is_empty())
        };
        if let Some(path) = value(b"SSH_AUTH_SOCK=")
            && (self.agents.len() < ROWS_MAX || self.agents.contains_key(path))
        {
            self.agents.entry(path.to_vec()).or_default().push(pid);
        }
        if let Some(connection) = value(b"SSH_CONNECTION=")
            && (self.origins.len() < ROWS_MAX || self.origins.contains_key(connection))
        {
            let (pids, terminals) = self.origins.entry(connection.to_vec()).or_default();
            pids.push(pid);
            if let Some(terminal) = value(b"SSH_TTY=")
                && terminals.len() < PIDS_MAX
            {
                terminals.insert(shown(terminal).0);
            }
        }
    }

    /// Paths that environments name as agents.
    fn paths(&self) -> BTreeSet<Vec<u8>> {
        self.agents.keys().cloned().collect()
    }

    fn finish(self, session: &mut Session, sockets: &Sockets) -> Result<(), Failure> {
        let (mut servers, mut clients) = (BTreeSet::new(), BTreeSet::new());
        for endpoint in &self.endpoints {
            session.go_on()?;
            let connections = sockets.of(endpoint.pid);
            if endpoint.is_server {
                servers.insert(endpoint.pid);
                session.row(&endpoint.server(connections))?;
            } else {
                clients.insert(endpoint.pid);
                session.row(&endpoint.client(connections))?;
            }
        }
        if self.endpoints.len() >= ROWS_MAX {
            session.limited(format!("more than {ROWS_MAX} processes of SSH"))?;
        }
        self.agents(session, sockets, &servers)?;
        for listener in sockets.listeners() {
            if listener.holders.iter().any(|holder| clients.contains(&holder.pid)) {
                session.row(&control_row(listener))?;
            }
        }
        for (connection, (pids, terminals)) in self.origins {
            session.row(&origin_row(&connection, &pids, terminals, sockets))?;
        }
        Ok(())
    }

    fn agents(&self, session: &mut Session, sockets: &Sockets, servers: &BTreeSet<u32>) -> Result<(), Stopped> {
        let mut agents = self.agents.clone();
        for listener in sockets.listeners().filter(|listener| listener.is_agent) {
            agents.entry(listener.name.clone()).or_default();
        }
        for (name, pids) in agents {
            let listener = sockets.listeners().find(|listener| listener.name == name);
            let holders = listener.map(|listener| listener.holders.clone()).unwrap_or_default();
            let (path, path_b64) = shown(&name);
            session.row(&AgentRow {
                inode: listener.map(|listener| listener.inode),
                is_forwarded: holders.iter().any(|holder| servers.contains(&holder.pid)),
                is_listening: listener.is_some(),
                holders,
                netns: listener.map(|listener| listener.netns),
                path,
                path_b64,
                record: "agent_socket",
                users: pids.len(),
                user_pids: pids.into_iter().take(PIDS_MAX).collect(),
            })?;
        }
        Ok(())
    }
}

impl Endpoint {
    fn cmdline(&self) -> String {
        let words: Vec<String> = self.arguments.iter().map(|word| shown(word).0).collect();
        words.join(" ").trim_end().to_owned()
    }

    fn server(&self, connections: Vec<Connection>) -> ServerRow {
        let (role, user, terminal) = told_by_title(self.arguments.first().map_or(&[], Vec::as_slice));
        ServerRow {
            cmdline: self.cmdline(),
            comm: self.comm.clone(),
            connections,
            exe: self.exe.clone(),
            pid: self.pid,
            ppid: self.ppid,
            record: "server_process",
            role,
            start: self.start,
            terminal,
            uid: self.uid,
            user,
        }
    }

    fn client(&self, connections: Vec<Connection>) -> ClientRow {
        let client = Client::of(&self.arguments);
        ClientRow {
            cmdline: client.cmdline,
            comm: self.comm.clone(),
            command: client.command,
            connections,
            control_path: client.control_path,
            destination: client.destination,
            dynamic_forwards: client.dynamic_forwards,
            exe: self.exe.clone(),
            forwards_agent: client.forwards_agent,
            identity_files: client.identity_files,
            in_background: client.in_background,
            is_master: client.is_master,
            jump_hosts: client.jump_hosts,
            local_forwards: client.local_forwards,
            login_name: client.login_name,
            options: client.options,
            pid: self.pid,
            port: client.port,
            ppid: self.ppid,
            proxy_command: client.proxy_command,
            record: "client",
            remote_forwards: client.remote_forwards,
            runs_no_command: client.runs_no_command,
            start: self.start,
            stdio_forward: client.stdio_forward,
            terminal: self.terminal.clone(),
            tunnel: client.tunnel,
            uid: self.uid,
        }
    }
}

fn last_part(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// The program that a first argument names: `sshd: alice [priv]` and `ssh: /run/cm [mux]` are titles.
fn title(argument: &[u8]) -> &[u8] {
    let word = argument.split(|byte| *byte == b' ').next().unwrap_or_default();
    last_part(word.strip_suffix(b":").unwrap_or(word))
}

/// Role, user and terminal in the title of a server (setproctitle in sshd.c, sshd-session.c, session.c, monitor.c).
fn told_by_title(title: &[u8]) -> (&'static str, Option<String>, Option<String>) {
    let text = String::from_utf8_lossy(title);
    let Some((_, rest)) = text.split_once(": ") else { return ("other", None, None) };
    let rest = rest.trim();
    if rest.contains("[listener]") || rest.starts_with('/') {
        return ("listener", None, None);
    }
    let named = |user: &str| Some(user.trim()).filter(|user| !user.is_empty() && *user != "unknown").map(str::to_owned);
    if let Some(user) = rest.strip_suffix("[priv]") {
        return ("monitor", named(user), None);
    }
    for ending in ["[preauth]", "[net]", "[accepted]", "[pam]", "[rexeced]"] {
        if let Some(user) = rest.strip_suffix(ending) {
            return ("preauth", named(user), None);
        }
    }
    match rest.rsplit_once('@') {
        Some((user, terminal)) => {
            // Several sessions of one connection: `alice@pts/0,pts/3`.
            let terminal = Some(terminal.to_owned()).filter(|terminal| terminal != "notty");
            ("session", named(user), terminal)
        }
        None => ("other", named(rest), None),
    }
}

/// OpenSSH binds `PATH.` and sixteen letters and digits, and links that to PATH (mux.c, muxserver_listen).
fn control_path(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((path, random)) if random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()) => path,
        _ => name,
    }
}

fn control_row(listener: &UnixListener) -> ControlRow {
    let (path, path_b64) = shown(&listener.name);
    ControlRow {
        control_path: control_path(&path).to_owned(),
        holders: listener.holders.clone(),
        inode: listener.inode,
        netns: listener.netns,
        path,
        path_b64,
        record: "control_socket",
    }
}

/// SSH_CONNECTION is `client-address client-port server-address server-port`.
fn origin_row(connection: &[u8], pids: &[u32], terminals: BTreeSet<String>, sockets: &Sockets) -> OriginRow {
    let text = shown(connection).0;
    let mut words = text.split(' ');
    let mut end = || {
        let address = words.next().unwrap_or_default().to_owned();
        (address, words.next().and_then(|port| port.parse().ok()))
    };
    let (remote, local): ((String, Option<u16>), (String, Option<u16>)) = (end(), end());
    OriginRow {
        is_connected: sockets.has_connection(&local, &remote),
        local_address: local.0,
        local_port: local.1,
        pids: pids.iter().copied().take(PIDS_MAX).collect(),
        processes: pids.len(),
        record: "origin",
        remote_address: remote.0,
        remote_port: remote.1,
        terminals,
    }
}

#[cfg(test)]
mod tests;
