//! No secret survives in any surroundings, and nothing else is touched.

use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::Index;

use super::{has_secret, redact};

#[test]
fn secrets_disappear_from_every_form() {
    for (text, expected) in [
        ("host=a password=secret dbname=d", "host=a password=*** dbname=d"),
        ("password = 'se\\'c ret' host=a", "password = *** host=a"),
        ("password=se\\ cret host=a", "password=*** host=a"),
        ("PASSWORD=x", "PASSWORD=***"),
        ("sslpassword=a\"b&c user=x", "sslpassword=*** user=x"),
        (
            "scram_client_key=a scram_server_key=b oauth_client_secret=c user=x",
            "scram_client_key=*** scram_server_key=*** oauth_client_secret=*** user=x",
        ),
        ("PGPASSWORD=a b", "PGPASSWORD=*** b"),
        ("password = 'it''s \\' deep' user=x", "password = *** user=x"),
        (
            "primary_conninfo = 'host=a password=''s e'' user=b'",
            "primary_conninfo = 'host=a password=*** user=b'",
        ),
        (r"'host=a password='\''s e'\'' user=b'", "'host=a password=*** user=b'"),
        (r#""host=a password='it\\'s e' user=b""#, r#""host=a password=*** user=b""#),
        (r"password='a\\' sslpassword='x y' user=b", "password=*** user=b"),
        (
            "cannot use \"host=a password=x\": refused",
            "cannot use \"host=a password=***\": refused",
        ),
        ("(host=a password=x)", "(host=a password=***)"),
        ("password = \"two words\"\nuser = \"a\"", "password = ***\nuser = \"a\""),
        (r#"{"password":"two words","user":"a"}"#, r#"{"password":***,"user":"a"}"#),
        (r#"{password: Some("two words")}"#, "{password: Some(***)}"),
        ("alter role x password 'two words' login", "alter role x password *** login"),
        ("alter role x password $$two words$$ login", "alter role x password *** login"),
        ("alter role x password\n$a1$two $$ words$a1$;", "alter role x password\n***;"),
        ("alter role x password $$two", "alter role x password ***"),
        (r"alter role x password U&'two \0041' login", "alter role x password U&*** login"),
        ("'password=''two words d=b\nport = 1", "'password=***\nport = 1"),
        ("password=''', x", "password=***"),
        ("postgres://joe:secret@h:5/db?x=1", "postgres://joe:***@h:5/db?x=1"),
        ("postgres://joe@h/db?password=secret&y=2", "postgres://joe@h/db?password=***&y=2"),
        ("postgres://joe@h/db?pass%77ord=secret&y=2", "postgres://joe@h/db?pass%77ord=***&y=2"),
        ("\"postgres://h/db?password=a b\" is", "\"postgres://h/db?password=***\" is"),
        ("postgresql://u:p@ss@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:p/s?s w\"rd@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:12/3@h/db", "postgresql://u:***@h/db"),
        ("postgresql://me@corp:sec/ret@h/db", "postgresql://me@corp:***@h/db"),
        ("postgresql://u:secret", "postgresql://u:***"),
        ("postgresql://u:se'c ret", "postgresql://u:***"),
        ("postgresql://me@corp:se c", "postgresql://me@corp:***"),
        (
            "from postgres://u:a@h/d to postgres://v:b@i/e",
            "from postgres://u:***@h/d to postgres://v:***@i/e",
        ),
        ("proxy http://u:sec/ret@h:80/", "proxy http://u:***@h:80/"),
    ] {
        assert_eq!(redact(text), expected, "{text}");
        assert!(has_secret(text), "{text}");
    }
}

#[test]
fn text_without_secrets_stays() {
    for text in [
        "",
        "password authentication failed for user \"joe\"",
        "the password is wrong: try again",
        "alter role x password $1$2",
        "password=''",
        "password='' user='x'",
        "{\"password\":\"\",\"user\":\"x\"}",
        "no password supplied",
        "postgres://joe@h:5432/db: refused, mail joe@example.com",
        "postgres://[::1]:5432,b:5433/db?sslmode=require",
        "postgres://joe@[2001:db8::1]:5432/db: refused",
        "postgres://[2001:db8::1]/db: refused",
        "https://storage.example.com:9000/bucket?to=a@b",
        "https://example.com/a:b@c",
        "channel_binding=require passfile=/home/joe/.pgpass",
        "repository.encryption.passphrase_file = '/x'",
        "é password: ü",
    ] {
        assert_eq!(redact(text), text);
        assert!(!has_secret(text), "{text}");
    }
}

/// Secrets of letters that stand nowhere else, and of what ends values and begins others.
fn secret() -> impl Strategy<Value = String> {
    "[QXZ]([QXZ]{1,3}|[ \"'&/?@:=;,%#\\\\(){}\\[\\]<>|$`~é.0-9-]){2,10}[QXZ]"
}

/// The same without what a value without quotes or a URI's last part cannot have.
fn plain_secret() -> impl Strategy<Value = String> {
    "[\"QXZ0-9/&]([QXZ]{1,3}|[\"'&/?@:=;,%#(){}\\[\\]<>|$`~é.0-9-]){2,10}[QXZ\"]"
}

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("password"),
        Just("sslpassword"),
        Just("scram_client_key"),
        Just("scram_server_key"),
        Just("oauth_client_secret"),
    ]
}

fn blanks() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(""), Just(""), Just(" "), Just(" \t ")]
}

