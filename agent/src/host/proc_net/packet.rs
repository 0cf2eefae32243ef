//! `/proc/net/packet` (net/packet/af_packet.c, packet_seq_show): the sockets of sniffers, DHCP clients and bridges.
//!
//! ```text
//! sk               RefCnt Type Proto  Iface R Rmem   User   Inode
//! 0000000012345678 3      3    0003   2     1 0      0      31337
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
    let references = words.decimal()?;
    let kind = words.decimal()?;
    let heard = words.hex()?;
    Some(Socket {
        interface_index: Some(words.decimal()?),
        running: Some(words.decimal()?),
        rx_queue: Some(words.decimal()?),
        uid: Some(words.decimal()?),
        inode: words.decimal()?,
        packet_protocol: names::ethernet_protocol(heard),
        packet_protocol_number: Some(heard),
        references: Some(references),
        sk: Some(text(sk).0),
        socket_type: names::socket_type(kind),
        type_number: names::socket_type(kind).is_none().then_some(kind),
        ..Socket::of(protocol)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::rows;
    use serde_json::json;

    #[test]
    fn a_sniffer() {
        let table = b"sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
            0000000012345678 3      3    0003   2     1 4352   1000   31337\n";
        assert_eq!(
            rows("packet", table),
            [json!({
                "inode": 31337, "interface_index": 2, "netns": 0, "owners": [], "packet_protocol": "ALL",
                "packet_protocol_number": 3, "protocol": "packet", "record": "socket", "references": 3, "running": 1,
                "rx_queue": 4352, "sk": "0000000012345678", "type": "RAW", "uid": 1000,
            })]
        );
    }
}
