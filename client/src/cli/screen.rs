//! The screen of `pgq top`: it fits the window, and keys move it.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Write};
use std::time::{Duration, Instant};

use pgq_client::{Error, Stop, redact};
use postgres::Client;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use serde_json::Value;

use super::colour::{self, BOLD, DIM, PLAIN, REVERSE};
use super::look::{Look, Looker};
use super::output::{OutputError, Rows, shown, visible};
use super::{Global, status};

/// How often keys, the window's size and a stop are looked at.
const GLANCE: Duration = Duration::from_millis(200);

const HELP: [&str; 9] = [
    "q            quit",
    "h, ?         this help, and back",
    "s            sort by: lag, pending events, rate, name",
    "up, k        one line up",
    "down, j      one line down",
    "page keys    a window up or down",
    "space        look now",
    "+, -         look half as often, twice as often",
    "p            pause, and go on",
];

const KEYS: &str = "q quit  h help  s sort  p pause  space now  +/- interval  arrows scroll";

/// What the queues and consumers are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Lag,
    Pending,
    Rate,
    Name,
}

impl Order {
    fn next(self) -> Self {
        match self {
            Self::Lag => Self::Pending,
            Self::Pending => Self::Rate,
            Self::Rate => Self::Name,
            Self::Name => Self::Lag,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::Pending => "pending events",
            Self::Rate => "rate",
            Self::Name => "name",
        }
    }

    /// Its columns in the tables of queues and of consumers.
    fn columns(self) -> [&'static str; 2] {
        match self {
            Self::Lag => ["tick_age", "lag"],
            Self::Pending => ["new_events", "pending"],
            Self::Rate => ["in_per_s", "out_per_s"],
            Self::Name => ["queue", "consumer"],
        }
    }
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Quit,
    Help,
    Sort,
    Pause,
    Now,
    Slower,
    Faster,
    Lines(isize),
    Pages(isize),
}

/// Keys from the bytes that a terminal sends, and the beginning of one whose end has not come.
fn keys(mut bytes: &[u8]) -> (Vec<Key>, &[u8]) {
    let mut keys = Vec::new();
    let sequences: [(&[u8], Key); 8] = [
        (b"\x1b[A", Key::Lines(-1)),
        (b"\x1bOA", Key::Lines(-1)),
        (b"\x1b[B", Key::Lines(1)),
        (b"\x1bOB", Key::Lines(1)),
        (b"\x1b[5~", Key::Pages(-1)),
        (b"\x1b[6~", Key::Pages(1)),
        (b"k", Key::Lines(-1)),
        (b"j", Key::Lines(1)),
    ];
    while let Some((&first, rest)) = bytes.split_first() {
        let mut found = sequences.iter();
        if let Some((rest, key)) =
            found.find_map(|(start, key)| Some((bytes.strip_prefix(*start)?, *key)))
        {
            keys.push(key);
            bytes = rest;
            continue;
        }
        if sequences.iter().any(|(whole, _)| whole.starts_with(bytes)) {
            break;
        }
        bytes = rest;
        match first {
            b'q' | b'Q' => keys.push(Key::Quit),
            b'h' | b'?' => keys.push(Key::Help),
            b's' => keys.push(Key::Sort),
            b'p' => keys.push(Key::Pause),
            b' ' => keys.push(Key::Now),
            b'+' => keys.push(Key::Slower),
            b'-' => keys.push(Key::Faster),
            // A key that means nothing, and what belongs to it.
            0x1b if rest.starts_with(b"[") || rest.starts_with(b"O") => bytes = b"",
            _ => {}
        }
    }
    (keys, bytes)
}

/// The terminal in the state that a screen needs; given back as it was.
struct Terminal {
    before: Option<Termios>,
    /// The beginning of a key: what a key sends may come in parts.
    begun: Vec<u8>,
}

