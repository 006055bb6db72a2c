//! The recipes of docs/recipes.md: in each language they run one after the other, and leave what
//! the page says they do.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use pgq_tests::programs::{programs, python_program, stderr};
use pgq_tests::{Cluster, Tree};

const PAGE: &str = include_str!("../../../docs/recipes.md");
const RUST: &str = include_str!("../../../client/examples/recipes.rs");

/// One recipe: its blocks, and a query with what it gives afterwards.
struct Recipe {
    number: usize,
    text: &'static str,
    check: &'static str,
    leaves: &'static str,
}

/// The block of a language in a part of the page.
fn block(text: &'static str, language: &str) -> &'static str {
    let begin = format!("```{language}\n");
    let (_, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("no {language} in {text}"));
    rest.split_once("```").unwrap().0
}

fn recipes() -> Vec<Recipe> {
    let parts = PAGE.split("\n## ").skip(1);
    let recipe = |(index, text): (usize, &'static str)| {
        let number = index + 1;
        assert!(text.starts_with(&format!("{number}. ")), "{text}");
        let check = text.split_once("<!-- check: ").unwrap().1.split_once(" -->").unwrap().0;
        let (check, leaves) = check.rsplit_once(" -> ").unwrap();
        Recipe { number, text, check, leaves }
    };
    let recipes: Vec<_> = parts.enumerate().map(recipe).collect();
    assert_eq!(recipes.len(), 10);
    recipes
}

/// Run a program with a text as its input, where the database is.
fn run(cluster: &Cluster, command: &mut Command, input: &str) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    let bin = Tree::Ours.bin();
    let mut process = command
        .env("PATH", format!("{}:{}:{path}", programs().display(), bin.display()))
        .env("PGHOST", cluster.dir())
        .env("PGPORT", cluster.port().to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", "shop")
        .env("HOME", "/nonexistent")
        .env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("../client/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("PGQ_DSN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

/// Run all recipes, each by what `one` does with it.
fn run_all(one: impl Fn(&Cluster, &Recipe) -> Output) {
    let cluster = Cluster::builder().set("shared_preload_libraries", "pgq").start();
    cluster.connect("postgres").batch_execute("create database shop").unwrap();
    let mut client = cluster.connect("shop");
    client.batch_execute("create extension pgq").unwrap();
    client.batch_execute(block(PAGE, "sql")).unwrap();
    for recipe in recipes() {
        let output = one(&cluster, &recipe);
        let (number, said) = (recipe.number, stderr(&output));
        assert!(output.status.success(), "recipe {number}: {}: {said}", output.status);
        let left = client.query_one(&format!("select ({})::text", recipe.check), &[]).unwrap();
        assert_eq!(left.get::<_, &str>(0), recipe.leaves, "recipe {number}: {said}");
        // Nobody ticks but for who waits: what was sent comes in one go.
        let quiet = "select pgq.set_queue_config('orders', 'ticker_max_lag', '1 day'),
                            pgq.set_queue_config('orders', 'ticker_idle_period', '1 day')";
        client.batch_execute(quiet).unwrap();
    }
}

#[test]
fn they_work_in_sql() {
    run_all(|cluster, recipe| {
        let mut psql = Command::new("psql");
        run(cluster, psql.args(["-Xq", "-v", "ON_ERROR_STOP=1"]), block(recipe.text, "sql"))
    });
}

#[test]
fn they_work_in_a_shell() {
    run_all(|cluster, recipe| run(cluster, Command::new("sh").arg("-e"), block(recipe.text, "sh")));
}

#[test]
fn they_work_in_python() {
    let begin = block(PAGE, "python");
    run_all(|cluster, recipe| {
        let program = format!("{begin}\n{}", block(recipe.text, "python"));
        run(cluster, &mut Command::new(python_program("python")), &program)
    });
}

#[test]
fn they_work_in_rust() {
    run_all(|cluster, recipe| {
        // What the page shows is in the example.
        let shown: Vec<_> = block(recipe.text, "rust").lines().map(str::trim).collect();
        let code: Vec<_> = RUST.lines().map(str::trim).collect();
        assert!(code.windows(shown.len()).any(|lines| lines == shown), "{shown:#?}");
        let mut example = Command::new(programs().join("examples/recipes"));
        run(cluster, example.args(["dbname=shop", &recipe.number.to_string()]), "")
    });
}
