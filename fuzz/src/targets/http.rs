//! Bytes on a connection of a running gateway: whatever comes, it answers or closes, and then it still works.

use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use writegate::Gateway;

/// Which of its listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Push,
    Admin,
}

struct Running {
    runtime: Runtime,
    push: SocketAddr,
    admin: SocketAddr,
    _gateway: Gateway,
    _data: tempfile::TempDir,
}

/// For so long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn running() -> &'static Running {
    static RUNNING: OnceLock<Running> = OnceLock::new();
    RUNNING.get_or_init(|| {
        let data = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let text = format!(
            "listeners: [{{address: '127.0.0.1:0', tenant: default, otlp: true, grpc: true, timeouts: {{header: 1s, body: 1s, idle: 1s}}}}]\n\
             admin: {{address: '127.0.0.1:0'}}\nlog: {{path: '{}', min_free: 1MiB, max_size: 16MiB}}\n\
             limits: {{request_bytes: 1MiB, decoded_bytes: 4MiB}}\n\
             tenants: [{{name: default, delta_temporality: accumulate}}]\n",
            data.path().join("data").display()
        );
        let loaded = writegate_config::parse(&text, data.path(), data.path()).unwrap_or_else(|wrong| panic!("{wrong}"));
        let gateway =
            runtime.block_on(async { Box::pin(Gateway::start(loaded.config, None)).await }).expect("a gateway");
        let push = runtime.block_on(gateway.ingest_addresses())[0];
        Running { push, admin: gateway.admin_address(), runtime, _gateway: gateway, _data: data }
    })
}

pub(crate) fn run(door: Door, data: &[u8]) {
    let running = running();
    let address = if door == Door::Push { running.push } else { running.admin };
    running.runtime.block_on(async {
        let told = timeout(PATIENCE, talk(address, data, true)).await;
        told.expect("a connection that was closed by the sender ends").unwrap_or_default();
        let health = b"GET /-/healthy HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
        let told =
            timeout(PATIENCE, talk(running.admin, health, false)).await.expect("an answer in time").expect("an answer");
        assert!(told.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&told));
    });
}

/// Writes all, closes that side if it is to, and reads until the other side is closed.
async fn talk(address: SocketAddr, data: &[u8], closes: bool) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let (mut reading, mut writing) = stream.split();
    let write = async {
        // It may have been closed in the middle: that is an answer, too.
        drop(writing.write_all(data).await);
        if closes {
            drop(writing.shutdown().await);
        }
    };
    let mut told = Vec::new();
    let read = async { reading.read_to_end(&mut told).await };
    let ((), read) = tokio::join!(write, read);
    read?;
    Ok(told)
}
