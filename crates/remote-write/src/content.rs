//! What a request's headers say about its body, and what ours say. It sees header values only, never the body.

use crate::{Compression, Protocol};

/// The `Content-Type` of outgoing remote write 1.0.
pub const V1_CONTENT_TYPE: &str = "application/x-protobuf";
/// The `Content-Type` of outgoing remote write 2.0: without a space, because Prometheus, Cortex and Mimir take the
/// form with a space for 1.0, and Thanos compares the whole string.
pub const V2_CONTENT_TYPE: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
/// The `X-Prometheus-Remote-Write-Version` of 1.0 (remote write 1.0, "Protocol").
pub const V1_VERSION: &str = "0.1.0";
/// The `X-Prometheus-Remote-Write-Version` of 2.0.
pub const V2_VERSION: &str = "2.0.0";

const V1_MESSAGE: &[u8] = b"prometheus.WriteRequest";
const V2_MESSAGE: &[u8] = b"io.prometheus.write.v2.Request";

/// Longer header values are cut in messages.
const MAX_QUOTED: usize = 128;

/// A header names something that is not spoken here; the answer is 415.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedMedia {
    /// The `Content-Type`, cut to 128 bytes.
    #[error("unsupported content type {0:?}: use {V1_CONTENT_TYPE} or {V2_CONTENT_TYPE}")]
    ContentType(String),
    /// The `Content-Encoding`, cut to 128 bytes.
    #[error("unsupported content encoding {0:?}: use snappy")]
    ContentEncoding(String),
}

/// Chooses the message schema. The `Content-Type` alone decides, never the version header (remote write 2.0,
/// "Protocol"); without one it is 1.0, as for the reference receiver.
///
/// Reads what RFC 9110 allows: any case, spaces around `;`, quoted values; parameters other than `proto` are ignored.
///
/// # Errors
/// For another media type or another `proto`.
pub fn protocol_from_content_type(value: Option<&[u8]>) -> Result<Protocol, UnsupportedMedia> {
    let value = value.unwrap_or_default().trim_ascii();
    if value.is_empty() {
        return Ok(Protocol::V1);
    }
    let unsupported = || UnsupportedMedia::ContentType(quoted(value));
    let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
    let (media_type, mut parameters) = value.split_at(end);
    if !media_type.trim_ascii().eq_ignore_ascii_case(V1_CONTENT_TYPE.as_bytes()) {
        return Err(unsupported());
    }
    let mut protocol = None;
    while !parameters.is_empty() {
        let (parameter, rest) = next_parameter(parameters).ok_or_else(unsupported)?;
        parameters = rest;
        let Some((name, message)) = parameter else { continue };
        if !name.eq_ignore_ascii_case(b"proto") {
            continue;
        }
        let named = match message.as_slice() {
            V1_MESSAGE => Protocol::V1,
            V2_MESSAGE => Protocol::V2,
            _ => return Err(unsupported()),
        };
        if protocol.is_some_and(|earlier| earlier != named) {
            return Err(unsupported());
        }
        protocol = Some(named);
    }
    Ok(protocol.unwrap_or(Protocol::V1))
}

/// A parameter's name and unquoted value.
type Parameter<'a> = (&'a [u8], Vec<u8>);

/// Takes `;`, then a parameter or nothing (RFC 9110 §5.6.6). `None` when it is neither.
fn next_parameter(parameters: &[u8]) -> Option<(Option<Parameter<'_>>, &[u8])> {
    let rest = parameters.strip_prefix(b";")?.trim_ascii_start();
    if rest.is_empty() || rest.starts_with(b";") {
        return Some((None, rest));
    }
    let equals = rest.iter().position(|&byte| byte == b'=')?;
    let (name, rest) = rest.split_at(equals);
    let rest = rest.strip_prefix(b"=")?.trim_ascii_start();
    let (value, rest) = match rest.strip_prefix(b"\"") {
        Some(rest) => quoted_string(rest)?,
        None => {
            let end = rest.iter().position(|&byte| byte == b';').unwrap_or(rest.len());
            let (value, rest) = rest.split_at(end);
            (value.trim_ascii_end().to_vec(), rest)
        }
    };
    let rest = rest.trim_ascii_start();
    let at_end = rest.is_empty() || rest.starts_with(b";");
    at_end.then_some((Some((name.trim_ascii_end(), value)), rest))
}

