//! Where a repository is: a directory, a directory of another host, or an object store; and how
//! objects are compressed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::error::{Error, Result};
use crate::repo::azure::settings::Azure;
use crate::repo::gcs::settings::Gcs;
use crate::repo::object::Codec;
use crate::repo::s3::settings::S3;
use crate::repo::sealed::settings::Encryption;
use crate::repo::ssh::settings::Ssh;
use crate::repo::stanza;
use crate::value::{duration, millis_within, within};

/// Where WAL and backups go.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repository {
    /// Its name, where there are several.
    #[serde(default = "default_name")]
    pub(crate) name: String,
    /// WAL is acknowledged only when it is durable here, too. False: as soon as may be.
    #[serde(default = "default_required")]
    pub(crate) required: bool,
    /// How long `archive-push` waits for one that is not required.
    #[serde(default = "default_patience", deserialize_with = "duration")]
    pub(crate) patience: Duration,
    /// A directory, best on another machine's disk.
    pub(crate) path: Option<PathBuf>,
    /// Or an object store.
    pub(crate) s3: Option<S3>,
    /// Or Google's.
    pub(crate) gcs: Option<Gcs>,
    /// Or Microsoft's.
    pub(crate) azure: Option<Azure>,
    /// Or a directory of another host.
    pub(crate) ssh: Option<Ssh>,
    /// What opens it, if it is encrypted.
    pub(crate) encryption: Option<Encryption>,
    /// `zstd`, `lz4` or `none`.
    #[serde(default)]
    pub(crate) compression: Compression,
    /// Level for zstd.
    #[serde(default = "default_level")]
    pub(crate) level: i32,
}

/// Where a repository is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Location<'a> {
    /// In a directory.
    Directory(&'a Path),
    /// In an object store.
    S3(&'a S3),
    /// In Google's object store.
    Gcs(&'a Gcs),
    /// In Microsoft's object store.
    Azure(&'a Azure),
    /// On another host.
    Ssh(&'a Ssh),
}

impl Repository {
    /// The only one, with the defaults of all but the place.
    pub(crate) fn main() -> Self {
        Self {
            name: default_name(),
            required: default_required(),
            patience: default_patience(),
            level: default_level(),
            ..Self::default()
        }
    }

    /// Where it is.
    ///
    /// # Errors
    /// [`Error::Usage`] unless it is at one place.
    pub(crate) fn location(&self) -> Result<Location<'_>> {
        let mut places = [
            self.path.as_deref().map(Location::Directory),
            self.s3.as_ref().map(Location::S3),
            self.gcs.as_ref().map(Location::Gcs),
            self.azure.as_ref().map(Location::Azure),
            self.ssh.as_ref().map(Location::Ssh),
        ]
        .into_iter()
        .flatten();
        match (places.next(), places.next()) {
            (Some(Location::Directory(path)), None) if !path.is_absolute() => {
                Err(Error::Usage(format!("repository.path \"{}\" is not absolute", path.display())))
            }
            (Some(place), None) => Ok(place),
            _ => Err(Error::Usage(
                "one of repository.path, .ssh, .s3, .gcs and .azure must be set".to_owned(),
            )),
        }
    }
}

impl Repository {
    /// The codec that new objects are written with.
    pub(crate) fn codec(&self) -> Codec {
        match self.compression {
            Compression::Zstd => Codec::Zstd(self.level),
            Compression::Lz4 => Codec::Lz4,
            Compression::None => Codec::None,
        }
    }

    /// Refuse numbers that mean nothing.
    fn check(&self) -> Result<()> {
        within("repository.level", self.level, 1..=22)?;
        millis_within("repository.patience", self.patience, 1..=3_600_000)?;
        let timeout = match self.location()? {
            Location::S3(s3) => s3.timeout,
            Location::Gcs(gcs) => gcs.timeout,
            Location::Azure(azure) => azure.timeout,
            Location::Ssh(ssh) => ssh.timeout,
            Location::Directory(_) => return Ok(()),
        };
        millis_within("repository timeout", timeout, 1..=3_600_000)
    }
}

impl std::fmt::Display for Location<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) => write!(out, "{}", path.display()),
            Self::S3(s3) => write!(out, "{s3:?}"),
            Self::Gcs(gcs) => write!(out, "{gcs:?}"),
            Self::Azure(azure) => write!(out, "{azure:?}"),
            Self::Ssh(ssh) => write!(out, "{ssh:?}"),
        }
    }
}

/// Name of a codec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    /// Zstandard.
    #[default]
    Zstd,
    /// LZ4.
    Lz4,
    /// No compression.
    None,
}

/// One table `[repository]`, or several `[[repository]]`.
pub(crate) fn one_or_several<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Vec<Repository>, D::Error> {
    struct Tables;

    impl<'de> de::Visitor<'de> for Tables {
        type Value = Vec<Repository>;

        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("a table [repository], or several [[repository]]")
        }

        fn visit_map<A: de::MapAccess<'de>>(
            self,
            map: A,
        ) -> std::result::Result<Self::Value, A::Error> {
            Repository::deserialize(de::value::MapAccessDeserializer::new(map)).map(|one| vec![one])
        }

        fn visit_seq<A: de::SeqAccess<'de>>(
            self,
            mut tables: A,
        ) -> std::result::Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(table) = tables.next_element()? {
                all.push(table);
            }
            Ok(all)
        }
    }

    from.deserialize_any(Tables)
}

/// Refuse numbers that mean nothing, repositories that cannot be told apart, or none of which must
/// have the WAL.
///
/// # Errors
/// [`Error::Usage`].
pub(crate) fn check(repositories: &[Repository]) -> Result<()> {
    if repositories.is_empty() {
        return Err(Error::Usage("no [repository] is set".to_owned()));
    }
    for (at, repository) in repositories.iter().enumerate() {
        let name = &repository.name;
        stanza::check_name(name)
            .map_err(|_| Error::Usage(format!("\"{name}\" is no name of a repository")))?;
        repository.check()?;
        if repositories.iter().take(at).any(|other| other.name == *name) {
            return Err(Error::Usage(format!("two repositories have the name \"{name}\"")));
        }
    }
    match repositories.iter().any(|repository| repository.required) {
        true => Ok(()),
        false => Err(Error::Usage("one repository at least must be required".to_owned())),
    }
}

/// The name of the only repository.
pub(crate) const MAIN: &str = "main";

fn default_name() -> String {
    MAIN.to_owned()
}

fn default_required() -> bool {
    true
}

fn default_patience() -> Duration {
    Duration::from_secs(5)
}

fn default_level() -> i32 {
    3
}
