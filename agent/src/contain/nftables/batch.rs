//! A transaction of nf_tables as the kernel takes it: messages between a begin and an end, all of them or none
//! (include/uapi/linux/netfilter/{nfnetlink.h,nf_tables.h}).

use std::os::fd::OwnedFd;

use super::rule::Rule;
use crate::host::netlink::{self, ACK, APPEND, CREATE, Refused, write_attribute};
use crate::host::nf::{self, NFTABLES};

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 0;
const DEL_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
/// NLA_F_NESTED.
pub(super) const NESTED: u16 = 0x8000;

/// NFPROTO_NETDEV.
pub const NETDEV: u8 = 5;

/// Where a chain of its own hooks in.
#[derive(Clone, Copy, Debug)]
pub struct Hook<'a> {
    /// NF_INET_* or NF_NETDEV_*.
    pub number: u32,
    /// The smaller is asked first.
    pub priority: i32,
    /// For the netdev family: the interface.
    pub device: Option<&'a [u8]>,
    /// What happens at its end.
    pub drops: bool,
}

/// A transaction in the making.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
}

impl Batch {
    /// An empty one.
    pub fn begin() -> Self {
        let mut batch = Self { bytes: Vec::new(), sequence: 0 };
        // nfgenmsg: family, version, and the subsystem in network order.
        let [high, low] = NFTABLES.to_be_bytes();
        batch.push(BATCH_BEGIN, 0, &[nf::UNSPEC, 0, high, low]);
        batch
    }

    /// The sequence that the next message gets.
    pub const fn next(&self) -> u32 {
        self.sequence
    }

    fn push(&mut self, kind: u16, flags: u16, body: &[u8]) {
        let message = netlink::request(kind, flags, self.sequence, body);
        self.bytes.extend(message);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.sequence += 1;
    }

    fn change(&mut self, message: u16, flags: u16, family: u8, attributes: &[u8]) {
        let mut body = nf::header(family);
        body.extend(attributes);
        self.push(nf::kind(NFTABLES, message), flags | ACK, &body);
    }

    /// Makes the table anew, and empty: whatever was in it goes in the same moment.
    pub fn table(&mut self, family: u8, name: &str, comment: &str) {
        self.drop_table(family, name);
        let mut attributes = Vec::new();
        write_attribute(&mut attributes, 1, &zero_ended(name));
        write_attribute(&mut attributes, 6, &user_data(comment));
        self.change(NEW_TABLE, CREATE, family, &attributes);
    }

    /// The table is no more, whether it was there or not.
    pub fn drop_table(&mut self, family: u8, name: &str) {
        let mut attributes = Vec::new();
        write_attribute(&mut attributes, 1, &zero_ended(name));
        // To delete what is not there would be an error: so it is there, for the length of this transaction.
        self.change(NEW_TABLE, CREATE, family, &attributes);
        self.change(DEL_TABLE, 0, family, &attributes);
    }

    /// A chain; one without a hook is jumped to.
    pub fn chain(&mut self, family: u8, table: &str, name: &[u8], hook: Option<Hook<'_>>) {
        let mut attributes = Vec::new();
        write_attribute(&mut attributes, 1, &zero_ended(table));
        write_attribute(&mut attributes, 3, &[name, b"\0"].concat());
        if let Some(hook) = hook {
            let mut nested = Vec::new();
            write_attribute(&mut nested, 1, &hook.number.to_be_bytes());
            write_attribute(&mut nested, 2, &hook.priority.to_be_bytes());
            if let Some(device) = hook.device {
                write_attribute(&mut nested, 3, &[device, b"\0"].concat());
            }
            write_attribute(&mut attributes, NESTED | 4, &nested);
            // NF_DROP, NF_ACCEPT.
            write_attribute(&mut attributes, 5, &u32::from(!hook.drops).to_be_bytes());
            write_attribute(&mut attributes, 7, b"filter\0");
        }
        self.change(NEW_CHAIN, CREATE, family, &attributes);
    }

    /// A rule behind those that the chain has.
    pub fn rule(&mut self, family: u8, table: &str, chain: &[u8], rule: &Rule) {
        let mut attributes = Vec::new();
        write_attribute(&mut attributes, 1, &zero_ended(table));
        write_attribute(&mut attributes, 2, &[chain, b"\0"].concat());
        write_attribute(&mut attributes, NESTED | 4, rule.expressions());
        self.change(NEW_RULE, CREATE | APPEND, family, &attributes);
    }

    /// All of it at once.
    ///
    /// # Errors
    /// The first refusal; nothing has changed then.
    pub fn commit(mut self, socket: &OwnedFd) -> Result<(), Refused> {
        let last = self.sequence - 1;
        let [high, low] = NFTABLES.to_be_bytes();
        self.push(BATCH_END, 0, &[nf::UNSPEC, 0, high, low]);
        // What the kernel lets nobody pass is passed where it can be: many interfaces make a long batch.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(socket, self.bytes.len().saturating_mul(2));
        netlink::change(socket, &self.bytes, last)
    }
}

fn zero_ended(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

/// A comment as nft(8) keeps it: type 0, length, text.
fn user_data(comment: &str) -> Vec<u8> {
    let text = comment.as_bytes().get(..comment.len().min(200)).unwrap_or_default();
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[0, length], text, b"\0"].concat()
}
