//! Each row of the crate's tables, and what both Pythons agree on.

use std::path::Path;

use proptest::prelude::{any, prop, prop_assert_eq, proptest};

use crate::{Error, Ini, Section, first_section};

fn read(text: &str) -> Result<Ini, Error> {
    Ini::parse(Path::new("/etc/x/job1.ini"), text)
}

fn parse(text: &str) -> Ini {
    read(text).unwrap()
}

/// A key of section `[s]` of a text that begins with its header.
fn value(keys: &str, key: &str) -> Result<Option<String>, Error> {
    read(&format!("[s]\n{keys}"))?.section("s")?.take(key)
}

#[track_caller]
fn means(keys: &str, expected: &str) {
    assert_eq!(value(keys, "a").unwrap().as_deref(), Some(expected), "{keys}");
}

#[track_caller]
fn is_refused(keys: &str, words: &str) {
    let error = value(keys, "a").unwrap_err().to_string();
    assert!(error.contains(words), "{keys}: {error}");
}

#[test]
fn twice_the_same_is_an_error_of_its_line() {
    is_refused("a = 1\nb = 2\nA: 3\n", "/etc/x/job1.ini:4: key \"a\" appears twice in [s]");
    is_refused("a = 1\n[s]\n", ":3: section [s] appears twice");
    is_refused("[DEFAULT]\nx = 1\nx = 2\n", "key \"x\" appears twice in [DEFAULT]");
}

#[test]
fn deeper_lines_continue_a_value() {
    means("a = 1\n  b = 2\n\tthree\n", "1\nb = 2\nthree");
    means("a =\n  1\n  2 ; x\n", "\n1\n2 ; x");
    means("a = 1\n\n  2\n", "1\n2");
    means("  a = 1\n  b = 2\n", "1");
    means("  a = 1\n    2\n  b = 3\n", "1\n2");
    assert_eq!(value("  a = 1\n  b = 2\n", "b").unwrap().unwrap(), "2");
    let indented = parse("  [s]\n  a = 1\n  b = 2\n");
    assert_eq!(indented.section("s").unwrap().take("b").unwrap().unwrap(), "2");
}

#[test]
fn comments_are_lines_of_their_own() {
    means("# x\n; y\na = 1\n  # z\n  2\n", "1\n2");
    means("  ; indented\na = 1 # part\n", "1 # part");
    is_refused("rem text\na = 1\n", ":2: neither [section] nor \"key = value\"");
}

#[test]
fn a_semicolon_after_a_space_is_refused_where_it_is_used() {
    for disputed in ["a = 1 ; x", "a = 1\t;x", "b = 1 ;\na = %(b)s"] {
        is_refused(disputed, "begins a comment to SkyTools on Python 2");
    }
    means("b = 1 ; x\na = 2\n", "2");
    means("a = 1;x ; y\n", "1;x ; y");
    means("a = ; x\n", "; x");
    let ini = parse("[s]\na = 1 ; x\n");
    let mut section = ini.section("s").unwrap();
    assert_eq!(section.literal("a").unwrap(), "1 ; x");
    assert!(section.ignore("a") && !section.ignore("b"));
    section.end().unwrap();
}

#[test]
fn nothing_is_wrong_with_what_is_ignored() {
    let ini = parse("[s]\na = %H %(b)s ; x\nb = %(c)s %(a)s %(none)s\nc = 1\n");
    let mut section = ini.section("s").unwrap();
    assert!(section.ignore("a"));
    section.end().unwrap();
}

#[test]
fn empty_is_not_set() {
    for empty in ["a =\n", "a = \"\"\n", "b = 1\n", "b =\na = %(b)s\n"] {
        assert_eq!(value(empty, "a").unwrap(), None, "{empty}");
    }
    let ini = parse("[s]\na =\nn =\n");
    let mut section = ini.section("s").unwrap();
    assert_eq!(section.literal("a"), None);
    assert_eq!(section.number::<u32>("n").unwrap(), None);
    let error = section.require("a").unwrap_err().to_string();
    assert_eq!(error, "/etc/x/job1.ini: [s] a: required, but not set");
}

