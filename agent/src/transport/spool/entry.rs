//! A piece of a bundle's stream, as a file of the spool: where it belongs stands in its name.

/// See the module. Ordered as in the stream: a transport checkpoint comes before the bytes that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Where the bytes begin, or up to where the checkpoint speaks.
    pub offset: u64,
    /// What it is.
    pub kind: Kind,
}

/// What a file of the spool holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A transport checkpoint: `OFFSET.line`, as it is.
    Line,
    /// Bytes: `OFFSET-LENGTH.age`, encrypted to the server.
    Chunk {
        /// How many.
        length: u64,
    },
}

impl Entry {
    /// Its name.
    pub fn name(self) -> String {
        let offset = self.offset;
        match self.kind {
            Kind::Line => format!("{offset:016}.line"),
            Kind::Chunk { length } => format!("{offset:016}-{length:08}.age"),
        }
    }

    /// The entry of this name; `None` for every other name, such as that of a file which a crash left half written.
    pub fn parse(name: &str) -> Option<Self> {
        let entry = match name.strip_suffix(".line") {
            Some(offset) => Self { offset: offset.parse().ok()?, kind: Kind::Line },
            None => {
                let (offset, length) = name.strip_suffix(".age")?.split_once('-')?;
                Self { offset: offset.parse().ok()?, kind: Kind::Chunk { length: length.parse().ok()? } }
            }
        };
        (entry.name() == name).then_some(entry)
    }

    /// Where its bytes end.
    pub fn end(self) -> u64 {
        match self.kind {
            Kind::Line => self.offset,
            Kind::Chunk { length } => self.offset.saturating_add(length),
        }
    }
}
