//! TLS as libpq's `sslmode` asks for it, by OpenSSL.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use openssl::pkey::PKey;
use openssl::ssl::{
    SslConnector, SslConnectorBuilder, SslFiletype, SslMethod, SslVerifyMode, SslVersion,
};
use openssl::x509::store::X509StoreBuilder;
use postgres::config::SslMode;
use postgres_openssl::{MakeTlsConnector, set_postgresql_alpn};

use crate::conninfo::Conninfo;
use crate::error::Error;

/// The connector and the driver's mode for a connection string.
///
/// `prefer` (the default) and `require` encrypt without proof of who the server is; as in libpq,
/// `require` proves it when a root certificate is there. `verify-ca` checks the chain,
/// `verify-full` also the host name. The system's own roots go with `verify-full` only: anybody can
/// have a certificate of theirs.
pub(crate) fn connector(conninfo: &Conninfo) -> Result<(MakeTlsConnector, SslMode), Error> {
    let root = root_certificate(conninfo);
    let mode = mode(conninfo, matches!(root, Some(Root::System)))?;
    let driver_mode = match mode {
        "disable" => SslMode::Disable,
        "allow" | "prefer" => SslMode::Prefer,
        "require" | "verify-ca" | "verify-full" => SslMode::Require,
        other => return Err(Error::Config(format!("invalid sslmode \"{other}\""))),
    };
    let mut builder =
        SslConnector::builder(SslMethod::tls_client()).map_err(|error| failed("set-up", error))?;

    // What a server takes direct TLS for: PostgreSQL 17 and later refuse it without.
    set_postgresql_alpn(&mut builder).map_err(|error| failed("set-up", error))?;
    let verifies = mode.starts_with("verify-") || (mode == "require" && root.is_some());
    if verifies {
        builder.set_verify(SslVerifyMode::PEER);
        trust(&mut builder, root, mode)?;
    } else {
        builder.set_verify(SslVerifyMode::NONE);
    }
    set_versions(&mut builder, conninfo)?;
    if conninfo.get("sslcertmode") != Some("disable") {
        set_certificate(&mut builder, conninfo)?;
    }

    let checks_name = mode == "verify-full";
    let names_host = conninfo.get("sslsni") != Some("0");
    let mut connector = MakeTlsConnector::new(builder.build());
    connector.set_callback(move |settings, _| {
        settings.set_verify_hostname(checks_name);
        settings.set_use_server_name_indication(names_host);
        Ok(())
    });
    Ok((connector, driver_mode))
}

fn failed(what: &str, error: openssl::error::ErrorStack) -> Error {
    Error::Config(format!("TLS: {what}: {error}"))
}

/// `sslmode`, unless another option asks for more than it gives.
fn mode(conninfo: &Conninfo, system_roots: bool) -> Result<&str, Error> {
    let weak = |mode: &str, option: &str, instead: &str| {
        Error::Config(format!("weak sslmode \"{mode}\" cannot go with {option}: use {instead}"))
    };
    let mode = match conninfo.get("sslmode") {
        None if system_roots => "verify-full",
        None => "prefer",
        Some(mode) => mode,
    };
    if system_roots && mode != "verify-full" {
        return Err(weak(mode, "sslrootcert=system", "verify-full"));
    }
    let direct = conninfo.get("sslnegotiation") == Some("direct");
    if direct && matches!(mode, "disable" | "allow" | "prefer") {
        return Err(weak(mode, "sslnegotiation=direct", "require, verify-ca or verify-full"));
    }
    Ok(mode)
}

/// Trust this root, and no other.
fn trust(builder: &mut SslConnectorBuilder, root: Option<Root>, mode: &str) -> Result<(), Error> {
    match root {
        // The builder begins with the system's roots.
        Some(Root::System) => Ok(()),
        Some(Root::File(path)) => {
            let none = X509StoreBuilder::new().map_err(|error| failed("set-up", error))?;
            builder.set_cert_store(none.build());
            builder.set_ca_file(&path).map_err(|error| failed(&path.display().to_string(), error))
        }
        None => Err(Error::Config(format!(
            "sslmode {mode} needs a root certificate: set sslrootcert (\"system\" for the system's own)"
        ))),
    }
}

/// TLS 1.2 at least, as in libpq, unless the options say otherwise.
fn set_versions(builder: &mut SslConnectorBuilder, conninfo: &Conninfo) -> Result<(), Error> {
    let version = |key: &str| match conninfo.get(key) {
        None => Ok(None),
        Some(text) => match text.to_ascii_lowercase().as_str() {
            "tlsv1" => Ok(Some(SslVersion::TLS1)),
            "tlsv1.1" => Ok(Some(SslVersion::TLS1_1)),
            "tlsv1.2" => Ok(Some(SslVersion::TLS1_2)),
            "tlsv1.3" => Ok(Some(SslVersion::TLS1_3)),
            _ => Err(Error::Config(format!("invalid {key} \"{text}\""))),
        },
    };
    let least = version("ssl_min_protocol_version")?.unwrap_or(SslVersion::TLS1_2);
    let most = version("ssl_max_protocol_version")?;
    builder
        .set_min_proto_version(Some(least))
        .and_then(|()| builder.set_max_proto_version(most))
        .map_err(|error| failed("protocol versions", error))
}

