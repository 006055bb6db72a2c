//! Random tables with capture triggers, and random statements for them.

use std::fmt::Write as _;

use pgq_tests::Random;

/// What the tables need around them.
pub(super) const SCHEMA: &str = "create schema \"sch é\";
         create type mood as enum ('sad', 'so so', 'é');
         create domain posint as int check (value > 0);
         create domain word as text; create type couple as (a int, b text);
         create type textrange as range (subtype = text)";

/// Types and literals of them. Random texts are added where they fit.
const TYPES: &[(&str, &[&str])] = &[
    ("int2", &["0", "-32768", "32767"]),
    ("int4", &["1", "-5", "2147483647", "-2147483648"]),
    ("int8", &["7", "9223372036854775807", "-9223372036854775808"]),
    ("bool", &["true", "false"]),
    ("text", &["'x'", "''", "'{}'"]),
    ("varchar(40)", &["'it''s'", "''"]),
    ("char(7)", &["'ab'", "''"]),
    ("name", &["'some name'"]),
    ("\"char\"", &["'q'", "''"]),
    ("bytea", &[r"'\x00ff275c'", "''"]),
    ("numeric", &["1.0", "1.00", "-12345678901234567890.123456789", "'NaN'", "0", "1e-20"]),
    ("numeric(10,2)", &["1.5", "99999999.99"]),
    ("float4", &["1.5", "100100.666", "'NaN'", "'-Infinity'"]),
    ("float8", &["0", "'-0'", "1e300", "100100.6005005665", "'NaN'"]),
    ("date", &["'2009-09-19'", "'infinity'", "'0044-03-15 BC'", "'-infinity'"]),
    (
        "timestamp",
        &["'2009-09-19 11:59:48.599'", "'infinity'", "'0044-03-15 01:02:03 BC'", "'99999-01-01'"],
    ),
    (
        "timestamptz",
        &[
            "'2009-09-19 11:59:48.599+03'",
            "'-infinity'",
            "'1800-01-01 00:00+00'",
            "'2024-07-01 12:00:00.000001+00'",
        ],
    ),
    ("time", &["'11:59:48.599'", "'24:00'"]),
    ("timetz", &["'11:59:48.599+05:30'"]),
    ("interval", &["'2 minutes'", "'1 year -3 days 04:05:06.789'", "'0'"]),
    ("json", &["'{\"a\": 1}'", "'{ }'", "'[1,\"x\\\\y\"]'", "'\"\\u00e9\"'"]),
    ("jsonb", &["'{\"b\":1,\"a\":[true,null]}'", "'{\"b\" : 1}'", "'1.0'", "'1.00'"]),
    ("uuid", &["'00010203-0405-0607-0809-0a0b0c0d0e0f'"]),
    ("inet", &["'10.0.0.1/8'", "'::1'"]),
    ("macaddr", &["'08:00:2b:01:02:03'"]),
    ("oid", &["0", "4000000000"]),
    ("xid", &["'5'"]),
    ("money", &["'12.34'", "'-5'"]),
    ("point", &["'(1.5,2)'", "'(0,0)'"]),
    ("box", &["'(5.6,5.7),(1.1,2.1)'", "'(1,1),(0,0)'", "'(2,0.5),(1,-0.5)'"]),
    ("circle", &["'<(0,0),1>'"]),
    ("bit(5)", &["B'10101'"]),
    ("varbit", &["B'1'", "B''"]),
    ("tsvector", &["'a fat ''cat''s'''"]),
    ("int4range", &["'[1,5)'", "'empty'", "'(,)'"]),
    ("int4[]", &["'{1,2}'", "'{}'", "'[0:1]={1,2}'", "'{{1,2},{3,4}}'", "'{NULL}'"]),
    ("text[]", &["array['a','b c',null,'\"q\"','\\']", "'{}'"]),
    ("numeric[]", &["'{1.0}'", "'{1.00}'"]),
    ("bool[]", &["'{t,f}'"]),
    ("date[]", &["'{2009-09-19,infinity}'"]),
    ("mood", &["'sad'", "'so so'", "'é'"]),
    ("mood[]", &["'{sad,\"so so\"}'"]),
    ("posint", &["5", "6"]),
    ("word", &["'w'", "'W w'"]),
    ("couple", &["row(1,'x y')", "row(null,null)", "row(2,'\"')"]),
    ("couple[]", &["array[row(1,'x')::couple]"]),
    ("textrange", &["'[a,b)'"]),
    ("txid_snapshot", &["'10:20:10,14,15'"]),
    ("tid", &["'(0,1)'"]),
    ("regclass", &["'pg_class'"]),
    ("xml", &["'<a b=\"c\">d</a>'"]),
];

