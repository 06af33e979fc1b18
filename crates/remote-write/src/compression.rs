//! Snappy blocks and zstd frames, bounded: a body that claims or holds more than the limit costs neither the memory
//! nor the time to unpack it.

use crate::Compression;
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

/// Every zstd frame starts so (RFC 8878 §3.1.1). No snappy block does: it would declare 40 bytes and start with a copy.
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Skippable frames start with 0x50 to 0x5f and this (RFC 8878 §3.1.2); as snappy that too would start with a copy.
const ZSTD_SKIPPABLE_MAGIC: &[u8] = &[0x2a, 0x4d, 0x18];
/// The first chunk of the snappy framing format, which remote write forbids.
const FRAMED_MAGIC: &[u8] = b"\xff\x06\x00\x00sNaPpY";
/// 8 MiB: what RFC 8878 recommends to support. Senders use at most 4 MiB (levels up to 11).
const ZSTD_MAX_WINDOW_LOG: u32 = 23;
/// Unpacking costs a tenth of level 3, at nearly its ratio for this data.
const ZSTD_LEVEL: i32 = 1;
/// A snappy copy element of three bytes makes at most 64 bytes; no element does better.
const SNAPPY_COPY: (u64, u64) = (3, 64);

/// A body could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The body has no byte; even an empty request has one when compressed.
    #[error("body is empty")]
    Empty,
    /// The snappy framing format instead of the block format.
    #[error("body is a snappy framed stream, remote write uses the snappy block format")]
    Framed,
    /// More than is allowed when unpacked; `seen` is what the body declares, or a lower bound.
    #[error("body unpacks to {seen} bytes or more, limit {limit}")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
        /// Declared, or counted until it was enough.
        seen: u64,
    },
    /// A snappy block declares more than its elements can make.
    #[error("snappy block of {body} bytes declares an impossible {declared} bytes")]
    Implausible {
        /// The declared length in bytes.
        declared: u64,
        /// The compressed length in bytes.
        body: usize,
    },
    /// Not a snappy block, whatever the header says.
    #[error("corrupt snappy block")]
    Snappy(#[source] snap::Error),
    /// Starts like zstd but is not.
    #[error("corrupt zstd frame: {0}")]
    Zstd(&'static str),
}

/// How many bytes a body says it unpacks to, if it says so as a whole: for choosing where to unpack it, not to be trusted.
pub fn declared_len(body: &[u8]) -> Option<u64> {
    if !is_zstd(body) {
        return snap::raw::decompress_len(body).ok().map(|declared| declared as u64);
    }
    // A second frame may hold anything.
    let single = zstd_safe::find_frame_compressed_size(body).is_ok_and(|len| len == body.len());
    zstd_safe::get_frame_content_size(body).ok().flatten().filter(|_declared| single)
}

/// Unpacks bodies; keeps its contexts (for zstd up to the window of 8 MiB) from one to the next.
pub struct Decompressor {
    snappy: snap::raw::Decoder,
    zstd: Option<DCtx<'static>>,
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

impl Default for Decompressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Decompressor {
    /// The zstd context is made when the first zstd body comes.
    pub fn new() -> Self {
        Self { snappy: snap::raw::Decoder::new(), zstd: None }
    }

    /// Unpacks `body` into `out` and returns what the body really was: its own first bytes decide, not `declared`,
    /// because vmagent's peers accept either under either name.
    ///
    /// What `out` held is lost; its memory is reused, and grows to at most `limit` + 1 bytes. After an error its
    /// content means nothing.
    ///
    /// # Errors
    /// See [`DecompressError`]. A lie about the length is found before memory is taken for it.
    pub fn decompress(
        &mut self,
        declared: Compression,
        body: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<Compression, DecompressError> {
        if body.is_empty() {
            return Err(DecompressError::Empty);
        }
        if is_zstd(body) {
            self.zstd(body, limit, out)?;
            return Ok(Compression::Zstd);
        }
        if body.starts_with(FRAMED_MAGIC) {
            return Err(DecompressError::Framed);
        }
        match self.snappy(body, limit, out) {
            Err(DecompressError::Snappy(_)) if declared == Compression::Zstd => {
                Err(DecompressError::Zstd("it starts like neither zstd nor snappy"))
            }
            unpacked => unpacked.map(|()| Compression::Snappy),
        }
    }

    fn snappy(&mut self, body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
        let declared = snap::raw::decompress_len(body).map_err(DecompressError::Snappy)?;
        if declared > limit {
            return Err(DecompressError::TooLarge { limit, seen: declared as u64 });
        }
        let (copy, makes) = SNAPPY_COPY;
        if (declared as u64).saturating_mul(copy) > (body.len() as u64).saturating_mul(makes) {
            return Err(DecompressError::Implausible { declared: declared as u64, body: body.len() });
        }
        // Not cleared first: what a previous body left is overwritten anyway, and zeroing it again costs as much as
        // a tenth of the unpacking.
        out.resize(declared, 0);
        let written = self.snappy.decompress(body, out).map_err(DecompressError::Snappy)?;
        out.truncate(written);
        Ok(())
    }

    fn zstd(&mut self, body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
        out.clear();
        let declared = zstd_safe::get_frame_content_size(body).ok().flatten();
        if let Some(seen) = declared.filter(|&declared| declared > limit as u64) {
            return Err(DecompressError::TooLarge { limit, seen });
        }
        let context = match &mut self.zstd {
            Some(context) => context,
            none => none.insert(zstd_context()?),
        };
        context.reset(ResetDirective::SessionOnly).map_err(zstd_error)?;
        let most = limit.saturating_add(1);
        let mut input = InBuffer::around(body);
        loop {
            if out.len() == out.capacity() {
                // A declared size is not believed beyond what such data usually makes, so that a small lie costs
                // little; after that the buffer doubles.
                let wanted = (out.len().max(body.len().saturating_mul(16)).saturating_mul(2)).min(most);
                out.reserve_exact(wanted.saturating_sub(out.len()).max(1));
            }
            let before = (input.pos(), out.len());
            let filled = out.len();
            let mut output = OutBuffer::around_pos(out, filled);
            let frame_wants = context.decompress_stream(&mut output, &mut input).map_err(zstd_error)?;
            if out.len() > limit {
                return Err(DecompressError::TooLarge { limit, seen: out.len() as u64 });
            }
            let consumed = input.pos() == body.len();
            if frame_wants == 0 && consumed {
                return Ok(());
            }
            if consumed && out.len() < out.capacity() {
                return Err(DecompressError::Zstd("it is cut short"));
            }
            if before == (input.pos(), out.len()) && out.len() < out.capacity() {
                return Err(DecompressError::Zstd("it makes no progress"));
            }
        }
    }
}

fn is_zstd(body: &[u8]) -> bool {
    let skippable = body.first().is_some_and(|first| first & 0xf0 == 0x50)
        && body.get(1..).is_some_and(|rest| rest.starts_with(ZSTD_SKIPPABLE_MAGIC));
    skippable || body.starts_with(ZSTD_MAGIC)
}

fn zstd_context() -> Result<DCtx<'static>, DecompressError> {
    let mut context = DCtx::try_create().ok_or(DecompressError::Zstd("no memory for a context"))?;
    context.set_parameter(DParameter::WindowLogMax(ZSTD_MAX_WINDOW_LOG)).map_err(zstd_error)?;
    Ok(context)
}

fn zstd_error(code: zstd_safe::ErrorCode) -> DecompressError {
    DecompressError::Zstd(zstd_safe::get_error_name(code))
}

/// A body could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// Snappy blocks hold less than 4 GiB.
    #[error("body is too large for a snappy block")]
    Snappy(#[source] snap::Error),
    /// In practice: no memory.
    #[error("zstd failed: {0}")]
    Zstd(&'static str),
}

/// Packs bodies; keeps its contexts from one to the next.
pub struct Compressor {
    snappy: snap::raw::Encoder,
    zstd: Option<CCtx<'static>>,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Compressor {
    /// The zstd context is made when the first body is packed with it.
    pub fn new() -> Self {
        Self { snappy: snap::raw::Encoder::new(), zstd: None }
    }

    /// Packs `raw` into `out` as one snappy block or one zstd frame. What `out` held is lost, its memory is reused.
    ///
    /// # Errors
    /// When `raw` has 4 GiB or more (snappy), or memory is short (zstd).
    pub fn compress(&mut self, compression: Compression, raw: &[u8], out: &mut Vec<u8>) -> Result<(), CompressError> {
        match compression {
            Compression::Snappy => {
                out.resize(snap::raw::max_compress_len(raw.len()), 0);
                let written = self.snappy.compress(raw, out).map_err(CompressError::Snappy)?;
                out.truncate(written);
            }
            Compression::Zstd => {
                let failed = |code| CompressError::Zstd(zstd_safe::get_error_name(code));
                let context = match &mut self.zstd {
                    Some(context) => context,
                    none => {
                        let mut context = CCtx::try_create().ok_or(CompressError::Zstd("no memory for a context"))?;
                        context.set_parameter(CParameter::CompressionLevel(ZSTD_LEVEL)).map_err(failed)?;
                        none.insert(context)
                    }
                };
                out.clear();
                out.reserve(zstd_safe::compress_bound(raw.len()));
                context.compress2(out, raw).map_err(failed)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
