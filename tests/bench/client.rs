//! The client: a consumer with a no-op handler, `pgq send` next to psql's \copy, `pgq load` next to
//! a loader in Python that applies one statement a row, and the latency of waiting through the
//! library next to waiting in plain SQL. Wall-clock time, since client and server work side by
//! side; where programs run next to each other, also the CPU time of program and backend.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pgq_client::{Consumer, NewEvent, Producer};
use pgq_tests::Cluster;
use postgres::Client;

use crate::measure::median;
use crate::servers::Servers;

const ROUNDS: usize = 5;
const PAYLOAD: &str = "repeat('id=1&name=some+text&value=', 3) || 'x'";

pub(crate) fn run(servers: &Servers) {
    println!("client (wall-clock time; medians of {ROUNDS} rounds where there are rounds)");
    send(&servers.ours);
    load(&servers.ours);
    no_op_consumer(&servers.ours);
    large_batch(&servers.ours);
    latency();
}

fn create_queue(client: &mut Client, queue: &str, batch_max_count: u32) {
    client
        .batch_execute(&format!(
            "select pgq.create_queue('{queue}');
             select pgq.register_consumer('{queue}', 'c');
             select pgq.set_queue_config('{queue}', 'batch_max_count', '{batch_max_count}');
             update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0' \
             where queue_name = '{queue}'"
        ))
        .unwrap();
}

/// 1,000,000 events, each 10,000 in a transaction of their own, so that batches have 10,000.
fn no_op_consumer(cluster: &Cluster) {
    let mut client = cluster.connect("postgres");
    create_queue(&mut client, "client_noop", 10_000);
    for _ in 0..100 {
        client
            .batch_execute(&format!(
                "select count(pgq.insert_event('client_noop', 'type', {PAYLOAD})) from \
                 generate_series(1, 10000)"
            ))
            .unwrap();
        client.batch_execute("select pgq.ticker('client_noop')").unwrap();
    }
    client.batch_execute("vacuum analyze").unwrap();
    let before = own_cpu();
    let (seconds, stats) = consume(cluster, "client_noop");
    println!(
        "  no-op handler, {} events in {} batches: {:.0} events/s (target 300,000); {:.2} us of \
         client CPU an event",
        stats.events,
        stats.batches,
        stats.events as f64 / seconds,
        (own_cpu() - before) / stats.events as f64 / 1000.0
    );
}

/// One batch of 5,000,000 events: memory.
fn large_batch(cluster: &Cluster) {
    let mut client = cluster.connect("postgres");
    create_queue(&mut client, "client_large", 10_000_000);
    client
        .batch_execute(&format!(
            "select count(pgq.insert_event('client_large', 'type', {PAYLOAD})) from \
             generate_series(1, 5000000)"
        ))
        .unwrap();
    client.batch_execute("select pgq.ticker('client_large')").unwrap();
    // Forget the peak so far.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let (seconds, stats) = consume(cluster, "client_large");
    println!(
        "  one batch of {} events: {:.0} events/s, peak memory {} MB (target 64)",
        stats.events,
        stats.events as f64 / seconds,
        peak_memory_kb() / 1024
    );
    client.batch_execute("select pgq.drop_queue('client_large', true)").unwrap();
}

fn consume(cluster: &Cluster, queue: &str) -> (f64, pgq_client::Stats) {
    let mut consumer = Consumer::builder(queue, "c")
        .stop_when_empty(true)
        .connect(&cluster.conninfo("postgres"))
        .unwrap();
    let begin = Instant::now();
    let mut bytes = 0;
    let stats = consumer
        .run(|_, event| {
            bytes += event.data.as_ref().map_or(0, String::len);
            Ok(())
        })
        .unwrap();
    assert!(bytes > 0);
    (begin.elapsed().as_secs_f64(), stats)
}

/// CPU nanoseconds of this thread.
fn own_cpu() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse().unwrap()
}

fn peak_memory_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The `pgq` that `make bench` has built.
fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    let program = target.join("release/pgq");
    assert!(program.exists(), "no {}: run `make bench`", program.display());
    program
}

/// What running a program cost, in seconds.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    program: f64,
    backend: f64,
}

impl Cost {
    /// Run a program to its end. Its backends are those that end meanwhile.
    fn of(cluster: &Cluster, command: &mut Command) -> Self {
        let postmaster = cluster.postmaster_pid().to_string();
        let before = [children_cpu("self"), children_cpu(&postmaster)];
        let servers = child_count(&postmaster);
        let begin = Instant::now();
        let output = command.output().unwrap();
        let wall = begin.elapsed().as_secs_f64();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // A backend counts once the postmaster has collected it.
        while child_count(&postmaster) > servers {
            std::thread::sleep(Duration::from_millis(5));
        }
        Self {
            wall,
            program: children_cpu("self") - before[0],
            backend: children_cpu(&postmaster) - before[1],
        }
    }

    fn cpu(&self) -> f64 {
        self.program + self.backend
    }
}

