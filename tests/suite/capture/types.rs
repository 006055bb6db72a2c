//! Values of every kind of type in the three formats.

use super::{database, take_events, three_triggers};

/// type, input, JSON value, urlencoded value (None: NULL), SQL value
type Sample = (&'static str, &'static str, &'static str, Option<&'static str>, &'static str);

const SAMPLES: &[Sample] = &[
    ("text", "null", "null", None, "null"),
    ("text", "''", r#""""#, Some(""), "''"),
    (
        "text",
        r#"'''"quoted\string$%,@"'''"#,
        r#""'\"quoted\\string$%,@\"'""#,
        Some("%27%22quoted%5cstring%24%25%2c%40%22%27"),
        r#"E'''"quoted\\string$%,@"'''"#,
    ),
    (
        "text",
        "E'\\b\\f\\n\\r\\t\\x01\\x1f'",
        r#""\b\f\n\r\t\u0001\u001f""#,
        Some("%08%0c%0a%0d%09%01%1f"),
        "'\u{8}\u{c}\n\r\t\u{1}\u{1f}'",
    ),
    ("text", "'žäß€😀'", "\"žäß€😀\"", Some("%c5%be%c3%a4%c3%9f%e2%82%ac%f0%9f%98%80"), "'žäß€😀'"),
    ("bytea", r"'\x00FF01'", r#""\\x00ff01""#, Some("%5cx00ff01"), r"E'\\x00ff01'"),
    ("bool", "true", "true", Some("t"), "'t'"),
    ("bool", "false", "false", Some("f"), "'f'"),
    (
        "timestamptz",
        "'2009-09-19 11:59:48.599+00'",
        r#""2009-09-19T11:59:48.599+00:00""#,
        Some("2009-09-19+11%3a59%3a48.599%2b00"),
        "'2009-09-19 11:59:48.599+00'",
    ),
    ("timestamptz", "'infinity'", r#""infinity""#, Some("infinity"), "'infinity'"),
    (
        "timestamp",
        "'2009-09-19 11:59:48.599'",
        r#""2009-09-19T11:59:48.599""#,
        Some("2009-09-19+11%3a59%3a48.599"),
        "'2009-09-19 11:59:48.599'",
    ),
    ("timestamp", "'-infinity'", r#""-infinity""#, Some("-infinity"), "'-infinity'"),
    (
        "timestamp",
        "'0044-03-15 12:00:00 BC'",
        r#""0044-03-15T12:00:00 BC""#,
        Some("0044-03-15+12%3a00%3a00+BC"),
        "'0044-03-15 12:00:00 BC'",
    ),
    ("date", "'2009-09-19'", r#""2009-09-19""#, Some("2009-09-19"), "'2009-09-19'"),
    ("date", "'infinity'", r#""infinity""#, Some("infinity"), "'infinity'"),
    ("time", "'11:59:48.599'", r#""11:59:48.599""#, Some("11%3a59%3a48.599"), "'11:59:48.599'"),
    ("timetz", "'11:59:48+02'", r#""11:59:48+02""#, Some("11%3a59%3a48%2b02"), "'11:59:48+02'"),
    ("interval", "'2 minutes'", r#""@ 2 mins""#, Some("%40+2+mins"), "'@ 2 mins'"),
    ("int2", "-32768", "-32768", Some("-32768"), "'-32768'"),
    ("int4", "2147483647", "2147483647", Some("2147483647"), "'2147483647'"),
    (
        "int8",
        "-9223372036854775808",
        "-9223372036854775808",
        Some("-9223372036854775808"),
        "'-9223372036854775808'",
    ),
    ("oid", "4000000000", r#""4000000000""#, Some("4000000000"), "'4000000000'"),
    ("xid", "'5'", r#""5""#, Some("5"), "'5'"),
    ("tid", "'(0,1)'", r#""(0,1)""#, Some("%280%2c1%29"), "'(0,1)'"),
    ("real", "100100.666", r#""100101""#, Some("100101"), "'100101'"),
    (
        "float8",
        "100100.6005005665",
        r#""100100.600500567""#,
        Some("100100.600500567"),
        "'100100.600500567'",
    ),
    ("float8", "'NaN'", r#""NaN""#, Some("NaN"), "'NaN'"),
    (
        "numeric(40,15)",
        "100100.600500566501811",
        r#""100100.600500566501811""#,
        Some("100100.600500566501811"),
        "'100100.600500566501811'",
    ),
    (
        "box",
        "'(5.6,5.7),(1.1,2.1)'",
        r#""(5.6,5.7),(1.1,2.1)""#,
        Some("%285.6%2c5.7%29%2c%281.1%2c2.1%29"),
        "'(5.6,5.7),(1.1,2.1)'",
    ),
    (
        "uuid",
        "'00010203-0405-0607-0809-0a0b0c0d0e0f'",
        r#""00010203-0405-0607-0809-0a0b0c0d0e0f""#,
        Some("00010203-0405-0607-0809-0a0b0c0d0e0f"),
        "'00010203-0405-0607-0809-0a0b0c0d0e0f'",
    ),
    (
        "json",
        r#"'{"a": [1, "b"]}'"#,
        r#""{\"a\": [1, \"b\"]}""#,
        Some("%7b%22a%22%3a+%5b1%2c+%22b%22%5d%7d"),
        r#"'{"a": [1, "b"]}'"#,
    ),
    ("jsonb", r#"'{"a":1}'"#, r#""{\"a\": 1}""#, Some("%7b%22a%22%3a+1%7d"), r#"'{"a": 1}'"#),
    ("char(5)", "'cc'", r#""cc   ""#, Some("cc+++"), "'cc   '"),
    ("name", "'Ab'", r#""Ab""#, Some("Ab"), "'Ab'"),
    ("\"char\"", "'x'", r#""x""#, Some("x"), "'x'"),
    ("posint", "5", r#""5""#, Some("5"), "'5'"),
    ("mood", "'so so'", r#""so so""#, Some("so+so"), "'so so'"),
    ("couple", "(1,'x y')", r#""(1,\"x y\")""#, Some("%281%2c%22x+y%22%29"), "'(1,\"x y\")'"),
    ("int4range", "'[1,5)'", r#""[1,5)""#, Some("%5b1%2c5%29"), "'[1,5)'"),
    ("bool[]", "'{t,t}'", r#""{t,t}""#, Some("%7bt%2ct%7d"), "'{t,t}'"),
    ("text[]", "array[null,null]", r#""{NULL,NULL}""#, Some("%7bNULL%2cNULL%7d"), "'{NULL,NULL}'"),
    (
        "text[]",
        r#"array['a"b\c']"#,
        r#""{\"a\\\"b\\\\c\"}""#,
        Some("%7b%22a%5c%22b%5c%5cc%22%7d"),
        r#"E'{"a\\"b\\\\c"}'"#,
    ),
    (
        "date[]",
        "'{2009-09-19,2009-09-19}'",
        r#""{2009-09-19,2009-09-19}""#,
        Some("%7b2009-09-19%2c2009-09-19%7d"),
        "'{2009-09-19,2009-09-19}'",
    ),
    (
        "timestamptz[]",
        "'{2009-09-19 11:59:48.599+00}'",
        r#""{\"2009-09-19 11:59:48.599+00\"}""#,
        Some("%7b%222009-09-19+11%3a59%3a48.599%2b00%22%7d"),
        "'{\"2009-09-19 11:59:48.599+00\"}'",
    ),
    (
        "box[]",
        "'{(1,1),(0,0);(2,2),(0,0)}'",
        r#""{(1,1),(0,0);(2,2),(0,0)}""#,
        Some("%7b%281%2c1%29%2c%280%2c0%29%3b%282%2c2%29%2c%280%2c0%29%7d"),
        "'{(1,1),(0,0);(2,2),(0,0)}'",
    ),
];

#[test]
fn each_type_has_its_text() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create domain posint as int check (value > 0);
         create type mood as enum ('sad', 'so so');
         create type couple as (a int, b text)",
    )
    .unwrap();
    for &(type_name, input, json, url, sql) in SAMPLES {
        db.batch_execute(&format!("create table t (val {type_name})")).unwrap();
        three_triggers(&mut db, "t", "");
        db.batch_execute(&format!("insert into t values ({input})")).unwrap();
        let url = url.map_or("val".to_owned(), |url| format!("val={url}"));
        let expected = [
            format!(
                r#"{{"op":"INSERT","table":["public","t"],"pkey":[]}}|{{"val":{json}}}|public.t"#
            ),
            format!("I:|{url}|public.t"),
            format!("I|(val) values ({sql})|public.t"),
        ];
        assert_eq!(take_events(&mut db), expected, "{type_name} {input}");
        db.batch_execute("drop table t").unwrap();
    }
}

#[test]
fn json_dates_follow_the_time_zone_and_not_datestyle() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create table t (a timestamptz, b date, c timestamptz);
         create trigger t after insert on t for each row execute function pgq.jsontriga('q');
         set timezone = 'Asia/Kolkata'; set datestyle = 'SQL, DMY';
         insert into t values ('2009-09-19 04:05:06.7+00', '2009-02-01', '1890-01-01 00:00+00')",
    )
    .unwrap();
    let event = take_events(&mut db).remove(0);
    let data = event.split('|').nth(1).unwrap();
    assert_eq!(
        data,
        r#"{"a":"2009-09-19T09:35:06.7+05:30","b":"2009-02-01","c":"1890-01-01T05:21:10+05:21:10"}"#
    );
}

#[test]
fn values_kept_out_of_line_are_fetched() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create table t (id int primary key, wide text, plain text, v int);
         alter table t alter plain set storage external",
    )
    .unwrap();
    three_triggers(&mut db, "t", "");
    let wide = |seed: &str| -> String {
        format!(
            "(select string_agg(md5(g::text || '{seed}'), ' ') from generate_series(1, 3000) g)"
        )
    };
    db.batch_execute(&format!("insert into t values (1, {}, repeat('ab', 50000), 0)", wide("x")))
        .unwrap();
    take_events(&mut db);
    db.batch_execute("update t set v = 1").unwrap();
    let events = take_events(&mut db);
    let text: String = db.query_one("select wide from t", &[]).unwrap().get(0);
    assert_eq!(events[2], "U|v='1' where id='1'|public.t", "untouched wide columns are unchanged");
    let url = format!(
        "U:id|id=1&wide={}&plain={}&v=1|public.t",
        text.replace(' ', "+"),
        "ab".repeat(50000)
    );
    assert_eq!(events[1], url);
    assert!(events[0].contains(&text));
    // Written again, the value is stored anew, yet it is the same.
    db.batch_execute("update t set wide = wide || ''").unwrap();
    assert_eq!(take_events(&mut db)[2], "U|id='1' where id='1'|public.t");
    db.batch_execute("update t set wide = wide || 'y'").unwrap();
    assert_eq!(take_events(&mut db)[2], format!("U|wide='{text}y' where id='1'|public.t"));
}

#[test]
fn equality_is_the_types_own_except_for_arrays() {
    let (_scratch, mut db) = database();
    db.batch_execute(
        "create table t (id int primary key, n numeric, j json, b jsonb, a numeric[], f float8);
         create trigger t after update on t for each row execute function pgq.sqltriga('q');
         insert into t values (1, 1.0, '{}', '{\"a\":1}', '{1.0}', 0)",
    )
    .unwrap();
    let nothing = "U|id='1' where id='1'|public.t";
    for (assignment, expected) in [
        ("n = 1.00", nothing),
        ("j = '{ }'", "U|j='{ }' where id='1'|public.t"),
        ("b = '{\"a\": 1}'", nothing),
        ("a = '{1.00}'", "U|a='{1.00}' where id='1'|public.t"),
        ("f = '-0'", nothing),
        ("n = null", "U|n=NULL where id='1'|public.t"),
        ("n = null", nothing),
    ] {
        db.batch_execute(&format!("update t set {assignment}")).unwrap();
        assert_eq!(take_events(&mut db), [expected], "{assignment}");
    }
}