/// Types that have a btree operator class, for keys.
const KEY_TYPES: &[&str] = &[
    "int4",
    "int8",
    "text",
    "varchar(40)",
    "char(7)",
    "numeric",
    "date",
    "timestamptz",
    "uuid",
    "bytea",
    "mood",
    "word",
    "int4[]",
];

const NAMES: &[&str] = &[
    "a",
    "b",
    "val",
    "select",
    "order",
    "Mixed",
    "with space",
    "ünï",
    "q\"q",
    "a-b",
    "_x",
    "name",
    "value",
    "per%cent",
    "d.o.t",
];

const SETTINGS: &[&str] = &[
    "datestyle = 'ISO, MDY'",
    "datestyle = 'German'",
    "datestyle = 'SQL, DMY'",
    "datestyle = 'Postgres, MDY'",
    "timezone = 'UTC'",
    "timezone = 'Asia/Kolkata'",
    "timezone = 'America/St_Johns'",
    "timezone = 'Europe/Tallinn'",
    "intervalstyle = 'iso_8601'",
    "intervalstyle = 'postgres'",
    "extra_float_digits = 1",
    "extra_float_digits = -3",
    "bytea_output = escape",
    "bytea_output = hex",
    "quote_all_identifiers = on",
    "quote_all_identifiers = off",
    "xmlbinary = hex",
    "lc_monetary = 'C'",
    "session_replication_role = local",
    "session_replication_role = origin",
    "session_replication_role = origin",
    "standard_conforming_strings = on",
    "escape_string_warning = off",
];

const PIECES: &[&str] = &[
    "a", "Z", "09", "''", "\"", "\\", "&", "=", "%", "+", " ", ",", "{", "}", "(", "\n", "\t",
    "\r", "\u{1}", "\u{1f}", "\u{7f}", "é", "漢", "😀", "/", "$", "_.-~", "null", "%41",
];

struct Column {
    name: String,
    type_name: &'static str,
    is_key: bool,
}

/// A table under test: what a statement generator needs to know.
pub(super) struct Table {
    pub(super) name: String,
    columns: Vec<Column>,
    serial: usize,
    next_nr: i64,
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn pick<'a, T: ?Sized>(random: &mut Random, from: &[&'a T]) -> &'a T {
    from[index(random, from.len())]
}

fn index(random: &mut Random, length: usize) -> usize {
    usize::try_from(random.below(u64::try_from(length).unwrap())).unwrap()
}

fn text(random: &mut Random) -> String {
    let length = random.below(8);
    let body: String = (0..length).map(|_| pick(random, PIECES)).collect();
    format!("'{body}'")
}

