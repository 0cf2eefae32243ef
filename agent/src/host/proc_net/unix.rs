//! `/proc/net/unix` (net/unix/af_unix.c, unix_seq_show).
//!
//! ```text
//! Num       RefCount Protocol Flags    Type St Inode Path
//! 0000000008ec6979: 00000003 00000000 00000000 0001 03 14244 /run/x
//! ```
//! The kernel prints a name as it is, line feeds included. A line that does not begin as a socket does belongs to the name
//! before it. Known limit: a name of up to 107 bytes can hold a whole line that looks like a socket; such a row has no
//! owner or another one's inode, and the raw table shows it.

use super::{Each, Socket, names, not_zero, text};
use crate::host::tokens::{Words, hex};
use crate::run::session::Stopped;

pub fn parse(protocol: &'static str, table: &[u8], each: Each<'_>) -> Result<(), Stopped> {
    let header = table.iter().position(|&byte| byte == b'\n').map_or(table.len(), |end| end + 1);
    let mut rest = table.get(header..).unwrap_or_default();
    while !rest.is_empty() {
        let mut end = line_end(rest);
        let mut joined_lines = 0;
        while let Some(next) = rest.get(end + 1..).filter(|next| !next.is_empty()) {
            if begins_socket(next.get(..line_end(next)).unwrap_or_default()) {
                break;
            }
            end += 1 + line_end(next);
            joined_lines += 1;
        }
        let lines = rest.get(..end).unwrap_or(rest);
        let mut socket = socket(protocol, lines).unwrap_or_else(|| Socket::unparsed(protocol, lines));
        socket.joined_lines = joined_lines;
        each(socket)?;
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    Ok(())
}

fn line_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len())
}

/// Whether a line has the fixed widths of the first columns: address, `: `, three times eight digits, four, two.
fn begins_socket(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|&byte| byte == b':') else {
        return false;
    };
    let mut words = Words::of(line);
    let number =
        |word: Option<&[u8]>, width: usize| word.is_some_and(|word| word.len() >= width && hex(word).is_some());
    (colon == 16 || colon == 8)
        && words.next().is_some_and(|word| word.len() == colon + 1 && hex(&word[..colon]).is_some())
        && number(words.next(), 8)
        && number(words.next(), 8)
        && number(words.next(), 8)
        && number(words.next(), 4)
        && number(words.next(), 2)
        && words.decimal().is_some()
}

fn socket<'a>(protocol: &'static str, lines: &'a [u8]) -> Option<Socket<'a>> {
    /// `__SO_ACCEPTCON`: the socket listens.
    const ACCEPTS: u64 = 1 << 16;
    let first = lines.get(..line_end(lines))?;
    let mut words = Words::of(first);
    let sk = words.next()?.strip_suffix(b":")?;
    let references = words.hex()?;
    let protocol_number = words.hex()?;
    let flags = words.hex()?;
    let kind = words.hex()?;
    let state = words.hex()?;
    let inode = words.decimal()?;
    // One blank, then the name to the end, blanks and line feeds of its own included.
    let name_at = first.len() - words.rest().len() + 1;
    let name = lines.get(name_at..).map(text);
    let (path, path_b64) = name.map_or((None, None), |(path, exact)| (Some(path), exact));
    let state_name = if flags & ACCEPTS == 0 { names::unix_state(state) } else { Some("LISTEN") };
    Some(Socket {
        flags: not_zero(flags),
        inode,
        path,
        path_b64,
        protocol_number: not_zero(protocol_number),
        references: Some(references),
        sk: Some(text(sk).0),
        socket_type: names::socket_type(kind),
        state: state_name,
        state_number: state_name.is_none().then_some(state),
        type_number: names::socket_type(kind).is_none().then_some(kind),
        ..Socket::of(protocol)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::rows;
    use serde_json::json;

    #[test]
    fn names_hold_any_bytes() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000008ec6979: 00000003 00000000 00000000 0001 03 14244\n\
            ffff888012345678: 00000002 00000000 00010000 0001 01  9001 /run/a b \n\
            0000000000000001: 00000002 00000000 00000000 0002 01 9002 @x\nsecond\n\n0000: line\n\
            0000000000000002: 00000002 00000000 00000000 0005 01 9003 @\xff\xfe\n";
        let rows = rows("unix", table);
        assert_eq!(rows.len(), 4);
        assert_eq!(
            (&rows[0]["inode"], &rows[0]["state"], rows[0].get("path")),
            (&json!(14244), &json!("CONNECTED"), None)
        );
        assert_eq!((&rows[1]["path"], &rows[1]["state"]), (&json!("/run/a b "), &json!("LISTEN")));
        assert_eq!((&rows[2]["path"], &rows[2]["joined_lines"]), (&json!("@x\nsecond\n\n0000: line"), &json!(3)));
        assert_eq!((&rows[3]["path_b64"], &rows[3]["type"]), (&json!("QP/+"), &json!("SEQPACKET")));
    }

    #[test]
    fn a_first_line_that_is_no_socket_is_kept() {
        let rows = rows("unix", b"Num\ngarbage\nmore\n");
        assert_eq!((rows.len(), &rows[0]["unparsed"]), (1, &json!("garbage\nmore")));
    }
}
