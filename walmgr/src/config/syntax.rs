//! What is wrong with a file, said without what is in it.

/// What is wrong with a text, and where; without the line, which may have a secret in it.
pub(super) fn why(text: &str, error: &toml::de::Error) -> String {
    let place = error.span().and_then(|span| text.get(..span.start)).map(|before| {
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}: ")
    });
    let message = error.message().trim_end();
    // What stands where something else should, in quotes.
    let message = match (message.split_once("string \""), message.rsplit_once("\", expected")) {
        (Some((before, _)), Some((_, after))) => format!("{before}string, expected{after}"),
        _ => message.to_owned(),
    };
    format!("{}{message}", place.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    #[test]
    fn an_error_says_where_and_repeats_no_value() {
        let top = "stanza = 'main'\n[repository]\npath = '/r'\n";
        for (line, place, word) in [
            ("s3.secret_key = 'geheim'", "line 4, column 4", "secret_key"),
            ("encryption.passphrase = \"geheim\"", "line 4, column 12", "passphrase"),
            ("encryption = \"geheim\"", "line 4, column 14", "expected"),
            ("encryption = \"geh\\\", expected eim\"", "line 4, column 14", "expected"),
            ("encryption.passphrase_command = 'echo geheim", "line 4, column", ""),
            ("encryption.passphrase_command = echo geheim", "line 4, column", ""),
            ("required = \"geheim\"", "line 4, column 12", "expected a boolean"),
        ] {
            let error = Config::parse(&format!("{top}{line}\n"), Path::new("w.toml")).unwrap_err();
            let error = error.to_string();
            assert!(!error.contains("geh") && !error.contains("eim"), "{line}: {error}");
            assert!(error.starts_with(&format!("w.toml: {place}")), "{line}: {error}");
            assert!(error.contains(word) && !error.contains('\n'), "{line}: {error}");
        }
    }
}
