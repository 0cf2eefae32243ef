//! What the collectors that ask netlink share: dumps that are asked for again when something changed, what kept one from
//! being whole, and the messages as they came.

use std::os::fd::OwnedFd;

use bundle::item::{Kind, Status};

use crate::host::netlink::{self, DUMP_BYTES_MAX, Dump};
use crate::run::session::{Session, Stopped};

/// A dump that something interrupted is asked for again this often.
const TRIES: u32 = 3;
/// Messages of one namespace that are kept as they came.
const RAW_BYTES_MAX: usize = 64 << 20;

/// The dumps of one namespace, one after the other.
pub struct Dumps<'a> {
    socket: &'a OwnedFd,
    /// `netlink/PROTOCOL/NETNS`: what its items are called.
    path: String,
    netns: u64,
    sequence: u32,
    raw: Vec<u8>,
    is_raw_cut: bool,
}

impl<'a> Dumps<'a> {
    /// For a socket that was opened in the namespace `netns`.
    pub fn new(socket: &'a OwnedFd, protocol: &str, netns: u64) -> Self {
        let path = format!("netlink/{protocol}/{netns}");
        Self { socket, path, netns, sequence: 0, raw: Vec::new(), is_raw_cut: false }
    }

    /// Asks for a dump, again when it was interrupted.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn ask(&mut self, session: &Session, kind: u16, body: &[u8]) -> Result<Dump, Stopped> {
        let mut dump = Dump::default();
        for _ in 0..TRIES {
            session.go_on()?;
            self.sequence += 1;
            dump = netlink::dump(self.socket, kind, self.sequence, body);
            if !dump.interrupted {
                break;
            }
        }
        Ok(dump)
    }

    /// Notes what kept the dump `name` from being whole, and keeps its messages; `rows` is how many rows it gave.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn tell(&mut self, session: &mut Session, name: &str, rows: u64, mut dump: Dump) -> Result<(), Stopped> {
        let path = format!("{}/{name}", self.path);
        if self.raw.len() + dump.bytes.len() <= RAW_BYTES_MAX {
            self.raw.append(&mut dump.bytes);
        } else {
            self.is_raw_cut = true;
        }
        if dump.truncated {
            let rule = format!("{path}: more than {DUMP_BYTES_MAX} bytes; {rows} rows were taken");
            let item = session.item(Kind::Record, path.as_str(), "netlink", Status::Truncated);
            session.note(item.because(rule.clone()))?;
            session.limited(rule)?;
        }
        if dump.interrupted {
            let item = session.item(Kind::Record, path.as_str(), "netlink", Status::Changed);
            session.note(
                item.because("NLM_F_DUMP_INTR: it changed while it was listed, entries may be missing or double"),
            )?;
        }
        match &dump.error {
            // EOPNOTSUPP: a kernel without IPv6, bridges or policy routing; EINVAL: without this part of netfilter.
            Some(error) if matches!(error.raw_os_error(), Some(95 | 22)) && rows == 0 => {
                let item = session.item(Kind::Record, path, "netlink", Status::Skipped);
                session.note(item.because("this kernel has none"))
            }
            Some(error) => {
                let item = session.item(Kind::Record, path, "netlink", Status::Error);
                session.note(item.failed(error))
            }
            None => Ok(()),
        }
    }

    /// Hands over the messages of all dumps as `netns-<inode>/FILE`.
    ///
    /// # Errors
    /// [`Stopped`] when the step must end.
    pub fn keep(self, session: &mut Session, file: &str) -> Result<(), Stopped> {
        if self.is_raw_cut {
            session.limited(format!("{}: more than {RAW_BYTES_MAX} bytes of messages are not kept raw", self.path))?;
        }
        session.raw(self.path, "netlink", format!("netns-{}/{file}", self.netns), self.raw)
    }
}
