//! Commands that need a database without sessions, while its worker is idle.

use std::time::Instant;

use crate::{server, switch};

const ROUNDS: usize = 10;

/// How long each takes, beside the same while the worker is stopped.
pub(crate) fn run() {
    println!("Commands on a database with an idle worker, longest of {ROUNDS}, seconds");
    let (cluster, mut client) = server();
    let steps =
        ["create database copy template d", "alter database d rename to e", "drop database e"];
    let mut times = [[0.0_f64; 2]; 3];
    for _ in 0..ROUNDS {
        for with_worker in [false, true] {
            client.batch_execute("create database d").unwrap();
            for (step, times) in steps.iter().zip(&mut times) {
                let name = if step.starts_with("drop") { "e" } else { "d" };
                let mut inside = cluster.connect(name);
                inside.batch_execute("create extension if not exists pgq").unwrap();
                switch(&mut inside, with_worker);
                drop(inside);
                let start = Instant::now();
                client.batch_execute(step).unwrap();
                let time = &mut times[usize::from(with_worker)];
                *time = time.max(start.elapsed().as_secs_f64());
            }
            client.batch_execute("drop database copy").unwrap();
        }
    }
    for (step, [without, with]) in steps.iter().zip(times) {
        println!("  {step:<32} {with:.2}, stopped {without:.2}");
    }
    println!();
}
