//! Static bearer tokens and passwords, as the gateway keeps and compares them: hashed in memory, compared in constant time.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use aws_lc_rs::digest;
use bcrypt::HashParts;
use subtle::ConstantTimeEq;

use crate::hex;

/// The costliest bcrypt hash that is taken; each step doubles the work, and this one takes seconds.
pub const MAX_BCRYPT_COST: u32 = 15;
/// The least that bcrypt knows.
const MIN_BCRYPT_COST: u32 = 4;

/// The SHA-256 of a bearer token. Two are compared in constant time; `Debug` does not show it, because the digest of a
/// token that people chose can be guessed.
#[derive(Clone, Copy)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Of the token as it was presented.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(sha256(token.as_bytes()))
    }

    /// From 64 hexadecimal digits of either case.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        hex::decode_32(text).map(Self)
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(&self.0)
    }
}

impl PartialEq for TokenDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenDigest {}

impl Hash for TokenDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// What a presented password is compared with.
#[derive(Clone)]
pub struct Password(Kept);

#[derive(Clone)]
enum Kept {
    /// Of a password that was given in plain text. Comparing digests hides the length too.
    Sha256([u8; 32]),
    Bcrypt {
        hash: String,
        cost: u32,
    },
    /// No password is right, and finding that out takes as long as bcrypt of this cost.
    Nobody {
        hash: String,
        cost: u32,
    },
}

/// A text is no password to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    /// Everyone could guess it.
    #[error("the password is empty")]
    Empty,
    /// It begins like a bcrypt hash and is none.
    #[error("not a bcrypt hash: expected $2a$, $2b$ or $2y$, a cost of two digits and 53 characters")]
    Malformed,
    /// It would take the gateway too long, or too little to be one.
    #[error("the bcrypt cost is {seen}, allowed are {MIN_BCRYPT_COST} to {MAX_BCRYPT_COST}")]
    Cost {
        /// As written.
        seen: u32,
    },
}

impl Password {
    /// A password in plain text.
    ///
    /// # Errors
    /// If it is empty.
    pub fn plain(password: &str) -> Result<Self, InvalidPassword> {
        if password.is_empty() {
            return Err(InvalidPassword::Empty);
        }
        Ok(Self(Kept::Sha256(sha256(password.as_bytes()))))
    }

    /// A bcrypt hash, as in the web configuration of Prometheus: `$2a$`, `$2b$` or `$2y$`.
    ///
    /// # Errors
    /// If it is none, or its cost is not within 4 to [`MAX_BCRYPT_COST`].
    pub fn bcrypt(hash: &str) -> Result<Self, InvalidPassword> {
        if !begins_like_bcrypt(hash) {
            return Err(InvalidPassword::Malformed);
        }
        let Ok(parts) = HashParts::from_str(hash) else { return Err(InvalidPassword::Malformed) };
        let cost = parts.get_cost();
        if !(MIN_BCRYPT_COST..=MAX_BCRYPT_COST).contains(&cost) {
            return Err(InvalidPassword::Cost { seen: cost });
        }
        Ok(Self(Kept::Bcrypt { hash: hash.to_owned(), cost }))
    }

    /// A bcrypt hash if the text begins like one, else a password in plain text.
    ///
    /// # Errors
    /// As [`Password::bcrypt`] and [`Password::plain`].
    pub fn of(text: &str) -> Result<Self, InvalidPassword> {
        if begins_like_bcrypt(text) { Self::bcrypt(text) } else { Self::plain(text) }
    }

    /// For a user who does not exist: no password is right, and a check takes as long as one of bcrypt with that cost (kept
    /// within what is allowed), so that time does not tell who exists.
    #[must_use]
    pub fn of_nobody(cost: u32) -> Self {
        let cost = cost.clamp(MIN_BCRYPT_COST, MAX_BCRYPT_COST);
        let hash = format!("$2b${cost:02}${}", ".".repeat(53));
        Self(Kept::Nobody { hash, cost })
    }

