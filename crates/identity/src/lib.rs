//! Who is speaking: tokens, key sets, passwords and certificates. Pure: no sockets, no files, no clock and no log; time is
//! handed in as whole seconds since 1970.
//!
//! What a sender presents is checked against what the operator configured, and the answer is the *text* of a tenant's name:
//! whether such a name is well formed and known is for the caller to say. Nothing in here ends up in a message that could be
//! used to speak for a tenant: no token, password or private key is printed, not even by `Debug`.
//!
//! * JSON Web Tokens: [`token`] checks them under the keys of a [`key_set`]; [`revocation`] knows those that are void;
//!   [`issue`] makes keys and tokens.
//! * Static tokens and passwords: [`secret`].
//! * Client certificates: [`certificate`].
//! * What has been verified is remembered in a [`cache`], and what a user may do is in [`rbac`].
//!
//! Signatures are checked with aws-lc-rs directly, not through a JWT library: which algorithm a key takes is then decided
//! where the key is read and nowhere else, base64 that is not canonical is refused, and there is no provider that a feature
//! of another crate could switch.

pub mod cache;
pub mod certificate;
mod hex;
pub mod issue;
pub mod key;
pub mod key_set;
pub mod pattern;
mod pem;
pub mod rbac;
pub mod revocation;
pub mod secret;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod token;
