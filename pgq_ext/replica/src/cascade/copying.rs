//! A table's copier: what to do next, from the copy of its rows until the worker takes it over.

use super::round::{Batch, Looked};
use super::tables::State;
use crate::error::Error;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Register with the provider, copy the rows, and note what the copy has seen.
    Copy,
    /// Ask the provider for a batch.
    Look,
    /// Apply the table's changes of the batch that the copy has not seen.
    Apply(Batch),
    /// Finish the batch at the provider: it was applied.
    Finish(Batch),
    /// Have the provider lay a tick after the copy, and wait for it.
    AskForTick,
    /// Ask the worker to wait with a batch that ends at this tick or later.
    Want(i64),
    /// Wait for the worker.
    Wait,
    /// The table is the worker's from here on.
    HandOver,
    /// There is nothing to do for a copier: unregister, and end.
    Leave,
}

/// So many ticks behind the worker a copier may be when it asks it to wait.
const CLOSE: i64 = 16;

/// The next step. `state` is the table's, none when it is attached no more; `completed` the tick up
/// to which the copier has applied all, once rows are copied, and `worker` that of the worker;
/// `sees_copy` says whether the copier's tick sees all that the copy has seen, so that events need
/// not be told apart after it.
///
/// # Errors
/// [`Error::LostPosition`] when the batch is neither the copier's next one nor its last, or goes
/// beyond the tick at which the worker waits.
pub fn decide(
    state: Option<State>,
    completed: i64,
    worker: i64,
    looked: Looked,
    sees_copy: bool,
) -> Result<Step, Error> {
    let state = match state {
        None | Some(State::Missing | State::Ok) => return Ok(Step::Leave),
        Some(State::InCopy) => return Ok(Step::Copy),
        Some(state) => state,
    };
    let batch = match (state, looked) {
        (State::WannaSync(_), _) => return Ok(Step::Wait),
        (_, Looked::NotYet) => return Ok(Step::Look),
        (State::CatchingUp, Looked::Nothing) if sees_copy => return Ok(Step::Want(completed + 1)),
        (State::CatchingUp, Looked::Nothing) => return Ok(Step::AskForTick),
        // The worker has a batch, so the tick is there; it only comes a little later.
        (_, Looked::Nothing) => return Ok(Step::Wait),
        (_, Looked::Open(batch)) => batch,
    };
    let Batch { previous, tick, .. } = batch;
    if tick == completed {
        return Ok(Step::Finish(batch));
    }
    if previous != completed {
        return Err(Error::LostPosition { previous, tick, completed });
    }
    match state {
        // The worker will wait for as long as the rest takes: so this ends under load, too.
        State::CatchingUp if sees_copy && worker - completed <= CLOSE => {
            Ok(Step::Want(completed + 1))
        }
        State::DoSync(wanted) if tick == wanted => Ok(Step::HandOver),
        State::DoSync(wanted) if tick > wanted => {
            Err(Error::LostPosition { previous, tick, completed: wanted })
        }
        _ => Ok(Step::Apply(batch)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::attributes::Attributes;
    use super::super::tables::{self, Order, Table};
    use super::*;

    /// A reader's place in the queue.
    #[derive(Clone, Copy, Debug)]
    struct Reader {
        position: i64,
        completed: i64,
        looked: Looked,
    }

    impl Reader {
        fn look(&mut self, ticks: &[(i64, usize)]) {
            let next = ticks.iter().map(|(tick, _)| *tick).find(|tick| *tick > self.position);
            let previous = self.position;
            self.looked = next
                .map_or(Looked::Nothing, |tick| Looked::Open(Batch { id: tick, previous, tick }));
        }
    }

    /// One table: events are numbers in the order of their commits, and a tick or a snapshot sees
    /// all below some number.
    struct World {
        events: usize,
        ticks: Vec<(i64, usize)>,
        table: Table,
        /// How often each event is in the table.
        rows: Vec<usize>,
        worker: Reader,
        copier: Option<Reader>,
    }

    impl World {
        fn new() -> Self {
            let table = Table {
                name: "t".to_owned(),
                state: State::Missing,
                snapshot: None,
                attributes: Attributes::default(),
                destination: None,
            };
            let worker = Reader { position: 1, completed: 1, looked: Looked::NotYet };
            Self { events: 0, ticks: vec![(1, 0)], table, rows: Vec::new(), worker, copier: None }
        }

        fn up_to(&self, tick: i64) -> usize {
            self.ticks.iter().find(|(own, _)| *own == tick).unwrap().1
        }

        fn seen(&self) -> usize {
            self.table.snapshot.as_ref().map_or(0, |seen| seen.parse().unwrap())
        }

        fn apply(&mut self, batch: Batch) {
            for event in self.up_to(batch.previous)..self.up_to(batch.tick) {
                if event >= self.seen() {
                    self.rows[event] += 1;
                }
            }
        }

        fn tick(&mut self) {
            let last = self.ticks.last().unwrap().0;
            self.ticks.push((last + 1 + last % 3, self.events));
        }

        fn work(&mut self) {
            if self.worker.looked == Looked::NotYet {
                self.worker.look(&self.ticks);
            }
            let batch = match self.worker.looked {
                Looked::Open(batch) => Some(batch),
                _ => None,
            };
            let tables = [self.table.clone()];
            let new = batch.filter(|batch| batch.previous == self.worker.completed);
            let orders = tables::orders(&tables, new.map(|batch| batch.tick), 1, |_| true);
            for order in orders.orders {
                match order {
                    Order::Copy(_) => self.table.state = State::InCopy,
                    Order::DoSync(_, tick) => self.table.state = State::DoSync(tick),
                }
            }
            if orders.hold {
                return;
            }
            if let Some(batch) = batch {
                if batch.previous == self.worker.completed {
                    if self.table.state == State::Ok {
                        self.apply(batch);
                    }
                    self.worker.completed = batch.tick;
                } else {
                    assert_eq!(batch.tick, self.worker.completed);
                    self.worker.position = batch.tick;
                    self.worker.looked = Looked::NotYet;
                }
            } else {
                self.worker.looked = Looked::NotYet;
            }
        }

        fn copy(&mut self) {
            let reader = self.copier;
            let completed = reader.map_or(0, |reader| reader.completed);
            let looked = reader.map_or(Looked::NotYet, |reader| reader.looked);
            let sees = reader.is_some() && self.up_to(completed) >= self.seen();
            match decide(Some(self.table.state), completed, self.worker.completed, looked, sees)
                .unwrap()
            {
                Step::Copy => {
                    let last = self.ticks.last().unwrap().0;
                    let new = Reader { position: last, completed: last, looked: Looked::NotYet };
                    let registered = self.copier.get_or_insert(new);
                    registered.looked = Looked::NotYet;
                    self.rows = vec![1; self.events];
                    self.table.snapshot = Some(self.events.to_string());
                    self.table.state = State::CatchingUp;
                }
                Step::Look => {
                    let ticks = self.ticks.clone();
                    self.copier.as_mut().unwrap().look(&ticks);
                }
                Step::Apply(batch) => {
                    self.apply(batch);
                    self.copier.as_mut().unwrap().completed = batch.tick;
                }
                Step::Finish(batch) => {
                    let reader = self.copier.as_mut().unwrap();
                    reader.position = batch.tick;
                    reader.looked = Looked::NotYet;
                }
                Step::AskForTick => {
                    self.tick();
                    self.copier.as_mut().unwrap().looked = Looked::NotYet;
                }
                Step::Want(tick) => self.table.state = State::WannaSync(tick),
                Step::Wait => self.copier.as_mut().unwrap().looked = Looked::NotYet,
                Step::HandOver => {
                    self.table.state = State::Ok;
                    self.table.snapshot = None;
                }
                Step::Leave => self.copier = None,
            }
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Deed {
        Insert,
        Tick,
        Work,
        Copy,
        WorkerDies,
        CopierDies,
        Resync,
    }

    proptest! {
        // In whatever order worker and copier take steps and die, and the table is copied anew,
        // each event is in the table once.
        #[test]
        fn each_event_is_in_the_copied_table_once(
            deeds in prop::collection::vec(
                prop_oneof![
                    3 => Just(Deed::Insert),
                    2 => Just(Deed::Tick),
                    8 => Just(Deed::Work),
                    8 => Just(Deed::Copy),
                    1 => Just(Deed::WorkerDies),
                    1 => Just(Deed::CopierDies),
                    1 => Just(Deed::Resync),
                ],
                0..300,
            ),
        ) {
            let mut world = World::new();
            let forget = |reader: &mut Reader| reader.looked = Looked::NotYet;
            for deed in deeds {
                match deed {
                    Deed::Insert => {
                        world.events += 1;
                        world.rows.push(0);
                    }
                    Deed::Tick => world.tick(),
                    Deed::Work => world.work(),
                    Deed::Copy => world.copy(),
                    Deed::WorkerDies => forget(&mut world.worker),
                    Deed::CopierDies => world.copier.iter_mut().for_each(forget),
                    Deed::Resync if world.table.state == State::Ok && world.copier.is_none() => {
                        world.table.state = State::Missing;
                    }
                    Deed::Resync => {}
                }
            }
            for _ in 0..1000 {
                world.copy();
                world.work();
                if world.table.state != State::Ok || world.copier.is_some() {
                    world.tick();
                }
            }
            world.tick();
            for _ in 0..1000 {
                world.work();
            }
            prop_assert_eq!(world.table.state, State::Ok);
            prop_assert_eq!(world.copier.map(|reader| reader.completed), None);
            prop_assert_eq!(world.rows, vec![1; world.events]);
        }
    }
}
