//! One large transaction.

use std::time::Instant;

use pgq_tests::query::run as execute;

use crate::Scope;
use crate::pair::{Pair, Rows};
use crate::processes::Peak;
use crate::sheet::{Sheet, Target};

pub(crate) fn run(scope: &Scope) {
    let rows = scope.count(200_000);
    let mut sheet = Sheet::new(format!(
        "One transaction of {rows} updates, from its commit until the leaf shows it"
    ));
    for _ in 0..scope.rounds {
        for contender in scope.contenders.iter().copied() {
            let mut pair = Pair::start(contender, scope.count(10), Rows::OnBoth);
            pair.attach();
            pair.await_sync();
            pair.mark(0);
            pair.await_mark(0);
            let peak = Peak::of(pair.applier());
            let mut root = pair.at_root();
            execute(
                &mut root,
                &format!(
                    "begin;
                     update pgbench_accounts set abalance = abalance + 1 where aid <= {rows};
                     insert into marker values (1)"
                ),
            );
            execute(&mut root, "commit");
            let clock = Instant::now();
            pair.await_mark(1);
            let took = clock.elapsed().as_secs_f64();
            sheet.note("seconds", Target::TimesNative(1.2), contender, took);
            let what = "MB that the applying process grew by";
            sheet.note(what, Target::AtMost(64.0), contender, peak.grown());
        }
    }
    sheet.print(scope);
}
