//! `walmgr-tls`: walmgr with TLS by OpenSSL. `walmgr` becomes it for verbs that may connect by TLS.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    walmgr::main(walmgr::Transport::Tls(pgq_tls::connector))
}
