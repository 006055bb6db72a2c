//! The loop under every consumer: it takes batches, has them processed, and waits out what heals.

mod next;
mod settings;

use std::ops::ControlFlow;
use std::time::Instant;

use crate::batch::Batch;
use crate::cursor::PageSize;
use crate::dead_letter;
use crate::error::Error;
use crate::failpoint::{self, Step};
use crate::outage::Outage;
use crate::session::{self, Session};
use crate::stats::{BatchReport, Stats};
use crate::subscription::Subscription;
use crate::until_now::UntilNow;

use next::Next;
pub(crate) use settings::Settings;

/// One consumer's batches.
pub(crate) struct Intake {
    /// The queue's database.
    pub(crate) source: Session,
    pub(crate) subscription: Subscription,
    pub(crate) settings: Settings,
    pub(crate) page_size: PageSize,
    pub(crate) stats: Stats,
    /// Batches of the runs before this one.
    before: u64,
    /// How far a run until now has come.
    until: Option<UntilNow>,
    dead_letters_ready: bool,
}

/// What else a consumer has: where its effects go, and where it remembers how far it is.
pub(crate) trait Place {
    /// Called before each look for a batch.
    fn prepare(&mut self, _intake: &mut Intake) -> Result<(), Error> {
        Ok(())
    }

    /// The batch that ends at this tick is finished.
    fn finished(&mut self, _tick: i64) -> Result<(), Error> {
        Ok(())
    }

    /// Something failed: the server may be another one now.
    fn failed(&mut self) {}

    /// A connection to somewhere else than the queue's database.
    fn session(&mut self) -> Option<&mut Session> {
        None
    }
}

impl Intake {
    pub(crate) fn new(source: Session, subscription: Subscription, settings: Settings) -> Self {
        Self {
            source,
            subscription,
            page_size: PageSize::at_most(settings.page_rows),
            settings,
            stats: Stats::default(),
            before: 0,
            until: None,
            dead_letters_ready: false,
        }
    }

    /// Take batches until stopped, or until there is nothing more where that ends a run. `process`
    /// handles a batch and finishes it; it returns none when stopped in the middle.
    pub(crate) fn run<P: Place>(
        &mut self,
        place: &mut P,
        mut process: impl FnMut(&mut Self, &mut P, &Batch) -> Result<Option<BatchReport>, Error>,
    ) -> Result<Stats, Error> {
        // A run begins: "now" is now.
        self.until = None;
        self.before = self.stats.batches;
        self.persist(place, |intake, place| intake.turn(place, &mut process))?;
        Ok(self.stats)
    }

    fn turn<P: Place>(
        &mut self,
        place: &mut P,
        process: &mut impl FnMut(&mut Self, &mut P, &Batch) -> Result<Option<BatchReport>, Error>,
    ) -> Result<ControlFlow<()>, Error> {
        self.prepare_dead_letters()?;
        place.prepare(self)?;
        let batch = match self.next()? {
            Next::Batch(batch) => batch,
            Next::Nothing => return Ok(ControlFlow::Continue(())),
            Next::End => return Ok(ControlFlow::Break(())),
        };
        failpoint::visit(Step::BatchOpened);
        if self.settings.stop.is_now() {
            return Ok(ControlFlow::Break(()));
        }
        let begun = Instant::now();
        let report = process(self, place, &batch).map_err(|error| self.explain(error, &batch))?;
        let Some(mut report) = report else { return Ok(ControlFlow::Break(())) };
        report.duration = begun.elapsed();
        place.finished(report.batch.tick)?;
        self.stats.add(&report);
        if let Some(observer) = &mut self.settings.observer {
            observer(&report);
        }
        Ok(match self.settings.max_batches {
            Some(max) if self.stats.batches - self.before >= max => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    }

    /// Attempt something until it is done, again and again while only time, or somebody's hand, is
    /// missing. None when stopped before.
    pub(crate) fn persist<P: Place, T>(
        &mut self,
        place: &mut P,
        mut attempt: impl FnMut(&mut Self, &mut P) -> Result<ControlFlow<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let stop = self.settings.stop.clone();
        let mut outage = Outage::new(self.subscription.full_name());
        while !stop.is_requested() {
            let error = match attempt(self, place) {
                Ok(step) => {
                    // What was given up because of a stop has not succeeded.
                    if !stop.is_requested() {
                        outage.over();
                    }
                    match step {
                        ControlFlow::Continue(()) => continue,
                        ControlFlow::Break(done) => return Ok(Some(done)),
                    }
                }
                Err(error) => error,
            };
            if stop.is_now() {
                break;
            }
            let error = session::explain(error, [Some(&mut self.source), place.session()]);
            if stop.is_requested() && matches!(error, Error::Handler { .. }) {
                // What a stop broke off has not failed.
                let who = self.subscription.full_name();
                log::info!("{who}: stopped, and the batch comes again: {error}");
                break;
            }
            if !error.is_worth_trying_again(self.settings.stop_when_empty) {
                return Err(error);
            }
            place.failed();
            if error.needs_reconnect() {
                self.source.close();
                if let Some(session) = place.session() {
                    session.close();
                }
                self.stats.reconnects += 1;
            }
            stop.sleep(outage.pause(&error));
        }
        Ok(None)
    }

    /// The error, or that another process has finished the batch meanwhile: then the next one
    /// comes.
    fn explain(&mut self, error: Error, batch: &Batch) -> Error {
        match self.source.get() {
            Ok((client, _)) => self.subscription.explain(error, client, batch.id),
            Err(_) => error,
        }
    }

    /// See to it that there is a queue for dead letters, where one is wanted.
    pub(crate) fn prepare_dead_letters(&mut self) -> Result<(), Error> {
        if let (Some(queue), false) = (&self.settings.dead_letter_queue, self.dead_letters_ready) {
            dead_letter::ensure_queue(self.source.get()?.0, queue)?;
            self.dead_letters_ready = true;
        }
        Ok(())
    }
}
