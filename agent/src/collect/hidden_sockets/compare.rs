//! The tables of one network namespace beside the kernel's answers over netlink.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use bundle::item::{Kind, Status};
use rustix::io::Errno;

use super::{Odd, TableCount, low};
use crate::collect::Failure;
use crate::collect::sockets::read_to;
use crate::host::Host;
use crate::host::kernel_part::Part;
use crate::host::netlink::{self, Dump};
use crate::host::netns::NetNamespace;
use crate::host::proc_net::{Socket, TABLES, Table};
use crate::host::sock_diag::{FAMILIES, Family, NETLINK_SOCK_DIAG};
use crate::run::session::{Session, Stopped};

/// The families whose modules are there. What is not asked is noted.
pub fn askable(session: &mut Session, host: &Host) -> Result<Vec<Family>, Stopped> {
    let mut askable = Vec::new();
    let mut missing: Vec<&str> = Vec::new();
    for family in FAMILIES {
        let lacking = family.modules.iter().find(|module| !Part::of(host, module).may_be_asked());
        match lacking {
            None => askable.push(*family),
            Some(module) if missing.contains(module) => {}
            Some(module) => missing.push(module),
        }
    }
    for module in missing {
        let item = session.item(Kind::Record, format!("netlink/sock_diag/{module}"), "netlink", Status::Skipped);
        session.note(item.because(format!("the module {module} is not loaded, and asking would load it")))?;
    }
    Ok(askable)
}

/// What one view tells of a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub local: Option<(IpAddr, u16)>,
    pub name: Option<Vec<u8>>,
    pub remote: Option<(IpAddr, u16)>,
    pub state: Option<&'static str>,
    pub uid: Option<u64>,
}

/// One table in both views: the bytes, and the inodes in them, sorted, zeros left out.
struct Pair {
    family: Family,
    table: Option<Vec<u8>>,
    in_proc: Vec<u32>,
    dump: Option<Dump>,
    in_diag: Vec<u32>,
    /// Netlink sockets of the kernel: nobody holds them.
    kernel: Vec<u32>,
}

/// Both views of one namespace.
pub struct Comparison {
    pairs: Vec<Pair>,
    askable: Vec<Family>,
    netlink_first: bool,
}

impl Comparison {
    /// Reads all tables, then asks the families that can be asked. `None` when the namespace cannot be entered.
    pub fn of(
        session: &mut Session,
        host: &Host,
        namespace: &NetNamespace,
        askable: &[Family],
    ) -> Result<Option<Self>, Failure> {
        Self::read(session, host, namespace, askable, false)
    }

    /// The same once more, in the other order.
    pub fn again(
        &self,
        session: &mut Session,
        host: &Host,
        namespace: &NetNamespace,
        askable: &[Family],
    ) -> Result<Option<Self>, Failure> {
        Self::read(session, host, namespace, askable, !self.netlink_first)
    }

    fn read(
        session: &mut Session,
        host: &Host,
        namespace: &NetNamespace,
        askable: &[Family],
        netlink_first: bool,
    ) -> Result<Option<Self>, Failure> {
        let names: Vec<&str> = FAMILIES.iter().map(|family| family.file).collect();
        let open = || netlink::open_protocol(NETLINK_SOCK_DIAG);
        let socket = if askable.is_empty() { None } else { namespace.enter(host, open).and_then(|socket| socket).ok() };
        let Ok((_, files)) = namespace.open_files(host, &names) else { return Ok(None) };
        let own = socket.as_ref().and_then(|socket| rustix::fs::fstat(socket).ok()).map(|stat| low(stat.st_ino));
        let mut pairs: Vec<Pair> = FAMILIES.iter().map(|family| Pair::of(*family)).collect();
        let mut files: Vec<_> = files.into_iter().map(Some).collect();
        for (n, pair) in pairs.iter_mut().enumerate() {
            session.go_on()?;
            let file = files.get_mut(n).and_then(Option::take);
            let asked = askable.contains(&pair.family).then_some(()).and(socket.as_ref());
            if netlink_first {
                pair.ask(session, namespace.inode, asked, n)?;
                pair.list(file);
            } else {
                pair.list(file);
                pair.ask(session, namespace.inode, asked, n)?;
            }
            // Our own socket is no evidence.
            pair.in_proc.retain(|inode| Some(*inode) != own);
            pair.in_diag.retain(|inode| Some(*inode) != own);
        }
        Ok(Some(Self { pairs, askable: askable.to_vec(), netlink_first }))
    }

