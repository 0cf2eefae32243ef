//! `/proc/net/netlink` (net/netlink/af_netlink.c, netlink_native_seq_show).
//!
//! ```text
//! sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
//! 0000000038f7a3db 0   0          00000000 0        0        0     2        0        4
//! ```

use super::{Each, Socket, below_header, hand_over, names, text};
use crate::host::tokens::Words;
use crate::run::session::Stopped;

pub fn parse(protocol: &'static str, table: &[u8], each: Each<'_>) -> Result<(), Stopped> {
    for line in below_header(table) {
        hand_over(protocol, line, socket(protocol, line), each)?;
    }
    Ok(())
}

fn socket<'a>(protocol: &'static str, line: &'a [u8]) -> Option<Socket<'a>> {
    let mut words = Words::of(line);
    let sk = words.next()?;
    let family = words.decimal()?;
    Some(Socket {
        portid: Some(words.decimal()?),
        groups: Some(words.hex()?),
        rx_queue: Some(words.decimal()?),
        tx_queue: Some(words.decimal()?),
        dumping: Some(words.decimal()?),
        references: Some(words.decimal()?),
        drops: Some(words.decimal()?),
        inode: words.decimal()?,
        netlink_protocol: names::netlink_protocol(family),
        netlink_protocol_number: Some(family),
        sk: Some(text(sk).0),
        ..Socket::of(protocol)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::rows;
    use serde_json::json;

    #[test]
    fn a_listener_of_audit() {
        let table = b"sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
            0000000038f7a3db 9   4242       80000001 128      0        0     2        7        1520    \n";
        let row = &rows("netlink", table)[0];
        assert_eq!((&row["netlink_protocol"], &row["portid"]), (&json!("AUDIT"), &json!(4242)));
        assert_eq!((&row["groups"], &row["drops"], &row["inode"]), (&json!(0x8000_0001_u32), &json!(7), &json!(1520)));
    }
}
