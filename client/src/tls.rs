//! TLS as libpq's `sslmode` asks for it, by OpenSSL.

use std::path::{Path, PathBuf};

use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslVerifyMode};
use postgres::config::SslMode;
use postgres_openssl::MakeTlsConnector;

use crate::conninfo::Conninfo;
use crate::error::Error;

/// The connector and the driver's mode for a connection string.
///
/// `prefer` (the default) and `require` encrypt without proof of who the server is; as in libpq, `require` proves it when a root
/// certificate is there. `verify-ca` checks the chain, `verify-full` also the host name.
pub(crate) fn connector(conninfo: &Conninfo) -> Result<(MakeTlsConnector, SslMode), Error> {
    let mode = conninfo.get("sslmode").unwrap_or("prefer");
    let driver_mode = match mode {
        "disable" => SslMode::Disable,
        "allow" | "prefer" => SslMode::Prefer,
        "require" | "verify-ca" | "verify-full" => SslMode::Require,
        other => return Err(Error::Config(format!("invalid sslmode \"{other}\""))),
    };
    let failed = |what: &str, error: openssl::error::ErrorStack| {
        Error::Config(format!("TLS: {what}: {error}"))
    };
    let mut builder =
        SslConnector::builder(SslMethod::tls_client()).map_err(|error| failed("set-up", error))?;

    let root = root_certificate(conninfo);
    let verifies = mode.starts_with("verify-") || (mode == "require" && root.is_some());
    if verifies {
        builder.set_verify(SslVerifyMode::PEER);
        match &root {
            Some(Root::System) => {
                builder
                    .set_default_verify_paths()
                    .map_err(|error| failed("system roots", error))?;
            }
            Some(Root::File(path)) => builder
                .set_ca_file(path)
                .map_err(|error| failed(&path.display().to_string(), error))?,
            None => {
                return Err(Error::Config(format!(
                    "sslmode {mode} needs a root certificate: set sslrootcert (\"system\" for the system's own)"
                )));
            }
        }
    } else {
        builder.set_verify(SslVerifyMode::NONE);
    }
    if let (Some(certificate), Some(key)) = (conninfo.get("sslcert"), conninfo.get("sslkey")) {
        builder
            .set_certificate_chain_file(certificate)
            .map_err(|error| failed(certificate, error))?;
        builder.set_private_key_file(key, SslFiletype::PEM).map_err(|error| failed(key, error))?;
    }

    let checks_name = mode == "verify-full";
    let mut connector = MakeTlsConnector::new(builder.build());
    connector.set_callback(move |settings, _| {
        settings.set_verify_hostname(checks_name);
        Ok(())
    });
    Ok((connector, driver_mode))
}

enum Root {
    System,
    File(PathBuf),
}

fn root_certificate(conninfo: &Conninfo) -> Option<Root> {
    match conninfo.get("sslrootcert") {
        Some("system") => Some(Root::System),
        Some(path) => Some(Root::File(path.into())),
        None => {
            let path = Path::new(&std::env::var_os("HOME")?).join(".postgresql/root.crt");
            path.exists().then_some(Root::File(path))
        }
    }
}
