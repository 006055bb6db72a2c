//! A worker's round: what to do next.
//!
//! It depends on the node, which is read anew after each step that changes it, and on what this
//! process has at hand; both a new process and one that goes on find the same way.

use super::node::{Kind, Node};
use crate::error::Error;

/// A batch that the provider has opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its id at the provider.
    pub id: i64,
    /// Tick at which it begins.
    pub previous: i64,
    /// Tick at which it ends.
    pub tick: i64,
}

/// What the provider has said about batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It was not asked since.
    NotYet,
    /// There is none.
    Nothing,
    /// This one is open.
    Open(Batch),
}

/// What this process has at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hand<'h> {
    /// Name and location of the provider that it is connected to.
    pub connected: Option<(&'h str, &'h str)>,
    /// The open batch.
    pub looked: Looked,
    /// The watermark that this provider was told last.
    pub told: Option<i64>,
    /// It was told lately: a new one can wait until there is nothing else to do.
    pub told_lately: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Say that the administrator's last change is seen.
    Acknowledge,
    /// Nothing, for a while: the worker is paused.
    Pause,
    /// What a root's worker does besides: see to sequences and watermark. Then nothing for a while.
    TendRoot,
    /// Connect to the node's provider, instead of another one.
    Connect,
    /// Ask the provider for a batch.
    Look,
    /// Wait until there is a batch.
    Wait,
    /// Apply the batch, and note its tick as completed, in one transaction.
    Apply(Batch),
    /// Lay this tick, up to which all is applied, in the node's own queue.
    LayTick(i64),
    /// Tell the provider what the subtree still needs.
    Tell(i64),
    /// Finish the batch at the provider.
    Finish(Batch),
}

