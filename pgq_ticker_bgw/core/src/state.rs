//! Where one database's worker stands.

/// Where it stands, as a number in shared memory and as a word in SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The launcher will start it when its time comes. What zeroed memory says.
    Idle,
    /// Asked of the postmaster, not there yet.
    Starting,
    /// Connected and working.
    Running,
    /// Stepped aside for somebody who needs the database without connections.
    Yielded,
    /// Ended by an error or a signal; will be started again.
    Failed,
    /// Stopped by `pgq.stop_worker()`; stays so until `pgq.start_worker()` or a restart of the
    /// server.
    Stopped,
    /// Found no extension `pgq`.
    Absent,
    /// Found the extension, but `pgq.max_workers` databases have a worker already.
    Full,
}

/// All states: number in shared memory, state, word in SQL.
const STATES: [(u32, State, &str); 8] = [
    (0, State::Idle, "waiting to start"),
    (1, State::Starting, "starting"),
    (2, State::Running, "running"),
    (3, State::Yielded, "stepped aside"),
    (4, State::Failed, "failed"),
    (5, State::Stopped, "stopped"),
    (6, State::Absent, "no extension"),
    (7, State::Full, "no free worker"),
];

impl State {
    /// The state with this number.
    pub fn from_number(number: u32) -> Self {
        let entry = STATES.iter().find(|entry| entry.0 == number);
        entry.expect("only State::number is ever stored").1
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.entry().0
    }

    /// The word SQL shows.
    pub fn name(self) -> &'static str {
        self.entry().2
    }

    fn entry(self) -> &'static (u32, Self, &'static str) {
        STATES.iter().find(|entry| entry.1 == self).expect("the table has all states")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_comes_back_from_its_number() {
        for (number, state, name) in STATES {
            assert_eq!(State::from_number(number), state);
            assert_eq!((state.number(), state.name()), (number, name));
        }
    }

    #[test]
    fn zeroed_memory_waits_to_start() {
        assert_eq!(State::from_number(0), State::Idle);
    }
}
