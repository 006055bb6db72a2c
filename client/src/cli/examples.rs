//! Examples, for `--help` and the man pages.

use clap::Command;

/// Examples by command.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "queue create",
        &["pgq queue create orders", "pgq queue create orders ticker_max_lag='1 second'"],
    ),
    (
        "queue set",
        &["pgq queue set orders rotation_period='12 hours' ticker_idle_period='5 minutes'"],
    ),
    ("queue drop", &["pgq queue drop orders --force"]),
    (
        "consumer add",
        &[
            "pgq consumer add orders mailer",
            "pgq consumer add orders audit --like mailer",
            "pgq consumer add orders mailer --member mailer-1",
        ],
    ),
    ("consumer list", &["pgq consumer list orders --json"]),
    (
        "consumer seek",
        &[
            "pgq consumer seek orders mailer --time '5 minutes ago' --dry-run",
            "pgq consumer seek orders mailer --newest",
        ],
    ),
    ("status", &["pgq status || mail -s 'queues' dba", "pgq status --json"]),
    ("top", &["pgq top", "pgq top -i 10 -n 6 --json"]),
    ("metrics", &["pgq metrics --dsn dbname=shop"]),
    ("tail", &["pgq tail orders", "pgq tail orders -n 100 --no-follow"]),
    (
        "send",
        &[
            "pgq send orders '{\"id\": 1}' --type paid",
            "pgq send orders '{\"id\": 1}' --type paid --key 'customer 4' --header trace=a1",
            "pgq send orders -f csv < events.csv",
            "pgq send orders -f lines -t log --commit-every 10000 < app.log",
        ],
    ),
    (
        "consume",
        &[
            "pgq consume orders mailer",
            "pgq consume orders mailer --once > events.jsonl",
            "pgq consume orders mailer --messages --exec ./send-mail",
            "pgq consume orders mailer --exec ./send-mail --max-attempts 5 --dead orders.dead",
            "pgq consume orders books --sql accounting.book",
            "pgq consume orders mailer --cooperative mailer-1 --register --exec ./send-mail",
        ],
    ),
    (
        "move",
        &[
            "pgq move orders to_reports --to 'host=reports dbname=reports' --to-queue orders_in",
            "pgq move orders to_reports --to dbname=reports --rewind --once",
        ],
    ),
    ("split", &["pgq split changes by_table --to dbname=reports --by extra1"]),
    ("load", &["pgq load changes to_copy --to dbname=copy --register"]),
    (
        "londiste",
        &[
            "pgq londiste berlin.ini create-root berlin 'host=berlin dbname=shop'",
            "pgq londiste -d berlin.ini worker",
            "pgq londiste berlin.ini add-table orders 'app.*'",
            "pgq londiste berlin.ini execute add_column.sql",
            "pgq londiste paris.ini add-table --all --create-full --wait-sync",
            "pgq londiste paris.ini status",
            "pgq londiste paris.ini takeover berlin --all",
        ],
    ),
    ("ticker", &["pgq ticker", "pgq ticker /etc/pgqd.ini"]),
    (
        "install",
        &[
            "pgq install --with pgq_coop,pgq_ext",
            "pgq install --dsn dbname=reports --only pgq_ext",
            "pgq install --check",
        ],
    ),
    ("retry list", &["pgq retry list orders --limit 20"]),
    ("retry now", &["pgq retry now orders --consumer mailer"]),
    ("dead list", &["pgq dead list orders", "pgq dead list orders.dead"]),
    (
        "dead replay",
        &[
            "pgq dead replay orders.dead 21 22",
            "pgq dead replay orders.dead --all --consumer mailer",
        ],
    ),
    ("run", &["pgq run orders.ini --register", "pgq run orders.ini -d", "pgq run orders.ini -s"]),
    (
        "services",
        &[
            "pgq services /etc/skytools.ini status -a",
            "pgq services /etc/skytools.ini restart orders_to_reports",
        ],
    ),
    ("completions", &["pgq completions bash > /usr/share/bash-completion/completions/pgq"]),
];

/// The examples of a command, by its name as in `queue create`.
pub(super) fn of(name: &str) -> &'static [&'static str] {
    EXAMPLES.iter().find(|(command, _)| *command == name).map_or(&[], |(_, examples)| examples)
}

/// Put the examples below each command's help.
pub(super) fn add(command: Command) -> Command {
    below(command, "")
}

fn below(command: Command, path: &str) -> Command {
    let examples = of(path);
    let command = if examples.is_empty() {
        command
    } else {
        command.after_help(format!("Examples:\n  {}", examples.join("\n  ")))
    };
    command.mut_subcommands(|sub| {
        let name = format!("{path} {}", sub.get_name());
        below(sub, name.trim_start())
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::EXAMPLES;
    use crate::cli::Cli;

    /// The words of a shell's command line: quotes, and what ends the command.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for char in line.chars() {
            match (char, quote) {
                ('<' | '>' | '|', None) => break,
                (' ', None) => words.extend(word.take()),
                (char, Some(open)) if char == open => quote = None,
                ('\'', None) => {
                    quote = Some(char);
                    word.get_or_insert_default();
                }
                (char, _) => word.get_or_insert_default().push(char),
            }
        }
        words.extend(word);
        words
    }

    #[test]
    fn examples_are_what_the_command_line_takes() {
        for (name, examples) in EXAMPLES {
            for example in *examples {
                let words = words(example);
                assert!(example.starts_with(&format!("pgq {name}")), "{example}");
                let parsed = Cli::command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            }
        }
    }
}
