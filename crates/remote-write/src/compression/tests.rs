//! What bodies unpack to, what they are refused for, and what that costs.

use super::{Compressor, DecompressError, Decompressor, ZSTD_MAGIC, declared_len, is_zstd};
use crate::Compression::{self, Snappy, Zstd};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use zstd::zstd_safe::{CCtx, CParameter};

fn packed(compression: Compression, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::new().compress(compression, raw, &mut out).expect("packs");
    out
}

fn unpacked(declared: Compression, body: &[u8], limit: usize) -> Result<(Compression, Vec<u8>), DecompressError> {
    let mut out = vec![1; 7];
    let found = Decompressor::new().decompress(declared, body, limit, &mut out)?;
    Ok((found, out))
}

/// Frames as a streaming sender writes them: without the content's size, with a given window.
fn streamed(raw: &[u8], window_log: u32) -> Vec<u8> {
    let mut context = CCtx::create();
    for parameter in
        [CParameter::CompressionLevel(1), CParameter::ContentSizeFlag(false), CParameter::WindowLog(window_log)]
    {
        context.set_parameter(parameter).expect("a valid parameter");
    }
    let mut out = Vec::with_capacity(zstd::compress_bound(raw.len()));
    context.compress2(&mut out, raw).expect("packs");
    out
}

#[test]
fn the_bodys_own_magic_decides_when_the_header_disagrees() {
    let raw = b"a request".repeat(100);
    for really in [Snappy, Zstd] {
        for declared in [Snappy, Zstd] {
            let (found, out) = unpacked(declared, &packed(really, &raw), 4096).expect("unpacks");
            assert_eq!((found, &out), (really, &raw), "{really:?} declared as {declared:?}");
        }
    }
}

#[test]
fn a_zero_length_body_and_a_framed_stream_are_refused_by_name() {
    assert!(matches!(unpacked(Snappy, b"", 10), Err(DecompressError::Empty)));
    assert!(matches!(unpacked(Zstd, b"", 10), Err(DecompressError::Empty)));
    let framed = b"\xff\x06\x00\x00sNaPpY\x01\x05\x00\x00abcd";
    assert!(matches!(unpacked(Snappy, framed, 10), Err(DecompressError::Framed)));
}

#[test]
fn a_compressed_empty_request_unpacks_to_nothing() {
    for compression in [Snappy, Zstd] {
        let (_, out) = unpacked(compression, &packed(compression, b""), 0).expect("unpacks");
        assert!(out.is_empty());
    }
}

#[test]
fn the_limit_is_exact_for_both() {
    let raw = vec![b'x'; 100_000];
    for body in [packed(Snappy, &raw), packed(Zstd, &raw), streamed(&raw, 20)] {
        assert_eq!(unpacked(Snappy, &body, 100_000).expect("fits").1, raw);
        let Err(DecompressError::TooLarge { limit: 99_999, seen }) = unpacked(Snappy, &body, 99_999) else {
            panic!("one byte too many was unpacked");
        };
        assert!(seen >= 100_000);
    }
}

#[test]
fn a_snappy_lie_about_the_length_takes_no_memory() {
    let mut out = Vec::new();
    let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, b'a'];
    let error = Decompressor::new().decompress(Snappy, &lie, 32 << 20, &mut out).expect_err("a lie");
    assert_eq!(error.to_string(), "body unpacks to 4294967295 bytes or more, limit 33554432");
    // 30 MiB is within the limit, but seven bytes cannot make it.
    let lie = [0x80, 0x80, 0x80, 0x0f, 0, b'a'];
    let error = Decompressor::new().decompress(Snappy, &lie, 32 << 20, &mut out).expect_err("a lie");
    assert_eq!(error.to_string(), "snappy block of 6 bytes declares an impossible 31457280 bytes");
    assert_eq!(out.capacity(), 0);
}

#[test]
fn the_best_possible_snappy_block_is_plausible() {
    // One literal, then copies of 64 bytes in three bytes each: the densest block there is.
    let copies = 1000;
    let mut body = vec![0x81, 0xf4, 0x03, 0x00, b'a'];
    body.extend([0xfe, 0x01, 0x00].repeat(copies));
    assert_eq!(unpacked(Snappy, &body, 1 << 20).expect("unpacks").1, vec![b'a'; 64 * copies + 1]);
}

#[test]
fn a_zstd_bomb_stops_at_the_limit_with_memory_for_the_limit_only() {
    let bomb = streamed(&vec![0; 64 << 20], 20);
    assert!(bomb.len() < 10_000);
    let mut out = Vec::new();
    let limit = 1 << 20;
    let error = Decompressor::new().decompress(Zstd, &bomb, limit, &mut out).expect_err("a bomb");
    assert!(matches!(error, DecompressError::TooLarge { .. }), "{error}");
    assert!(out.capacity() <= limit + 1, "{}", out.capacity());
}

