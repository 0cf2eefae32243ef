//! Reading a bundle's bytes across its segments, a piece at a time.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{Stream, stream};
use object_store::ObjectStoreExt as _;
use object_store::path::Path as ObjectPath;
use wire::BundleId;

use super::{ObjectError, Objects, PIECE_BYTES_MAX, Segment, failure};

impl Objects {
    /// The bytes `range` of a bundle, in pieces of at most [`PIECE_BYTES_MAX`]; only one of them is in memory.
    ///
    /// `segments` are in order, as the store has them. The stream ends at its first error:
    /// [`ObjectError::Gap`], [`ObjectError::Missing`], [`ObjectError::Short`], [`ObjectError::Backend`].
    pub fn stream_range(
        &self,
        bundle: BundleId,
        segments: Vec<Segment>,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, ObjectError>> + Send + 'static {
        let cursor = Cursor::new(self.clone(), bundle, segments, range);
        stream::try_unfold(cursor, |mut cursor| async move {
            let piece = cursor.next().await?;
            Ok(piece.map(|piece| (piece, cursor)))
        })
    }
}

/// A place in the bytes of a bundle.
#[derive(Debug)]
pub(super) struct Cursor {
    at: u64,
    bundle: BundleId,
    end: u64,
    objects: Objects,
    segments: Vec<Segment>,
}

impl Cursor {
    pub fn new(objects: Objects, bundle: BundleId, segments: Vec<Segment>, range: Range<u64>) -> Self {
        Self { at: range.start, bundle, end: range.end, objects, segments }
    }

    /// The next piece; none at the end of the range.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        if self.at >= self.end {
            return Ok(None);
        }
        let gap = ObjectError::Gap { bundle: self.bundle, offset: self.at };
        let begun = self.segments.partition_point(|segment| segment.offset <= self.at);
        let Some(segment) = begun.checked_sub(1).and_then(|at| self.segments.get(at)) else {
            return Err(gap);
        };
        let Segment { bytes, offset, .. } = *segment;
        let from = self.at - offset;
        if from >= bytes {
            return Err(gap);
        }
        let to = bytes.min(from.saturating_add(PIECE_BYTES_MAX)).min(self.end - offset);
        let path = segment.path(self.bundle);
        let piece = self.read_piece(&path, from..to).await?;
        let got = piece.len() as u64;
        if got != to - from {
            return Err(ObjectError::Short { path, bytes: from + got, wanted: to });
        }
        self.at += got;
        Ok(Some(piece))
    }

    async fn read_piece(&self, path: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let (store, object) = (&self.objects.store, ObjectPath::from(path));
        let wanted = range.end;
        match store.get_range(&object, range).await {
            Ok(piece) => Ok(piece),
            // A range that begins past the end is an error of its own in each backend: ask for the length.
            Err(error) => match store.head(&object).await {
                Ok(meta) if meta.size < wanted => {
                    Err(ObjectError::Short { path: path.to_owned(), bytes: meta.size, wanted })
                }
                _ => Err(failure(path, error)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;

    use super::*;

    /// An offset and a length, without a digest.
    fn plain((offset, bytes): (u64, u64)) -> Segment {
        Segment { bytes, offset, sha256: None }
    }

    const SEGMENTS: [(u64, u64); 3] = [(0, 10), (10, 1 << 21), (10 + (1 << 21), 7)];

    fn content() -> Vec<u8> {
        (0..10 + (1 << 21) + 7).map(|n: u32| n.to_le_bytes()[0] ^ n.to_le_bytes()[2]).collect()
    }

    async fn stored(folder: &std::path::Path) -> (Objects, BundleId) {
        let (objects, bundle, content) = (Objects::in_folder(folder).unwrap(), BundleId::new(1, [2; 10]), content());
        for (offset, bytes) in SEGMENTS {
            let at = usize::try_from(offset).unwrap();
            let segment = content[at..at + usize::try_from(bytes).unwrap()].to_vec();
            objects.put_new(&plain((offset, bytes)).path(bundle), segment.into()).await.unwrap();
        }
        (objects, bundle)
    }

    #[tokio::test]
    async fn any_range_comes_whole_in_bounded_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let (objects, bundle) = stored(folder.path()).await;
        let content = content();
        let end = content.len();
        for range in [0..end, 0..0, 5..5, 0..10, 9..11, 10..11, 3..end - 3, end - 7..end, end - 1..end] {
            let asked = range.start as u64..range.end as u64;
            let pieces = objects.stream_range(bundle, SEGMENTS.map(plain).to_vec(), asked);
            let pieces: Vec<Bytes> = pieces.try_collect().await.unwrap();
            assert!(pieces.iter().all(|piece| piece.len() as u64 <= PIECE_BYTES_MAX));
            assert_eq!(pieces.concat(), content[range.clone()], "{range:?}");
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_an_error_and_never_silence() {
        let folder = tempfile::tempdir().unwrap();
        let (objects, bundle) = stored(folder.path()).await;
        let end = content().len() as u64;
        let read = async |segments: &[(u64, u64)], range| {
            let segments = segments.iter().copied().map(plain).collect();
            objects.stream_range(bundle, segments, range).try_collect::<Vec<_>>().await.unwrap_err()
        };
        assert!(matches!(read(&SEGMENTS, 0..end + 1).await, ObjectError::Gap { offset, .. } if offset == end));
        assert!(matches!(read(&[], 0..1).await, ObjectError::Gap { offset: 0, .. }));
        assert!(matches!(read(&[SEGMENTS[0], SEGMENTS[2]], 0..end).await, ObjectError::Gap { offset: 10, .. }));
        assert!(matches!(read(&[(5, 1)], 5..6).await, ObjectError::Missing(_)));
        assert!(matches!(read(&[(0, 12)], 0..12).await, ObjectError::Short { bytes: 10, wanted: 12, .. }));
        assert!(matches!(read(&[(0, 12)], 11..12).await, ObjectError::Short { bytes: 10, wanted: 12, .. }));
    }
}
