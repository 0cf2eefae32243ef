//! The end of the queue: headers, bytes, and the item record that names them.

use std::io::Write;

use super::pool::LAST_BLOCK;
use super::queue::{Content, Queued};
use super::set::manifest_line;
use super::{Ended, MODE_FILE, MODE_FOLDER, MODE_SYMLINK, Output, WriteError, Writer};
use crate::item::{HardLink, Item, Kind, NewItem, Status, shown};
use crate::time::Instant;
use crate::zip::{Entry, EntryPlace, Method, descriptor, local};
use wire::Sha256;

/// An entry whose content is being written piece by piece.
pub(super) struct Streaming {
    content: Content,
    offset: u64,
    compressed: u64,
    crc: crc32fast::Hasher,
}

/// What was stored of an item.
struct Stored<'a> {
    name: &'a str,
    sha256: Sha256,
    size: u64,
}

impl<W: Output, S: Write> Writer<W, S> {
    pub(super) fn drain(&mut self) -> Result<(), WriteError> {
        while self.emit_next()? {}
        Ok(())
    }

    /// Writes the thing that waited longest; false when nothing waits.
    pub(super) fn emit_next(&mut self) -> Result<bool, WriteError> {
        let Some(queued) = self.queue.pop() else { return Ok(false) };
        match queued {
            Queued::Folder(name) => self.emit_folder(name)?,
            Queued::Note(item) => self.record(*item, None, None),
            Queued::Whole(mut content, answer) => {
                let packed = self.queue.packed(answer).ok_or_else(gone)?;
                content.entry.method = packed.method;
                let place = EntryPlace {
                    offset: self.sink.offset(),
                    crc32: packed.crc32,
                    compressed: packed.bytes.len() as u64,
                    size: packed.size,
                    mode: content.mode,
                };
                self.head.clear();
                local(&mut self.head, &content.entry, place.crc32, place.compressed, place.size);
                self.sink.write(&self.head)?;
                self.sink.write(&packed.bytes)?;
                self.entered(content, place, packed.sha256, None);
            }
            Queued::Begin(content) => {
                let offset = self.sink.offset();
                self.head.clear();
                local(&mut self.head, &content.entry, 0, 0, 0);
                self.sink.write(&self.head)?;
                self.streaming = Some(Streaming { content, offset, compressed: 0, crc: crc32fast::Hasher::new() });
            }
            Queued::Piece(answer) => {
                let piece = self.queue.piece(answer).ok_or_else(gone)?;
                self.sink.write(&piece.bytes)?;
                if let Some(streaming) = &mut self.streaming {
                    streaming.compressed += piece.bytes.len() as u64;
                    streaming.crc.combine(&piece.crc);
                }
            }
            Queued::End(ended, sha256, size) => self.emit_end(ended, sha256, size)?,
        }
        Ok(true)
    }

    fn emit_end(&mut self, ended: Ended, sha256: Sha256, size: u64) -> Result<(), WriteError> {
        let Some(streaming) = self.streaming.take() else { return Ok(()) };
        let Streaming { content, offset, compressed, crc } = streaming;
        self.sink.write(&LAST_BLOCK)?;
        let compressed = compressed + LAST_BLOCK.len() as u64;
        let crc32 = crc.finalize();
        self.head.clear();
        descriptor(&mut self.head, crc32, compressed, size);
        self.sink.write(&self.head)?;
        let place = EntryPlace { offset, crc32, compressed, size, mode: content.mode };
        self.entered(content, place, sha256, Some(ended));
        Ok(())
    }

    fn emit_folder(&mut self, name: String) -> Result<(), WriteError> {
        let entry = Entry { name, method: Method::Stored, streamed: false, stamp: None };
        let place = EntryPlace { offset: self.sink.offset(), crc32: 0, compressed: 0, size: 0, mode: MODE_FOLDER };
        self.head.clear();
        local(&mut self.head, &entry, 0, 0, 0);
        self.sink.write(&self.head)?;
        self.index.add(&entry, &place, None);
        Ok(())
    }

