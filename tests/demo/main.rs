//! `make demo`: the main job on a private PostgreSQL, with real load and checked results.
#![expect(clippy::unwrap_used, reason = "in the demo a failed step ends it, and says where")]
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

mod capture;
mod consumer;
mod latency;
mod messages;
mod queue;

use pgq_tests::Cluster;
use std::process::Command;

fn main() {
    let cluster = Cluster::builder()
        .set("shared_preload_libraries", "pgq")
        // Rotation is looked after every two minutes by default; the demo does not take that long.
        .set("pgq.maint_period", "500ms")
        .set("shared_buffers", "256MB")
        .set("max_wal_size", "4GB")
        .start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    if std::env::args().any(|arg| arg == "--shell") {
        return shell(&cluster);
    }
    let version: String = client.query_one("select version()", &[]).unwrap().get(0);
    println!("A private {}", version.split(" on ").next().unwrap());
    println!("  shared_preload_libraries = 'pgq'; create extension pgq;\n");

    queue::run(&cluster);
    capture::run(&cluster);
    latency::run(&cluster);
    messages::run(&cluster);

    println!("\nTry it: `make psql` opens psql on such a server. There, for example:");
    println!("  select pgq.create_queue('hello');");
    println!("  select pgq.register_consumer('hello', 'me');");
    println!("  select pgq.insert_event('hello', 'greeting', 'world');");
    println!("  call pgq.wait_batch('hello', 'me') \\gset");
    println!("  select * from pgq.get_batch_events(:batch_id);");
    println!("  select pgq.finish_batch(:batch_id);");
    println!("  select * from pgq.get_queue_info();");
}

/// psql on the demo's server, which is gone when psql ends.
fn shell(cluster: &Cluster) {
    let mut psql: Command = cluster.command("psql");
    let status = psql.arg("postgres").status().unwrap();
    std::process::exit(status.code().unwrap_or(1));
}