/// What follows an opening quote: the unescaped value and what is behind the closing quote (RFC 9110 §5.6.4).
fn quoted_string(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut rest = bytes;
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((value, rest)),
            b'\\' => {
                let (&escaped, after) = rest.split_first()?;
                value.push(escaped);
                rest = after;
            }
            _ => value.push(byte),
        }
    }
}

/// Chooses how to decompress. Without a `Content-Encoding` it is snappy, as in every known receiver.
///
/// # Errors
/// For anything but `snappy` and `zstd` in any case, also for an empty value: nothing is sent uncompressed.
pub fn compression_from_content_encoding(value: Option<&[u8]>) -> Result<Compression, UnsupportedMedia> {
    let Some(value) = value else { return Ok(Compression::Snappy) };
    match value.trim_ascii() {
        name if name.eq_ignore_ascii_case(b"snappy") => Ok(Compression::Snappy),
        name if name.eq_ignore_ascii_case(b"zstd") => Ok(Compression::Zstd),
        name => Err(UnsupportedMedia::ContentEncoding(quoted(name))),
    }
}

fn quoted(value: &[u8]) -> String {
    let cut = value.get(..MAX_QUOTED).unwrap_or(value);
    String::from_utf8_lossy(cut).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{
        UnsupportedMedia, V1_CONTENT_TYPE, V2_CONTENT_TYPE, compression_from_content_encoding,
        protocol_from_content_type,
    };
    use crate::{Compression, Protocol};

    #[test]
    fn content_types_are_read_as_rfc_9110_allows() {
        let v1 = [
            "",
            "  ",
            V1_CONTENT_TYPE,
            "Application/X-Protobuf",
            "application/x-protobuf;",
            "application/x-protobuf ; ; charset=utf-8",
            "application/x-protobuf;proto=prometheus.WriteRequest",
            "application/x-protobuf; x=\"a;proto=io.prometheus.write.v2.Request\"",
        ];
        let v2 = [
            V2_CONTENT_TYPE,
            "application/x-protobuf; proto=io.prometheus.write.v2.Request",
            "application/x-protobuf;PROTO=io.prometheus.write.v2.Request",
            "APPLICATION/X-PROTOBUF ;\tproto = \"io.prometheus.write.v2.Request\" ",
            "application/x-protobuf;proto=\"io.prometheus\\.write.v2.Request\"; q=1",
        ];
        assert_eq!(protocol_from_content_type(None), Ok(Protocol::V1));
        for value in v1 {
            assert_eq!(protocol_from_content_type(Some(value.as_bytes())), Ok(Protocol::V1), "{value}");
        }
        for value in v2 {
            assert_eq!(protocol_from_content_type(Some(value.as_bytes())), Ok(Protocol::V2), "{value}");
        }
    }

    #[test]
    fn other_content_types_are_unsupported() {
        for value in [
            "application/json",
            "image/png",
            "application/x-protobuf2",
            "application/x-protobuf;proto=",
            "application/x-protobuf;proto=io.prometheus.write.v3.Request",
            "application/x-protobuf;proto=IO.PROMETHEUS.WRITE.V2.REQUEST",
            "application/x-protobuf;proto",
            "application/x-protobuf;proto=\"prometheus.WriteRequest",
            "application/x-protobuf;proto=\"prometheus.WriteRequest\"x",
            "application/x-protobuf;proto=prometheus.WriteRequest;proto=io.prometheus.write.v2.Request",
            "application/x-protobuf, application/json",
        ] {
            let expected = Err(UnsupportedMedia::ContentType(value.to_owned()));
            assert_eq!(protocol_from_content_type(Some(value.as_bytes())), expected);
        }
    }

    #[test]
    fn only_snappy_and_zstd_are_taken_and_snappy_is_the_default() {
        let encoding = |value: &str| compression_from_content_encoding(Some(value.as_bytes()));
        assert_eq!(compression_from_content_encoding(None), Ok(Compression::Snappy));
        assert_eq!(encoding("Snappy"), Ok(Compression::Snappy));
        assert_eq!(encoding(" ZSTD "), Ok(Compression::Zstd));
        for value in ["", "gzip", "deflate", "br", "identity", "snappy, gzip", "x-snappy-framed"] {
            assert_eq!(encoding(value), Err(UnsupportedMedia::ContentEncoding(value.to_owned())));
        }
    }

    #[test]
    fn messages_quote_at_most_128_bytes_and_no_control_characters() {
        let value = [&b"text/\n\xff"[..], &[b'a'; 500]].concat();
        let text = protocol_from_content_type(Some(&value)).expect_err("unsupported").to_string();
        assert!(text.len() < 400 && !text.contains('\n'), "{text}");
    }
}
