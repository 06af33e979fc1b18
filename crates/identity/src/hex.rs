//! Hexadecimal digits, lower case when written.

use std::fmt::Write as _;

/// Two lower-case digits for each byte.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // A `String` takes everything.
        let _written: Result<(), std::fmt::Error> = write!(text, "{byte:02x}");
        text
    })
}

/// The 32 bytes that 64 digits of either case stand for.
pub(crate) fn decode_32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = nibble(digits[0])? << 4 | nibble(digits[1])?;
    }
    Some(bytes)
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_two_bytes_come_back_and_nothing_else_is_taken() {
        let bytes: [u8; 32] = std::array::from_fn(|index| (index as u8).wrapping_mul(9));
        let text = encode(&bytes);
        assert_eq!(decode_32(&text), Some(bytes));
        assert_eq!(decode_32(&text.to_uppercase()), Some(bytes));
        for wrong in [&text[1..], &format!("{text}0"), &format!("g{}", &text[1..]), &format!("é{}", &text[2..])] {
            assert_eq!(decode_32(wrong), None, "{wrong}");
        }
    }
}
