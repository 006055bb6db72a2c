//! What is replicated.

/// The database, on both sides.
pub(crate) const DATABASE: &str = "bench";
/// The tables of pgbench, and one whose rows say how far the leaf is.
pub(crate) const TABLES: [&str; 5] = [
    "public.pgbench_accounts",
    "public.pgbench_branches",
    "public.pgbench_tellers",
    "public.pgbench_history",
    "public.marker",
];
