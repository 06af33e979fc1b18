//! Credentials of HTTP Basic authentication (RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What follows `Basic ` in the `Authorization` header.
pub(crate) fn encode(username: &str, password: &str) -> String {
    STANDARD.encode(format!("{username}:{password}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_of_rfc_7617_encodes_as_printed_there() {
        assert_eq!(super::encode("Aladdin", "open sesame"), "QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