#[test]
fn what_follows_the_name_of_a_section_is_no_part_of_it() {
    for header in ["[s]", "[s] ; x", "[s]x", "  [s]"] {
        let ini = parse(&format!("{header}\na = 1\n"));
        assert_eq!(ini.section_names().collect::<Vec<_>>(), ["s"], "{header}");
    }
    assert_eq!(parse("[ S ]\n").section_names().collect::<Vec<_>>(), [" S "]);
    for (header, words) in [("[]", "without a name"), ("[s]x]", "a bracket in the name")] {
        let error = read(header).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn lines_that_are_neither_name_their_number() {
    for (text, line) in
        [("a = 1\n", 1), ("[s]\nnonsense\n", 2), ("[s]\n = 1\n", 2), ("\n[s\na=1\n", 2)]
    {
        let error = Ini::parse(Path::new("f"), text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("f:{line}: ")), "{error}");
    }
}

#[test]
fn bytes_before_and_within_the_text_are_looked_at() {
    let marked = parse("\u{feff}[s]\r\na = 1\r\n  2\r\nb = 3\r\n");
    assert_eq!(marked.section("s").unwrap().take("a").unwrap().unwrap(), "1\n2");
    let error = Ini::parse(Path::new("f"), b"[s]\na = \xe4\n").unwrap_err().to_string();
    assert_eq!(error, "f:2: the text is not UTF-8");
}

#[test]
fn the_first_sign_parts_key_and_value() {
    means("a: b=c\n", "b=c");
    means("A = b:c\n", "b:c");
    is_refused("=a\n", "a value without a key");
}

#[test]
fn values_are_found_in_all_layers() {
    let ini = parse(
        "[DEFAULT]\nbase = /var\n[svc]\nLogfile = %(BASE)s/%(job_name)s.log\nq: a%%b\n\
         multi = one,\n   two\n\tthree,,\n[DEFAULT]\nq = x\nmore = 1\n",
    );
    let mut section = ini.section("svc").unwrap();
    assert_eq!(section.take("logfile").unwrap().unwrap(), "/var/job1.log");
    assert_eq!(section.take("q").unwrap().unwrap(), "a%b");
    assert_eq!(section.take("more").unwrap().unwrap(), "1");
    assert_eq!(section.list("multi").unwrap(), ["one", "two", "three"]);
    for (name, expected) in [
        ("job_name", "job1"),
        ("service_name", "svc"),
        ("config_dir", "/etc/x"),
        ("config_file", "/etc/x/job1.ini"),
    ] {
        assert_eq!(section.take(name).unwrap().unwrap(), expected);
    }
    assert!(section.take("host_name").unwrap().is_some());
    assert!(ini.section("other").unwrap_err().to_string().contains("no section [other]"));
}

#[test]
fn typed_values_are_checked() {
    let ini = parse("[s]\nn = 2.5\nb = Yes\nx = twelve\nneg = -1\npath = ~no_such_user_here/x\n");
    let mut section = ini.section("s").unwrap();
    assert_eq!(section.seconds("n").unwrap().unwrap().as_millis(), 2500);
    assert_eq!(section.boolean("b").unwrap(), Some(true));
    let error = section.number::<i32>("x").unwrap_err().to_string();
    assert_eq!(error, "/etc/x/job1.ini: [s] x: \"twelve\" is not a number");
    assert!(section.seconds("neg").is_err());
    assert!(section.boolean("n").is_err());
    let error = section.file("path").unwrap_err().to_string();
    assert!(error.contains("[s] path: ~no_such_user_here/x: "), "{error}");
}

#[test]
fn keys_that_nobody_took_are_refused() {
    let text = "[DEFAULT]\nall = 1\n[s]\nconfig_format = 1\nbase = 15\na = %(base)s\nwrong = 1\n";
    let ini = parse(text);
    let mut section = ini.section("s").unwrap();
    section.take("a").unwrap();
    let error = section.clone().end().unwrap_err().to_string();
    assert_eq!(error, "/etc/x/job1.ini: [s] wrong: unknown key");
    section.ignore("wrong");
    section.end().unwrap();
}

#[test]
fn the_second_format_has_braces() {
    let ini = parse(
        "[DEFAULT]\nconfig_format = 2\nbase = /var\n[s]\nlog = ${base}/${job_name}.log\n\
         q = 5$$ 50% %(x)s\nfar = ${Other:path}\na = ${b}\nb = ${a}\nlone = $x\n\
         [Other]\npath = ${base}/${own}\nown = o\n[third]\nconfig_format = 3\n",
    );
    let mut section = ini.section("s").unwrap();
    assert_eq!(section.take("log").unwrap().unwrap(), "/var/job1.log");
    assert_eq!(section.take("q").unwrap().unwrap(), "5$ 50% %(x)s");
    assert_eq!(section.take("far").unwrap().unwrap(), "/var/o");
    assert!(section.take("a").unwrap_err().to_string().contains("in a circle"));
    assert!(section.take("lone").is_err());
    let error = ini.section("third").unwrap_err().to_string();
    assert!(error.contains("config_format: \"3\" is neither 1 nor 2"), "{error}");
}

#[test]
fn references_end_or_are_errors() {
    let chain = |steps: usize| {
        let lines = (1..steps).map(|step| format!("a{step} = %(a{})s\n", step + 1));
        format!("a = %(a1)s\n{}a{steps} = x%%\n", lines.collect::<String>())
    };
    means(&chain(9), "x%");
    is_refused(&chain(10), "in a circle");
    is_refused("a = %(b)s\nb = %(a)s\n", "in a circle");
    is_refused("a = %(none)s\n", "refers to \"none\", which is not set");
    is_refused("a = 50%\n", "\"%\" must be followed by");
}

#[test]
fn included_files_take_part_and_errors_name_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    let read = || {
        let mut seen = Vec::new();
        let ini = Ini::read(&path("a.ini"), |opened| seen.push(opened.path.to_owned()));
        (ini, seen)
    };
    write("b.ini", "x = 1\n# c\n[other]\ny = 2\n");
    write("a.ini", &format!("[s]\n%include {}\n  z = 3\n", path("b.ini").display()));
    let (ini, seen) = read();
    let ini = ini.unwrap();
    assert_eq!(seen, [path("a.ini"), path("b.ini")]);
    let take = |mut section: Section<'_>, key| section.take(key).unwrap().unwrap();
    assert_eq!(take(ini.section("s").unwrap(), "x"), "1");
    assert_eq!(take(ini.section("other").unwrap(), "y"), "2");
    // The place in the file is where the included file left it.
    assert_eq!(take(ini.section("other").unwrap(), "z"), "3");
    let refused = || read().0.unwrap_err().to_string();
    write("b.ini", "x = 1\nnonsense\n");
    assert!(refused().contains("b.ini:2: "), "{}", refused());
    write("b.ini", &format!("%include {}\n", path("b.ini").display()));
    assert!(refused().contains("include each other"), "{}", refused());
    std::fs::remove_file(path("b.ini")).unwrap();
    assert!(refused().contains("b.ini: No such file"), "{}", refused());
}

