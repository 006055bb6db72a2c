//! Foreign servers and user mappings.

use pgq_pg::{fdw, piece};
use pgrx::pg_test;

use crate::piece::{code, done, transaction};
use crate::{scenario, table};

/// What the tests below run in workers.
pub(crate) const SCENARIOS: &[fn()] = &[make_denied, denied];

fn denied() {
    done(piece::begin());
    let nobody = done(piece::rows("select current_user::regrole::oid::text", &[]));
    let nobody = nobody[0][0].as_deref().and_then(|oid| oid.parse().ok()).expect("an oid");
    assert!(done(fdw::options_of("no such", nobody)).is_none());
    assert_eq!(code(fdw::options_of("fence_denied", nobody)), "42501");
    piece::abort();
}

#[pg_test]
fn options_of_a_server_and_of_the_roles_mapping_are_found() {
    for sql in [
        "create foreign data wrapper fence_fdw",
        "create server fence foreign data wrapper fence_fdw options (host 'löwe', port '1')",
        "create role fence_mapped",
        "create user mapping for fence_mapped server fence options (password 'a')",
        "grant usage on foreign server fence to fence_mapped",
    ] {
        table::run(sql);
    }
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let role = |name: &str| {
        let sql = format!("select oid::bigint from pg_roles where rolname = '{name}'");
        u32::try_from(table::number(&sql)).expect("an oid")
    };
    let long = "x".repeat(10_000);
    table::run(&format!("alter server fence options (application_name '{long}')"));
    let found = fdw::look_up("fence", role("fence_mapped")).expect("it is there");
    assert_eq!(found.wrapper, "fence_fdw");
    assert_eq!(
        found.server,
        [pair("host", "löwe"), pair("port", "1"), pair("application_name", &long)]
    );
    assert_eq!(found.mapping, Some(vec![pair("password", "a")]));
    assert!(fdw::look_up("fence", 10).expect("it is there").mapping.is_none());
    table::run("create user mapping for public server fence");
    assert_eq!(fdw::look_up("fence", 10).expect("it is there").mapping, Some(Vec::new()));
    assert!(fdw::look_up("no such", 10).is_none());
}

#[pg_test]
fn a_server_is_for_those_who_may_use_it() {
    scenario::run(make_denied);
    scenario::run_as_nobody(crate::piece::make_nobody, denied);
}

fn make_denied() {
    transaction(
        "drop foreign data wrapper if exists fence_denied_fdw cascade;
         create foreign data wrapper fence_denied_fdw;
         create server fence_denied foreign data wrapper fence_denied_fdw",
    );
}
