//! Credentials of HTTP Basic authentication (RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What follows `Basic ` in the `Authorization` header.
pub(crate) fn encode(username: &str, password: &str) -> String {
    STANDARD.encode(format!("{username}:{password}"))
}

/// User and password with the colon between them; `None` if it is no text in base64. The first colon ends the user (§2).
pub(crate) fn decode(credentials: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(credentials).ok()?).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_of_rfc_7617_encodes_as_printed_there() {
        assert_eq!(super::encode("Aladdin", "open sesame"), "QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(super::decode("QWxhZGRpbjpvcGVuIHNlc2FtZQ==").as_deref(), Some("Aladdin:open sesame"));
    }
}