/// CPU seconds of a process's children that have ended (`/proc/PID/stat`, in hundredths).
fn children_cpu(pid: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1;
    let ticks =
        fields.split_whitespace().skip(13).take(2).map(|field| field.parse::<f64>().unwrap());
    ticks.sum::<f64>() / 100.0
}

/// Children of a process, ended ones that it has not collected included.
fn child_count(parent: &str) -> usize {
    let is_child = |entry: std::io::Result<fs::DirEntry>| {
        let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let fields = stat.rsplit_once(')')?.1;
        (fields.split_whitespace().nth(1) == Some(parent)).then_some(())
    };
    fs::read_dir("/proc").unwrap().filter_map(is_child).count()
}

fn middle(costs: &[Cost], of: fn(&Cost) -> f64) -> f64 {
    median(&costs.iter().map(of).collect::<Vec<_>>())
}

/// The median over the rounds of one contestant's cost relative to another's.
fn ratio(costs: &[Cost], to: &[Cost], of: fn(&Cost) -> f64) -> f64 {
    median(&costs.iter().zip(to).map(|(one, other)| of(one) / of(other)).collect::<Vec<_>>())
}

fn print_cost(name: &str, costs: &[Cost]) {
    println!(
        "    {name:<44}{:>6.2} s, CPU {:.2} s program + {:.2} s backend",
        middle(costs, |cost| cost.wall),
        middle(costs, |cost| cost.program),
        middle(costs, |cost| cost.backend)
    );
}

/// The same 500,000 rows as JSON lines through `pgq send` and as text through \copy into the event
/// table.
fn send(cluster: &Cluster) {
    let rows = 500_000;
    let mut client = cluster.connect("postgres");
    create_queue(&mut client, "client_send", 10_000);
    let (json, text) = (cluster.dir().join("rows.json"), cluster.dir().join("rows.txt"));
    let mut json_out = std::io::BufWriter::new(fs::File::create(&json).unwrap());
    let mut text_out = std::io::BufWriter::new(fs::File::create(&text).unwrap());
    for n in 0..rows {
        let data = format!("id={n}&name=some+text&value=id=1&name=some+text&value=");
        writeln!(json_out, "{{\"type\":\"I:id\",\"data\":\"{data}\",\"extra1\":\"public.t\"}}")
            .unwrap();
        writeln!(text_out, "I:id\t{data}\tpublic.t\t2026-01-01").unwrap();
    }
    json_out.flush().unwrap();
    text_out.flush().unwrap();
    let copy = format!(
        "\\copy pgq.event_{}_0 (ev_type, ev_data, ev_extra1, ev_time) from '{}'",
        queue_id(&mut client, "client_send"),
        text.display()
    );
    let (mut sends, mut copies) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        sends.push(Cost::of(
            cluster,
            Command::new(program())
                .args(["send", "client_send", "--dsn", &cluster.conninfo("postgres")])
                .stdin(Stdio::from(fs::File::open(&json).unwrap())),
        ));
        client.batch_execute("checkpoint").unwrap();
        copies.push(Cost::of(
            cluster,
            cluster.command("psql").args(["-X", "-q", "-d", "postgres", "-c", &copy]),
        ));
        client.batch_execute("checkpoint").unwrap();
    }
    println!(
        "  {rows} events: pgq send takes {:.2}x the time of psql \\copy (target 1.3), {:.2}x the \
         CPU",
        ratio(&sends, &copies, |cost| cost.wall),
        ratio(&sends, &copies, Cost::cpu)
    );
    print_cost("pgq send, JSON lines", &sends);
    print_cost("psql \\copy of the same rows", &copies);
}

fn queue_id(client: &mut Client, queue: &str) -> i32 {
    client
        .query_one("select queue_id from pgq.queue where queue_name = $1", &[&queue])
        .unwrap()
        .get(0)
}

