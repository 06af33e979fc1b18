//! What a gateway with Writegate's promise cannot leave out, and nothing else: a request is read, unpacked, each series'
//! bytes are hashed once, the body is written and synced, sent to every endpoint, and answered. No checks, no order, no
//! retries, no books; blocking, one thread a connection. Not a gateway: the floor that gateways are compared with.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{BufReader, IoSlice, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use remote_write::Compression;
use remote_write::compression::Decompressor;

use crate::say;

/// A file is written again from the front after so many bytes: as with recycled segments, space is then there already.
const FILE_BYTES: u64 = 16 << 20;
/// About what a series takes.
const SERIES_BYTES: usize = 356;
const MOST_DECODED: usize = 256 << 20;
const MOST_HEAD: usize = 16 << 10;

#[derive(Debug, Args)]
pub(crate) struct Relay {
    #[arg(long)]
    listen: String,
    #[arg(long)]
    data: PathBuf,
    /// `http://host:port/path`
    #[arg(long)]
    url: Vec<String>,
}

/// Relays until it is killed.
pub(crate) fn run(relay: &Relay) -> Result<()> {
    std::fs::create_dir_all(&relay.data).with_context(|| format!("create {}", relay.data.display()))?;
    let listener = TcpListener::bind(&relay.listen).with_context(|| format!("listen on {}", relay.listen))?;
    std::thread::scope(|scope| {
        for (number, connection) in listener.incoming().enumerate() {
            let connection = connection?;
            scope.spawn(move || {
                let served = Connection::new(connection, &relay.data, number, &relay.url).and_then(Connection::serve);
                if let Err(error) = served {
                    say(&format!("relay: {error:#}"));
                }
            });
        }
        Ok(())
    })
}

struct Connection {
    sender: BufReader<TcpStream>,
    endpoints: Vec<Endpoint>,
    file: File,
    offset: u64,
    decompressor: Decompressor,
    decoded: Vec<u8>,
    body: Vec<u8>,
}

struct Endpoint {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Connection {
    fn new(sender: TcpStream, data: &Path, number: usize, urls: &[String]) -> Result<Self> {
        sender.set_nodelay(true)?;
        let path = data.join(number.to_string());
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
        Ok(Self {
            sender: BufReader::new(sender),
            endpoints: urls.iter().map(|url| Endpoint::connect(url)).collect::<Result<_>>()?,
            file,
            offset: 0,
            decompressor: Decompressor::new(),
            decoded: Vec::new(),
            body: Vec::new(),
        })
    }

    fn serve(mut self) -> Result<()> {
        while let Some(head) = read_head(&mut self.sender)? {
            let answer: &[u8] = if head.starts_with("GET") {
                b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
            } else {
                self.body.resize(content_length(&head)?, 0);
                self.sender.read_exact(&mut self.body)?;
                self.relay()?;
                b"HTTP/1.1 204 No Content\r\n\r\n"
            };
            self.sender.get_mut().write_all(answer)?;
        }
        Ok(())
    }

    fn relay(&mut self) -> Result<()> {
        let Self { body, decoded, .. } = self;
        self.decompressor.decompress(Compression::Snappy, body, MOST_DECODED, decoded)?;
        for series in decoded.chunks(SERIES_BYTES) {
            black_box(xxhash_rust::xxh3::xxh3_64(series));
        }
        self.file.write_all_at(body, self.offset)?;
        self.file.sync_data()?;
        self.offset = (self.offset + body.len() as u64) % FILE_BYTES;
        for endpoint in &mut self.endpoints {
            endpoint.send(body)?;
        }
        self.endpoints.iter_mut().try_for_each(Endpoint::finish)
    }
}

impl Endpoint {
    fn connect(url: &str) -> Result<Self> {
        let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).context("read a URL")?;
        let stream = TcpStream::connect(host).with_context(|| format!("connect to {host}"))?;
        stream.set_nodelay(true)?;
        let head = format!(
            "POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-protobuf\r\n\
             content-encoding: snappy\r\nx-prometheus-remote-write-version: 0.1.0\r\ncontent-length: "
        );
        Ok(Self { stream: BufReader::new(stream), head })
    }

    fn send(&mut self, body: &[u8]) -> Result<()> {
        let head = format!("{}{}\r\n\r\n", self.head, body.len());
        let stream = self.stream.get_mut();
        let written = stream.write_vectored(&[IoSlice::new(head.as_bytes()), IoSlice::new(body)])?;
        match written.checked_sub(head.len()) {
            Some(written) => stream.write_all(body.get(written..).unwrap_or_default())?,
            None => bail!("only {written} bytes of a head were written"),
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let head = read_head(&mut self.stream)?.context("an endpoint closed the connection")?;
        if !head.starts_with("HTTP/1.1 20") {
            bail!("an endpoint answered {head}");
        }
        let length = content_length(&head).unwrap_or(0);
        std::io::copy(&mut self.stream.by_ref().take(length as u64), &mut std::io::sink())?;
        Ok(())
    }
}

/// A head up to its empty line; `None` at the end of the connection.
fn read_head(stream: &mut BufReader<TcpStream>) -> Result<Option<String>> {
    use std::io::BufRead as _;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.by_ref().take(MOST_HEAD as u64).read_line(&mut head)? == 0 {
            return Ok(None);
        }
        if head.len() > MOST_HEAD {
            bail!("a head is longer than {MOST_HEAD} bytes");
        }
    }
    Ok(Some(head))
}

fn content_length(head: &str) -> Result<usize> {
    let line = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value.trim())
    });
    line.context("find the length of a body")?.parse().context("read the length of a body")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_body_is_found_however_its_name_is_written() {
        assert_eq!(content_length("POST / HTTP/1.1\r\nHost: a\r\nContent-LENGTH: 12\r\n\r\n").expect("a length"), 12);
        assert!(content_length("POST / HTTP/1.1\r\nHost: a\r\n\r\n").is_err());
    }
}