fn literal(random: &mut Random, type_name: &str) -> String {
    if random.one_in(5) {
        return "null".to_owned();
    }
    match type_name {
        // Wide enough to be compressed, or to be moved out of line.
        "text" | "json" | "jsonb" | "bytea" if random.one_in(12) => {
            let seed = random.below(5);
            let wide = format!(
                "(select string_agg(md5(g::text || '{seed}'), '') from generate_series(1, 600) g)"
            );
            match type_name {
                "text" => wide,
                "bytea" => format!("decode({wide}, 'hex')"),
                other => format!("to_json({wide})::{other}"),
            }
        }
        "text" if random.one_in(10) => "repeat('wide é', 3000)".to_owned(),
        "text" | "varchar(40)" | "word" if random.one_in(2) => text(random),
        "text[]" if random.one_in(2) => format!("array[{}, {}]", text(random), text(random)),
        "couple" if random.one_in(2) => format!("row({}, {})", random.below(100), text(random)),
        _ => {
            let (_, literals) = TYPES.iter().find(|(name, _)| *name == type_name).unwrap();
            pick(random, literals).to_owned()
        }
    }
}

impl Table {
    /// A table, and the statements that create it and its triggers.
    pub(super) fn new(random: &mut Random, number: usize) -> (Self, Vec<String>) {
        let name = match random.below(4) {
            0 => format!("\"T b.{number}\""),
            1 => format!("\"sch é\".t{number}"),
            _ => format!("t{number}"),
        };
        let mut table = Self { name, columns: Vec::new(), serial: 0, next_nr: 1 };
        let mut key = vec!["nr".to_owned()];
        for _ in 0..1 + random.below(6) {
            table.add_column(random, false);
        }
        if random.one_in(3) {
            table.add_column(random, true);
            let last = table.columns.last().unwrap();
            key.insert(index(random, 2), quoted(&last.name));
        }
        let mut definitions: Vec<_> = table
            .columns
            .iter()
            .map(|column| format!("{} {}", quoted(&column.name), column.type_name))
            .collect();
        // Columns that expressions use, in random places.
        for fixed in ["nr int not null", "t text"] {
            let at = index(random, definitions.len() + 1);
            definitions.insert(at, fixed.to_owned());
        }
        if random.one_in(6) {
            definitions.push("_pgq_ev_extra3 text".to_owned());
        }
        let has_key = !random.one_in(5);
        if has_key {
            definitions.push(format!("primary key ({})", key.join(", ")));
        }
        let mut statements =
            vec![format!("create table {} ({})", table.name, definitions.join(", "))];
        for _ in 0..1 + random.below(2) {
            statements.extend(table.new_triggers(random, has_key));
        }
        if random.one_in(4) {
            statements.push(format!(
                "create trigger r{number} after truncate on {} execute function pgq.{}('q')",
                table.name,
                pick(random, &["logutriga", "jsontriga", "sqltriga"])
            ));
        }
        (table, statements)
    }

    fn add_column(&mut self, random: &mut Random, is_key: bool) {
        self.serial += 1;
        let name = format!(
            "{}{}",
            pick(random, NAMES),
            if random.one_in(2) { self.serial.to_string() } else { String::new() }
        );
        if self.columns.iter().any(|column| column.name == name) {
            return self.add_column(random, is_key);
        }
        let type_name =
            if is_key { pick(random, KEY_TYPES) } else { TYPES[index(random, TYPES.len())].0 };
        self.columns.push(Column { name, type_name, is_key });
    }