    /// The families that this comparison asked.
    pub fn askable(&self) -> &[Family] {
        &self.askable
    }

    /// All inodes that either view has.
    pub fn inodes(&self) -> impl Iterator<Item = u32> {
        self.pairs.iter().flat_map(|pair| pair.in_proc.iter().chain(&pair.in_diag).copied())
    }

    /// How many sockets each view has, by table; tables that neither has are left out.
    pub fn counts(&self) -> Vec<TableCount> {
        let counts = self.pairs.iter().map(|pair| TableCount {
            diag: pair.dump.as_ref().map(|_| pair.in_diag.len()),
            file: pair.family.file,
            proc: pair.table.as_ref().map(|_| pair.in_proc.len()),
        });
        counts.filter(|count| count.diag.is_some() || count.proc.is_some()).collect()
    }

    /// What is odd, by table and inode.
    pub fn odd(&self, is_held: impl Fn(u32) -> bool) -> Odd {
        let mut odd = Odd::new();
        for pair in &self.pairs {
            let file = pair.family.file;
            let has = |list: &[u32], inode: &u32| list.binary_search(inode).is_ok();
            if pair.table.is_some() && pair.dump.is_some() {
                for inode in pair.in_diag.iter().filter(|inode| !has(&pair.in_proc, inode)) {
                    odd.entry((file, *inode)).or_default().push("not_in_proc");
                }
                for inode in pair.in_proc.iter().filter(|inode| !has(&pair.in_diag, inode)) {
                    odd.entry((file, *inode)).or_default().push("not_in_diag");
                }
            }
            for inode in pair.in_proc.iter().chain(&pair.in_diag) {
                if !is_held(*inode) && !has(&pair.kernel, inode) {
                    let names = odd.entry((file, *inode)).or_default();
                    if !names.contains(&"no_owner") {
                        names.push("no_owner");
                    }
                }
            }
        }
        odd
    }

    /// Whether `/proc/net` lists it, and whether netlink tells it.
    pub fn has(&self, file: &str, inode: u32) -> (bool, Option<bool>) {
        let Some(pair) = self.pairs.iter().find(|pair| pair.family.file == file) else { return (false, None) };
        let in_diag = pair.dump.as_ref().map(|_| pair.in_diag.binary_search(&inode).is_ok());
        (pair.in_proc.binary_search(&inode).is_ok(), in_diag)
    }

    /// What the view that has it tells of a socket.
    pub fn facts(&self, file: &str, inode: u32) -> Option<Listed> {
        let pair = self.pairs.iter().find(|pair| pair.family.file == file)?;
        pair.in_table(inode).or_else(|| pair.in_dump(inode))
    }
}

impl Pair {
    fn of(family: Family) -> Self {
        Self { family, table: None, in_proc: Vec::new(), dump: None, in_diag: Vec::new(), kernel: Vec::new() }
    }