/// 55,000 row changes applied by `pgq load`, and by Python with a statement each.
fn load(cluster: &Cluster) {
    let mut client = cluster.connect("postgres");
    create_queue(&mut client, "client_load", 20_000);
    client.batch_execute("create database client_target").unwrap();
    client
        .batch_execute(
            "create table client_load (id int primary key, name text, at timestamptz default now());
             create trigger capture after insert or update or delete on client_load
               for each row execute function pgq.logutriga('client_load')",
        )
        .unwrap();
    for change in [
        "insert into client_load select n, 'name ' || n from generate_series(1, 20000) n",
        "update client_load set name = name || '!'",
        "delete from client_load where id % 2 = 0; insert into client_load select n * 2, 'again' \
         from generate_series(1, 5000) n",
    ] {
        client.batch_execute(&format!("begin; {change}; commit")).unwrap();
        client.batch_execute("select pgq.ticker('client_load')").unwrap();
    }
    let mut target = cluster.connect("client_target");
    target
        .batch_execute(
            "create extension pgq_ext cascade;
             create table client_load (id int primary key, name text, at timestamptz)",
        )
        .unwrap();
    let ini = cluster.dir().join("loader.ini");
    let text = format!(
        "[loader]\njob_name = c\nqueue_name = client_load\nloop_delay = 0\npidfile =\nlogfile \
         =\nsrc_db = {}\ndst_db = {}\n",
        cluster.conninfo("postgres"),
        cluster.conninfo("client_target")
    );
    fs::write(&ini, text).unwrap();
    let python = |statements: &str| {
        let mut command = Command::new("/usr/bin/python3");
        command
            .env("PYTHONPATH", python_packages())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/bench/loader.py"))
            .arg(&ini)
            .arg(statements);
        command
    };
    let load = |more: Option<&str>| {
        let mut command = Command::new(program());
        command
            .args(["load", "client_load", "c", "--once", "--dsn"])
            .arg(cluster.conninfo("postgres"))
            .arg("--to")
            .arg(cluster.conninfo("client_target"))
            .args(more);
        command
    };
    let checksum =
        "select count(*) || md5(string_agg(t::text, ',' order by id)) from client_load t";
    let mut costs = [const { Vec::new() }; 4];
    for _ in 0..3 {
        let commands = [load(None), load(Some("--row-by-row")), python("1"), python("200")];
        for (contestant, mut command) in commands.into_iter().enumerate() {
            target
                .batch_execute("truncate client_load; select pgq_ext.set_last_tick('c', null)")
                .unwrap();
            client.batch_execute("select pgq.register_consumer_at('client_load', 'c', 1)").unwrap();
            costs[contestant].push(Cost::of(cluster, &mut command));
            let sums = [&mut client, &mut target]
                .map(|c| -> String { c.query_one(checksum, &[]).unwrap().get(0) });
            assert_eq!(sums[0], sums[1], "both tables are the same");
        }
    }
    let [set_wise, one_by_one, single, joined] = costs;
    println!(
        "  55,000 changes: pgq load is {:.1}x as fast as a statement a row (target 5), {:.1}x as \
         fast as those joined by 200",
        1.0 / ratio(&set_wise, &single, |cost| cost.wall),
        1.0 / ratio(&set_wise, &joined, |cost| cost.wall)
    );
    print_cost("pgq load", &set_wise);
    print_cost("pgq load where constraints forbid sets", &one_by_one);
    print_cost("python-pgq, a statement a row", &single);
    print_cost("python-pgq, 200 statements at a time", &joined);
}

/// What `tests/env/programs.sh` has unpacked.
fn python_packages() -> PathBuf {
    let work = std::env::var_os("PGQ_WORK").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    work.join("programs/usr/lib/python3/dist-packages")
}

/// From before the INSERT to the event in the consumer's hands, the server's worker making the
/// ticks.
fn latency() {
    let cluster = Cluster::builder().set("shared_preload_libraries", "pgq").start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    for queue in ["through_sql", "through_library"] {
        create_queue(&mut client, queue, 10_000);
    }
    let in_sql = median(&sql_latencies(&cluster));
    let in_library = median(&library_latencies(&cluster));
    println!(
        "  waiting for an event, median: SQL {in_sql:.2} ms, library {in_library:.2} ms; \
         difference {:.2} ms (target 1)",
        in_library - in_sql
    );
}

const PROBES: usize = 200;

/// Insert probes in a thread of their own, each with the time since `origin`.
fn probe(cluster: &Cluster, queue: &'static str, origin: Instant) -> std::thread::JoinHandle<()> {
    let mut client = cluster.connect("postgres");
    std::thread::spawn(move || {
        for _ in 0..PROBES {
            std::thread::sleep(Duration::from_millis(20));
            let now = origin.elapsed().as_nanos().to_string();
            Producer::new(queue).insert_event(&mut client, &NewEvent::new("probe", now)).unwrap();
        }
    })
}

fn milliseconds(origin: Instant, data: &str) -> f64 {
    (origin.elapsed().as_nanos() as f64 - data.parse::<f64>().unwrap()) / 1e6
}

fn sql_latencies(cluster: &Cluster) -> Vec<f64> {
    let mut client = cluster.connect("postgres");
    let origin = Instant::now();
    let probes = probe(cluster, "through_sql", origin);
    let mut latencies = Vec::new();
    while latencies.len() < PROBES {
        let row =
            client.query_one("call pgq.wait_batch('through_sql', 'c', '10 s', null)", &[]).unwrap();
        let Some(batch) = row.get::<_, Option<i64>>(0) else { continue };
        for row in client.query("select ev_data from pgq.get_batch_events($1)", &[&batch]).unwrap()
        {
            latencies.push(milliseconds(origin, row.get(0)));
        }
        client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
    }
    probes.join().unwrap();
    latencies
}

fn library_latencies(cluster: &Cluster) -> Vec<f64> {
    let mut consumer =
        Consumer::builder("through_library", "c").connect(&cluster.conninfo("postgres")).unwrap();
    let stop = consumer.stop_handle();
    let origin = Instant::now();
    let probes = probe(cluster, "through_library", origin);
    let mut latencies = Vec::new();
    consumer
        .run(|_, event| {
            latencies.push(milliseconds(origin, event.data.as_deref().unwrap_or("0")));
            if latencies.len() >= PROBES {
                stop.after_batch();
            }
            Ok(())
        })
        .unwrap();
    probes.join().unwrap();
    latencies
}
