//! PEM as RFC 7468 has it: read leniently, written strictly.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{PemObject, SectionKind};

/// RFC 7468 §2: every line but the last has as many.
const LINE: usize = 64;

/// The kind and content of the only section of a text. `None`: there is none, or more than one, or one that is malformed.
/// What exactly is wrong is not told, because it would show parts of what may be a private key.
pub(crate) fn read_one(text: &str) -> Option<(SectionKind, Vec<u8>)> {
    let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes());
    let first = sections.next()?.ok()?;
    sections.next().is_none().then_some(first)
}

/// With line feeds, the last line included.
pub(crate) fn write(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, digit) in STANDARD.encode(der).chars().enumerate() {
        if index > 0 && index % LINE == 0 {
            text.push('\n');
        }
        text.push(digit);
    }
    text.push_str("\n-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_text_with_one_section_is_read() {
        let one = write("PUBLIC KEY", b"abc");
        assert_eq!(one, "-----BEGIN PUBLIC KEY-----\nYWJj\n-----END PUBLIC KEY-----\n");
        assert_eq!(read_one(&format!("a comment\r\n{one}")), Some((SectionKind::PublicKey, b"abc".to_vec())));
        for wrong in ["", "abc", &one[..40], &format!("{one}{one}"), &one.replace("YWJj", "YW!j")] {
            assert_eq!(read_one(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(der in proptest::collection::vec(any::<u8>(), 1..300)) {
            let text = write("PRIVATE KEY", &der);
            prop_assert!(text.lines().all(|line| line.len() <= LINE));
            prop_assert_eq!(read_one(&text), Some((SectionKind::PrivateKey, der)));
        }
    }
}
