//! Whether a table still is what it was made: its flags, chains, hooks and rules, read from the kernel into one digest.
//! Handles and counters are left out. Who adds a rule to the table, or makes it dormant, changes the digest.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::place::of_table;
use crate::host::netlink::{self, Dump, attribute, attributes, text_of};
use crate::host::nf::{self, NFTABLES, tables};

/// A dump that something interrupted is asked for again this often.
const TRIES: u32 = 5;

/// The digest of a table; `None` when there is no such table.
///
/// # Errors
/// As netlink answers.
pub fn digest(socket: &OwnedFd, family: u8, table: &str) -> io::Result<Option<String>> {
    let flags = match netlink::ask(socket, nf::kind(NFTABLES, tables::GET_TABLE), 1, &of_table(family, 1, table)) {
        Ok(answer) => answer.get(4..).and_then(|list| attribute(list, 2)).map(<[u8]>::to_vec),
        Err(error) if is_none(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut sum = Sha256::new();
    sum.update(flags.unwrap_or_default());
    // NFTA_CHAIN_NAME, _HOOK, _POLICY, _TYPE, _FLAGS; NFTA_RULE_CHAIN, _EXPRESSIONS. Both name the table first.
    for (message, kept) in [(tables::GET_CHAIN, &[3, 4, 5, 7, 10][..]), (tables::GET_RULE, &[2, 4])] {
        let dump = whole(socket, message, &of_table(family, 1, table))?;
        for message in netlink::messages(&dump.bytes) {
            let list = message.payload.get(4..).unwrap_or_default();
            if message.payload.first() != Some(&family) || attribute(list, 1).map(text_of) != Some(table.as_bytes()) {
                continue;
            }
            sum.update([0xff]);
            for (kind, value) in attributes(list).filter(|(kind, _)| kept.contains(kind)) {
                sum.update(kind.to_be_bytes());
                sum.update((value.len() as u64).to_be_bytes());
                sum.update(value);
            }
        }
    }
    Ok(Some(sum.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))))
}

fn whole(socket: &OwnedFd, message: u16, body: &[u8]) -> io::Result<Dump> {
    for sequence in 0..TRIES {
        let dump = netlink::dump(socket, nf::kind(NFTABLES, message), 2 + sequence, body);
        match dump.error {
            Some(error) => return Err(error),
            None if dump.interrupted => {}
            None => return Ok(dump),
        }
    }
    Err(Errno::AGAIN.into())
}

/// There is no such table, no such family, or no nf_tables at all.
fn is_none(error: &io::Error) -> bool {
    [Errno::NOENT, Errno::OPNOTSUPP, Errno::AFNOSUPPORT, Errno::INVAL]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
