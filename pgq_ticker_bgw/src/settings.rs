//! The settings `pgq.*`. `docs/worker.md` has the same table for users.

use std::time::Duration;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

static MAX_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(16);
static MIN_TICK_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(-1);
static TICKER_PERIOD: GucSetting<i32> = GucSetting::<i32>::new(1000);
static RETRY_PERIOD: GucSetting<i32> = GucSetting::<i32>::new(1000);
static MAINT_PERIOD: GucSetting<i32> = GucSetting::<i32>::new(30_000);
static MAINT_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(60_000);
static DISCOVERY_PERIOD: GucSetting<i32> = GucSetting::<i32>::new(10_000);
static WORKER_LOCK_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(1000);
static VACUUM_THRESHOLD: GucSetting<i32> = GucSetting::<i32>::new(1000);
static MAX_CASCADE_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(8);
static PROVIDER_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(300_000);
static HEALTH_CONSUMER_LAG: GucSetting<i32> = GucSetting::<i32>::new(3600);
static HEALTH_TABLE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(10_240);
static HEALTH_RETRY_BACKLOG: GucSetting<i32> = GucSetting::<i32>::new(10_000);

/// True when another copy of this library has defined the settings in this process.
pub(crate) fn are_taken() -> bool {
    pgq_pg::guc::is_defined(c"pgq.ticker_period")
}

/// Define all settings.
pub(crate) fn define() {
    // Without preload it has no effect, and the server would not let it be defined as what it is;
    // but it has to be known, for it may be in the configuration file.
    let at_start =
        if pgq_pg::shmem::is_preloading() { GucContext::Postmaster } else { GucContext::Sighup };
    GucRegistry::define_int_guc(
        c"pgq.max_workers",
        c"Sets how many databases can have a PgQ worker.",
        c"Each takes one of max_worker_processes. Zero: no launcher and no workers.",
        &MAX_WORKERS,
        0,
        1024,
        at_start,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pgq.max_cascade_workers",
        c"Sets how many workers of londiste can run in this server.",
        c"Each takes one of max_worker_processes, and so does each table that is copied.",
        &MAX_CASCADE_WORKERS,
        0,
        1024,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pgq.provider_timeout",
        c"Sets how long a worker of londiste waits for a provider that says nothing.",
        c"Then it closes the connection and tries again.",
        &PROVIDER_TIMEOUT,
        1000,
        86_400_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pgq.min_tick_interval",
        c"Sets the least time between two ticks of one queue that waiting consumers cause.",
        c"-1: none while all of the queue's consumers wait, else 2 ms.",
        &MIN_TICK_INTERVAL,
        -1,
        60_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pgq.ticker_period",
        c"Sets the time between checks of all queues against their ticker_* limits.",
        c"The worker's counterpart of pgqd's ticker_period.",
        &TICKER_PERIOD,
        10,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pgq.retry_period",
        c"Sets the time between looks for events that are due for another delivery.",
        c"A look that finds some goes on until none is left.",
        &RETRY_PERIOD,
        10,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pgq.maint_period",
        c"Sets the time between rounds of table rotation and other maintenance.",
        c"The worker's counterpart of pgqd's maint_period.",
        &MAINT_PERIOD,
        10,
        86_400_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pgq.maint_timeout",
        c"Sets how long one piece of maintenance may take before the worker cancels it.",
        c"Meanwhile no queue of the database gets a tick. Zero: no limit.",
        &MAINT_TIMEOUT,
        0,
        86_400_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pgq.discovery_period",
        c"Sets the time between looks for new databases.",
        c"CREATE EXTENSION pgq is noticed at once; this is for databases that are copied from one that has it.",
        &DISCOVERY_PERIOD,
        100,
        86_400_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pgq.worker_lock_timeout",
        c"Sets how long the worker waits for a lock before it turns to something else.",
        c"What it could not do is tried again, and pgq.queue_health() tells of it.",
        &WORKER_LOCK_TIMEOUT,
        1,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pgq.vacuum_threshold",
        c"Sets how many dead rows in a table of PgQ's own make the worker vacuum it.",
        c"-1: leave it to autovacuum.",
        &VACUUM_THRESHOLD,
        -1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pgq.health_consumer_lag",
        c"Sets the lag from which pgq.queue_health() reports a consumer.",
        c"The age of the oldest tick that the consumer has not finished.",
        &HEALTH_CONSUMER_LAG,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"pgq.health_retry_backlog",
        c"Sets the number of overdue retry events from which pgq.queue_health() reports them.",
        c"Counted per queue.",
        &HEALTH_RETRY_BACKLOG,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pgq.health_table_size",
        c"Sets the size of a queue's event tables from which pgq.queue_health() reports them.",
        c"All tables of the queue together, with indexes.",
        &HEALTH_TABLE_SIZE,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_MB,
    );
    pgq_pg::guc::reserve_prefix(c"pgq");
}

/// `pgq.max_workers`.
pub(crate) fn max_workers() -> usize {
    usize::try_from(MAX_WORKERS.get()).expect("0 is its least value")
}

/// `pgq.max_cascade_workers`.
pub(crate) fn max_cascade_workers() -> i32 {
    MAX_CASCADE_WORKERS.get()
}

/// `pgq.provider_timeout`.
pub(crate) fn provider_timeout() -> Duration {
    milliseconds(&PROVIDER_TIMEOUT)
}

/// Between two ticks of a queue, where some of its consumers do not wait for them: they would drown
/// in batches of one event.
pub(crate) const ADAPTIVE_TICK_INTERVAL: Duration = Duration::from_millis(2);

/// `pgq.min_tick_interval`; none: as it fits.
pub(crate) fn min_tick_interval() -> Option<Duration> {
    u64::try_from(MIN_TICK_INTERVAL.get()).ok().map(Duration::from_millis)
}

/// `pgq.ticker_period`.
pub(crate) fn ticker_period() -> Duration {
    milliseconds(&TICKER_PERIOD)
}

/// `pgq.retry_period`.
pub(crate) fn retry_period() -> Duration {
    milliseconds(&RETRY_PERIOD)
}

/// `pgq.maint_period`.
pub(crate) fn maint_period() -> Duration {
    milliseconds(&MAINT_PERIOD)
}

/// `pgq.maint_timeout`; none: no limit.
pub(crate) fn maint_timeout() -> Option<Duration> {
    Some(milliseconds(&MAINT_TIMEOUT)).filter(|limit| !limit.is_zero())
}

/// `pgq.discovery_period`.
pub(crate) fn discovery_period() -> Duration {
    milliseconds(&DISCOVERY_PERIOD)
}

/// `pgq.worker_lock_timeout`, milliseconds.
pub(crate) fn worker_lock_timeout() -> i32 {
    WORKER_LOCK_TIMEOUT.get()
}

/// `pgq.vacuum_threshold`; none: never vacuum.
pub(crate) fn vacuum_threshold() -> Option<i64> {
    let rows = VACUUM_THRESHOLD.get();
    (rows >= 0).then_some(i64::from(rows))
}

fn milliseconds(setting: &GucSetting<i32>) -> Duration {
    Duration::from_millis(u64::try_from(setting.get()).expect("no time can be set below 0"))
}