impl Terminal {
    fn take() -> Result<Self, OutputError> {
        let stdin = std::io::stdin();
        let before = if stdin.is_terminal() { tcgetattr(&stdin).ok() } else { None };
        if let Some(before) = &before {
            let mut modes = before.clone();
            // Keys come at once and are not shown. Signals stay.
            modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            modes.special_codes[SpecialCodeIndex::VMIN] = 1;
            modes.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(&stdin, OptionalActions::Now, &modes).map_err(std::io::Error::from)?;
        }
        let terminal = Self { before, begun: Vec::new() };
        // Another screen, so that the shell's is there again afterwards; no cursor; lines are cut,
        // not wrapped.
        draw("\x1b[?1049h\x1b[?25l\x1b[?7l")?;
        Ok(terminal)
    }

    /// Keys that come within the time.
    fn keys(&mut self, within: Duration, stop: &Stop) -> Vec<Key> {
        if self.before.is_none() {
            stop.sleep(within);
            return Vec::new();
        }
        let stdin = std::io::stdin();
        let mut events = [PollFd::new(&stdin, PollFlags::IN)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(within.subsec_nanos()) };
        if !poll(&mut events, Some(&timeout)).is_ok_and(|ready| ready > 0) {
            self.begun.clear();
            return Vec::new();
        }
        let mut bytes = [0; 64];
        match stdin.lock().read(&mut bytes) {
            // The terminal is gone.
            Ok(0) | Err(_) => vec![Key::Quit],
            Ok(length) => {
                let read = bytes.get(..length).expect("no more is read than there is room for");
                self.begun.extend_from_slice(read);
                let (keys, begun) = keys(&self.begun);
                self.begun = begun.to_vec();
                keys
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = draw("\x1b[?7h\x1b[?25h\x1b[?1049l");
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn draw(text: &str) -> Result<(), OutputError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn window() -> (usize, usize) {
    match tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => (80, 24),
    }
}

/// Show looks until a key or a stop ends it.
pub(super) fn run(
    global: &Global,
    client: Client,
    interval: Duration,
    stop: &Stop,
) -> anyhow::Result<()> {
    let mut terminal = Terminal::take()?;
    let mut client = Some(client);
    let mut looker = Looker::default();
    let mut screen = Screen { interval, colours: colour::are_wanted(), ..Screen::default() };
    loop {
        match look(global, &mut client, &mut looker) {
            Ok((look, findings)) => screen.show(look, findings),
            // The server restarts, perhaps: the figures stay, and it says why they are old.
            Err(error) if error.is_transient() => {
                client = None;
                screen.trouble = Some(error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
        let looked = Instant::now();
        let mut size = (0, 0);
        loop {
            if size != window() {
                size = window();
                draw(&screen.frame(size))?;
            }
            let keys = terminal.keys(GLANCE, stop);
            if stop.is_requested() || keys.contains(&Key::Quit) {
                return Ok(());
            }
            for key in &keys {
                screen.obey(*key, size.1);
            }
            if !keys.is_empty() {
                size = (0, 0);
            }
            let due = !screen.paused && looked.elapsed() >= screen.interval;
            if due || keys.contains(&Key::Now) {
                break;
            }
        }
    }
}

fn look(
    global: &Global,
    client: &mut Option<Client>,
    looker: &mut Looker,
) -> Result<(Look, Rows), Error> {
    let client = match client {
        Some(client) => client,
        None => client.insert(global.connect()?),
    };
    Ok((looker.look(client)?, status::findings(client, "1 hour")?))
}

#[derive(Default)]
struct Screen {
    look: Option<(Look, Rows)>,
    trouble: Option<String>,
    interval: Duration,
    colours: bool,
    order: Order,
    paused: bool,
    helps: bool,
    /// First line of the tables that is shown.
    top: usize,
    /// Widths of the columns so far, by table.
    widths: BTreeMap<&'static str, Vec<usize>>,
}

impl Screen {
    fn show(&mut self, look: Look, findings: Rows) {
        self.trouble = None;
        self.look = Some((look, findings));
    }

    fn obey(&mut self, key: Key, height: usize) {
        let page = isize::try_from(height.saturating_sub(3)).unwrap_or(1).max(1);
        match key {
            Key::Help => self.helps = !self.helps,
            Key::Sort => self.order = self.order.next(),
            Key::Pause => self.paused = !self.paused,
            Key::Slower => self.interval = (self.interval * 2).min(Duration::from_secs(3600)),
            Key::Faster => self.interval = (self.interval / 2).max(GLANCE),
            Key::Lines(lines) => self.top = self.top.saturating_add_signed(lines),
            Key::Pages(pages) => self.top = self.top.saturating_add_signed(pages * page),
            Key::Quit | Key::Now => {}
        }
    }

    /// Everything that the window shows.
    fn frame(&mut self, (width, height): (usize, usize)) -> String {
        let body = if self.helps {
            HELP.iter().map(|line| cut(line, width)).collect()
        } else {
            self.body(width)
        };
        let room = height.saturating_sub(2).max(1);
        self.top = self.top.min(body.len().saturating_sub(room));
        let mut out = String::from("\x1b[H");
        let mut put = |line: &str| {
            out.push_str(line);
            out.push_str("\x1b[K\r\n");
        };
        put(&self.styled(BOLD, &cut(&self.title(), width)));
        body.iter().skip(self.top).take(room).for_each(|line| put(line.as_str()));
        // What the last frame left below, then the keys in the last line.
        out.push_str("\x1b[J");
        let more = body.len().saturating_sub(self.top + room);
        let footer = match more {
            0 => KEYS.to_owned(),
            more => format!("{more} more lines  {KEYS}"),
        };
        out.push_str(&format!("\x1b[{height};1H{}\x1b[K", self.styled(DIM, &cut(&footer, width))));
        out
    }

    fn title(&self) -> String {
        let look = self.look.as_ref().map_or("", |(look, _)| look.title.as_str());
        let paused = if self.paused { ", paused" } else { "" };
        let trouble = self.trouble.as_ref().map(|why| format!(" -- {}", redact(why)));
        let trouble = trouble.unwrap_or_default();
        let seconds = self.interval.as_secs_f64();
        let order = self.order.name();
        visible(&format!("{look}, by {order}, every {seconds} s{paused}{trouble}")).into_owned()
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.colours { format!("{style}{text}{PLAIN}") } else { text.to_owned() }
    }

    fn body(&mut self, width: usize) -> Vec<String> {
        let Some((look, findings)) = self.look.take() else { return Vec::new() };
        let mut lines = Vec::new();
        if look.lacks_worker() {
            lines.push("no worker drives this database".to_owned());
        }
        for row in 0..findings.rows.len() {
            let severity = status::severity(&findings, row);
            let line = cut(&finding(&findings, row), width);
            lines.push(colour::by_severity(&line, severity, self.colours));
        }
        let [by_queue, by_consumer] = self.order.columns();
        for rows in look.tables() {
            let kind = rows.kind.unwrap_or_default();
            let by = match kind {
                "queue" => Some(by_queue),
                "consumer" => Some(by_consumer),
                _ => None,
            };
            let rows = by.map_or_else(|| rows.clone(), |column| sorted(rows, column));
            let widths = self.widths.entry(kind).or_default();
            let texts = rows.lines_at_least(widths);
            lines.push(String::new());
            for (index, text) in texts.iter().enumerate() {
                let line = cut(text, width);
                let queue = index.checked_sub(1).and_then(|row| rows.rows.get(row)?.first());
                lines.push(match queue {
                    None => self.styled(REVERSE, &format!("{line:width$}")),
                    Some(queue) if kind == "queue" => {
                        colour::by_severity(&line, worst(&findings, queue), self.colours)
                    }
                    Some(_) => line,
                });
            }
        }
        self.look = Some((look, findings));
        lines
    }
}

/// `severity  queue  what it is. What to do.`
fn finding(findings: &Rows, row: usize) -> String {
    let text = |column: &str| {
        let index = findings.columns.iter().position(|name| name == column);
        let cell = index.and_then(|index| findings.rows.get(row)?.get(index));
        let cell = cell.map(|cell| shown(column, cell)).unwrap_or_default();
        cell.as_str().map(|text| visible(text).into_owned()).unwrap_or_default()
    };
    format!("{:8}  {}: {}. {}", text("severity"), text("queue"), text("finding"), text("remedy"))
}

/// The worst that is said about a queue.
fn worst<'f>(findings: &'f Rows, queue: &Value) -> Option<&'f str> {
    let about = (0..findings.rows.len())
        .filter(|row| findings.rows.get(*row).and_then(|cells| cells.get(1)) == Some(queue));
    about.filter_map(|row| status::severity(findings, row)).next()
}

/// Numbers the largest first, names by the alphabet.
fn sorted(rows: &Rows, column: &str) -> Rows {
    let mut rows = rows.clone();
    if let Some(index) = rows.columns.iter().position(|name| name == column) {
        rows.rows.sort_by(|left, right| {
            let number = |row: &[Value]| row.get(index).and_then(Value::as_f64);
            let text = |row: &[Value]| row.get(index).and_then(Value::as_str).map(str::to_owned);
            let order = number(right).unwrap_or(-1.0).total_cmp(&number(left).unwrap_or(-1.0));
            order.then_with(|| text(left).cmp(&text(right)))
        });
    }
    rows
}

fn cut(line: &str, width: usize) -> String {
    line.chars().take(width).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Key, Screen, finding, keys, sorted};
    use crate::cli::output::Rows;

    #[test]
    fn keys_are_told_apart_and_nonsense_is_none() {
        assert_eq!(keys(b"q").0, [Key::Quit]);
        assert_eq!(keys(b"\x1b[Bs\x1b[5~").0, [Key::Lines(1), Key::Sort, Key::Pages(-1)]);
        assert_eq!(keys(b"xyz\x1b[24~q").0, []);
        // Split anywhere, it is the same key.
        for at in 1..4 {
            let (first, second) = b"\x1b[6~".split_at(at);
            let (none, begun) = keys(first);
            assert_eq!(none, []);
            assert_eq!(keys(&[begun, second].concat()).0, [Key::Pages(1)], "{at}");
        }
        assert_eq!(keys(b"\x1bq").0, [Key::Quit], "the key Esc, then another");
    }

    #[test]
    fn what_is_said_has_no_password() {
        let trouble = Some("no host in postgres://u:QXZ@".to_owned());
        let screen = Screen { trouble, ..Screen::default() };
        assert!(!screen.title().contains("QXZ"), "{}", screen.title());
        let findings = Rows {
            columns: vec!["finding".to_owned(), "remedy".to_owned()],
            rows: vec![vec![json!("password=QXZ is wrong"), json!("PGPASSWORD=QXZ psql")]],
            ..Rows::default()
        };
        let text = finding(&findings, 0);
        assert!(text.contains("is wrong") && !text.contains("QXZ"), "{text}");
    }

    #[test]
    fn numbers_come_the_largest_first() {
        let rows = Rows {
            columns: vec!["queue".to_owned(), "n".to_owned()],
            rows: vec![
                vec![json!("b"), json!(null)],
                vec![json!("a"), json!(2)],
                vec![json!("c"), json!(10)],
            ],
            ..Rows::default()
        };
        let names = |rows: Rows| rows.rows.iter().map(|row| row[0].clone()).collect::<Vec<_>>();
        assert_eq!(names(sorted(&rows, "n")), [json!("c"), json!("a"), json!("b")]);
        assert_eq!(names(sorted(&rows, "queue")), [json!("a"), json!("b"), json!("c")]);
    }

    #[test]
    fn a_frame_fits_the_window_and_scrolls() {
        let mut screen = Screen { helps: true, ..Screen::default() };
        for (width, height) in [(20, 5), (120, 40)] {
            let frame = screen.frame((width, height));
            assert!(frame.matches("\r\n").count() < height, "{frame:?}");
            for line in frame.split("\r\n") {
                let shown = line
                    .split('\x1b')
                    .map(|part| part.trim_start_matches(|char: char| !char.is_ascii_alphabetic()));
                assert!(shown.map(str::len).sum::<usize>() <= width + 8, "{line:?}");
            }
        }
        screen.frame((20, 5));
        screen.obey(Key::Lines(1), 5);
        assert!(!screen.frame((20, 5)).contains("quit\x1b[K\r\nh,"));
        screen.obey(Key::Pages(100), 5);
        assert!(screen.frame((80, 5)).contains("p            pause"));
    }
}
