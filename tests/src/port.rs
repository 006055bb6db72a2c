//! TCP ports for servers that are told where to listen.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Mutex;

/// A port of 127.0.0.1 that nobody listens on, kept for a server until this value is dropped.
///
/// The kernel gives it to nobody who connects or asks for any port, and no other process that uses
/// this harness takes it, also while its server is down.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// The UDP port of the same number, which says that it is taken, and goes with the process.
    _held: UdpSocket,
}

impl Port {
    /// A port that this process has not had for long.
    pub fn free() -> Self {
        static LAST: Mutex<Option<u16>> = Mutex::new(None);
        let mut last = LAST.lock().expect("nobody fails while holding it");
        let range = below_those_of_the_kernel();
        let (first, count) = (*range.start(), u32::from(range.end() - range.start()) + 1);
        for _ in 0..count {
            // Processes begin at places of their own, so that they seldom meet.
            let step = match *last {
                Some(last) => u32::from(last - first) + 1,
                None => std::process::id().wrapping_mul(7919),
            };
            let number = first + u16::try_from(step % count).expect("a part of the range");
            *last = Some(number);
            let Ok(held) = UdpSocket::bind(("127.0.0.1", number)) else { continue };
            if TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _held: held };
            }
        }
        panic!("every port of {range:?} is taken");
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Ports that are not privileged, and that the kernel does not give away itself.
fn below_those_of_the_kernel() -> RangeInclusive<u16> {
    let own = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let begin = own.split_whitespace().next().and_then(|first| first.parse().ok());
    // 32768 is what Linux begins with where nobody has said anything else.
    match begin.unwrap_or(32_768_u16) {
        // A host that leaves us none: those that hosts leave elsewhere.
        ..12_000 => 10_000..=32_767,
        begin => 10_000..=begin - 1,
    }
}
