//! Servers that are none: each is a background worker that listens, and does what PostgreSQL never
//! would.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pgq_pg::latch::{self, WaitEvent};
use pgq_pg::process;
use pgq_pg::remote::{Connection, Failure, Options};
use pgrx::pg_test;

use crate::{scenario, server};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing may come where nothing does.
const SILENCE: Duration = Duration::from_millis(50);

/// What the tests below run in workers.
pub(crate) const SCENARIOS: &[fn()] = &[
    mute,
    chatty,
    settings,
    notices,
    notices_in_copy,
    dribble,
    long_row,
    copy_in,
    copy_both,
    copy_out,
    silent,
    flood,
    breaks_copy,
    stops_in_copy,
    no_end,
];

type Answer = fn(&mut TcpStream) -> std::io::Result<()>;

/// What a start is answered with.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

/// Take one connection, let it in, and give this answer to its first statement.
fn serve(answer: Answer) {
    meet(|stream| {
        stream.write_all(WELCOME)?;
        // A statement has come.
        stream.read_exact(&mut [0])?;
        answer(stream)
    });
}

/// Take one connection, and give this answer to its start.
fn meet(answer: impl FnOnce(&mut TcpStream) -> std::io::Result<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a listener");
    let port = listener.local_addr().expect("it is bound").port();
    server::port().store(port.into(), Ordering::SeqCst);
    let mut stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        latch::sleep_beside(Some(listener.as_fd()), PATIENCE, WaitEvent::shared());
        process::check_interrupts();
    };
    stream.set_nonblocking(false).expect("a stream");
    stream.set_read_timeout(Some(PATIENCE)).expect("a stream");
    stream.set_write_timeout(Some(PATIENCE)).expect("a stream");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a start");
    let length = usize::try_from(u32::from_be_bytes(length)).expect("a length");
    stream.read_exact(&mut vec![0; length - 4]).expect("a start");
    // The other side may end the connection before all is said.
    let _ = answer(&mut stream);
    // Until it does.
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

fn location() -> Options {
    let mut pairs = [("host", "127.0.0.1"), ("sslmode", "disable"), ("gssencmode", "disable")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
    pairs.push(("port".to_owned(), server::port().load(Ordering::SeqCst).to_string()));
    Options::of_pairs(&pairs).expect("no zero bytes")
}

/// Start such a server, ask it, and see it end.
fn ask<T>(server: fn(), ask: impl FnOnce(&Options) -> T) -> T {
    let worker = scenario::start_as(10, server);
    while server::port().load(Ordering::SeqCst) == 0 && !worker.has_ended() {
        latch::sleep(Duration::from_millis(5), WaitEvent::shared());
        process::check_interrupts_in_query();
    }
    let answer = ask(&location());
    scenario::await_pass(&worker);
    answer
}

/// All ways to ask, each of a server of its own.
fn each_way(server: fn(), silence: Duration) -> [Result<(), Failure>; 3] {
    let connect =
        |options: &Options| Connection::open_within(options, "fence", PATIENCE).expect("let in");
    let drained = |connection: &Connection| {
        let mut copy = connection.copy_out("copy (select 1) to stdout", silence)?;
        while copy.chunk()?.is_some() {}
        Ok(())
    };
    [
        ask(server, |options| connect(options).rows("select 1", &[], silence).map(|_| ())),
        ask(server, |options| connect(options).run("select 1", silence)),
        ask(server, |options| drained(&connect(options))),
    ]
}

fn mute() {
    meet(|_| Ok(()));
}

/// Lets nobody in, and does not stop talking.
fn chatty() {
    meet(|stream| {
        stream.write_all(b"R\0\0\0\x08\0\0\0\0")?;
        loop {
            stream.write_all(NOTICE)?;
        }
    });
}

/// Gives its settings new values and names without end.
fn settings() {
    meet(|stream| {
        stream.write_all(b"R\0\0\0\x08\0\0\0\0")?;
        for number in 0_u64.. {
            stream.write_all(&setting(number))?;
        }
        Ok(())
    });
}

#[pg_test]
fn a_server_that_lets_nobody_in_is_given_up() {
    for server in [mute, chatty, settings] {
        let answer =
            ask(server, |options| Connection::open_within(options, "fence", SILENCE).err());
        assert!(matches!(answer, Some(Failure::Timeout)), "{answer:?}");
    }
}

const NOTICE: &[u8] = b"N\0\0\0\x10SNOTICE\0Ma\0\0";

/// A setting's value.
fn setting(number: u64) -> Vec<u8> {
    let text = format!("setting{number:010}\0value\0");
    let length = u32::try_from(text.len() + 4).expect("a length").to_be_bytes();
    [b"S", &length[..], text.as_bytes()].concat()
}

/// Notices in place of an answer.
fn notices() {
    serve(|stream| {
        loop {
            stream.write_all(&NOTICE.repeat(1000))?;
        }
    });
}

/// The same in a copy.
fn notices_in_copy() {
    serve(|stream| {
        stream.write_all(b"H\0\0\0\x07\0\0\0")?;
        loop {
            stream.write_all(&NOTICE.repeat(1000))?;
        }
    });
}

/// One byte of a row now and then.
fn dribble() {
    serve(|stream| {
        stream
            .write_all(b"T\0\0\0\x1a\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")?;
        stream.write_all(b"D\0\x10\0\x0a\0\x01\0\x10\0\0")?;
        loop {
            stream.write_all(b"x")?;
            latch::sleep(SILENCE / 5, WaitEvent::shared());
        }
    });
}

#[pg_test]
fn what_is_no_part_of_the_answer_is_silence() {
    for answer in each_way(notices, SILENCE) {
        assert!(matches!(answer, Err(Failure::Silent)), "{answer:?}");
    }
    let [.., copy] = each_way(notices_in_copy, SILENCE);
    assert!(matches!(copy, Err(Failure::Silent)), "{copy:?}");
    let [rows, ..] = each_way(dribble, SILENCE);
    assert!(matches!(rows, Err(Failure::Silent)), "{rows:?}");
}

/// A row that is longer than all that is asked for.
fn long_row() {
    serve(|stream| {
        stream.write_all(b"1\0\0\0\x042\0\0\0\x04")?;
        stream
            .write_all(b"T\0\0\0\x1a\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")?;
        stream.write_all(b"D\x30\0\0\x0a\0\x01\x30\0\0\0")?;
        let part = vec![b'x'; 1 << 20];
        loop {
            stream.write_all(&part)?;
        }
    });
}

#[pg_test]
fn a_row_of_gigabytes_is_not_read_to_its_end() {
    let before = peak();
    let answer = ask(long_row, |options| {
        let connection = Connection::open_within(options, "fence", PATIENCE).expect("let in");
        connection.rows("select 1", &[], PATIENCE).map(|_| ())
    });
    assert!(matches!(answer, Err(Failure::Unreachable(_))), "{answer:?}");
    // The row would have 800 MB.
    let (limit, now) = (before + (400 << 10), peak());
    assert!(now < limit, "{before} kB, then {now} kB");
}

/// The most address space that this process has had, in kB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")?.strip_suffix(" kB"));
    line.and_then(|number| number.trim().parse().ok()).expect("a number")
}

