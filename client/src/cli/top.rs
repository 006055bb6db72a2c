//! `pgq top`: the same tables, again and again, with rates; on a terminal a screen of its own.

use std::io::IsTerminal;
use std::time::Duration;

use pgq_client::{Error, Stop};

use super::look::{Look, Looker};
use super::output::{Format, write};
use super::{Exit, Global, screen, signals};

/// Watch queues and consumers live.
#[derive(Debug, clap::Args)]
pub(super) struct Top {
    /// Seconds between looks
    #[arg(long, short = 'i', default_value_t = 2.0, value_name = "SECONDS")]
    interval: f64,
    /// Print so many looks one after the other, and stop
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
}

impl Top {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let interval = Duration::try_from_secs_f64(self.interval)
            .map_err(|_| Error::Config("--interval must not be negative".to_owned()))?;
        let mut client = global.connect()?;
        let stop = Stop::new();
        signals::stop_by(&stop)?;
        let on_terminal = std::io::stdout().is_terminal() && global.format() == Format::Table;
        if on_terminal && self.count.is_none() {
            screen::run(global, client, interval, &stop)?;
            return Ok(Exit::Ok);
        }
        let mut looker = Looker::default();
        let mut looks = 0;
        loop {
            print(&looker.look(&mut client)?, global.format())?;
            looks += 1;
            if self.count.is_some_and(|count| looks >= count) || stop.sleep(interval) {
                return Ok(Exit::Ok);
            }
        }
    }
}

fn print(look: &Look, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        for rows in look.tables() {
            rows.print(format)?;
        }
        return Ok(());
    }
    let mut text = format!("{}\n", look.title);
    if look.lacks_worker() {
        text.push_str("no worker drives this database\n");
    }
    for rows in look.tables() {
        text.push('\n');
        for line in rows.lines() {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text.push('\n');
    write(&text)?;
    Ok(())
}
