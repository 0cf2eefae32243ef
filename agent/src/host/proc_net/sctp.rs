//! `/proc/net/sctp/{eps,assocs}` (net/sctp/proc.c), which exist only where the module is loaded.
//!
//! ```text
//!  ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS
//!  ASSOC     SOCK   STY SST ST HBKT ASSOC-ID TX_QUEUE RX_QUEUE UID INODE LPORT RPORT LADDRS <-> RADDRS HBINT INS …
//! ```

use std::borrow::Cow;

use super::{Columns, Each, Socket, below_header, hand_over, text};
use crate::host::tokens::Words;
use crate::run::session::Stopped;

/// The columns behind the addresses of an association, in the kernel's order and in that of their names.
const TAIL: [&str; 11] = ["hbint", "ins", "outs", "maxrt", "t1x", "t2x", "rtxc", "wmema", "wmemq", "sndbuf", "rcvbuf"];

pub fn parse_endpoints(protocol: &'static str, table: &[u8], each: Each<'_>) -> Result<(), Stopped> {
    for line in below_header(table) {
        hand_over(protocol, line, endpoint(protocol, line), each)?;
    }
    Ok(())
}

pub fn parse_associations(protocol: &'static str, table: &[u8], each: Each<'_>) -> Result<(), Stopped> {
    for line in below_header(table) {
        hand_over(protocol, line, association(protocol, line), each)?;
    }
    Ok(())
}

fn word<'a>(words: &mut Words<'a>) -> Option<Cow<'a, str>> {
    words.next().map(|word| text(word).0)
}

fn endpoint<'a>(protocol: &'static str, line: &'a [u8]) -> Option<Socket<'a>> {
    let mut words = Words::of(line);
    let endpoint = word(&mut words)?;
    let sk = word(&mut words)?;
    let (style, state, bucket) = (word(&mut words)?, word(&mut words)?, word(&mut words)?);
    Some(Socket {
        local_port: u16::try_from(words.decimal()?).ok(),
        uid: Some(words.decimal()?),
        inode: words.decimal()?,
        local_addresses: words.map(|word| text(word).0).collect(),
        sctp: Columns(vec![("bucket", bucket), ("endpoint", endpoint), ("socket_state", state), ("style", style)]),
        sk: Some(sk),
        ..Socket::of(protocol)
    })
}

fn association<'a>(protocol: &'static str, line: &'a [u8]) -> Option<Socket<'a>> {
    let mut words = Words::of(line);
    let mut columns = vec![("association", word(&mut words)?)];
    let sk = word(&mut words)?;
    for name in ["style", "socket_state", "state", "bucket", "association_id"] {
        columns.push((name, word(&mut words)?));
    }
    let mut socket = Socket {
        tx_queue: Some(words.decimal()?),
        rx_queue: Some(words.decimal()?),
        uid: Some(words.decimal()?),
        inode: words.decimal()?,
        local_port: u16::try_from(words.decimal()?).ok(),
        remote_port: u16::try_from(words.decimal()?).ok(),
        sk: Some(sk),
        ..Socket::of(protocol)
    };
    for word in words.by_ref().take_while(|&word| word != b"<->") {
        socket.local_addresses.push(text(word).0);
    }
    // The remote addresses end where the columns of numbers begin; an address has a dot or a colon.
    for word in words {
        if columns.len() == 6 && word.iter().any(|byte| matches!(byte, b'.' | b':')) {
            socket.remote_addresses.push(text(word).0);
        } else if let Some(name) = TAIL.get(columns.len() - 6) {
            columns.push((name, text(word).0));
        }
    }
    columns.sort_unstable();
    socket.sctp = Columns(columns);
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::super::testing::rows;
    use serde_json::json;

    #[test]
    fn endpoints_and_associations() {
        let endpoints = b" ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS\n\
            00000000aaaa 00000000bbbb 2   10  27   36412     0 4711 192.0.2.1 2001:db8::1 \n";
        let row = &rows("sctp/eps", endpoints)[0];
        assert_eq!((&row["local_port"], &row["inode"]), (&json!(36412), &json!(4711)));
        assert_eq!(row["local_addresses"], json!(["192.0.2.1", "2001:db8::1"]));

        let associations = b" ASSOC     SOCK   STY SST ST HBKT ASSOC-ID TX_QUEUE RX_QUEUE UID INODE LPORT RPORT LADDRS <-> \
            RADDRS HBINT INS OUTS MAXRT T1X T2X RTXC wmema wmemq sndbuf rcvbuf\n\
            00000000aaaa 00000000bbbb 2   1   3  0       12        5        6       0 4712 36412  5000  *192.0.2.1 <-> \
            *192.0.2.9 198.51.100.2 \t    7500    10    10   10    0    0        3        1        2   212992   212993\n";
        let row = &rows("sctp/assocs", associations)[0];
        assert_eq!(
            (&row["remote_port"], &row["remote_addresses"]),
            (&json!(5000), &json!(["*192.0.2.9", "198.51.100.2"]))
        );
        assert_eq!((&row["sctp"]["hbint"], &row["sctp"]["rcvbuf"]), (&json!("7500"), &json!("212993")));
        assert_eq!((&row["tx_queue"], &row["rx_queue"]), (&json!(5), &json!(6)));
    }
}
