//! The Python module of `client/python`: its types hold, its own tests pass against a server of
//! ours, and its wheel is whole.

use std::path::Path;
use std::process::Command;

use pgq_tests::Cluster;
use pgq_tests::programs::python_program;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Run it among the module's sources, and leave nothing there.
fn succeed(command: &mut Command) -> String {
    let output = command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(root().join("client/python"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn its_types_hold() {
    succeed(Command::new(python_program("mypy")).args(["--cache-dir", "/dev/null"]));
}

#[test]
fn its_own_tests_pass() {
    let cluster = Cluster::builder().set("shared_preload_libraries", "pgq").start();
    cluster.connect("postgres").batch_execute("create database shop").unwrap();
    cluster.connect("shop").batch_execute("create extension pgq").unwrap();
    let said = succeed(
        Command::new(python_program("pytest"))
            .args(["-q", "--color=no"])
            .env("SKYTOOLS_DSN", cluster.conninfo("shop")),
    );
    assert!(said.contains(" passed") && !said.contains("skipped"), "{said}");
}

#[test]
fn its_wheel_is_whole_and_of_this_version() {
    let dir = tempfile::tempdir().unwrap();
    succeed(Command::new(root().join("packaging/python.sh")).arg(dir.path()));
    let wheel = dir.path().join(format!("skytools-{}-py3-none-any.whl", env!("CARGO_PKG_VERSION")));
    let listing =
        succeed(Command::new(python_program("python")).args(["-m", "zipfile", "-l"]).arg(&wheel));
    for file in ["skytools/py.typed", "skytools/aio/consumer.py", "licenses/LICENSE"] {
        assert!(listing.contains(file), "{listing}");
    }
    // It works without the sources beside it.
    let imported = "import sys; sys.path[:0] = [sys.argv[1]]; import skytools, skytools.aio; \
                    print(skytools.__file__)";
    let run = Command::new(python_program("python"))
        .args(["-c", imported])
        .arg(&wheel)
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(said.contains(".whl/"), "{said}{}", String::from_utf8_lossy(&run.stderr));
}
