//! Names out of the kernel's type information (BTF, Documentation/bpf/btf.rst): which function a tracing program is
//! attached to stands in it as a number only.

use std::collections::BTreeMap;

use super::netlink::{u16_at, u32_at};

const MAGIC: u16 = 0xeb9f;
const TYPE_BYTES: usize = 12;

/// The names of the types with the numbers `wanted`, in one pass over `btf` (the content of `/sys/kernel/btf/vmlinux`).
/// What does not fit ends the pass.
pub fn names<'a>(btf: &'a [u8], wanted: &[u32]) -> BTreeMap<u32, &'a [u8]> {
    let mut found = BTreeMap::new();
    let Some((types, strings)) = parts(btf) else { return found };
    let mut rest = types;
    let mut number = 1;
    while found.len() < wanted.len()
        && let (Some(name), Some(info)) = (u32_at(rest, 0), u32_at(rest, 4))
    {
        if wanted.contains(&number) {
            found.insert(number, string(strings, name));
        }
        let Some(next) = extra_bytes(info).and_then(|extra| rest.get(TYPE_BYTES + extra..)) else { break };
        rest = next;
        number += 1;
    }
    found
}

fn parts(btf: &[u8]) -> Option<(&[u8], &[u8])> {
    let header = usize::try_from(u32_at(btf, 4)?).ok()?;
    let part = |offset_at, length_at| {
        let offset = usize::try_from(u32_at(btf, offset_at)?).ok()?;
        let length = usize::try_from(u32_at(btf, length_at)?).ok()?;
        btf.get(header.checked_add(offset)?..)?.get(..length)
    };
    if u16_at(btf, 0)? != MAGIC {
        return None;
    }
    Some((part(8, 12)?, part(16, 20)?))
}

fn string(strings: &[u8], offset: u32) -> &[u8] {
    let text = usize::try_from(offset).ok().and_then(|offset| strings.get(offset..)).unwrap_or_default();
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Bytes that follow a type of this kind with this many members; `None` for a kind that nobody knows.
fn extra_bytes(info: u32) -> Option<usize> {
    let members = usize::try_from(info & 0xffff).ok()?;
    match info >> 24 & 0x1f {
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => Some(0),
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => Some(4),
        // ARRAY
        3 => Some(12),
        // STRUCT, UNION, DATASEC, ENUM64
        4 | 5 | 15 | 19 => Some(12 * members),
        // ENUM, FUNC_PROTO
        6 | 13 => Some(8 * members),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn btf(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let (types_bytes, strings_bytes) = (u32::try_from(types.len()).unwrap(), u32::try_from(strings.len()).unwrap());
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [24, 0, types_bytes, types_bytes, strings_bytes] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn names_behind_members_of_every_length() {
        // 1: INT, 2: STRUCT with one member, 3: FUNC_PROTO with one parameter, 4: FUNC.
        let types = [1, 1 << 24, 4, 32, 0, 4 << 24 | 1, 8, 0, 1, 0, 0, 13 << 24 | 1, 1, 0, 1, 5, 12 << 24, 3];
        let bytes = btf(&types, b"\0int\0do_exit\0");
        let found = names(&bytes, &[1, 4, 99]);
        assert_eq!(found, BTreeMap::from([(1, b"int".as_slice()), (4, b"do_exit")]));
    }

    #[test]
    fn bytes_of_an_attacker_end_the_pass() {
        assert!(names(b"", &[1]).is_empty());
        assert!(names(&[0xff; 64], &[1]).is_empty());
        assert_eq!(names(&btf(&[u32::MAX, 31 << 24, 0], b""), &[1, 2]), BTreeMap::from([(1, b"".as_slice())]));
        let mut cut = btf(&[1, 4 << 24 | 0xffff, 4], b"\0x\0");
        assert_eq!(names(&cut, &[1, 2]).len(), 1);
        cut.truncate(30);
        assert!(names(&cut, &[1]).is_empty());
    }
}
