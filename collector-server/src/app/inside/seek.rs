//! The bytes of a bundle as [`Read`] and [`Seek`], for the zip crate.

use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::runtime::Handle;
use wire::BundleId;

use crate::objects::{ObjectError, Objects, Segment};

type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, ObjectError>> + Send>>;

/// The bytes `[0, end)`, for a thread that may block. To be made inside a runtime.
pub struct SeekReader {
    at: u64,
    bundle: BundleId,
    end: u64,
    objects: Objects,
    /// What was read last, and where it begins: a step back within it costs nothing.
    piece: Bytes,
    piece_at: u64,
    /// The pieces after `piece`.
    pieces: Option<Pieces>,
    runtime: Handle,
    segments: Vec<Segment>,
}

impl SeekReader {
    /// See the type.
    pub fn new(objects: Objects, bundle: BundleId, segments: Vec<Segment>, end: u64) -> Self {
        let (runtime, piece) = (Handle::current(), Bytes::new());
        Self { at: 0, bundle, end, objects, piece, piece_at: 0, pieces: None, runtime, segments }
    }

    /// What is held at the place that it stands at.
    fn held(&self) -> &[u8] {
        let inside = self.at.checked_sub(self.piece_at).and_then(|inside| usize::try_from(inside).ok());
        inside.and_then(|inside| self.piece.get(inside..)).unwrap_or_default()
    }

    fn next_piece(&mut self) -> io::Result<()> {
        let piece_end = self.piece_at + self.piece.len() as u64;
        if self.pieces.is_none() || self.at != piece_end {
            let range = self.at..self.end;
            self.pieces = Some(Box::pin(self.objects.stream_range(self.bundle, self.segments.clone(), range)));
        }
        self.piece_at = self.at;
        let Some(pieces) = &mut self.pieces else { return Ok(()) };
        let piece = self.runtime.block_on(pieces.next()).transpose().map_err(io::Error::other)?;
        self.piece = piece.unwrap_or_default();
        Ok(())
    }
}

impl Read for SeekReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.at >= self.end {
            return Ok(0);
        }
        if self.held().is_empty() {
            self.next_piece()?;
        }
        let held = self.held();
        let bytes = buffer.len().min(held.len());
        buffer[..bytes].copy_from_slice(&held[..bytes]);
        self.at += bytes as u64;
        Ok(bytes)
    }
}

impl Seek for SeekReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_goes_back_and_forth_across_segments() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::in_folder(folder.path()).unwrap();
        let bundle = BundleId::new(1, [2; 10]);
        let segments = vec![Segment::of(0, b"evi"), Segment::of(3, b"dence!")];
        objects.put_new(&segments[0].path(bundle), Bytes::from_static(b"evi")).await.unwrap();
        objects.put_new(&segments[1].path(bundle), Bytes::from_static(b"dence!")).await.unwrap();
        let mut reader = SeekReader::new(objects, bundle, segments, 8);
        tokio::task::spawn_blocking(move || {
            let mut read = |to, wanted: &str| {
                reader.seek(to).unwrap();
                let mut text = vec![0; wanted.len()];
                reader.read_exact(&mut text).unwrap();
                assert_eq!(text, wanted.as_bytes(), "{to:?}");
            };
            read(SeekFrom::Start(0), "evidence");
            read(SeekFrom::End(-3), "nce");
            read(SeekFrom::Current(-2), "ce");
            read(SeekFrom::Start(2), "id");
            assert_eq!(reader.seek(SeekFrom::Start(20)).unwrap(), 20);
            assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);
            assert!(reader.seek(SeekFrom::End(-9)).is_err());
        })
        .await
        .unwrap();
    }
}
