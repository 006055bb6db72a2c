//! The initial copy.

use std::time::Instant;

use crate::Scope;
use crate::pair::{Pair, Rows};
use crate::sheet::{Sheet, Target};

pub(crate) fn run(scope: &Scope) {
    let scale = scope.count(10);
    let mut sheet = Sheet::new(format!(
        "Copy of pgbench's tables, {scale}00,000 accounts, from the command at the leaf until all \
         are in sync; two tables at once"
    ));
    for _ in 0..scope.rounds {
        for contender in scope.contenders.iter().copied() {
            let mut pair = Pair::start(contender, scale, Rows::OnRoot);
            let (clock, before) = (Instant::now(), pair.costs());
            pair.attach();
            pair.await_sync();
            let (took, after) = (clock.elapsed().as_secs_f64(), pair.costs());
            sheet.note("seconds", Target::TimesNative(1.2), contender, took);
            let cpu = (after.leaf - before.leaf) / 1e9;
            sheet.note("CPU seconds at the leaf", Target::None, contender, cpu);
        }
    }
    sheet.print(scope);
}
