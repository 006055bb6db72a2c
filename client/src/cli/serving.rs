//! Serve until asked to end, and read the settings again when asked to: what `pgq run` and `pgq
//! ticker` share.

use std::path::Path;

use pgq_client::{Error, Stop};

use super::logging::Targets;
use super::pidfile::Pidfile;
use super::signals::Asked;
use super::{Exit, exit, logging, notify};

/// Something that runs until it is stopped, with the settings that it was made with.
pub(super) trait Serve {
    /// What its log lines begin with.
    fn name(&self) -> &str;
    /// What it is.
    fn kind(&self) -> String;
    fn pidfile(&self) -> Option<&Path>;
    fn log_targets(&self) -> Targets;
    fn serve(&self, stop: &Stop) -> Result<(), Error>;
    /// Go on with what outlives a reading of the settings; `other` has served with earlier ones.
    fn take_over(&mut self, _other: &Self) {}
}

/// How much is logged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) verbose: u8,
    pub(super) quiet: bool,
}

/// What runs, and the file that says so.
struct Kept<S> {
    service: S,
    pidfile: Option<Pidfile>,
}

/// Serve. A reload takes what `read` gives; after a mistake there, or of its pid file or log, it
/// goes on with what it had. A failure ends it, also when a reload was asked for meanwhile.
///
/// # Errors
/// When the pid file or log cannot be had at the start.
pub(super) fn serve<S: Serve>(
    service: S,
    read: impl Fn() -> Result<S, Error>,
    asked: &Asked,
    level: Level,
) -> anyhow::Result<Exit> {
    match start(service, level) {
        Ok(kept) => Ok(keep(kept, read, asked, level)),
        // What is in the way may go away: a full disk, a directory that is mounted later.
        Err(error @ Error::Io { .. }) => {
            super::output::complain(&error.into());
            Ok(Exit::Failed)
        }
        Err(error) => Err(error.into()),
    }
}

fn start<S: Serve>(service: S, level: Level) -> Result<Kept<S>, Error> {
    let pidfile = service.pidfile().map(Pidfile::create).transpose()?;
    logging::as_service(&service.log_targets(), level.verbose, level.quiet)?;
    Ok(Kept { service, pidfile })
}

fn keep<S: Serve>(
    mut kept: Kept<S>,
    read: impl Fn() -> Result<S, Error>,
    asked: &Asked,
    level: Level,
) -> Exit {
    loop {
        let stop = asked.next_run();
        notify::ready();
        log::info!("{}: {} starts", kept.service.name(), kept.service.kind());
        if let Err(error) = kept.service.serve(&stop) {
            notify::stopping();
            log::error!("{}: {error}", kept.service.name());
            return exit::code_of_service(&error);
        }
        if !asked.take_reload() {
            notify::stopping();
            log::info!("{}: stopped", kept.service.name());
            return Exit::Ok;
        }
        log::info!("{}: reading its settings again", kept.service.name());
        if let Err(error) = renew(&mut kept, &read, level) {
            log::error!("{}: {error}; going on as before", kept.service.name());
            reopen(&kept.service, level);
        }
    }
}

/// Take new settings, all of them or none.
fn renew<S: Serve>(
    kept: &mut Kept<S>,
    read: impl Fn() -> Result<S, Error>,
    level: Level,
) -> Result<(), Error> {
    let mut new = read()?;
    let moves = new.pidfile() != kept.service.pidfile();
    let pidfile = if moves { new.pidfile().map(Pidfile::create).transpose()? } else { None };
    logging::as_service(&new.log_targets(), level.verbose, level.quiet)?;
    if moves {
        kept.pidfile = pidfile;
    }
    new.take_over(&kept.service);
    kept.service = new;
    Ok(())
}

