//! What a process that stays makes of a change of its configuration file.
//!
//! It ends for another configuration that it could be started with: its service manager does that.
//! While the file is missing, or says what nobody understands, nothing could take its place. So it
//! stays then, and acknowledges nothing: not by the old one, which may no longer be meant.

use crate::config::Config;
use crate::config::original::Original;
use crate::error::Result;
use crate::log;

/// What the file is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Now {
    /// What was read.
    Same,
    /// Not to be used.
    Unusable,
    /// Another configuration.
    Other,
}

/// Looks at the file now and then.
pub(crate) struct Watch {
    original: Original,
    /// What the process must find in a configuration.
    needs: fn(&Config) -> Result<()>,
    /// What was said of one that cannot be used.
    said: String,
}

impl Watch {
    /// A watch for who was started with a configuration.
    pub(crate) fn new(config: &Config, needs: fn(&Config) -> Result<()>) -> Self {
        Self { original: config.file.clone(), needs, said: String::new() }
    }

    /// Look at the file. What is wrong with it is logged once.
    pub(crate) fn look(&mut self) -> Now {
        if self.original.check().is_ok() {
            return Now::Same;
        }
        let usable = Config::load(&self.original.path).and_then(|config| (self.needs)(&config));
        match usable {
            Ok(()) => Now::Other,
            Err(error) => {
                let why = error.to_string();
                if why != self.said {
                    log::error(format_args!("{why}; no WAL is acknowledged until that is mended"));
                    self.said = why;
                }
                Now::Unusable
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Now, Watch};
    use crate::config::Config;

    #[test]
    fn only_what_can_be_used_is_another_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("walmgr.toml");
        let usable = "stanza = 'main'\ncluster.data = '/d'\nrepository.path = '/r'\n";
        fs::write(&path, usable).unwrap();
        let config = Config::load(&path).unwrap();
        let mut watch = Watch::new(&config, |config| config.data().map(drop));
        assert_eq!(watch.look(), Now::Same);
        // As an editor leaves it for a moment, a typing error, and what would not be enough.
        for text in ["", "stanza = 'main", "stanza = 'main'\nrepository.path = '/r'\n"] {
            fs::write(&path, text).unwrap();
            assert_eq!(watch.look(), Now::Unusable, "{text}");
            assert!(!watch.said.is_empty());
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(watch.look(), Now::Unusable);
        // The same once more, but who knows what was meanwhile.
        fs::write(&path, usable).unwrap();
        assert_eq!(watch.look(), Now::Other);
    }
}