/// The client's certificate and key, from the options or from where libpq keeps them.
fn set_certificate(builder: &mut SslConnectorBuilder, conninfo: &Conninfo) -> Result<(), Error> {
    let file = |option: &str, name: &str| match conninfo.get(option) {
        Some(path) => Some(PathBuf::from(path)),
        None => in_home(name).filter(|path| path.exists()),
    };
    let Some(certificate) = file("sslcert", "postgresql.crt") else { return Ok(()) };
    let Some(key) = file("sslkey", "postgresql.key") else {
        return Err(Error::Config(format!(
            "certificate {} has no private key: set sslkey",
            certificate.display()
        )));
    };
    let name = certificate.display().to_string();
    builder.set_certificate_chain_file(&certificate).map_err(|error| failed(&name, error))?;
    let name = key.display().to_string();
    let io = |source| Error::Io { path: key.clone(), source };
    let metadata = std::fs::metadata(&key).map_err(io)?;
    // A key of root's may be lent to a group.
    let forbidden = if metadata.uid() == 0 { 0o027 } else { 0o077 };
    if metadata.mode() & forbidden != 0 {
        return Err(Error::Config(format!(
            "private key {name} is open to others; it must be 0600, or 0640 and root's"
        )));
    }
    match conninfo.get("sslpassword") {
        None => builder.set_private_key_file(&key, SslFiletype::PEM),
        Some(password) => {
            let text = std::fs::read(&key).map_err(io)?;
            PKey::private_key_from_pem_passphrase(&text, password.as_bytes())
                .and_then(|key| builder.set_private_key(&key))
        }
    }
    .map_err(|error| failed(&name, error))
}

/// A file in `~/.postgresql`.
fn in_home(name: &str) -> Option<PathBuf> {
    Some(Path::new(&std::env::var_os("HOME")?).join(".postgresql").join(name))
}

enum Root {
    System,
    File(PathBuf),
}

fn root_certificate(conninfo: &Conninfo) -> Option<Root> {
    match conninfo.get("sslrootcert") {
        Some("system") => Some(Root::System),
        Some(path) => Some(Root::File(path.into())),
        None => in_home("root.crt").filter(|path| path.exists()).map(Root::File),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{SslMode, connector};
    use crate::conninfo::Conninfo;

    fn mode(dsn: &str) -> Result<SslMode, String> {
        let made = connector(&Conninfo::parse(dsn).unwrap());
        made.map(|(_, mode)| mode).map_err(|error| error.to_string())
    }

    #[test]
    fn system_roots_go_with_a_full_check_only() {
        assert_eq!(mode("sslrootcert=system"), Ok(SslMode::Require));
        assert_eq!(mode("sslrootcert=system sslmode=verify-full"), Ok(SslMode::Require));
        for weak in ["disable", "allow", "prefer", "require", "verify-ca"] {
            let error = mode(&format!("sslrootcert=system sslmode={weak}")).unwrap_err();
            assert!(error.contains("use verify-full"), "{error}");
        }
        assert!(mode("sslnegotiation=direct").unwrap_err().contains("weak sslmode"));
        assert!(mode("sslmode=fast").unwrap_err().contains("invalid sslmode"));
        assert!(mode("ssl_min_protocol_version=SSLv3").unwrap_err().contains("invalid ssl_min"));
    }

    #[test]
    fn a_certificate_goes_with_a_key_that_is_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (key, certificate) = (path("key"), path("certificate"));
        let made = std::process::Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-subj",
                "/CN=x",
                "-passout",
                "pass:secret",
            ])
            .args(["-keyout", &key, "-out", &certificate])
            .output()
            .unwrap();
        assert!(made.status.success());
        let open = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode));
        let dsn = format!("sslcert={certificate} sslkey={key} sslpassword=");
        open(0o600).unwrap();
        mode(&format!("{dsn}secret")).unwrap();
        assert!(mode(&format!("{dsn}wrong")).is_err());
        open(0o644).unwrap();
        assert!(mode(&format!("{dsn}secret")).unwrap_err().contains("open to others"));
    }

    #[test]
    fn direct_tls_names_the_protocol() {
        use openssl::ssl::{AlpnError, SslAcceptor, SslFiletype, SslMethod};

        let dir = tempfile::tempdir().unwrap();
        let (key, certificate) = (dir.path().join("key"), dir.path().join("certificate"));
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout"])
            .args([&key, std::path::Path::new("-out"), &certificate])
            .output()
            .unwrap();
        assert!(made.status.success());
        let mut server = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        server.set_private_key_file(&key, SslFiletype::PEM).unwrap();
        server.set_certificate_chain_file(&certificate).unwrap();
        server.set_alpn_select_callback(|_, offered| match offered {
            b"\x0apostgresql" => Ok(&offered[1..]),
            _ => Err(AlpnError::ALERT_FATAL),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = server.build();
        let thread = std::thread::spawn(move || {
            let stream = server.accept(listener.accept().unwrap().0).unwrap();
            stream.ssl().selected_alpn_protocol().map(<[u8]>::to_vec)
        });
        let dsn = format!(
            "host=127.0.0.1 port={port} user=x sslmode=require sslnegotiation=direct sslcertmode=disable"
        );
        let conninfo = Conninfo::parse(&dsn).unwrap();
        // There is no PostgreSQL behind the handshake.
        assert!(crate::Connector::new(&conninfo).unwrap().connect().is_err());
        assert_eq!(thread.join().unwrap().as_deref(), Some(&b"postgresql"[..]));
    }
}
