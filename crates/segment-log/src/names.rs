//! Log names as directory names: injective, also on file systems that ignore case, and never `.` or `..`.

/// Longest name of a log or cursor in bytes.
pub(crate) const MAX_NAME: usize = 255;
/// Longest encoding that is used as a whole; file systems allow 255 bytes.
const MAX_ENCODED: usize = 200;
const PREFIX: usize = 180;

/// A log's name as a directory's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DirName {
    /// Decodes to the log's name.
    Whole(String),
    /// Too long: a prefix, to be completed with a number that is free; the file `name` holds the log's name.
    Prefix(String),
}

/// Whether a log or cursor may be called that.
pub(crate) fn is_allowed(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
}

pub(crate) fn encode(name: &str) -> DirName {
    let mut encoded = String::with_capacity(name.len());
    let mut prefix = 0;
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => encoded.push(char::from(byte)),
            _ => {
                encoded.push('%');
                for digit in [byte >> 4, byte & 15] {
                    encoded.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
                }
            }
        }
        if encoded.len() <= PREFIX {
            prefix = encoded.len();
        }
    }
    if encoded.len() <= MAX_ENCODED {
        return DirName::Whole(encoded);
    }
    encoded.truncate(prefix);
    encoded.push_str("%%");
    DirName::Prefix(encoded)
}

/// The log's name that a directory's name holds; `None` for one that needs the file `name`, or is none of ours.
pub(crate) fn decode(dir_name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(dir_name.len());
    let mut rest = dir_name.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push(u8::try_from(digit()? << 4 | digit()?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let name = String::from_utf8(bytes).ok()?;
    (encode(&name) == DirName::Whole(dir_name.to_owned())).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn names_are_encoded_as_documented() {
        let cases = [
            ("team-a_1", "team-a_1"),
            ("Team", "%54eam"),
            ("..", "%2e%2e"),
            ("a/b", "a%2fb"),
            ("%", "%25"),
            ("ä", "%c3%a4"),
            ("a b", "a%20b"),
        ];
        for (name, dir_name) in cases {
            assert_eq!(encode(name), DirName::Whole(dir_name.to_owned()));
            assert_eq!(decode(dir_name), Some(name.to_owned()));
        }
    }

    #[test]
    fn a_long_name_becomes_a_prefix_without_half_an_escape() {
        let name = "ä".repeat(100);
        let DirName::Prefix(prefix) = encode(&name) else { panic!("300 bytes must not be a directory name") };
        assert_eq!(prefix, format!("{}%%", "%c3%a4".repeat(30)));
        assert_eq!(decode(&format!("{prefix}0")), None);
    }

    #[test]
    fn what_is_not_an_encoding_is_not_decoded() {
        for dir_name in ["", "lost+found", "A", ".git", "a%", "a%2", "%zz", "%61", "%2F"] {
            assert!(dir_name.is_empty() || decode(dir_name).is_none(), "{dir_name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_directory_name_decodes_to_its_log_and_ignores_case(name in ".{1,60}") {
            if let DirName::Whole(dir_name) = encode(&name) {
                prop_assert_eq!(decode(&dir_name), Some(name));
                prop_assert!(dir_name.len() <= MAX_ENCODED);
                prop_assert_eq!(dir_name.to_lowercase(), dir_name);
            }
        }
    }
}