    /// One trigger function with random options; or all three with the same.
    fn new_triggers(&mut self, random: &mut Random, has_key: bool) -> Vec<String> {
        self.serial += 1;
        let mut options: Vec<String> = Vec::new();
        if random.one_in(2) {
            let data: Vec<_> = self
                .columns
                .iter()
                .filter(|_| random.one_in(2))
                .map(|column| column.name.clone())
                .collect();
            options.push(format!("ignore={}", data.join(pick(random, &[",", " , "]))));
        }
        if random.one_in(3) {
            options.push("backup".to_owned());
        }
        if random.one_in(if has_key { 8 } else { 2 }) {
            options.push(pick(random, &["pkey=nr", "pkey=nr,t", "pkey= t , nr "]).to_owned());
        }
        for expression in [
            "when=nr % 3 <> 1",
            "when=coalesce(t, '''') <> ''x''",
            "ev_type=''my '' || nr",
            "ev_data=t",
            "ev_extra1=upper(t) || $$t$$ || E''\\\\t''",
            "ev_extra2=case when nr > 2 then t end /* t */",
            "ev_extra4=nr * 1.5 -- nr",
            "ev_extra3=null::int",
        ] {
            if random.one_in(12) {
                options.push(expression.to_owned());
            }
        }
        let timing = pick(random, &["after", "after", "after", "before"]);
        if timing == "before" && random.one_in(6) {
            options.push("SKIP".to_owned());
        }
        let mut arguments = String::from("'q'");
        for option in options {
            write!(arguments, ", '{option}'").unwrap();
        }
        let functions: &[&str] = if random.one_in(2) {
            &["logutriga", "jsontriga", "sqltriga"]
        } else {
            match random.below(3) {
                0 => &["logutriga"],
                1 => &["jsontriga"],
                _ => &["sqltriga"],
            }
        };
        functions
            .iter()
            .map(|function| {
                format!(
                    "create trigger x{}_{function} {timing} insert or update or delete on {}
                     for each row execute function pgq.{function}({arguments})",
                    self.serial, self.name
                )
            })
            .collect()
    }

    /// A change of rows, of the table, or of a setting.
    pub(super) fn statement(&mut self, random: &mut Random) -> String {
        let nr = 1 + random.below(u64::try_from(self.next_nr).unwrap());
        match random.below(20) {
            0..6 => {
                let mut columns = vec!["nr".to_owned(), "t".to_owned()];
                let mut values = vec![self.next_nr.to_string(), text(random)];
                self.next_nr += 1;
                for column in &self.columns {
                    columns.push(quoted(&column.name));
                    values.push(literal(random, column.type_name));
                }
                format!(
                    "insert into {} ({}) values ({})",
                    self.name,
                    columns.join(", "),
                    values.join(", ")
                )
            }
            6..13 => {
                let mut assignments = Vec::new();
                for column in &self.columns {
                    if !column.is_key && random.one_in(2) || random.one_in(25) {
                        let value = if random.one_in(4) {
                            quoted(&column.name)
                        } else {
                            literal(random, column.type_name)
                        };
                        assignments.push(format!("{} = {value}", quoted(&column.name)));
                    }
                }
                if random.one_in(3) || assignments.is_empty() {
                    assignments.push(if random.one_in(3) {
                        "t = t".to_owned()
                    } else {
                        format!("t = {}", text(random))
                    });
                }
                if random.one_in(25) {
                    assignments.push("nr = nr + 1000".to_owned());
                }
                let condition =
                    if random.one_in(6) { "true".to_owned() } else { format!("nr = {nr}") };
                format!("update {} set {} where {condition}", self.name, assignments.join(", "))
            }
            13..15 => format!("delete from {} where nr = {nr}", self.name),
            15 => format!("set {}", pick(random, SETTINGS)),
            16 => {
                self.add_column(random, false);
                let column = self.columns.last().unwrap();
                let default = if random.one_in(2) {
                    format!(" default {}", literal(random, column.type_name))
                } else {
                    String::new()
                };
                let default = if default.contains("select") { String::new() } else { default };
                format!(
                    "alter table {} add {} {}{default}",
                    self.name,
                    quoted(&column.name),
                    column.type_name
                )
            }
            17 => match self.columns.iter().position(|column| !column.is_key) {
                Some(at) if random.one_in(2) => {
                    let column = self.columns.remove(at);
                    format!("alter table {} drop {}", self.name, quoted(&column.name))
                }
                Some(at) => {
                    self.serial += 1;
                    let new = format!("renamed {}", self.serial);
                    let old = std::mem::replace(&mut self.columns[at].name, new.clone());
                    format!("alter table {} rename {} to {}", self.name, quoted(&old), quoted(&new))
                }
                None => format!("vacuum {}", self.name),
            },
            18 if random.one_in(2) => format!("truncate {}", self.name),
            18 => self.new_triggers(random, true).join("; "),
            _ => format!("update {} set t = t", self.name),
        }
    }
}
