//! systemd's readiness protocol, by hand: one datagram.

use std::os::unix::net::UnixDatagram;

/// Tell systemd that the service is ready; nothing when it does not ask.
pub(super) fn ready() {
    send("READY=1");
}

/// Tell systemd that the service is stopping.
pub(super) fn stopping() {
    send("STOPPING=1");
}

fn send(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = UnixDatagram::unbound().and_then(|socket| {
        match path.to_str().and_then(|path| path.strip_prefix('@')) {
            Some(name) => {
                use std::os::linux::net::SocketAddrExt;
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                socket.send_to_addr(state.as_bytes(), &address)
            }
            None => socket.send_to(state.as_bytes(), &path),
        }
    });
    if let Err(error) = sent {
        log::debug!("sd_notify: {error}");
    }
}
