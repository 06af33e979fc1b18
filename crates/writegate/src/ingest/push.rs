//! A push, read top to bottom: route, tenant, admission, body, check, append, answer.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use otlp::answer::Encoding;
use quota::fair::Reservation;
use quota::window::Standing;
use remote_write::check::Rules;
use remote_write::{Compression, Counts, Protocol, compression, content};
use segment_log::{AppendError, Entry};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant as Deadline, timeout_at};
use writegate_config::{DeltaTemporality, Limits, Listener};

use super::answer::AnswerBody;
use super::body::{self, BodyError, BodyLimits};
use super::dialect::{self, Dialect};
use super::examine::{self, Examined, NewRecord, Reading, Source};
use super::grpc;
use super::otlp::{OtlpReading, Packing};
use super::refusal::{self, Reason, Refusal};
use super::route::{self, PathTenant, Route};
use super::tenancy;
use super::{PushStats, Settings};
use crate::auth::{Authentication, Denied, Peer};
use crate::chain::Chain;
use crate::offload::offload;
use crate::record;
use crate::tenant::{Account, Tenant, TenantName, Tenants};

/// From the last byte of the body to the answer, at most: the OpenTelemetry Collector gives up after 5 s, for good.
pub(super) const DURABLE_WITHIN: Duration = Duration::from_secs(4);

/// And from when it was read, at least.
const DURABLE_AT_LEAST: Duration = Duration::from_secs(2);

/// Bodies that unpack to more than this, or do not say to how much, are decoded on a thread of their own: 2 MiB are about
/// 6,000 samples, 1 ms.
const INLINE_DECODED_BYTES: u64 = 2 * 1024 * 1024;

/// What pushes need, the same for all listeners.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(super) tenants: Arc<Tenants>,
    pub(super) authentication: Arc<ArcSwap<Authentication>>,
    pub(super) limits: Limits,
    /// How OTLP metrics become series.
    pub(super) otlp: Arc<otlp::Options>,
    /// What the running totals of a tenant's deltas may take.
    pub(super) deltas: otlp::accumulate::Settings,
    /// How many huge bodies may be decoded at once: each may take `decoded_bytes` of memory, and one of OTLP as much for each
    /// form it has on its way.
    pub(super) decoders: Arc<Semaphore>,
    pub(super) closing: Arc<AtomicBool>,
    pub(super) stats: Arc<PushStats>,
}

/// The connection must be cut without an answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the request body did not arrive in time")]
pub(super) struct Cut;