fn copy_in() {
    serve(|stream| stream.write_all(b"G\0\0\0\x07\0\0\0"));
}

fn copy_both() {
    serve(|stream| stream.write_all(b"W\0\0\0\x07\0\0\0"));
}

#[pg_test]
fn a_server_that_wants_data_gets_none_and_no_endless_loop() {
    for server in [copy_in, copy_both] {
        for answer in each_way(server, PATIENCE) {
            assert!(matches!(answer, Err(Failure::Protocol)), "{answer:?}");
        }
    }
}

fn copy_out() {
    serve(|stream| stream.write_all(b"H\0\0\0\x07\0\0\0"));
}

fn silent() {
    serve(|_| Ok(()));
}

#[pg_test]
fn a_silent_server_is_given_up_also_in_a_copy() {
    for answer in each_way(silent, SILENCE) {
        assert!(matches!(answer, Err(Failure::Silent)), "{answer:?}");
    }
    let [rows, run, copy] = each_way(copy_out, SILENCE);
    assert!(matches!(rows, Err(Failure::Protocol)), "{rows:?}");
    assert!(matches!(run, Err(Failure::Protocol)), "{run:?}");
    assert!(matches!(copy, Err(Failure::Silent)), "{copy:?}");
}

/// Rows of one column without end.
fn flood() {
    serve(|stream| {
        stream.write_all(b"1\0\0\0\x042\0\0\0\x04")?;
        stream
            .write_all(b"T\0\0\0\x1a\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")?;
        let mut row = b"D\0\x10\0\x0a\0\x01\0\x10\0\0".to_vec();
        row.resize(row.len() + (1 << 20), b'x');
        loop {
            stream.write_all(&row)?;
        }
    });
}

#[pg_test]
fn rows_without_end_are_too_many() {
    let answer = ask(flood, |options| {
        let connection = Connection::open_within(options, "fence", PATIENCE).expect("let in");
        connection.rows("select 1", &[], PATIENCE).map(|_| ())
    });
    assert!(matches!(answer, Err(Failure::TooLarge)), "{answer:?}");
}

/// Results without end.
fn no_end() {
    serve(|stream| {
        let results = b"C\0\0\0\x0bSELECT\0".repeat(10_000);
        loop {
            stream.write_all(&results)?;
        }
    });
}

#[pg_test]
fn results_without_end_are_too_many() {
    let answer = ask(no_end, |options| {
        let connection = Connection::open_within(options, "fence", PATIENCE).expect("let in");
        connection.run("select 1", PATIENCE)
    });
    assert!(matches!(answer, Err(Failure::TooLarge)), "{answer:?}");
}

/// A row, then something else.
fn breaks_copy() {
    serve(|stream| {
        stream.write_all(b"H\0\0\0\x07\0\0\0d\0\0\0\x061\nC\0\0\0\x0aCOPY1\0")?;
        stream.write_all(b"G\0\0\0\x07\0\0\0")
    });
}

/// A row, then the end of the connection.
fn stops_in_copy() {
    serve(|stream| {
        stream.write_all(b"H\0\0\0\x07\0\0\0d\0\0\0\x061\n")?;
        stream.shutdown(std::net::Shutdown::Both)
    });
}

#[pg_test]
fn a_copy_that_does_not_end_well_is_an_error() {
    let [.., copy] = each_way(breaks_copy, PATIENCE);
    assert!(matches!(copy, Err(Failure::Protocol)), "{copy:?}");
    let [.., copy] = each_way(stops_in_copy, PATIENCE);
    assert!(matches!(copy, Err(Failure::Unreachable(_))), "{copy:?}");
}
