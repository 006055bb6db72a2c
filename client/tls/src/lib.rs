//! TLS of connections to PostgreSQL, as libpq's options ask for it, by OpenSSL.
//!
//! A crate of its own, so that who only reads connection strings ([`pgq_connect`]) does not load
//! OpenSSL: loading it takes longer than all that `walmgr archive-get` does.
#![forbid(unsafe_code)]

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use openssl::pkey::PKey;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::store::X509StoreBuilder;
use pgq_connect::{
    BoxError, Connector, Conninfo, Encryption, Error, Handshake, SecretStream, Sslmode, Tls,
};
use postgres::Socket;
use postgres::tls::{MakeTlsConnect, TlsConnect};
use postgres_openssl::{MakeTlsConnector, set_postgresql_alpn};

/// What connects by a connection string, encrypted as that asks for. Certificates are read now, if
/// they can be needed: as in libpq, neither for sockets in the file system nor with
/// `sslmode=disable`. Nothing is connected yet.
///
/// `prefer` (the default) and `require` encrypt without proof of who the server is; as in libpq,
/// `require` proves it when a root certificate is there. `verify-ca` checks the chain,
/// `verify-full` also the host name.
///
/// # Errors
/// [`Error::Config`] and [`Error::Io`] for an option or a certificate that cannot be used.
pub fn connector(conninfo: &Conninfo) -> Result<Connector, Error> {
    let tls: Option<Arc<dyn Tls>> = match conninfo.encryption()? {
        Encryption::Never => None,
        Encryption::Offered | Encryption::Demanded => Some(Arc::new(OpenSsl::new(conninfo)?)),
    };
    Connector::new(conninfo, tls)
}

/// OpenSSL, set up for one connection string.
struct OpenSsl {
    connector: MakeTlsConnector,
    /// It also holds the host's name against the certificate.
    checks_name: bool,
}

impl OpenSsl {
    fn new(conninfo: &Conninfo) -> Result<Self, Error> {
        let (mode, root) = (conninfo.sslmode()?, root_certificate(conninfo));
        let mut builder = SslConnector::builder(SslMethod::tls_client())
            .map_err(|error| failed("set-up", error))?;
        // What a server takes direct TLS for: PostgreSQL 17 and later refuse it without.
        set_postgresql_alpn(&mut builder).map_err(|error| failed("set-up", error))?;
        if mode >= Sslmode::VerifyCa || (mode == Sslmode::Require && root.is_some()) {
            builder.set_verify(SslVerifyMode::PEER);
            trust(&mut builder, root, conninfo)?;
        } else {
            builder.set_verify(SslVerifyMode::NONE);
        }
        set_versions(&mut builder, conninfo)?;
        if conninfo.get("sslcertmode") != Some("disable") {
            set_certificate(&mut builder, conninfo)?;
        }
        let checks_name = mode == Sslmode::VerifyFull;
        let names_host = conninfo.get("sslsni") != Some("0");
        let mut connector = MakeTlsConnector::new(builder.build());
        connector.set_callback(move |settings, _| {
            settings.set_verify_hostname(checks_name);
            settings.set_use_server_name_indication(names_host);
            Ok(())
        });
        Ok(Self { connector, checks_name })
    }
}

impl Tls for OpenSsl {
    fn encrypt(&self, socket: Socket, host: &str) -> Handshake {
        let checked = check_name(self.checks_name, host);
        let mut connector = self.connector.clone();
        let connector = MakeTlsConnect::<Socket>::make_tls_connect(&mut connector, host);
        Box::pin(async move {
            checked?;
            let stream = connector?.connect(socket).await?;
            Ok::<Box<dyn SecretStream>, BoxError>(Box::new(stream))
        })
    }
}

/// OpenSSL takes an empty name for none, and would check the chain only.
fn check_name(checks_name: bool, host: &str) -> Result<(), BoxError> {
    match checks_name && host.is_empty() {
        true => Err("sslmode verify-full needs a host name".into()),
        false => Ok(()),
    }
}

fn failed(what: &str, error: openssl::error::ErrorStack) -> Error {
    Error::Config(format!("TLS: {what}: {error}"))
}

/// Trust this root, and no other.
fn trust(
    builder: &mut SslConnectorBuilder,
    root: Option<Root>,
    conninfo: &Conninfo,
) -> Result<(), Error> {
    match root {
        // The builder begins with the system's roots.
        Some(Root::System) => Ok(()),
        Some(Root::File(path)) => {
            let none = X509StoreBuilder::new().map_err(|error| failed("set-up", error))?;
            builder.set_cert_store(none.build());
            builder.set_ca_file(&path).map_err(|error| failed(&path.display().to_string(), error))
        }
        None => Err(Error::Config(format!(
            "sslmode {} needs a root certificate: set sslrootcert (\"system\" for the system's own)",
            conninfo.get("sslmode").unwrap_or_default()
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
    let text = std::fs::read(&key).map_err(io)?;
    // Without a password OpenSSL would ask the terminal for one.
    let password = conninfo.get("sslpassword").unwrap_or_default();
    PKey::private_key_from_pem_passphrase(&text, password.as_bytes())
        .and_then(|key| builder.set_private_key(&key))
        .map_err(|error| failed(&name, error))
}

/// A file in `~/.postgresql`.
fn in_home(name: &str) -> Option<PathBuf> {
    Some(pgq_ini::home()?.join(".postgresql").join(name))
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

    use pgq_connect::Conninfo;

    fn tried(dsn: &str) -> Result<(), String> {
        let made = super::connector(&Conninfo::parse(dsn).unwrap());
        made.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_looked_at_where_there_can_be_tls() {
        let error = tried("host=h ssl_min_protocol_version=SSLv3").unwrap_err();
        assert!(error.contains("invalid ssl_min"), "{error}");
        let root = "sslmode=verify-ca sslrootcert=/nonexistent";
        assert!(tried(&format!("host=h {root}")).unwrap_err().contains("/nonexistent"));
        tried(&format!("host=/tmp {root}")).unwrap();
        tried("host=h sslmode=disable sslcert=/nonexistent").unwrap();
        assert!(tried("host=/tmp sslmode=sometimes").unwrap_err().contains("invalid sslmode"));
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
        let dsn = format!("host=h sslcert={certificate} sslkey={key} sslpassword=");
        open(0o600).unwrap();
        tried(&format!("{dsn}secret")).unwrap();
        assert!(tried(&format!("{dsn}wrong")).is_err());
        // Nobody is asked for it at a terminal.
        assert!(tried(&format!("host=h sslcert={certificate} sslkey={key}")).is_err());
        open(0o644).unwrap();
        assert!(tried(&format!("{dsn}secret")).unwrap_err().contains("open to others"));
    }

    #[test]
    fn a_name_that_is_to_be_checked_is_not_empty() {
        assert!(super::check_name(true, "").is_err());
        super::check_name(true, "h").unwrap();
        super::check_name(false, "").unwrap();
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
        assert!(super::connector(&conninfo).unwrap().connect().is_err());
        assert_eq!(thread.join().unwrap().as_deref(), Some(&b"postgresql"[..]));
    }
}