    fn parser(&self) -> Option<&'static Table> {
        TABLES.iter().find(|table| table.file == self.family.file)
    }

    /// Reads the table. What is cut or cannot be read is no list to compare with; `sockets` notes why.
    fn list(&mut self, file: Option<io::Result<OwnedFd>>) {
        let Some(Ok(file)) = file else { return };
        let mut bytes = Vec::new();
        if !matches!(read_to(&file, &mut bytes), Ok(true)) {
            return;
        }
        let (mut inodes, mut kernel) = (Vec::new(), Vec::new());
        if let Some(table) = self.parser() {
            let _ = (table.parse)(table.protocol, &bytes, &mut |socket: Socket<'_>| {
                inodes.extend((socket.inode != 0).then_some(low(socket.inode)));
                kernel.extend((socket.portid == Some(0)).then_some(low(socket.inode)));
                Ok(())
            });
        }
        sort(&mut inodes);
        self.kernel.extend(kernel);
        sort(&mut self.kernel);
        (self.in_proc, self.table) = (inodes, Some(bytes));
    }

    fn ask(&mut self, session: &mut Session, netns: u64, socket: Option<&OwnedFd>, n: usize) -> Result<(), Stopped> {
        let Some(socket) = socket else { return Ok(()) };
        let sequence = u32::try_from(n).unwrap_or(0) + 1;
        let mut dump = self.family.ask(socket, sequence);
        if dump.interrupted {
            dump = self.family.ask(socket, sequence + 100);
        }
        let path = format!("netlink/sock_diag/{netns}/{}", self.family.file);
        match &dump.error {
            // Nobody answers for it: this kernel was built without.
            Some(error)
                if matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::OPNOTSUPP | Errno::INVAL)) =>
            {
                // Said once by the first namespace that is asked; the counts of every namespace show it.
                if session.is_new_path(format!("netlink/sock_diag/{}", self.family.file).as_bytes()) {
                    let item = session.item(Kind::Record, path, "netlink", Status::Skipped).failed(error);
                    let item = bundle::item::NewItem { status: Status::Skipped, ..item };
                    session.note(item.because("this kernel has no answer for the family"))?;
                }
                return Ok(());
            }
            Some(error) => {
                let item = session.item(Kind::Record, path, "netlink", Status::Error).failed(error);
                return session.note(item);
            }
            None if dump.truncated => {
                let rule = format!("{path}: more than {} bytes", netlink::DUMP_BYTES_MAX);
                let item = session.item(Kind::Record, path, "netlink", Status::Truncated);
                session.note(item.because(rule.as_str()))?;
                return session.limited(rule);
            }
            None => {}
        }
        let mut inodes = Vec::new();
        for found in self.family.sockets(&dump).filter(|found| found.inode != 0) {
            inodes.push(found.inode);
            self.kernel.extend(found.is_kernel.then_some(found.inode));
        }
        sort(&mut inodes);
        sort(&mut self.kernel);
        (self.in_diag, self.dump) = (inodes, Some(dump));
        Ok(())
    }

    fn in_table(&self, inode: u32) -> Option<Listed> {
        let (table, bytes) = (self.parser()?, self.table.as_ref()?);
        let mut found = None;
        let _ = (table.parse)(table.protocol, bytes, &mut |socket: Socket<'_>| {
            if low(socket.inode) == inode && socket.inode != 0 {
                found = Some(Listed {
                    local: socket.local_address.zip(socket.local_port),
                    name: socket.path.as_deref().map(|path| path.as_bytes().to_vec()),
                    remote: socket.remote_address.zip(socket.remote_port),
                    state: socket.state,
                    uid: socket.uid,
                });
            }
            Ok(())
        });
        found
    }

    fn in_dump(&self, inode: u32) -> Option<Listed> {
        let found = self.family.sockets(self.dump.as_ref()?).find(|socket| socket.inode == inode)?;
        let name = found.name.map(|name| match name.split_first() {
            Some((0, rest)) => [b"@", rest].concat(),
            _ => name.strip_suffix(b"\0").unwrap_or(name).to_vec(),
        });
        let (local, remote, state) = (found.local, found.remote, found.state);
        Some(Listed { local, name, remote, state, uid: found.uid.map(u64::from) })
    }
}

fn sort(inodes: &mut Vec<u32>) {
    inodes.sort_unstable();
    inodes.dedup();
}
