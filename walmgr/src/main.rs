//! `walmgr`, without TLS: what may need it goes on in `walmgr-tls`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    walmgr::main(walmgr::Transport::Plain)
}