/// Open the log files again, which were perhaps renamed. Those that cannot be opened stay as they
/// are.
fn reopen<S: Serve>(service: &S, level: Level) {
    if let Err(error) = logging::as_service(&service.log_targets(), level.verbose, level.quiet) {
        log::error!("{}: {error}; logging as before", service.name());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::rc::Rc;

    use pgq_client::{Error, Stop};

    use super::{Asked, Exit, Level, Serve, Targets, serve};

    type Make = Box<dyn Fn(Fake) -> Result<Fake, Error>>;

    /// Runs what it is given, with the number of the run.
    #[derive(Clone)]
    struct Fake {
        name: &'static str,
        pidfile: Option<PathBuf>,
        log: Option<PathBuf>,
        ran: Rc<RefCell<Vec<&'static str>>>,
        run: Rc<dyn Fn(usize) -> Result<(), Error>>,
    }

    impl Fake {
        fn new(run: impl Fn(usize) -> Result<(), Error> + 'static) -> Self {
            Self { name: "old", pidfile: None, log: None, ran: Rc::default(), run: Rc::new(run) }
        }
    }

    impl Serve for Fake {
        fn name(&self) -> &str {
            self.name
        }

        fn kind(&self) -> String {
            "fake".to_owned()
        }

        fn pidfile(&self) -> Option<&Path> {
            self.pidfile.as_deref()
        }

        fn log_targets(&self) -> Targets {
            Targets { files: self.log.iter().cloned().collect(), ..Targets::default() }
        }

        fn serve(&self, _: &Stop) -> Result<(), Error> {
            self.ran.borrow_mut().push(self.name);
            let run = self.ran.borrow().len();
            (self.run)(run)
        }
    }

    /// How it ends, and what ran. A reload makes of the service what `make` makes of it.
    fn run(
        asked: &Asked,
        service: Fake,
        make: impl Fn(Fake) -> Result<Fake, Error>,
    ) -> (Exit, Vec<&'static str>) {
        let (ran, again) = (Rc::clone(&service.ran), service.clone());
        let read = || make(Fake { name: "new", ..again.clone() });
        let exit = serve(service, read, asked, Level { verbose: 0, quiet: true }).unwrap();
        let ran = ran.borrow().clone();
        (exit, ran)
    }

    fn io(path: &str) -> Error {
        Error::Io { path: path.into(), source: std::io::ErrorKind::StorageFull.into() }
    }

    #[test]
    fn a_reload_takes_the_new_settings() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let asked = Asked::default();
        let (asks, first, second) = (asked.clone(), old.clone(), new.clone());
        let service = Fake::new(move |run| {
            assert_eq!((first.exists(), second.exists()), (run == 1, run == 2));
            if run == 1 {
                asks.reload();
            }
            Ok(())
        });
        let made = run(&asked, Fake { pidfile: Some(old.clone()), ..service }, |fake| {
            Ok(Fake { pidfile: Some(new.clone()), ..fake })
        });
        assert_eq!(made, (Exit::Ok, vec!["old", "new"]));
        assert!(!old.exists() && !new.exists(), "the pid file moved, and went");
    }

    #[test]
    fn a_mistake_at_a_reload_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (pid, log) = (dir.path().join("pid"), dir.path().join("nowhere/file"));
        let nowhere = log.clone();
        let makes: [Make; 4] = [
            Box::new(|_| Err(Error::Config("misspelt".to_owned()))),
            Box::new(|_| Err(io("job.ini"))),
            Box::new(move |fake| Ok(Fake { log: Some(log.clone()), pidfile: None, ..fake })),
            Box::new(move |fake| Ok(Fake { pidfile: Some(nowhere.clone()), ..fake })),
        ];
        for make in makes {
            let asked = Asked::default();
            let (asks, held) = (asked.clone(), pid.clone());
            let service = Fake::new(move |run| {
                assert!(held.exists());
                if run == 1 {
                    asks.reload();
                }
                Ok(())
            });
            let made = run(&asked, Fake { pidfile: Some(pid.clone()), ..service }, make);
            assert_eq!(made, (Exit::Ok, vec!["old", "old"]));
            assert!(!pid.exists());
        }
    }

    #[test]
    fn a_log_whose_directory_is_gone_at_a_reload_does_not_end_the_service() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        fs::create_dir(&logs).unwrap();
        let asked = Asked::default();
        let (asks, at) = (asked.clone(), logs.clone());
        let service = Fake::new(move |run| {
            if run == 1 {
                fs::remove_dir_all(&at).unwrap();
                asks.reload();
            }
            Ok(())
        });
        let made = run(&asked, Fake { log: Some(logs.join("log")), ..service }, Ok);
        assert_eq!(made, (Exit::Ok, vec!["old", "old"]));
    }

    #[test]
    fn an_end_is_not_lost_after_a_reload() {
        let asked = Asked::default();
        let asks = asked.clone();
        let service = Fake::new(move |run| {
            assert_eq!(run, 1);
            asks.reload();
            asks.end_after_batch();
            Ok(())
        });
        assert_eq!(run(&asked, service, Ok), (Exit::Ok, vec!["old"]));
    }

    #[test]
    fn a_failure_is_kept_when_a_reload_is_asked_for() {
        let asked = Asked::default();
        let asks = asked.clone();
        let service = Fake::new(move |_| {
            asks.reload();
            Err(Error::Missing("no such thing".to_owned()))
        });
        assert_eq!(run(&asked, service, Ok), (Exit::Missing, vec!["old"]));
    }

    #[test]
    fn a_file_error_is_one_that_a_restart_may_mend() {
        let asked = Asked::default();
        assert_eq!(
            run(&asked, Fake::new(|_| Err(io("position"))), Ok),
            (Exit::Failed, vec!["old"])
        );
        let nowhere = Fake { pidfile: Some("/nowhere/at/all".into()), ..Fake::new(|_| Ok(())) };
        assert_eq!(run(&asked, nowhere, Ok), (Exit::Failed, vec![]));
    }
}
