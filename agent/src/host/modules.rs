//! The kernel's modules as its own lists tell them: `/proc/modules`, and the names behind symbols in `/proc/kallsyms`.

use std::collections::BTreeMap;

use super::text::{Number, decimal, in_base};

/// Bytes of `/proc/modules`: some 80,000 modules.
pub const LIST_BYTES_MAX: u64 = 8 << 20;

/// A line of `/proc/modules`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Bytes of memory.
    pub bytes: Option<u64>,
    /// References.
    pub references: Option<Number>,
    /// Modules that use it, `[permanent]` when it cannot be unloaded.
    pub users: Vec<&'a [u8]>,
    /// Live, Loading, Unloading.
    pub state: &'a [u8],
    /// Where it lies, hex without its prefix; zeros without CAP_SYSLOG.
    pub address: &'a [u8],
    /// Letters of taint.
    pub taint: Option<&'a [u8]>,
}

impl<'a> Listed<'a> {
    /// Reads `name size references users state address (taint)`, the kernel's own words but for names, which cannot
    /// hold blanks. `None` for what the kernel does not write.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
        let [name, bytes, references, users, state, address, taint @ ..] = words.as_slice() else { return None };
        let users = users.split(|byte| *byte == b',').filter(|user| !user.is_empty() && *user != b"-");
        let letters = taint.first().map(|letters| {
            let letters = letters.strip_prefix(b"(").unwrap_or(letters);
            letters.strip_suffix(b")").unwrap_or(letters)
        });
        Some(Self {
            name,
            bytes: decimal(bytes),
            references: Number::parse(references),
            users: users.collect(),
            state,
            address: address.strip_prefix(b"0x").unwrap_or(address),
            taint: letters,
        })
    }

    /// Its address, when it was told.
    pub fn address(&self) -> Option<u64> {
        in_base(self.address, 16).filter(|address| *address != 0)
    }
}

/// What a text of `/proc/kallsyms` said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// How many symbols each module has. `bpf` and names that begin with `__builtin__` are no modules.
    pub modules: BTreeMap<Vec<u8>, u64>,
    /// All symbols.
    pub count: u64,
    /// True when every address is zero: this process may not see them.
    pub is_zeroed: bool,
}

impl Symbols {
    /// Takes in the lines `address type name [module]`.
    pub fn of(text: &[u8]) -> Self {
        let mut symbols = Self { is_zeroed: true, ..Self::default() };
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            symbols.count += 1;
            symbols.is_zeroed &= line.iter().take_while(|byte| **byte != b' ').all(|byte| *byte == b'0');
            let Some(name) = line.strip_suffix(b"]").and_then(|line| {
                let open = line.iter().rposition(|byte| *byte == b'[')?;
                line.get(open + 1..)
            }) else {
                continue;
            };
            match symbols.modules.get_mut(name) {
                Some(count) => *count += 1,
                None if name == b"bpf" || name.starts_with(b"__builtin__") => {}
                None => drop(symbols.modules.insert(name.to_vec(), 1)),
            }
        }
        symbols
    }
}

/// Bits of taint, from 0 (Documentation/admin-guide/tainted-kernels.rst).
const TAINTS: [&str; 20] = [
    "P proprietary module",
    "F module was forced",
    "S CPU out of specification",
    "R module was unloaded by force",
    "M machine check",
    "B bad page",
    "U by user space",
    "D kernel died: oops or bug",
    "A ACPI table overridden",
    "W warning",
    "C staging driver",
    "I workaround for firmware",
    "O module from out of tree",
    "E unsigned module",
    "L soft lockup",
    "K live patch",
    "X by the distribution",
    "T randomised structures",
    "N test",
    "J mutating fwctl command",
];

/// What the bits of `/proc/sys/kernel/tainted` mean; `bit N` for one without a name here.
pub fn taint_flags(value: u64) -> Vec<String> {
    let set = (0..64_usize).filter(|bit| value >> bit & 1 == 1);
    set.map(|bit| TAINTS.get(bit).map_or_else(|| format!("bit {bit}"), |name| (*name).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_and_of_others() {
        let listed = Listed::parse(b"rk 16384 0 xfs,ext4, Live 0xffffffffc0a00000 (OE)").unwrap();
        assert_eq!((listed.name, listed.bytes, listed.taint), (&b"rk"[..], Some(16384), Some(&b"OE"[..])));
        assert_eq!(listed.users, [b"xfs", &b"ext4"[..]]);
        assert_eq!(listed.address(), Some(0xffff_ffff_c0a0_0000));
        let plain = Listed::parse(b"x 1 0 - Live 0x0000000000000000").unwrap();
        assert_eq!((plain.users.len(), plain.address(), plain.taint), (0, None, None));
        assert_eq!(Listed::parse(b"odd"), None);
    }

    #[test]
    fn symbols_name_their_modules() {
        let text = b"0000000000000000 T _text\n0000000000000000 t a\t[xfs]\n0000000000000000 t b\t[xfs]\n\
            0000000000000000 t bpf_prog_x\t[bpf]\n0000000000000000 t y\t[__builtin__ftrace]\n";
        let symbols = Symbols::of(text);
        assert_eq!((symbols.count, symbols.is_zeroed), (5, true));
        assert_eq!(symbols.modules, BTreeMap::from([(b"xfs".to_vec(), 2)]));
        assert!(!Symbols::of(b"ffffffff81000000 T _text\n").is_zeroed);
    }

    #[test]
    fn a_bit_without_a_name() {
        assert_eq!(taint_flags(1 | 1 << 40), ["P proprietary module", "bit 40"]);
    }
}
