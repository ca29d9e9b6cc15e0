//! Bytes packed on their way to a disk or to PostHog, and unpacked on their way back.
//!
//! The one home of `flate2` and `zstd`. What is in a file is its format's business.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Cursor, Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::config::Compression;

/// 256 KB: system calls cost nothing then, and a run has few files open at once.
pub(crate) const BUFFER: usize = 256 << 10;

/// The level of zstd: the higher ones cost more than they save.
const ZSTD_LEVEL: i32 = 1;

/// A file that is written through its compression.
pub(crate) enum Packed {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Packed {
    pub(crate) fn new(file: File, compression: Compression) -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER, file);
        Ok(match compression {
            Compression::None => Self::Plain(file),
            Compression::Gzip => Self::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            Compression::Zstd => Self::Zstd(zstd::Encoder::new(file, ZSTD_LEVEL)?),
        })
    }

    /// Writes what is held back, and gives the file.
    pub(crate) fn finish(self) -> io::Result<File> {
        let file = match self {
            Self::Plain(file) => file,
            Self::Gzip(packed) => packed.finish()?,
            Self::Zstd(packed) => packed.finish()?,
        };
        file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl Write for Packed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(packed) => packed.write(bytes),
            Self::Zstd(packed) => packed.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(packed) => packed.flush(),
            Self::Zstd(packed) => packed.flush(),
        }
    }
}

/// A file's text.
pub(crate) fn unpack(
    file: impl Read + Send + 'static,
    compression: Compression,
) -> io::Result<Box<dyn BufRead + Send>> {
    let file = BufReader::with_capacity(BUFFER, file);
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file))),
        Compression::Zstd => {
            let text = zstd::Decoder::with_buffer(file)?;
            Box::new(BufReader::with_capacity(BUFFER, text))
        }
    })
}

/// The text of what may be packed: its first bytes tell how.
pub(crate) fn unpack_any(
    mut packed: impl Read + Send + 'static,
) -> io::Result<Box<dyn BufRead + Send>> {
    let mut head = Vec::new();
    packed.by_ref().take(4).read_to_end(&mut head)?;
    let compression = match head.as_slice() {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Compression::Zstd,
        _ => Compression::None,
    };
    unpack(Cursor::new(head).chain(packed), compression)
}

/// Bytes packed for the wire. The first level: a higher one takes five times as long to save a
/// few bytes in a hundred.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed =
        GzEncoder::new(Vec::with_capacity(bytes.len() / 4), flate2::Compression::fast());
    // Writing into memory cannot fail.
    packed.write_all(bytes).and_then(|()| packed.finish()).expect("memory takes bytes")
}
