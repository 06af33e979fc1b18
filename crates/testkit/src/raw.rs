//! HTTP/1.1 by hand, for what a well-behaved client library would not send: slow, cut, chunked, pipelined requests.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::sender::{Answer, MAX_ANSWER_BYTES};

/// A request's head with exactly these headers, `Host` first; nothing is added.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// A whole request: `Content-Length` is added to the headers.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let mut headers = headers.to_vec();
    headers.push(("Content-Length", &length));
    let mut bytes = head(method, path, &headers);
    bytes.extend_from_slice(body);
    bytes
}

/// The body in the chunked transfer coding (RFC 9112 section 7.1), the last chunk included. `size` is at least 1.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 64);
    for chunk in body.chunks(size.max(1)) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// A TCP connection whose bytes the caller chooses.
#[derive(Debug)]
pub struct RawConnection {
    stream: TcpStream,
    received: BytesMut,
}

impl RawConnection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: BytesMut::new() })
    }

    /// Writes the bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Writes `size` bytes (at least 1), pauses, and so on until all are written or the peer closes.
    pub async fn write_slowly(&mut self, bytes: &[u8], size: usize, pause: Duration) -> io::Result<()> {
        for (index, chunk) in bytes.chunks(size.max(1)).enumerate() {
            if index > 0 {
                tokio::time::sleep(pause).await;
            }
            self.stream.write_all(chunk).await?;
        }
        Ok(())
    }

    /// Says that nothing more will be written.
    pub async fn half_close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Ends the connection with a reset.
    pub fn reset(self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }

    /// Reads the next answer, an interim one (1xx) as well. `UnexpectedEof` when the peer closed before it was whole,
    /// `TimedOut` when it took longer than `limit`, `InvalidData` when it is not HTTP/1.
    pub async fn answer(&mut self, limit: Duration) -> io::Result<Answer> {
        match timeout(limit, self.read_answer()).await {
            Ok(answer) => answer,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"))),
        }
    }

    /// Waits until the peer closes or resets the connection, and says whether it did within `limit`.
    pub async fn closes(&mut self, limit: Duration) -> bool {
        let end = async { while self.fill().await.is_ok() {} };
        timeout(limit, end).await.is_ok()
    }

    async fn read_answer(&mut self) -> io::Result<Answer> {
        let started = Instant::now();
        let head = self.until(b"\r\n\r\n").await?;
        let (status, headers) = parse_head(&head)?;
        let body = self.body(status, &headers).await?;
        Ok(Answer { status, headers, body, latency: started.elapsed() })
    }

    async fn body(&mut self, status: StatusCode, headers: &HeaderMap) -> io::Result<Bytes> {
        if status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
            return Ok(Bytes::new());
        }
        let is_chunked = headers.get("transfer-encoding").is_some_and(|coding| coding.as_bytes() == b"chunked");
        if is_chunked {
            return self.chunked_body().await;
        }
        if let Some(length) = headers.get("content-length") {
            let length = length.to_str().ok().and_then(|length| length.parse().ok());
            return self.exactly(length.ok_or_else(|| invalid("content-length is no number"))?).await;
        }
        // Without a length the body lasts as long as the connection.
        while self.fill().await.is_ok() {}
        Ok(self.received.split().freeze())
    }

    async fn chunked_body(&mut self) -> io::Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let line = self.until(b"\r\n").await?;
            let size = std::str::from_utf8(&line).ok().and_then(|line| line.trim().split(';').next());
            let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
            let size = size.ok_or_else(|| invalid("a chunk without a size"))?;
            body.extend_from_slice(&self.exactly(size).await?);
            self.exactly(2).await?;
            if size == 0 {
                return Ok(body.freeze());
            }
        }
    }

    /// The received bytes up to and including `end`.
    async fn until(&mut self, end: &[u8]) -> io::Result<Bytes> {
        loop {
            if let Some(at) = self.received.windows(end.len()).position(|window| window == end) {
                return Ok(self.received.split_to(at + end.len()).freeze());
            }
            self.fill().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Bytes> {
        if length > MAX_ANSWER_BYTES {
            return Err(invalid("an answer too large to keep"));
        }
        while self.received.remaining() < length {
            self.fill().await?;
        }
        Ok(self.received.split_to(length).freeze())
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.received.len() > MAX_ANSWER_BYTES {
            return Err(invalid("an answer too large to keep"));
        }
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed the connection")),
            _ => Ok(()),
        }
    }
}

fn parse_head(head: &[u8]) -> io::Result<(StatusCode, HeaderMap)> {
    let text = std::str::from_utf8(head).map_err(|source| io::Error::new(io::ErrorKind::InvalidData, source))?;
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    let status = status.and_then(|status| status.parse().ok()).ok_or_else(|| invalid("no status line"))?;
    let mut headers = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let pair = line.split_once(':').and_then(|(name, value)| {
            Some((name.parse::<HeaderName>().ok()?, value.trim().parse::<HeaderValue>().ok()?))
        });
        let (name, value) = pair.ok_or_else(|| invalid("a line that is no header"))?;
        headers.append(name, value);
    }
    Ok((status, headers))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