/// Serves one request of an ingest listener.
///
/// # Errors
/// Only to cut the connection of a body that is too slow.
pub(super) async fn push(
    gate: &Gate,
    settings: &Settings,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Cut> {
    let started = Instant::now();
    let (parts, incoming) = request.into_parts();
    let route = route::route(parts.uri.path());
    let dialect = Dialect::of(&parts, route);
    let (mut incoming, mut standing) = (Some(incoming), None);
    let received = receive(gate, settings, peer, (&parts, route, dialect), &mut incoming, &mut standing).await;
    let (mut response, status) = match received {
        Ok(response) => {
            let status = response.status();
            (response, status)
        }
        // A stream that is reset is a failure for good to senders of gRPC; an answer in time is not.
        Err(Failure::Cut(_)) if dialect == Dialect::Grpc => {
            let status = dialect.status(&Refusal::Late);
            (dialect.refuse(Refusal::Late), status)
        }
        Err(Failure::Cut(cut)) => return Err(cut),
        Err(Failure::Refused(refusal)) => {
            if let Some(reason) = refusal.reason() {
                gate.stats.refused(reason);
            }
            // Of gRPC too, which says it in other words, this is what an operator counts.
            let status = dialect.status(&refusal);
            tracing::debug!(path = parts.uri.path(), status = status.as_u16(), %refusal, "push refused");
            if let Some(unread) = incoming.filter(|_| !expects_continue(&parts)) {
                // The sender keeps its connection, and sees the answer: some give up on a stream that is reset behind it.
                body::ignore(unread).await;
            }
            (dialect.refuse(refusal), status)
        }
    };
    if let Some(standing) = standing {
        refusal::rate_limit_headers(response.headers_mut(), standing);
    }
    gate.stats.answered(status, started.elapsed());
    Ok(response)
}

enum Failure {
    Cut(Cut),
    Refused(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

async fn receive(
    gate: &Gate,
    settings: &Settings,
    peer: &Peer,
    (parts, route, dialect): (&Parts, Route<'_>, Dialect),
    incoming: &mut Option<Incoming>,
    standing: &mut Option<Standing>,
) -> Result<Response<AnswerBody>, Failure> {
    let listener = &settings.listener;
    let path_tenant = dialect::path_tenant(route, dialect, listener)?;
    let tenant = admit(gate, settings, peer, parts, path_tenant).await?;
    let is_remote_write = matches!(route, Route::Write(_));
    if is_remote_write && listener.protocols.zstd && route::asks_vm_protocol_version(parts.uri.query()) {
        return Ok(Response::new(AnswerBody::new(Bytes::from_static(b"1"))));
    }
    if parts.method != Method::POST {
        return Err(Refusal::Method.into());
    }
    let account = gate.tenants.account(tenant);
    let limits = BodyLimits {
        bytes: gate.limits.request_bytes,
        time: listener.timeouts.body,
        expects_continue: expects_continue(parts),
    };
    let declared = incoming.as_ref().and_then(|body| body.size_hint().exact());
    peer.connect(&account).map_err(Refusal::Exceeded)?;
    *standing = within_limits(&account, &limited_path(gate, &account, parts), declared)?;
    let mut reading = if is_remote_write {
        reading(gate, listener, &account, parts)?
    } else {
        otlp_reading(gate, &account, dialect, &parts.headers)?
    };
    let (mut body, reservation) = match incoming.take() {
        Some(incoming) => read_body(&account, limits, incoming).await?,
        None => (Bytes::new(), None),
    };
    if declared.is_none() {
        account.allowance.take_bytes(&account.limits, body.len() as u64).map_err(Refusal::Exceeded)?;
    }
    if let (Dialect::Grpc, Source::Otlp(otlp)) = (dialect, &mut reading.source) {
        let (message, is_compressed) = grpc::message(&body)?;
        body = message;
        if !is_compressed {
            otlp.packing = Packing::None;
        }
    }
    Ok(take(gate, (&parts.headers, dialect), account, reading, (body, reservation)).await?)
}

/// The sender waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
fn expects_continue(parts: &Parts) -> bool {
    parts.headers.contains_key(http::header::EXPECT)
}

/// The path that rules by path look at. Observatorium's tenants have one, however they are written for.
fn limited_path<'p>(gate: &Gate, account: &Account, parts: &'p Parts) -> Cow<'p, str> {
    let logs_in = || gate.tenants.settings().get(&account.name).is_some_and(|tenant| tenant.login.is_some());
    if !account.limits.rate_limits.is_empty() && logs_in() {
        Cow::Owned(format!("/api/metrics/v1/{}/api/v1/receive", account.name))
    } else {
        Cow::Borrowed(parts.uri.path())
    }
}

/// Whether the tenant may send a request, as far as it can be said before the body is read.
fn within_limits(account: &Account, path: &str, declared: Option<u64>) -> Result<Option<Standing>, Refusal> {
    account.allowance.take_request(&account.limits, path, declared.unwrap_or(0)).map_err(Refusal::Exceeded)
}

/// Takes a body that is there: checks it and answers when it is durable.
async fn take(
    gate: &Gate,
    (headers, dialect): (&HeaderMap, Dialect),
    account: Account,
    reading: Reading,
    (body, reservation): (Bytes, Option<Reservation>),
) -> Result<Response<AnswerBody>, Refusal> {
    let deadline = Deadline::now() + DURABLE_WITHIN;
    let reservation = Arc::new(reservation);
    let vm_protocol = matches!(reading.source, Source::RemoteWrite { compression: Compression::Zstd, .. })
        || headers.contains_key("x-victoriametrics-remote-write-version");
    let protocol = reading.protocol;
    let mut examined = examine_somewhere(gate, body, &account, reading, (&reservation, deadline)).await?;
    // What took long to read has its time for the disk all the same.
    let deadline = deadline.max(Deadline::now() + DURABLE_AT_LEAST);
    let tenant = match &account.tenant {
        Some(tenant) => Some(Arc::clone(tenant)),
        // Only data gives birth to a tenant: what was refused or empty leaves nothing on the disk.
        None if examined.records.is_empty() => None,
        None => {
            let created = timeout_at(deadline, create(gate, account.clone())).await;
            Some(created.map_err(|_elapsed| Refusal::Slow)??)
        }
    };
    if let Some(tenant) = &tenant {
        tenant.received(examined.received);
        for (reason, counts) in &examined.refused {
            tenant.refused(*reason).add(*counts);
            let example = examined.examples.iter().find(|(of, _)| of == reason);
            tenant.refused_with(*reason, example.map_or(&examined.points.words, |(_, series)| series));
        }
    }
    match (examined.exceeded.take(), tenant) {
        (Some(exceeded), tenant) => {
            if let Some(tenant) = tenant {
                tenant.refused(Reason::Rate).add(examined.accepted);
                tenant.refused_with(Reason::Rate, &exceeded.to_string());
            }
            return Err(Refusal::Exceeded(exceeded));
        }
        (None, Some(tenant)) => store(&tenant, &mut examined, reservation, deadline).await?,
        (None, None) => {}
    }
    Ok(match dialect {
        Dialect::RemoteWrite => answer(gate, protocol, vm_protocol, &examined),
        Dialect::Otlp(_) | Dialect::Grpc => {
            examined.refused.iter().for_each(|(reason, _)| gate.stats.refused(*reason));
            dialect.accept(examined.points.refused, &examined.points.words)
        }
    })
}

/// A push in a simulation, of a sender that is believed to be `tenant`: all but the network before the gateway.
#[cfg(test)]
pub(crate) async fn push_in_simulation(
    gate: &Gate,
    listener: &Listener,
    tenant: TenantName,
    parts: &Parts,
    body: Bytes,
) -> StatusCode {
    let taken = async {
        if gate.closing.load(Ordering::Relaxed) {
            return Err(Refusal::Shutdown);
        }
        let account = gate.tenants.account(tenant);
        within_limits(&account, parts.uri.path(), Some(body.len() as u64))?;
        let reading = reading(gate, listener, &account, parts)?;
        let now = crate::clock::monotonic_ns();
        let reservation = account.in_flight.reserve(body.len() as u64, now).ok_or(Refusal::Busy)?;
        take(gate, (&parts.headers, Dialect::RemoteWrite), account, reading, (body, Some(reservation))).await
    };
    taken.await.unwrap_or_else(Refusal::into_response).status()
}

/// Everything that can be said before the body is read.
async fn admit(
    gate: &Gate,
    settings: &Settings,
    peer: &Peer,
    parts: &Parts,
    path: PathTenant<'_>,
) -> Result<TenantName, Refusal> {
    if gate.closing.load(Ordering::Relaxed) {
        return Err(Refusal::Shutdown);
    }
    let authentication = gate.authentication.load_full();
    let speaker = authentication.tenant_of(&parts.headers, peer, settings.authorities.as_ref()).await?;
    let tenants = gate.tenants.settings();
    let tenant = tenancy::tenant_of(&settings.listener, &tenants, parts, path, speaker.as_ref())?;
    // The same answer as for a name that disagrees: who is a tenant here is nobody's business.
    if !tenants.admits(&tenant) || tenant.as_str() == "*" {
        return Err(Refusal::Forbidden);
    }
    // Whose senders log in is not written for without: a listener's names are for the others.
    if speaker.is_none() && tenants.get(&tenant).is_some_and(|tenant| tenant.login.is_some()) {
        return Err(Refusal::Unauthenticated(Denied::Missing));
    }
    let allow = tenants.get(&tenant).map(|tenant| tenant.allow.as_slice()).unwrap_or_default();
    let is_allowed = allow.is_empty() || allow.iter().any(|net| net.contains(peer.ip));
    if is_allowed { Ok(tenant) } else { Err(Refusal::Forbidden) }
}

/// The headers decide before the body is looked at: an unsupported type is 415 also when the body is corrupt.
fn reading(gate: &Gate, listener: &Listener, account: &Account, parts: &Parts) -> Result<Reading, Refusal> {
    let header = |name| parts.headers.get(name).map(HeaderValue::as_bytes);
    let protocol = content::protocol_from_content_type(header(http::header::CONTENT_TYPE))
        .map_err(|unsupported| Refusal::Unsupported(unsupported.to_string()))?;
    let compression = content::compression_from_content_encoding(header(http::header::CONTENT_ENCODING))
        .map_err(|unsupported| Refusal::Unsupported(unsupported.to_string()))?;
    let off = |what: &str| Refusal::Unsupported(format!("{what} is switched off on this listener"));
    match protocol {
        Protocol::V1 if !listener.protocols.v1 => return Err(off("remote write 1.0")),
        Protocol::V2 if !listener.protocols.v2 => return Err(off("remote write 2.0")),
        Protocol::V1 | Protocol::V2 => {}
    }
    if compression == Compression::Zstd && !listener.protocols.zstd {
        return Err(off("zstd"));
    }
    Ok(Reading {
        source: Source::RemoteWrite { compression, zstd: listener.protocols.zstd },
        protocol,
        rules: rules(account, listener.strict),
        decoded_limit: gate.limits.decoded_bytes,
    })
}

/// The same for OTLP, whose encoding the dialect says.
fn otlp_reading(gate: &Gate, account: &Account, dialect: Dialect, headers: &HeaderMap) -> Result<Reading, Refusal> {
    let (encoding, packing) = match dialect {
        Dialect::Otlp(encoding) => (encoding, Packing::of_http(headers)?),
        Dialect::Grpc => (Encoding::Protobuf, Packing::of(headers, "grpc-encoding")?),
        Dialect::RemoteWrite => {
            let what = "OTLP is application/x-protobuf or application/json, and over gRPC application/grpc on HTTP/2";
            return Err(Refusal::Unsupported(what.to_owned()));
        }
    };
    let tenants = gate.tenants.settings();
    let temporality = tenants.get(&account.name).map(|tenant| tenant.delta_temporality).unwrap_or_default();
    let options = Arc::clone(&gate.otlp);
    let deltas = (temporality == DeltaTemporality::Accumulate).then_some(gate.deltas);
    Ok(Reading {
        source: Source::Otlp(OtlpReading { encoding, packing, options, deltas }),
        protocol: Protocol::V2,
        rules: rules(account, false),
        decoded_limit: gate.limits.decoded_bytes,
    })
}

fn rules(account: &Account, strict: bool) -> Rules {
    Rules {
        strict,
        label_names: account.limits.label_names,
        label_value_bytes: account.limits.label_value_bytes,
        keep_vm_account_labels: false,
    }
}

async fn read_body(
    account: &Account,
    limits: BodyLimits,
    incoming: Incoming,
) -> Result<(Bytes, Option<Reservation>), Failure> {
    body::collect(incoming, limits, &account.in_flight).await.map_err(|error| match error {
        BodyError::Slow => Failure::Cut(Cut),
        BodyError::Busy => Refusal::Busy.into(),
        BodyError::TooLarge { seen } => Refusal::TooLarge {
            what: "the body",
            limit: limits.bytes,
            seen: seen.map_or_else(String::new, |seen| format!(" (it has {seen})")),
            key: "limits.request_bytes",
        }
        .into(),
        BodyError::Broken(error) => Refusal::Malformed(format!("the body ended early: {error}")).into(),
    })
}

/// Reads a body, a large one on a thread of its own when it is its turn, for which it waits until `deadline`.
async fn examine_somewhere(
    gate: &Gate,
    body: Bytes,
    account: &Account,
    reading: Reading,
    (reservation, deadline): (&Arc<Option<Reservation>>, Deadline),
) -> Result<Examined, Refusal> {
    let decoded = match &reading.source {
        Source::RemoteWrite { .. } => compression::declared_len(&body),
        // What is translated takes about four times as long.
        Source::Otlp(otlp) => (otlp.packing == Packing::None).then_some(4 * body.len() as u64),
    };
    if decoded.is_some_and(|decoded| decoded <= INLINE_DECODED_BYTES) {
        return examine::examine(&body, &reading, account);
    }
    // The semaphore is never closed, and a decoder that panicked has lost this request only.
    let lost = |what: &dyn std::fmt::Display| Refusal::Failed(format!("the body could not be decoded: {what}"));
    let turn = timeout_at(deadline, Arc::clone(&gate.decoders).acquire_owned()).await;
    let turn = turn.map_err(|_elapsed| Refusal::Decoding)?.map_err(|closed| lost(&closed))?;
    let (account, reservation) = (account.clone(), Arc::clone(reservation));
    let examine = move || {
        let examined = examine::examine(&body, &reading, &account);
        // Until then they are taken, also if the sender is gone.
        drop((turn, reservation));
        examined
    };
    offload(examine).await.map_err(|panicked| lost(&panicked))?
}

async fn create(gate: &Gate, account: Account) -> Result<Arc<Tenant>, Refusal> {
    let tenants = Arc::clone(&gate.tenants);
    let created = offload(move || tenants.get_or_create(account)).await;
    match created {
        Ok(Ok(tenant)) => Ok(tenant),
        Ok(Err(error)) => {
            tracing::error!(error = %Chain(&error), "a tenant's log could not be created");
            Err(Refusal::Failed(error.to_string()))
        }
        Err(panicked) => Err(Refusal::Failed(panicked.to_string())),
    }
}

/// Appends and waits until all records are on disk. What became of each is counted when that is known, which may be after
/// the sender is gone or was told that it takes too long.
async fn store(
    tenant: &Arc<Tenant>,
    examined: &mut Examined,
    reservation: Arc<Option<Reservation>>,
    deadline: Deadline,
) -> Result<(), Refusal> {
    let (highest, received_ms) = (examined.highest_timestamp, crate::clock::now_ms());
    // Until they are all written the log holds the body, also if the sender was told long ago that it takes too long.
    // Families are in the first record.
    let mut families = std::mem::take(&mut examined.families);
    let append = |NewRecord { counts, meta, body }| {
        let entry = Entry { received_ms, counts: record::to_array(counts), meta, body };
        let (done, durable) = oneshot::channel();
        let (counted, reservation) = (Arc::clone(tenant), Arc::clone(&reservation));
        let families = std::mem::take(&mut families);
        tenant.log.append(
            entry,
            Box::new(move |result| {
                match &result {
                    Ok(_position) => {
                        counted.accepted(counts, highest);
                        counted.metadata.learn(families);
                    }
                    Err(error) => {
                        let refusal = refuse_append(error);
                        let reason = refusal.reason().unwrap_or(Reason::Full);
                        counted.refused(reason).add(counts);
                        counted.refused_with(reason, &refusal.to_string());
                        counted.append_failed(error);
                        counted.allowance.give_back_samples(counts);
                    }
                }
                drop(reservation);
                // A sender that is gone does not read the answer; the record stays accepted.
                drop(done.send(result));
            }),
        );
        durable
    };
    let durable: Vec<_> = std::mem::take(&mut examined.records).into_iter().map(append).collect();
    let all = async {
        for durable in durable {
            match durable.await {
                Ok(Ok(_position)) => {}
                Ok(Err(error)) => return Err(refuse_append(&error)),
                Err(_writer_gone) => return Err(Refusal::Shutdown),
            }
        }
        Ok(())
    };
    timeout_at(deadline, all).await.unwrap_or(Err(Refusal::Slow))
}

fn refuse_append(error: &AppendError) -> Refusal {
    match error {
        AppendError::Full | AppendError::NoSpace => Refusal::Full(error.to_string()),
        AppendError::Closing => Refusal::Shutdown,
        other => Refusal::Failed(Chain(other).to_string()),
    }
}

fn answer(gate: &Gate, protocol: Protocol, vm_protocol: bool, examined: &Examined) -> Response<AnswerBody> {
    let mut response = match &examined.complaint {
        None => {
            let mut response = Response::new(AnswerBody::default());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Some(text) => {
            let reasons = examined.refused.iter().map(|(reason, _)| *reason);
            // A series may be refused that holds no data.
            let reasons: Vec<_> = if examined.refused.is_empty() { vec![Reason::Invalid] } else { reasons.collect() };
            reasons.into_iter().for_each(|reason| gate.stats.refused(reason));
            Refusal::Partial { text: text.clone(), vm_protocol }.into_response()
        }
    };
    if protocol == Protocol::V2 {
        written(response.headers_mut(), examined.accepted);
    }
    response
}

/// Remote write 2.0, "Required Written Response Headers". Never on a v1 answer: Prometheus would believe them.
fn written(headers: &mut HeaderMap, counts: Counts) {
    for (name, count) in [
        ("x-prometheus-remote-write-samples-written", counts.samples),
        ("x-prometheus-remote-write-histograms-written", counts.histograms),
        ("x-prometheus-remote-write-exemplars-written", counts.exemplars),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(count));
    }
}