    /// Remembers an entry that was written, and makes its item record.
    fn entered(&mut self, content: Content, place: EntryPlace, sha256: Sha256, ended: Option<Ended>) {
        let Content { entry, mode, item } = content;
        let is_listed = mode != MODE_SYMLINK;
        self.index.add(&entry, &place, is_listed.then_some(sha256));
        if is_listed && !entry.name.starts_with("checkpoints/") {
            manifest_line(&mut self.manifest, sha256, &entry.name);
            self.manifest_lines += 1;
        }
        if let Some(item) = item {
            let stored = Stored { name: &entry.name, sha256, size: place.size };
            self.record(*item, Some(&stored), ended);
        }
    }

    /// An entry of the format's own that is always stored: its bytes are all there is to sign.
    pub(super) fn write_stored(&mut self, name: String, pieces: &[&[u8]]) -> Result<(), WriteError> {
        let mut crc = crc32fast::Hasher::new();
        let mut digest = sha2::Sha256::default();
        let mut size = 0;
        for piece in pieces {
            crc.update(piece);
            sha2::Digest::update(&mut digest, piece);
            size += piece.len() as u64;
        }
        let entry = Entry { name, method: Method::Stored, streamed: false, stamp: None };
        let offset = self.sink.offset();
        let place = EntryPlace { offset, crc32: crc.finalize(), compressed: size, size, mode: MODE_FILE };
        self.head.clear();
        local(&mut self.head, &entry, place.crc32, size, size);
        self.sink.write(&self.head)?;
        for piece in pieces {
            self.sink.write(piece)?;
        }
        self.index.add(&entry, &place, Some(Sha256::so_far(&digest)));
        Ok(())
    }

    /// The line of an item.
    fn record(&mut self, new: NewItem, stored: Option<&Stored<'_>>, ended: Option<Ended>) {
        let id = self.set.next_id();
        let own = self.header.part;
        let hardlink_of = match (new.inode, stored) {
            (Some(inode), Some(_)) => {
                self.hardlinks.entry(inode).or_insert((own, id));
                None
            }
            (Some(inode), None) => self.hardlinks.get(&inode).map(|(part, item)| match part {
                part if *part == own => HardLink::Item(*item),
                part => HardLink::Earlier { item: *item, part: *part },
            }),
            (None, _) => None,
        };
        let mut salt = [0; 16];
        (self.world.random)(&mut salt);
        let (path, path_b64) = shown(&new.path);
        let (tier, collector) = self
            .step
            .as_ref()
            .map_or_else(|| (wire::Tier::Volatile, String::new()), |step| (step.tier, step.collector.clone()));
        let mut item = Item {
            collected: new.collected,
            collected_end: new.collected_end,
            collector,
            errno: new.errno,
            error: new.error,
            error_ranges: Vec::new(),
            hardlink_of,
            id,
            kind: new.kind,
            meta: new.meta,
            meta_after: new.meta_after,
            method: new.method.to_owned(),
            path,
            path_b64,
            reason: new.reason,
            salt: format!("{:032x}", u128::from_be_bytes(salt)),
            sha256: stored.map(|stored| stored.sha256).or(new.sha256),
            size: stored.map(|stored| stored.size).or(new.size),
            status: new.status,
            stored: stored.map(|stored| stored.name.to_owned()),
            tier,
            v: 1,
        };
        if let Some(ended) = ended {
            conclude(&mut item, ended, self.world.clock.realtime());
        }
        self.coverage.item(item.kind, item.status, item.size.filter(|_| item.stored.is_some()).unwrap_or(0));
        let with_times = matches!(item.kind, Kind::File | Kind::Deleted);
        self.set.item(&item, &new.path, with_times);
    }
}

/// The end of a stream has the last word on its item.
fn conclude(item: &mut Item, ended: Ended, now: Instant) {
    item.collected_end = now;
    if ended.status != Status::Ok {
        item.status = ended.status;
    }
    item.reason = ended.reason.or(item.reason.take());
    if let Some((errno, error)) = ended.error {
        item.errno = Some(errno);
        item.error = Some(error);
    }
    item.error_ranges = ended.error_ranges;
    item.meta_after = ended.meta_after.or(item.meta_after.take());
}

fn gone() -> WriteError {
    WriteError::Output(std::io::Error::other("a packing thread ended"))
}