    /// Whether this is the password. bcrypt looks at the first 72 bytes only.
    ///
    /// With bcrypt this takes milliseconds to seconds of computing: not for a thread that serves others.
    #[must_use]
    pub fn is(&self, presented: &[u8]) -> bool {
        match &self.0 {
            Kept::Sha256(digest) => digest.ct_eq(&sha256(presented)).into(),
            Kept::Bcrypt { hash, .. } => bcrypt::verify(presented, hash).unwrap_or(false),
            Kept::Nobody { hash, .. } => {
                std::hint::black_box(bcrypt::verify(presented, hash).unwrap_or(false));
                false
            }
        }
    }

    /// The cost of bcrypt; `None`: a check is cheap.
    #[must_use]
    pub const fn bcrypt_cost(&self) -> Option<u32> {
        match &self.0 {
            Kept::Sha256(_) => None,
            Kept::Bcrypt { cost, .. } | Kept::Nobody { cost, .. } => Some(*cost),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// As Prometheus' own check does; `$2x$` marks hashes of a broken implementation.
fn begins_like_bcrypt(text: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|version| text.starts_with(version))
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of "secret", cost 4.
    fn hash_of_secret(version: &str) -> String {
        let hash = bcrypt::hash_with_salt("secret", 4, *b"0123456789abcdef").unwrap().to_string();
        hash.replace("$2b$", version)
    }

    #[test]
    fn a_token_is_known_by_its_digest_which_debug_does_not_show() {
        let digest = TokenDigest::of("abc");
        assert_eq!(digest.to_hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(TokenDigest::from_hex(&digest.to_hex().to_uppercase()), Some(digest));
        assert_ne!(digest, TokenDigest::of("abd"));
        assert_eq!(TokenDigest::from_hex("abc"), None);
        assert_eq!(format!("{digest:?}"), "TokenDigest(..)");
    }

    #[test]
    fn a_plain_password_is_itself_and_nothing_else() {
        let password = Password::of("pass word").unwrap();
        assert_eq!(password.bcrypt_cost(), None);
        for (presented, right) in
            [("pass word", true), ("pass wor", false), ("pass word ", false), ("Pass word", false), ("", false)]
        {
            assert_eq!(password.is(presented.as_bytes()), right, "{presented}");
        }
        assert_eq!(Password::of("").unwrap_err(), InvalidPassword::Empty);
        assert_eq!(format!("{password:?}"), "Password(..)");
    }

    #[test]
    fn bcrypt_hashes_of_all_three_spellings_are_taken() {
        for version in ["$2a$", "$2b$", "$2y$"] {
            let password = Password::of(&hash_of_secret(version)).unwrap();
            assert_eq!(password.bcrypt_cost(), Some(4));
            assert!(password.is(b"secret"), "{version}");
            assert!(!password.is(b"secreT"), "{version}");
            assert!(!password.is(hash_of_secret(version).as_bytes()), "the hash is not the password");
        }
    }

    #[test]
    fn a_hash_that_costs_too_much_or_is_none_is_refused() {
        let hash = hash_of_secret("$2b$");
        let of_cost = |cost: &str| hash.replace("$2b$04$", &format!("$2b${cost}$"));
        assert!(Password::bcrypt(&of_cost("15")).is_ok());
        assert_eq!(Password::bcrypt(&of_cost("16")).unwrap_err(), InvalidPassword::Cost { seen: 16 });
        assert_eq!(Password::bcrypt(&of_cost("03")).unwrap_err(), InvalidPassword::Cost { seen: 3 });
        for wrong in [&hash[..59], &of_cost("xx"), &hash.replace("$2b$", "$2x$"), "secret", ""] {
            assert_eq!(Password::bcrypt(wrong).unwrap_err(), InvalidPassword::Malformed, "{wrong}");
        }
        assert_eq!(Password::of("$2b$oops").unwrap_err(), InvalidPassword::Malformed);
    }

    #[test]
    fn nobody_has_no_password_but_the_cost_of_one() {
        let nobody = Password::of_nobody(5);
        assert_eq!(nobody.bcrypt_cost(), Some(5));
        assert!(
            HashParts::from_str(match &nobody.0 {
                Kept::Nobody { hash, .. } => hash,
                Kept::Sha256(_) | Kept::Bcrypt { .. } => "",
            })
            .is_ok()
        );
        assert!(!nobody.is(b"") && !nobody.is(b"secret"));
        assert_eq!(Password::of_nobody(31).bcrypt_cost(), Some(MAX_BCRYPT_COST));
    }
}
