//! pcapng, as far as a capture needs it (draft-ietf-opsawg-pcapng): one section, a block for each interface when its
//! first packet comes, packets with nanoseconds, and a statistics block at the end. Numbers are little-endian.

/// LINKTYPE_* for what an interface's packets begin with, by its ARPHRD_*.
fn link_type(hardware: u16) -> u16 {
    match hardware {
        // Ethernet, loopback.
        1 | 772 => 1,
        // Tunnels and interfaces without a header of their own: raw IP.
        65_534 | 768 | 769 | 776 | 778 | 823 => 101,
        801 => 105,
        803 => 127,
        // LINKTYPE_USER0: what lies in it is not known.
        _ => 147,
    }
}

/// Writes blocks one after the other.
#[derive(Debug, Default)]
pub struct Pcapng {
    bytes: Vec<u8>,
    interfaces: Vec<Interface>,
}

/// An interface that packets came from.
#[derive(Debug)]
pub struct Interface {
    /// Its index.
    pub index: i32,
    /// Its name.
    pub name: String,
    /// ARPHRD_*.
    pub hardware: u16,
    /// Packets of it.
    pub packets: u64,
}

/// A packet as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Nanoseconds since the epoch.
    pub time_ns: u64,
    /// Its length on the wire.
    pub length: usize,
    /// What of it was taken.
    pub bytes: &'a [u8],
    /// True when it was sent from here.
    pub is_outgoing: bool,
}

impl Pcapng {
    /// A file that begins.
    pub fn new() -> Self {
        let mut file = Self::default();
        let mut body = Vec::new();
        body.extend(0x1a2b_3c4d_u32.to_le_bytes());
        body.extend([1, 0, 0, 0]);
        body.extend(u64::MAX.to_le_bytes());
        option(&mut body, 3, b"Linux");
        option(&mut body, 4, concat!("holdfast-agent ", env!("CARGO_PKG_VERSION")).as_bytes());
        end_options(&mut body);
        file.block(0x0a0d_0d0a, &body);
        file
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let length = u32::try_from(body.len().next_multiple_of(4) + 12).unwrap_or(u32::MAX).to_le_bytes();
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(length);
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend(length);
    }

    /// The number of the interface in this file, announced when it is new.
    pub fn interface(&mut self, index: i32, hardware: u16, snap_bytes: u32, name: impl FnOnce() -> String) -> usize {
        if let Some(at) = self.interfaces.iter().position(|one| one.index == index && one.hardware == hardware) {
            return at;
        }
        let name = name();
        let mut body = Vec::new();
        body.extend(link_type(hardware).to_le_bytes());
        body.extend([0; 2]);
        body.extend(snap_bytes.to_le_bytes());
        option(&mut body, 2, name.as_bytes());
        option(&mut body, 9, &[9]);
        end_options(&mut body);
        self.block(1, &body);
        self.interfaces.push(Interface { index, name, hardware, packets: 0 });
        self.interfaces.len() - 1
    }

    /// A packet of an interface by its number.
    pub fn packet(&mut self, interface: usize, packet: Packet<'_>) {
        if let Some(one) = self.interfaces.get_mut(interface) {
            one.packets += 1;
        }
        let mut body = Vec::with_capacity(packet.bytes.len() + 40);
        body.extend(u32::try_from(interface).unwrap_or(u32::MAX).to_le_bytes());
        body.extend(half(packet.time_ns >> 32));
        body.extend(half(packet.time_ns));
        body.extend(half(packet.bytes.len() as u64));
        body.extend(half(packet.length as u64));
        body.extend(packet.bytes);
        body.resize(body.len().next_multiple_of(4), 0);
        // Inbound is 1, outbound 2.
        option(&mut body, 2, &[if packet.is_outgoing { 2 } else { 1 }, 0, 0, 0]);
        end_options(&mut body);
        self.block(6, &body);
    }

    /// The counters at the end, which are of the socket and so of all interfaces: they stand at the first.
    pub fn statistics(&mut self, time_ns: u64, received: u64, dropped: u64) {
        if self.interfaces.is_empty() {
            return;
        }
        let mut body = Vec::new();
        body.extend([0; 4]);
        body.extend(half(time_ns >> 32));
        body.extend(half(time_ns));
        option(&mut body, 1, b"counters of all interfaces together");
        option(&mut body, 4, &received.to_le_bytes());
        option(&mut body, 7, &dropped.to_le_bytes());
        end_options(&mut body);
        self.block(5, &body);
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the bytes that wait.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// The interfaces that packets came from.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }
}

/// The lower 32 bits.
fn half(number: u64) -> [u8; 4] {
    let [a, b, c, d, ..] = number.to_le_bytes();
    [a, b, c, d]
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(0).to_le_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn end_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

/// A reader for the tests: the blocks as kind and body.
#[cfg(test)]
pub fn blocks(mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let length = word(4) as usize;
        assert_eq!(word(length - 4) as usize, length, "a block's length stands at both of its ends");
        found.push((word(0), bytes[8..length - 4].to_vec()));
        bytes = &bytes[length..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_whole() {
        let mut file = Pcapng::new();
        let at = file.interface(3, 772, 100, || "lo".to_owned());
        assert_eq!(file.interface(3, 772, 100, || unreachable!()), at);
        file.packet(at, Packet { time_ns: 1 << 33 | 5, length: 9, bytes: b"hello", is_outgoing: false });
        file.statistics(7, 1, 0);
        let blocks = blocks(&file.take());
        assert_eq!(blocks.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [0x0a0d_0d0a, 1, 6, 5]);
        let packet = &blocks[2].1;
        assert_eq!(packet[4..20], [2, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!(&packet[20..25], b"hello");
        assert_eq!((link_type(1), link_type(65_534), link_type(9)), (1, 101, 147));
    }
}