#[test]
fn what_a_file_takes_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let read = |text: &str| {
        std::fs::write(path("a.ini"), text).unwrap();
        Ini::read(&path("a.ini"), |_| ())
    };
    let refused = |text: &str| read(text).unwrap_err().to_string();
    std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
    for special in ["/dev/zero".into(), path("pipe"), dir.path().to_owned()] {
        let error = refused(&format!("%include {}\n", special.display()));
        assert_eq!(error, format!("{}: is no plain file", special.display()));
    }
    let comment = |length| format!("#{}\n", "x".repeat(length));
    assert!(read(&comment((1 << 20) - 2)).is_ok());
    assert!(refused(&comment((1 << 20) - 1)).contains("larger than 1 MB"));
    // Files that include others several times are as large as all of that.
    std::fs::write(path("c.ini"), "").unwrap();
    for (name, next) in [("b.ini", "c.ini"), ("d.ini", "b.ini"), ("e.ini", "d.ini")] {
        let line = format!("%include {}\n", path(next).display());
        std::fs::write(path(name), line.repeat(200)).unwrap();
    }
    let error = refused(&format!("%include {}\n", path("e.ini").display()));
    assert!(error.contains("larger than 1 MB"), "{error}");
}

#[test]
fn references_to_references_do_not_grow_for_ever() {
    for leaf in ["xxxxxxxxxx", ""] {
        let level = |key: u8| {
            let (key, next) = (char::from(key), char::from(key + 1));
            format!("{key} = {}\n", format!("%({next})s").repeat(20))
        };
        let text: String = (b'a'..=b'h').map(level).collect();
        is_refused(&format!("{text}i = {leaf}\n"), "references make it larger than 1 MB");
    }
    let large = "x".repeat(1000);
    means(&format!("a = {}\nb = {large}\n", "%(b)s".repeat(100)), &large.repeat(100));
}

#[test]
fn a_text_is_known_by_its_first_section() {
    for (text, expected) in [
        ("\u{feff}\n# c\n ; c\n[walmgr] ; c\na = 1\n", Some("walmgr")),
        ("a = 1\n[walmgr]\n", None),
        ("%include x\n[walmgr]\n", None),
        ("[[a]]\n", None),
        ("", None),
    ] {
        assert_eq!(first_section(text), expected, "{text}");
    }
}

/// Take everything that there is, in every way.
fn take_all(ini: &Ini) {
    for name in ini.section_names().chain(["DEFAULT"]) {
        let Ok(section) = ini.section(name) else { continue };
        for key in ["a", "job_name"] {
            let mut section = section.clone();
            let _ = section.take(key);
            let _ = section.list(key);
            let _ = section.file(key);
            let _ = section.seconds(key);
            let _ = section.boolean(key);
            section.literal(key);
            section.ignore(key);
            let _ = section.end();
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(ini) = Ini::parse(Path::new("f"), bytes) {
            take_all(&ini);
        }
    }

    #[test]
    fn no_lines_make_it_panic(
        format in "(config_format ?= ?[12]\n)?",
        lines in "(\\[?[aA-CD s]?\\]? ?[=:;#%$(){}s~ a\"\u{feff}\u{a0}\r\t-]{0,12}\n){0,12}",
    ) {
        if let Ok(ini) = Ini::parse(Path::new("f"), format!("[s]\n{format}{lines}")) {
            take_all(&ini);
        }
    }

    #[test]
    fn plain_values_come_back_as_they_were_written(
        values in prop::collection::btree_map("[a-z_]{1,8}", "[A-Za-z0-9/.='-]{1,20}", 1..10),
    ) {
        let lines: String = values.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let ini = parse(&format!("[s]\n{lines}"));
        let mut section = ini.section("s").unwrap();
        for (key, value) in &values {
            let taken = section.take(key).unwrap();
            prop_assert_eq!(taken.as_ref(), Some(value));
        }
        section.end().unwrap();
    }
}
