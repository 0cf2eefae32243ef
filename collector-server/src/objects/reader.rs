//! A bundle's bytes as [`std::io::Read`], for the verifier, which is plain blocking Rust.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use tokio::runtime::Handle;
use wire::BundleId;

use super::range::Cursor;
use super::{ObjectError, Objects, Segment};

impl Objects {
    /// The bytes `[0, end)` of a bundle, for a thread that may block (`spawn_blocking`). To be made inside a runtime.
    pub fn reader(&self, bundle: BundleId, segments: Vec<Segment>, end: u64) -> SegmentReader {
        let cursor = Cursor::new(self.clone(), bundle, segments, 0..end);
        SegmentReader { cursor, piece: Bytes::new(), runtime: Handle::current() }
    }
}

/// See [`Objects::reader`]. Its errors hold an [`ObjectError`].
#[derive(Debug)]
pub struct SegmentReader {
    cursor: Cursor,
    piece: Bytes,
    runtime: Handle,
}

impl Read for SegmentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !buffer.is_empty() {
            self.piece = self.runtime.block_on(self.cursor.next()).map_err(io_error)?.unwrap_or_default();
        }
        let bytes = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..bytes]);
        Ok(bytes)
    }
}

fn io_error(error: ObjectError) -> io::Error {
    let kind = match error {
        ObjectError::Missing(_) => io::ErrorKind::NotFound,
        ObjectError::Short { .. } | ObjectError::Gap { .. } => io::ErrorKind::UnexpectedEof,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_reads_across_segments_and_tells_of_a_lost_one() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::in_folder(folder.path()).unwrap();
        let bundle = BundleId::new(1, [2; 10]);
        let segments = vec![Segment::of(0, b"evi"), Segment::of(3, b"dence"), Segment::of(8, b"!")];
        objects.put_new(&segments[0].path(bundle), Bytes::from_static(b"evi")).await.unwrap();
        objects.put_new(&segments[1].path(bundle), Bytes::from_static(b"dence")).await.unwrap();
        let mut reader = objects.reader(bundle, segments[..2].to_vec(), 7);
        let mut lost = objects.reader(bundle, segments, 9);
        tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            assert_eq!(text, "evidenc");
            assert_eq!(lost.read_to_end(&mut Vec::new()).unwrap_err().kind(), io::ErrorKind::NotFound);
        })
        .await
        .unwrap();
    }
}
