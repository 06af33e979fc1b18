//! What the service manager is told, if one listens: `sd_notify(3)`, a datagram to the socket that `$NOTIFY_SOCKET` names.
//! Whether it hears is no concern of the gateway's.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The gateway serves.
pub(super) const READY: &str = "READY=1";
/// It is about to end.
pub(super) const STOPPING: &str = "STOPPING=1";

/// Tells the state, if somebody listens.
pub(super) fn tell(state: &str) {
    if let Some(socket) = env::var_os("NOTIFY_SOCKET")
        && let Err(error) = send(&socket, state)
    {
        tracing::warn!(%error, state, "the service manager could not be told ($NOTIFY_SOCKET)");
    }
}

/// A name that begins with `@` is in Linux' abstract space (unix(7)).
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}
