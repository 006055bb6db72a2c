//! Messages to syslog: all of them, without passwords, and to standard error when nobody listens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use pgq_tests::site::{Site, archiving};

/// What the socket has got until now.
fn received(socket: &UnixDatagram) -> Vec<String> {
    let mut buffer = vec![0; 65_536];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|count| buffer[..count].to_vec()))
        .map(|bytes| String::from_utf8(bytes).unwrap())
        .collect()
}

#[test]
fn messages_go_where_the_configuration_says() {
    let site = Site::new(archiving().create());
    let path = site.cluster.dir().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let configure = |to: &str| {
        site.configure(&format!(
            "log.to = '{to}'\nlog.socket = '{}'\nlog.facility = 'local3'\nlog.ident = 'wal-main'",
            path.display()
        ));
    };
    let push = ["archive-push", "000000010000000000000001"];

    configure("syslog");
    let stderr = site.fails(4, &push);
    assert_eq!(stderr, "");
    let messages = received(&socket);
    // local3.err
    assert!(
        messages.iter().any(|message| {
            message.starts_with("<155>")
                && message.contains(" wal-main[")
                && message.contains("]: ERROR: repository")
        }),
        "{messages:?}"
    );

    configure("both");
    let stderr = site.fails(4, &push);
    assert!(stderr.contains("ERROR: repository"), "{stderr}");
    assert_eq!(received(&socket).len(), messages.len());

    configure("stderr");
    assert!(site.fails(4, &push).contains("ERROR: repository"));
    assert!(received(&socket).is_empty());

    // Nobody listens: it is said all the same.
    configure("syslog");
    drop(socket);
    assert!(site.fails(4, &push).contains("ERROR: repository"));
    configure("nowhere");
    site.fails(2, &push);
}
