//! What carries connections: plain text alone, or TLS as well.

use std::path::Path;

use pgq_connect::{Connector, Conninfo, Encryption};

use crate::error::{Error, Result};
use crate::programs;

/// What a connection is like unless its string, or libpq's environment, says otherwise.
pub(crate) const DEFAULTS: [(&str, &str); 2] =
    [("dbname", "postgres"), ("fallback_application_name", "walmgr")];

/// How to make what connects by a connection string.
type Make = fn(&Conninfo) -> std::result::Result<Connector, pgq_connect::Error>;

/// What a program can do to connect.
#[derive(Clone, Copy, Debug)]
pub enum Transport {
    /// Plain text, and a refusal where TLS is demanded.
    Plain,
    /// TLS too, by this.
    Tls(Make),
}

impl Transport {
    /// What connects by a connection string.
    ///
    /// # Errors
    /// What cannot be honoured.
    pub(crate) fn connector(
        self,
        conninfo: &Conninfo,
    ) -> std::result::Result<Connector, pgq_connect::Error> {
        match self {
            Self::Plain => Connector::new(conninfo, None),
            Self::Tls(make) => make(conninfo),
        }
    }

    /// Become the program with TLS if this is the one without, and a connection by one of these
    /// strings may come to TLS. To be called before anything is done: it begins anew, and reads
    /// `config` again.
    ///
    /// # Errors
    /// [`Error::Usage`] when the program is not there and one of them
    /// demands TLS, or when it is there and cannot be used. Without it, what is merely offered is
    /// left out, as by a libpq that was built without TLS.
    pub(crate) fn become_able<'a>(
        self,
        strings: impl IntoIterator<Item = &'a str>,
        config: Option<&Path>,
    ) -> Result<()> {
        if matches!(self, Self::Tls(_)) {
            return Ok(());
        }
        // One that is not understood is refused by what connects.
        let encryption = |text: &str| {
            Conninfo::without_password_file(text, &DEFAULTS).and_then(|own| own.encryption()).ok()
        };
        let most = strings.into_iter().filter_map(encryption).max();
        let most = most.unwrap_or(Encryption::Never);
        if most == Encryption::Never {
            return Ok(());
        }
        if let Some(config) = config.filter(|config| !config.is_file()) {
            return Err(Error::Usage(format!(
                "{} is not a file: it cannot be read again by walmgr-tls, which does what may need TLS",
                config.display()
            )));
        }
        programs::become_tls(most == Encryption::Demanded)
    }
}