#[test]
fn a_declared_zstd_size_above_the_limit_is_refused_unread() {
    let mut out = Vec::new();
    let body = packed(Zstd, &vec![0; 1 << 20]);
    let error = Decompressor::new().decompress(Zstd, &body, 1000, &mut out).expect_err("too large");
    assert_eq!(error.to_string(), "body unpacks to 1048576 bytes or more, limit 1000");
    assert_eq!(out.capacity(), 0);
}

#[test]
fn several_zstd_frames_unpack_to_their_concatenation() {
    let skippable = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
    let body =
        [&skippable[..], &packed(Zstd, b"one "), &streamed(b"two ", 20), &skippable, &packed(Zstd, b"three")].concat();
    assert_eq!(unpacked(Zstd, &body, 100).expect("unpacks").1, b"one two three");
    assert!(matches!(unpacked(Zstd, &body, 12), Err(DecompressError::TooLarge { limit: 12, .. })));
}

#[test]
fn a_zstd_window_above_eight_mebibytes_is_refused() {
    let raw = vec![7; 12 << 20];
    assert!(unpacked(Zstd, &streamed(&raw, 23), 1 << 24).is_ok());
    let refused = unpacked(Zstd, &streamed(&raw, 24), 1 << 24);
    assert!(matches!(refused, Err(DecompressError::Zstd(_))), "{refused:?}");
}

#[test]
fn truncated_and_corrupt_bodies_are_errors_and_the_contexts_work_on() {
    let raw: Vec<u8> = (0..5000_u32).flat_map(u32::to_le_bytes).collect();
    let mut decompressor = Decompressor::new();
    let mut out = Vec::new();
    for compression in [Snappy, Zstd] {
        let body = packed(compression, &raw);
        for length in [4, 5, 9, body.len() / 2, body.len() - 1] {
            let cut = &body[..length];
            assert!(decompressor.decompress(compression, cut, 1 << 20, &mut out).is_err(), "{length}");
        }
        let trailing = [&body[..], b"garbage"].concat();
        assert!(decompressor.decompress(compression, &trailing, 1 << 20, &mut out).is_err());
        decompressor.decompress(compression, &body, 1 << 20, &mut out).expect("the context works on");
        assert_eq!(out, raw);
    }
    let neither = unpacked(Zstd, b"neither of the two", 1000).expect_err("corrupt");
    assert_eq!(neither.to_string(), "corrupt zstd frame: it starts like neither zstd nor snappy");
}

#[test]
fn no_snappy_block_starts_like_zstd() {
    for magic in [ZSTD_MAGIC, &[0x50, 0x2a, 0x4d, 0x18], &[0x5f, 0x2a, 0x4d, 0x18]] {
        assert!(is_zstd(magic));
        let length = snap::raw::decompress_len(magic).expect("a length");
        let mut out = vec![0; length];
        assert!(snap::raw::Decoder::new().decompress(magic, &mut out).is_err());
    }
}

proptest! {
    #[test]
    fn what_is_packed_unpacks_equal(raw in proptest::collection::vec(any::<u8>(), 0..5000), repeat in 1_usize..20) {
        let raw = raw.repeat(repeat);
        for compression in [Snappy, Zstd] {
            let (found, out) = unpacked(compression, &packed(compression, &raw), raw.len()).expect("unpacks");
            prop_assert_eq!(found, compression);
            prop_assert_eq!(&out, &raw);
        }
    }

    #[test]
    fn arbitrary_bodies_never_panic_nor_pass_the_limit(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        zstd in any::<bool>(),
        limit in 0_usize..1000,
    ) {
        let body = if zstd { [ZSTD_MAGIC, &bytes].concat() } else { bytes };
        if let Ok((_, out)) = unpacked(Snappy, &body, limit) {
            prop_assert!(out.len() <= limit);
        }
    }
}

#[test]
fn a_body_declares_its_size_only_when_it_speaks_for_all_of_it() {
    let raw = vec![7; 100_000];
    let mut packed = Vec::new();
    for compression in [Snappy, Zstd] {
        Compressor::new().compress(compression, &raw, &mut packed).unwrap();
        assert_eq!(declared_len(&packed), Some(100_000), "{compression:?}");
    }
    let two_frames = [packed.as_slice(), packed.as_slice()].concat();
    assert_eq!(declared_len(&two_frames), None);
    assert_eq!(declared_len(&[0xff]), None);
}
