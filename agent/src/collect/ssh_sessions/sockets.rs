//! The sockets behind sessions: TCP connections by process, and Unix sockets that listen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bundle::item::Kind;
use bundle::item::Status;
use schemars::JsonSchema;
use serde::Serialize;

use crate::collect::Failure;
use crate::collect::sockets::read_to;
use crate::host::net_census::{Census, Holder};
use crate::host::netns::NetNamespace;
use crate::host::proc_net::{Socket, TABLES};
use crate::run::session::Session;

/// Holders that a row names.
const HOLDERS_MAX: usize = 64;
/// Unix sockets that listen and are remembered.
const LISTENERS_MAX: usize = 1 << 16;
const FILES: [&str; 3] = ["tcp", "tcp6", "unix"];

/// A TCP socket of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Connection {
    /// Local address.
    pub local_address: IpAddr,
    /// Local port.
    pub local_port: u16,
    /// Remote address; all zeros while it listens.
    pub remote_address: IpAddr,
    /// Remote port.
    pub remote_port: u16,
    /// LISTEN, ESTABLISHED …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
}

/// A Unix socket that listens.
#[derive(Clone, Debug)]
pub struct UnixListener {
    /// Those who hold it.
    pub holders: Vec<Holder>,
    /// Its inode.
    pub inode: u64,
    /// True when it is named as agents are, or an environment names it.
    pub is_agent: bool,
    /// Its name; an abstract one begins with `@`.
    pub name: Vec<u8>,
    /// Its network namespace.
    pub netns: u64,
}

/// All of them.
#[derive(Default)]
pub struct Sockets {
    by_pid: BTreeMap<u32, Vec<Connection>>,
    ends: BTreeSet<(IpAddr, u16, IpAddr, u16)>,
    listeners: Vec<UnixListener>,
}

impl Sockets {
    /// Reads the tables of every network namespace. `agents` are the paths that environments name.
    pub fn read(session: &mut Session, agents: &BTreeSet<Vec<u8>>) -> Result<Self, Failure> {
        let census = Census::take(session)?;
        let mut sockets = Self::default();
        for namespace in census.namespaces.values() {
            session.go_on()?;
            sockets.namespace(session, &census, namespace, agents)?;
        }
        Ok(sockets)
    }

    fn namespace(
        &mut self,
        session: &mut Session,
        census: &Census,
        namespace: &NetNamespace,
        agents: &BTreeSet<Vec<u8>>,
    ) -> Result<(), Failure> {
        let host = session.host().clone();
        let files = match namespace.open_files(&host, &FILES) {
            Ok((_, files)) => files,
            Err(error) => {
                let path = namespace.doors.first().map_or_else(Vec::new, crate::host::netns::Door::path);
                let item = session.item(Kind::Record, path, "setns", Status::Error).failed(&error);
                let reason = format!("network namespace {} could not be entered", namespace.inode);
                return Ok(session.note(item.because(reason))?);
            }
        };
        let mut bytes = Vec::new();
        for (name, file) in FILES.into_iter().zip(files) {
            // A table that cannot be read is an item of `sockets`.
            let Ok(true) = file.and_then(|file| read_to(&file, &mut bytes)) else { continue };
            let Some(table) = TABLES.iter().find(|table| table.file == name) else { continue };
            (table.parse)(table.protocol, &bytes, &mut |socket: Socket<'_>| {
                self.add(census, namespace.inode, agents, &socket);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn add(&mut self, census: &Census, netns: u64, agents: &BTreeSet<Vec<u8>>, socket: &Socket<'_>) {
        if let (Some(local_address), Some(local_port), Some(remote_address), Some(remote_port)) =
            (socket.local_address, socket.local_port, socket.remote_address, socket.remote_port)
        {
            if socket.state == Some("ESTABLISHED") {
                self.ends.insert((local_address, local_port, remote_address, remote_port));
            }
            let connection = Connection { local_address, local_port, remote_address, remote_port, state: socket.state };
            for holder in census.holders(socket.inode, HOLDERS_MAX) {
                let connections = self.by_pid.entry(holder.pid).or_default();
                if !connections.contains(&connection) {
                    connections.push(connection.clone());
                }
            }
        } else if let (Some(path), Some("LISTEN")) = (socket.path.as_deref(), socket.state)
            && self.listeners.len() < LISTENERS_MAX
        {
            let name = path.as_bytes().to_vec();
            self.listeners.push(UnixListener {
                holders: census.holders(socket.inode, HOLDERS_MAX),
                inode: socket.inode,
                is_agent: agents.contains(&name) || is_named_like_an_agent(path),
                name,
                netns,
            });
        }
    }

    /// TCP sockets of a process.
    pub fn of(&self, pid: u32) -> Vec<Connection> {
        self.by_pid.get(&pid).cloned().unwrap_or_default()
    }

    /// Unix sockets that listen.
    pub fn listeners(&self) -> impl Iterator<Item = &UnixListener> {
        self.listeners.iter()
    }

    /// True when there is a connection between these ends.
    pub fn has_connection(&self, local: &(String, Option<u16>), remote: &(String, Option<u16>)) -> bool {
        let end = |(address, port): &(String, Option<u16>)| Some((address.parse().ok()?, (*port)?));
        let ends: Option<((IpAddr, u16), (IpAddr, u16))> = end(local).zip(end(remote));
        ends.is_some_and(|(local, remote)| self.ends.contains(&(local.0, local.1, remote.0, remote.1)))
    }
}

/// `agent.PID` of OpenSSH's agent and of sshd, and the names of gpg-agent, GNOME and systemd units.
fn is_named_like_an_agent(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.starts_with("agent.")
        || name.starts_with("ssh-agent")
        || name == "S.gpg-agent.ssh"
        || path.ends_with("/keyring/ssh")
        || path.ends_with("/keyring/.ssh")
        || path.contains("/.ssh/agent/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_agents() {
        for name in ["/tmp/ssh-XXXXabc/agent.77", "/run/user/1000/keyring/ssh", "/run/user/1000/gnupg/S.gpg-agent.ssh"]
        {
            assert!(is_named_like_an_agent(name), "{name}");
        }
        for name in ["/run/agent", "@/containerd-shim/agent/x", "/run/user/1000/bus"] {
            assert!(!is_named_like_an_agent(name), "{name}");
        }
    }
}