fn escaped(secret: &str) -> String {
    secret.replace('\\', "\\\\").replace('\'', "\\'")
}

/// Every other character percent-encoded, or, with `all`, each.
fn encoded(text: &str, all: bool) -> String {
    let encode = |(at, byte): (usize, u8)| match byte {
        b'a'..=b'z' | b'_' if at % 2 == 0 && !all => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().enumerate().map(encode).collect()
}

fn key_value() -> impl Strategy<Value = String> {
    let quoted = (name(), blanks(), blanks(), secret())
        .prop_map(|(name, a, b, secret)| format!("{name}{a}={b}'{}'", escaped(&secret)));
    let bare = (name(), blanks(), blanks(), plain_secret())
        .prop_map(|(name, a, b, secret)| format!("{name}{a}={b}{secret}"));
    let escaped = (name(), secret())
        .prop_map(|(name, secret)| format!("{name}={}", escaped(&secret).replace(' ', "\\ ")));
    let pair = prop_oneof![quoted, bare, escaped];
    (pair.clone(), any::<bool>(), pair).prop_map(|(first, two, second)| {
        let second = if two { second } else { "port=1".to_owned() };
        format!("host=a user='it\\'s' {first} {second} dbname='b c'")
    })
}

/// `more` stands where an at sign was, in a password before the host.
fn uri(more: &'static str) -> impl Strategy<Value = String> {
    let scheme = prop_oneof![Just("postgres"), Just("postgresql")];
    let in_front = secret().prop_map(move |secret| secret.replace('@', more));
    let user = (scheme.clone(), "[a-z%.@]{0,5}", in_front, "[a-z.]{1,6}(:[0-9]{4})?(/[a-z]{1,4})?")
        .prop_map(|(scheme, user, secret, host)| format!("{scheme}://{user}:{secret}@{host}"));
    let parameter = (scheme, name(), 0..3, secret(), any::<bool>()).prop_map(
        |(scheme, name, encoding, secret, last)| {
            let name = if encoding == 0 { name.to_owned() } else { encoded(name, encoding == 2) };
            let secret = secret.replace('&', "%26");
            let more = if last { "" } else { "&connect_timeout=3" };
            format!("{scheme}://joe@h:1,i:2/db?sslmode=require&{name}={secret}{more}")
        },
    );
    prop_oneof![user, parameter]
}

/// As messages, dumps and command lines show it.
fn shown(
    text: impl Strategy<Value = String>,
    how: impl Strategy<Value = i32>,
) -> impl Strategy<Value = String> {
    let prose = "[a-z ,.;:()-]{0,20}";
    (text, how, prose, prose).prop_map(|(text, how, before, after)| {
        let text = match how {
            0 => text,
            1 => format!("\"{text}\""),
            2 => format!("'{text}'"),
            3 => format!("{text:?}"),
            4 => format!("[{:?}, {text:?}]", "psql"),
            5 => format!("{{\"dsn\":{:?}}}", format!("{text:?}")),
            6 => format!("primary_conninfo = '{}'", text.replace('\\', "\\\\").replace('\'', "''")),
            7 => format!("sh -c '{}'", text.replace('\'', "'\\''")),
            _ => format!("({text})"),
        };
        format!("{before} {text} {after}\n{before}")
    })
}

fn innocent() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[a-z0-9 ,.;:()/-]{0,12}",
        Just("said \"x y\" and 'z' ".to_owned()),
        Just("password".to_owned()),
        Just("wrong password: ".to_owned()),
        Just("host=a user='b c' sslmode=verify-full sslrootcert=/x".to_owned()),
        Just("postgres://joe@h:5432,[::1]:5/db?sslmode=require ".to_owned()),
        Just("postgresql://h/db ".to_owned()),
        Just("http://127.0.0.1:8080/metrics?a=b@c ".to_owned()),
        Just("joe@example.com ".to_owned()),
        Just("\n".to_owned()),
    ];
    proptest::collection::vec(word, 0..6).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_letter_of_a_secret_survives(text in shown(prop_oneof![key_value(), uri("@")], 0..9)) {
        let shown = redact(&text);
        prop_assert!(!shown.contains(['Q', 'X', 'Z']), "{text}\n{shown}");
        prop_assert!(has_secret(&text));
    }

    /// As what is too long for a message. Nobody can tell where a secret would have ended that has
    /// an at sign in front of the host's, or between quotes (1 and 2) quotes that nothing marks.
    #[test]
    fn no_letter_of_a_secret_survives_a_cut(
        text in shown(prop_oneof![key_value(), uri("#")], prop_oneof![Just(0), 3..9]),
        at in any::<Index>(),
    ) {
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let cut = &text[..ends[at.index(ends.len())]];
        let shown = redact(cut);
        prop_assert!(!shown.contains(['Q', 'X', 'Z']), "{cut}\n{shown}");
    }

    #[test]
    fn nothing_else_is_touched(text in innocent()) {
        prop_assert_eq!(redact(&text), text);
    }

    #[test]
    fn any_text_is_taken(text in any::<String>()) {
        let _ = redact(&text);
    }

    #[test]
    fn any_text_of_the_alphabet_is_taken(text in "([pP]assword|%70|['\"=:@/\\\\& ?\né]|://|postgres|Some\\(){0,20}") {
        let _ = redact(&text);
    }
}