/// The next step.
///
/// # Errors
/// [`Error::LostPosition`] when the batch is neither the next one of the node nor its last:
/// after a restore of either side.
pub fn decide(node: &Node, hand: &Hand<'_>) -> Result<Step, Error> {
    if !node.uptodate {
        return Ok(Step::Acknowledge);
    }
    if node.paused {
        return Ok(Step::Pause);
    }
    if node.kind == Kind::Root {
        return Ok(Step::TendRoot);
    }
    if hand.connected != Some((&node.provider, &node.location)) {
        return Ok(Step::Connect);
    }
    if node.kind == Kind::Branch && node.queue_top < Some(node.completed) {
        return Ok(Step::LayTick(node.completed));
    }
    let news = node.watermark.filter(|watermark| hand.told != Some(*watermark));
    let batch = match hand.looked {
        Looked::NotYet => return Ok(Step::Look),
        Looked::Nothing => return Ok(news.map_or(Step::Wait, Step::Tell)),
        Looked::Open(batch) => batch,
    };
    if batch.previous == node.completed {
        return Ok(Step::Apply(batch));
    }
    if batch.tick != node.completed {
        let Batch { previous, tick, .. } = batch;
        return Err(Error::LostPosition { previous, tick, completed: node.completed });
    }
    match news {
        Some(watermark) if !hand.told_lately => Ok(Step::Tell(watermark)),
        _ => Ok(Step::Finish(batch)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A queue: the events that each of its ticks adds, and who reads how far.
    #[derive(Clone, Debug, Default)]
    struct Queue {
        /// Tick ids and the events up to them.
        ticks: Vec<(i64, usize)>,
        events: Vec<usize>,
        position: i64,
        open: Option<Batch>,
    }

    impl Queue {
        fn next(&mut self) -> Option<Batch> {
            let position = self.position;
            let next = self.ticks.iter().map(|(tick, _)| *tick).find(|tick| *tick > position);
            self.open = self.open.or(next.map(|tick| Batch { id: tick, previous: position, tick }));
            self.open
        }

        fn events_of(&self, batch: Batch) -> Vec<usize> {
            let up_to = |tick| {
                self.ticks.iter().find(|(own, _)| *own == tick).map_or(0, |(_, up_to)| *up_to)
            };
            self.events[up_to(batch.previous)..up_to(batch.tick)].to_vec()
        }

        fn finish(&mut self, batch: Batch) {
            if self.open == Some(batch) {
                self.position = batch.tick;
                self.open = None;
            }
        }
    }

    /// A node, two providers with the same ticks, and a process.
    struct World {
        providers: [Queue; 2],
        node: Node,
        own: Queue,
        applied: Vec<usize>,
        connected: Option<String>,
        looked: Looked,
        told: Option<i64>,
    }

    impl World {
        fn new(kind: Kind) -> Self {
            let first = Queue { ticks: vec![(1, 0)], position: 1, ..Queue::default() };
            let node = Node {
                kind,
                name: "n".to_owned(),
                worker: "w".to_owned(),
                provider: "0".to_owned(),
                location: String::new(),
                completed: 1,
                paused: false,
                uptodate: true,
                watermark: Some(1),
                queue_top: (kind == Kind::Branch).then_some(1),
                combined: None,
            };
            Self {
                own: first.clone(),
                providers: [first.clone(), first],
                node,
                applied: Vec::new(),
                connected: None,
                looked: Looked::NotYet,
                told: None,
            }
        }

        fn die(&mut self) {
            (self.connected, self.looked, self.told) = (None, Looked::NotYet, None);
        }

        fn provider(&mut self) -> &mut Queue {
            let at = usize::from(self.connected.as_deref() == Some("1"));
            &mut self.providers[at]
        }

        fn produce(&mut self) {
            for queue in &mut self.providers {
                queue.events.push(queue.events.len());
                let up_to = queue.events.len();
                // Ids have gaps.
                let last = queue.ticks.last().map_or(0, |(tick, _)| *tick);
                queue.ticks.push((last + 1 + last % 2, up_to));
            }
        }

        /// One step of the process; true when there is nothing left to do.
        fn step(&mut self) -> Result<bool, Error> {
            let connected = self.connected.clone();
            let hand = Hand {
                connected: connected.as_deref().map(|name| (name, "")),
                looked: self.looked,
                told: self.told,
                told_lately: false,
            };
            match decide(&self.node, &hand)? {
                Step::Acknowledge => self.node.uptodate = true,
                Step::Pause | Step::TendRoot => return Ok(true),
                Step::Connect => {
                    self.die();
                    self.connected = Some(self.node.provider.clone());
                }
                Step::Look => {
                    self.looked = self.provider().next().map_or(Looked::Nothing, Looked::Open);
                }
                Step::Wait => {
                    self.looked = Looked::NotYet;
                    return Ok(true);
                }
                Step::Apply(batch) => {
                    let events = self.provider().events_of(batch);
                    self.applied.extend(&events);
                    self.own.events.extend(events);
                    self.node.completed = batch.tick;
                    if self.node.kind == Kind::Leaf {
                        self.node.watermark = Some(batch.tick);
                    }
                }
                Step::LayTick(tick) => {
                    self.own.ticks.push((tick, self.own.events.len()));
                    self.node.queue_top = Some(tick);
                }
                Step::Tell(watermark) => self.told = Some(watermark),
                Step::Finish(batch) => {
                    self.provider().finish(batch);
                    self.looked = Looked::NotYet;
                }
            }
            Ok(false)
        }

        /// Read from the other provider, from the position of the node.
        fn change_provider(&mut self) {
            let at = usize::from(self.node.provider == "0");
            self.providers[at].position = self.node.completed;
            self.providers[at].open = None;
            self.node.provider = at.to_string();
            self.node.uptodate = false;
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Deed {
        Step,
        Die,
        Produce,
        Pause(bool),
        ChangeProvider,
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            12 => Just(Deed::Step),
            2 => Just(Deed::Die),
            3 => Just(Deed::Produce),
            1 => any::<bool>().prop_map(Deed::Pause),
            1 => Just(Deed::ChangeProvider),
        ]
    }

    proptest! {
        // Whatever happens between two steps, each event is applied once, in order, and a branch
        // has the ticks of its provider with the same events.
        #[test]
        fn each_event_is_applied_once(
            branch in any::<bool>(),
            deeds in prop::collection::vec(deed(), 0..200),
        ) {
            let mut world = World::new(if branch { Kind::Branch } else { Kind::Leaf });
            for deed in deeds {
                match deed {
                    Deed::Step => { world.step().unwrap(); }
                    Deed::Die => world.die(),
                    Deed::Produce => world.produce(),
                    Deed::Pause(pause) => {
                        world.node.uptodate &= world.node.paused == pause;
                        world.node.paused = pause;
                    }
                    Deed::ChangeProvider => world.change_provider(),
                }
            }
            world.node.paused = false;
            world.die();
            let mut steps = 0;
            while !world.step().unwrap() {
                steps += 1;
                prop_assert!(steps < 2000, "no end");
            }
            let all: Vec<_> = (0..world.providers[0].events.len()).collect();
            prop_assert_eq!(&world.applied, &all);
            if branch {
                prop_assert_eq!(&world.own.ticks, &world.providers[0].ticks);
            }
        }
    }

    #[test]
    fn a_batch_that_fits_neither_end_is_a_lost_position() {
        let mut world = World::new(Kind::Leaf);
        world.produce();
        world.produce();
        world.node.completed = 77;
        let lost = loop {
            match world.step() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(
            lost.to_string(),
            "lost position: batch is ticks 1 to 3, but the node has tick 77"
        );
    }

    #[test]
    fn a_root_reads_nothing() {
        let mut node = World::new(Kind::Leaf).node;
        node.kind = Kind::Root;
        let hand = Hand { connected: None, looked: Looked::NotYet, told: None, told_lately: false };
        assert_eq!(decide(&node, &hand), Ok(Step::TendRoot));
        node.paused = true;
        assert_eq!(decide(&node, &hand), Ok(Step::Pause));
    }
}
