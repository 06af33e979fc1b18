//! A compressed body.

use remote_write::compression::{Compressor, Decompressor, declared_len};
use remote_write::{Compression, concat};

const LIMIT: usize = 1 << 20;

pub(crate) fn run(compression: Compression, data: &[u8]) {
    let mut decoded = Vec::new();
    let Ok(actual) = Decompressor::new().decompress(compression, data, LIMIT, &mut decoded) else { return };
    assert!(decoded.len() <= LIMIT, "a limit is a limit");
    let mut packed = Vec::new();
    Compressor::new().compress(actual, &decoded, &mut packed).expect("what was unpacked can be packed");
    let mut again = Vec::new();
    Decompressor::new().decompress(actual, &packed, LIMIT, &mut again).expect("what was packed can be unpacked");
    assert_eq!(again, decoded);
    if actual != Compression::Snappy {
        return;
    }
    assert_eq!(declared_len(data), Some(decoded.len() as u64));
    // Twice in one block, as deliveries merge.
    let (len, elements) = concat::snappy_elements(data).expect("a block that could be unpacked");
    assert_eq!(len, decoded.len() as u64);
    let twice = [concat::snappy_preamble(2 * len).as_bytes(), elements, elements].concat();
    Decompressor::new().decompress(Compression::Snappy, &twice, 2 * LIMIT, &mut again).expect("merged blocks");
    assert_eq!(again, [&decoded[..], &decoded[..]].concat());
}
