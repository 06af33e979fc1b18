//! Tokens that are void before they expire, from a text file that people edit.

use std::collections::HashSet;

use crate::secret::TokenDigest;

/// The void tokens.
///
/// The text has one per line: its `jti`, or the SHA-256 of the token in hexadecimal digits of either case. Blank lines, and
/// what follows a `#` at the start of a line or after white space, are comments. A line that is a token itself makes it
/// void as well: someone who pasted the wrong thing meant just that.
///
/// The digest may be of the whole token or of what its signature covers, the part before the last dot. The second is the
/// better one: whoever holds a token with an ECDSA signature can write that signature in another way, and the digest of the
/// whole is another then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    ids: HashSet<String>,
    digests: HashSet<TokenDigest>,
    entries: usize,
}

impl Revoked {
    /// Reads the content of a file. Every text is one: there is no line that could be wrong.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut revoked = Self::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for line in text.lines().map(without_comment).filter(|line| !line.is_empty()) {
            revoked.entries += 1;
            if let Some(digest) = TokenDigest::from_hex(line) {
                revoked.digests.insert(digest);
            } else if let Some(signed) = signed_part(line) {
                revoked.digests.insert(TokenDigest::of(signed));
            } else {
                revoked.digests.insert(TokenDigest::of(line));
            }
            // Whatever it looks like, it may be an id too.
            revoked.ids.insert(line.to_owned());
        }
        revoked
    }

    /// Whether a token, or the `jti` that is in it, is void.
    #[must_use]
    pub fn contains(&self, token: &str, jti: Option<&str>) -> bool {
        if self.entries == 0 {
            return false;
        }
        jti.is_some_and(|jti| self.ids.contains(jti))
            || self.digests.contains(&TokenDigest::of(token))
            || signed_part(token).is_some_and(|signed| self.digests.contains(&TokenDigest::of(signed)))
    }

    /// How many lines were not blank.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// Whether no token is void.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }
}

/// The line that makes a token void and does not give it away.
#[must_use]
pub fn line_for(token: &str) -> String {
    TokenDigest::of(signed_part(token).unwrap_or(token)).to_hex()
}

fn without_comment(line: &str) -> &str {
    let starts_comment = |(at, _): &(usize, &str)| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    let end = line.match_indices('#').find(starts_comment).map_or(line.len(), |(at, _)| at);
    line[..end].trim()
}

/// What the signature covers, if the text has the three parts of a token.
fn signed_part(token: &str) -> Option<&str> {
    let (signed, _) = token.rsplit_once('.')?;
    (signed.matches('.').count() == 1).then_some(signed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_digests_and_tokens_make_a_token_void() {
        let text = format!(
            "\u{feff}# lost laptops\n\n  id-1  # ann's\r\nid#2\n{}\n{}\na.b.c\nstatic-token\n",
            TokenDigest::of("one.two.three").to_hex().to_uppercase(),
            line_for("x.y.z"),
        );
        let revoked = Revoked::parse(&text);
        assert_eq!(revoked.len(), 6);
        for (token, jti, void) in [
            ("t", Some("id-1"), true),
            ("t", Some("id#2"), true),
            ("t", Some("id-3"), false),
            ("t", Some("# lost laptops"), false),
            ("t", Some(""), false),
            ("t", None, false),
            ("one.two.three", None, true),
            ("one.two.four", None, false),
            ("x.y.z", None, true),
            ("x.y.another way to sign", None, true),
            ("x.q.z", None, false),
            ("a.b.c", None, true),
            ("static-token", Some("id-3"), true),
        ] {
            assert_eq!(revoked.contains(token, jti), void, "{token} {jti:?}");
        }
    }

    #[test]
    fn an_id_of_sixty_four_digits_is_an_id_too() {
        let id = "0123456789abcdef".repeat(4);
        assert!(Revoked::parse(&id).contains("t", Some(&id)));
    }

    #[test]
    fn a_text_without_entries_makes_nothing_void() {
        let revoked = Revoked::parse("# none\n\n \t\n");
        assert!(revoked.is_empty());
        assert!(!revoked.contains("", Some("")));
    }

    proptest! {
        #[test]
        fn the_line_for_a_token_makes_it_void(token in ".{1,60}", text in "(.{0,20}\n){0,5}") {
            let revoked = Revoked::parse(&format!("{text}{}\n", line_for(&token)));
            prop_assert!(revoked.contains(&token, None));
        }

        #[test]
        fn every_id_without_blanks_and_comments_can_be_listed(jti in "[!-~&&[^#]]{1,40}", text in "(.{0,20}\n){0,5}") {
            let revoked = Revoked::parse(&format!("{text}{jti}\n"));
            prop_assert!(revoked.contains("t", Some(&jti)));
        }
    }
}
