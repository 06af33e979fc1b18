//! gRPC, as far as one unary method needs it ("gRPC over HTTP2", the protocol's own description): a message is a frame, the
//! status is in the trailers, or in the header where there is no message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::answer::AnswerBody;
use super::refusal::Refusal;
use otlp::answer::Code;

/// The only method.
pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// What requests may be compressed with.
const ENCODINGS: HeaderValue = HeaderValue::from_static("identity,gzip,zstd");
const CONTENT: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Whether a request is gRPC, in protobuf.
pub(super) fn is_grpc(content_type: Option<&HeaderValue>) -> bool {
    let kind = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/grpc") || kind.eq_ignore_ascii_case("application/grpc+proto")
}

/// The only message of a request, and whether it is compressed.
///
/// # Errors
/// When there is none, or more, or it is cut short.
pub(super) fn message(body: &Bytes) -> Result<(Bytes, bool), Refusal> {
    let wrong = |what: &str| Err(Refusal::Malformed(format!("the body is not one gRPC message: {what}")));
    let Some((&[flag, a, b, c, d], rest)) = body.split_first_chunk::<5>() else {
        return wrong("its prefix is cut short");
    };
    let length = u64::from(u32::from_be_bytes([a, b, c, d]));
    match (flag, length.cmp(&(rest.len() as u64))) {
        (0 | 1, std::cmp::Ordering::Equal) => Ok((body.slice(5..), flag == 1)),
        (0 | 1, std::cmp::Ordering::Greater) => wrong("it is cut short"),
        (0 | 1, std::cmp::Ordering::Less) => wrong("there are bytes behind it"),
        _ => wrong("it begins with neither 0 nor 1"),
    }
}

/// The answer to what was taken.
pub(super) fn answer(message: &[u8]) -> Response<AnswerBody> {
    let mut body = BytesMut::with_capacity(message.len() + 5);
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.put_slice(message);
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from(Code::Ok as u16))]);
    let mut response = Response::new(AnswerBody::new(body.freeze()).with_trailers(trailers));
    response.headers_mut().insert(CONTENT_TYPE, CONTENT);
    response
}

/// The answer to what was refused. `status` is the `google.rpc.Status` that says more than code and words.
pub(super) fn refuse(code: Code, words: &str, status: &[u8]) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, CONTENT);
    headers.insert(STATUS, HeaderValue::from(code as u16));
    // Percent-encoded it is visible ASCII, whatever it says.
    let words = writegate_config::percent_encoded(words);
    for (name, text) in [("grpc-message", words), ("grpc-status-details-bin", STANDARD_NO_PAD.encode(status))] {
        if let Ok(text) = HeaderValue::from_str(&text) {
            headers.insert(HeaderName::from_static(name), text);
        }
    }
    if code == Code::Unimplemented {
        headers.insert(HeaderName::from_static("grpc-accept-encoding"), ENCODINGS);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_message() {
        let of = |bytes: &'static [u8]| message(&Bytes::from_static(bytes));
        assert_eq!(of(b"\0\0\0\0\x03abc"), Ok((Bytes::from_static(b"abc"), false)));
        assert_eq!(of(b"\x01\0\0\0\0"), Ok((Bytes::new(), true)));
        for (bytes, what) in [
            (&b""[..], "its prefix is cut short"),
            (b"\0\0\0\0", "its prefix is cut short"),
            (b"\0\0\0\0\x03ab", "it is cut short"),
            (b"\0\0\0\0\x03abcd", "there are bytes behind it"),
            (b"\x02\0\0\0\0", "it begins with neither 0 nor 1"),
        ] {
            assert!(of(bytes).unwrap_err().to_string().contains(what), "{bytes:?}");
        }
    }

    #[test]
    fn only_grpc_in_protobuf_is_grpc() {
        let is = |text: &'static str| is_grpc(Some(&HeaderValue::from_static(text)));
        assert!(is("application/grpc") && is("application/grpc+proto") && is("Application/gRPC; x=y"));
        assert!(
            !is("application/grpc+json") && !is("application/grpc-web") && !is("application/json") && !is_grpc(None)
        );
    }
}
