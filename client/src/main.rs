//! The `pgq` command. Everything it does is in [`cli`]; the library does the work.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main().into()
}
