//! What the sender speaks: the same is answered to all, each in its own words.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use otlp::answer::{Code, Encoding, response, status};
use writegate_config::Listener;

use super::answer::AnswerBody;
use super::grpc;
use super::refusal::Refusal;
use super::route::{PathTenant, Route};

/// A protocol of senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Remote write, and whatever is none of the others: an answer is a line of text.
    RemoteWrite,
    /// OTLP over HTTP: an answer is a message in the encoding of the request.
    Otlp(Encoding),
    /// OTLP over gRPC.
    Grpc,
}

impl Dialect {
    /// As the header says, also where the listener does not take it: a sender reads no refusal in other words than its own.
    pub(super) fn of(parts: &Parts, route: Route<'_>) -> Self {
        let content_type = parts.headers.get(CONTENT_TYPE);
        if parts.version == Version::HTTP_2 && grpc::is_grpc(content_type) {
            return Self::Grpc;
        }
        match (route, encoding(&parts.headers)) {
            (Route::Otlp, Some(encoding)) => Self::Otlp(encoding),
            _ => Self::RemoteWrite,
        }
    }

    /// The status of a refusal. For OTLP a body that is too large has one of its own: all its senders drop it.
    pub(super) fn status(self, refusal: &Refusal) -> StatusCode {
        match (self, refusal) {
            (Self::Otlp(_) | Self::Grpc, Refusal::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            _ => refusal.status(),
        }
    }

    /// Tells the sender that nothing was taken.
    pub(super) fn refuse(self, refusal: Refusal) -> Response<AnswerBody> {
        let status_code = self.status(&refusal);
        let words = refusal.to_string();
        let (parts, text) = refusal.into_response().into_parts();
        let retry_after = retry_after(&parts.headers);
        let code = code(status_code, self == Self::Grpc);
        match self {
            Self::RemoteWrite => Response::from_parts(parts, text),
            Self::Otlp(encoding) => {
                let mut response =
                    Response::from_parts(parts, AnswerBody::new(status(encoding, code, &words, retry_after)));
                *response.status_mut() = status_code;
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
                response
            }
            Self::Grpc => grpc::refuse(code, &words, &status(Encoding::Protobuf, code, &words, retry_after)),
        }
    }

    /// Tells a sender of OTLP what became of its points.
    pub(super) fn accept(self, refused_points: u64, words: &str) -> Response<AnswerBody> {
        match self {
            Self::Grpc => grpc::answer(&response(Encoding::Protobuf, refused_points, words)),
            Self::Otlp(encoding) => {
                let body = Bytes::from(response(encoding, refused_points, words));
                let mut response = Response::new(AnswerBody::new(body));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
                response
            }
            Self::RemoteWrite => {
                let mut response = Response::new(AnswerBody::default());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
        }
    }
}

/// The tenant of a path, if something is served there.
pub(super) fn path_tenant<'p>(
    route: Route<'p>,
    dialect: Dialect,
    listener: &Listener,
) -> Result<PathTenant<'p>, Refusal> {
    match route {
        Route::Write(tenant) if dialect != Dialect::Grpc => Ok(tenant),
        Route::Otlp if !listener.otlp => Err(Refusal::Off { what: "OTLP", key: "otlp" }),
        Route::Otlp if dialect != Dialect::Grpc => Ok(PathTenant::None),
        Route::Grpc if !listener.grpc => Err(Refusal::Off { what: "OTLP over gRPC", key: "grpc" }),
        Route::Grpc => Ok(PathTenant::None),
        Route::OtherSignal => Err(Refusal::OtherSignal),
        Route::Write(_) | Route::Otlp | Route::NotFound => Err(Refusal::NotFound),
    }
}

/// The encoding of an OTLP request, by its media type.
fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is = |encoding: &Encoding| kind.eq_ignore_ascii_case(encoding.content_type());
    [Encoding::Protobuf, Encoding::Json].into_iter().find(is)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn code(status: StatusCode, is_grpc: bool) -> Code {
    match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND if !is_grpc => Code::NotFound,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Code::Unimplemented,
        StatusCode::UNSUPPORTED_MEDIA_TYPE if is_grpc => Code::Unimplemented,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => Code::InvalidArgument,
    }
}
