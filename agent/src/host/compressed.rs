//! What is compressed on a host: rotated logs, and fields of journals. gzip, xz, zstd and LZ4 blocks, each decoded in
//! Rust, with a limit on memory and on what comes out.
//!
//! Known limit: bzip2 and LZ4 frames are recognised and not decoded.

use std::any::Any;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The most memory that one xz stream may ask for, in KiB: `xz -9` asks for 65 MiB.
const XZ_KIB_MAX: u32 = 96 << 10;
/// The longest content of an LZ4 block, which can only be decoded whole.
const LZ4_BYTES_MAX: usize = 8 << 20;

/// How something is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip (RFC 1952), also several members.
    Gzip,
    /// An LZ4 block behind its length, 64 bits, as journals have it.
    Lz4Block,
    /// xz.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// The compression that these first bytes of a file stand for.
///
/// # Errors
/// `Unsupported`, when it is one that is not decoded here.
pub fn by_magic(head: &[u8]) -> io::Result<Option<Compression>> {
    let is = |magic: &[u8]| head.starts_with(magic);
    let unsupported = |what| Err(io::Error::new(io::ErrorKind::Unsupported, what));
    match () {
        () if is(b"\x1f\x8b") => Ok(Some(Compression::Gzip)),
        () if is(b"\xfd7zXZ\0") => Ok(Some(Compression::Xz)),
        () if is(b"\x28\xb5\x2f\xfd") => Ok(Some(Compression::Zstd)),
        () if is(b"BZh") => unsupported("compressed with bzip2, which is not decoded here"),
        () if is(b"\x04\x22\x4d\x18") => unsupported("compressed with LZ4 frames, which are not decoded here"),
        () => Ok(None),
    }
}

/// A file's content, decoded if it is compressed; `None` in the second place when it is not.
///
/// # Errors
/// As read(2); `Unsupported` as for [`by_magic`].
pub fn open(file: File) -> io::Result<(Box<dyn Read>, Option<Compression>)> {
    let mut file = BufReader::with_capacity(64 << 10, file);
    let compression = by_magic(file.fill_buf()?)?;
    let reader: Box<dyn Read> = match compression {
        None => Box::new(file),
        Some(compression) => decoder(compression, file)?,
    };
    Ok((reader, compression))
}

/// The first `bytes_max` bytes of what `content` is when it is decoded, and whether there is more.
///
/// # Errors
/// When it is damaged, or asks for more memory than it may.
pub fn decode(compression: Compression, content: &[u8], bytes_max: usize) -> io::Result<(Vec<u8>, bool)> {
    let mut decoded = Vec::new();
    if compression == Compression::Lz4Block {
        decoded = caught(|| lz4_block(content))?;
    } else {
        let limit = bytes_max as u64 + 1;
        decoder(compression, io::Cursor::new(content.to_vec()))?.take(limit).read_to_end(&mut decoded)?;
    }
    let is_cut = decoded.len() > bytes_max;
    decoded.truncate(bytes_max);
    Ok((decoded, is_cut))
}

fn decoder(compression: Compression, content: impl BufRead + 'static) -> io::Result<Box<dyn Read>> {
    Ok(match compression {
        Compression::Gzip => Box::new(Caught(flate2::bufread::MultiGzDecoder::new(content))),
        Compression::Xz => Box::new(Caught(lzma_rust2::XzReader::new_mem_limit(content, true, XZ_KIB_MAX))),
        Compression::Zstd => {
            let decoder = caught(|| ruzstd::decoding::StreamingDecoder::new(content).map_err(damaged))?;
            Box::new(Caught(decoder))
        }
        Compression::Lz4Block => return Err(io::ErrorKind::Unsupported.into()),
    })
}

fn lz4_block(content: &[u8]) -> io::Result<Vec<u8>> {
    let (length, block) = content.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > LZ4_BYTES_MAX {
        return Err(io::Error::other(format!("longer than {LZ4_BYTES_MAX} bytes when decoded")));
    }
    lz4_flex::block::decompress(block, length).map_err(damaged)
}

fn damaged(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// The decoders are other people's, and what they decode is an intruder's: a panic in one is an error in one file.
struct Caught<R>(R);

impl<R: Read> Read for Caught<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        caught(|| self.0.read(buffer))
    }
}

fn caught<T>(decode: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let panicked = |_: Box<dyn Any + Send>| damaged("the decoder gave up");
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| Err(panicked(panic)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    /// "holdfast " a hundred times, by xz(1), zstd(1) and liblz4.
    const XZ: &str = "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4AODABVdADQbyc2KuKavO+Z4LGXgaZF3ZJXSAAAAAAAcOqQr7QNnpwABMYQHAAAAPi7C1bHEZ/sCAAAAAARZWg==";
    const ZSTD: &str = "KLUv/QRYhQAASGhvbGRmYXN0IAEAeFmVIx01Qxc=";

    fn text() -> Vec<u8> {
        b"holdfast ".repeat(100)
    }

    #[test]
    fn each_compression_is_decoded_and_cut_at_the_limit() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text()).unwrap();
        let lz4 = [&900_u64.to_le_bytes()[..], &lz4_flex_literals(&text())].concat();
        for (compression, content) in [
            (Compression::Gzip, gzip.finish().unwrap()),
            (Compression::Xz, BASE64_STANDARD.decode(XZ).unwrap()),
            (Compression::Zstd, BASE64_STANDARD.decode(ZSTD).unwrap()),
            (Compression::Lz4Block, lz4),
        ] {
            assert_eq!(decode(compression, &content, 900).unwrap(), (text(), false), "{compression:?}");
            assert_eq!(decode(compression, &content, 9).unwrap(), (b"holdfast ".to_vec(), true), "{compression:?}");
            for end in 0..content.len() {
                let _ = decode(compression, &content[..end], 900);
                let mut flipped = content.clone();
                flipped[end] ^= 0x55;
                let _ = decode(compression, &flipped, 900);
            }
        }
    }

    /// A block of nothing but literals: a token, the length in bytes of 255, the bytes.
    fn lz4_flex_literals(text: &[u8]) -> Vec<u8> {
        let rest = text.len() - 15;
        let mut block = vec![0xf0];
        block.extend(std::iter::repeat_n(255, rest / 255));
        block.push(u8::try_from(rest % 255).unwrap());
        block.extend_from_slice(text);
        block
    }

    #[test]
    fn an_lz4_block_that_claims_to_be_huge_is_refused() {
        let content = [&u64::MAX.to_le_bytes()[..], b"\x10a"].concat();
        assert!(decode(Compression::Lz4Block, &content, 10).is_err());
        assert!(by_magic(b"BZh9").is_err() && by_magic(b"Nov 30").unwrap().is_none());
    }
}
