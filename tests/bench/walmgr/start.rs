//! How long one call takes: what a server waits for even when there is nothing to do.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::archiver::{Archiver, Kind, Repositories, walmgr, walmgr_config};
use crate::peers;
use crate::table::Series;
use pgq_tests::site::{Site, archiving};

const ROUNDS: usize = 200;

pub(crate) fn run() {
    let site = Site::new(archiving().set("archive_command", "").start());
    let archiver = Archiver::new(&site, Kind::Daemon("lz4"));
    let config = walmgr_config(&site, &archiver.directory, "lz4", Repositories::One);
    let plain = |program: &std::path::Path, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args);
        command
    };
    // The server's user may not be ours, and changing to it takes a program of its own: its cost is
    // taken off.
    let absent = || {
        let mut command = walmgr(&site, &config);
        command.args(["archive-get", "00000009.history", "pg_wal/RECOVERYHISTORY"]);
        command
    };
    let nothing = || site.cluster.run_as("/bin/true");
    let program = site.cluster.dir().join("walmgr");
    let backrest = peers::backrest();
    let mut series = [
        "/bin/true",
        "walmgr --version",
        "pgbackrest version",
        "as the server's user: /bin/true",
        "as the server's user: walmgr archive-get, absent, daemon asked",
    ]
    .map(Series::new);
    for _ in 0..ROUNDS {
        let commands = [
            plain("/bin/true".as_ref(), &[]),
            plain(&program, &["--version"]),
            plain(&backrest, &["version"]),
            nothing(),
            absent(),
        ];
        for (mut command, series) in commands.into_iter().zip(&mut series) {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let begin = Instant::now();
            command.status().unwrap();
            series.figures.push(begin.elapsed().as_secs_f64() * 1000.0);
        }
    }
    println!("One call, median of {ROUNDS}");
    for one in &series {
        println!("  {:<66}{:>8.2} ms", one.name, one.median());
    }
    println!(
        "  walmgr archive-get without the change of user: {:.2} ms (target 3)",
        series[4].median() - series[3].median() + series[0].median()
    );
}
