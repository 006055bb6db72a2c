//! The files that Amazon's tools share: `~/.aws/credentials` and `~/.aws/config`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rusty_s3::Credentials;

use crate::error::{Error, Result};
use crate::repo::object_store::credentials::{Expiring, read_secret, variable};
use crate::repo::s3::credentials::credentials;
use crate::repo::s3::credentials::web_identity::Role;
use crate::repo::s3::settings::S3;

/// The name of the profile that is meant.
pub(super) fn name(settings: &S3) -> String {
    let given = settings.profile.clone().or_else(|| variable(&["AWS_PROFILE"]));
    given.unwrap_or_else(|| "default".to_owned())
}

/// True where one of the files has the profile.
pub(super) fn exists(name: &str) -> bool {
    load(name).is_ok_and(|keys| !keys.is_empty())
}

/// True for one without keys of its own.
pub(super) fn asks_a_service(name: &str) -> bool {
    load(name).is_ok_and(|keys| !keys.contains_key("aws_access_key_id"))
}

/// Keys of a profile: its own, or those of the role that it names.
pub(super) fn keys(name: &str, region: &str, timeout: Duration) -> Result<Expiring<Credentials>> {
    let mut keys = load(name)?;
    let mut take = |key: &str| keys.remove(key).filter(|value| !value.is_empty());
    let usage = |why: String| Error::Usage(format!("profile {name}: {why}"));
    if let Some(key) = take("aws_access_key_id") {
        let secret = take("aws_secret_access_key");
        let secret = secret.ok_or_else(|| usage("aws_secret_access_key is missing".to_owned()))?;
        return Ok(Expiring::forever(credentials(key, secret, take("aws_session_token"))));
    }
    match (take("role_arn"), take("web_identity_token_file")) {
        (Some(arn), Some(file)) => {
            let mut role = Role::new(arn, file.into(), region, timeout);
            role.session = take("role_session_name").or(role.session);
            role.assume()
        }
        _ => Err(usage(
            "it has neither aws_access_key_id nor role_arn with web_identity_token_file, and other \
             kinds (credential_process, source_profile, sso) are not known"
                .to_owned(),
        )),
    }
}

/// All keys of a profile; those of the file with credentials win.
fn load(name: &str) -> Result<BTreeMap<String, String>> {
    let config = if name == "default" { name.to_owned() } else { format!("profile {name}") };
    let files = [
        ("AWS_CONFIG_FILE", "config", config),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name.to_owned()),
    ];
    let mut keys = BTreeMap::new();
    for (over, file, section) in files {
        let at_home = || pgq_ini::home().map(|home| home.join(".aws").join(file));
        let Some(path) = variable(&[over]).map(PathBuf::from).or_else(at_home) else { continue };
        if path.exists() {
            keys.extend(section_of(&read_secret(&path)?, &section));
        }
    }
    Ok(keys)
}

/// The keys of one section. Lines that are indented belong to a nested value.
fn section_of(text: &str, wanted: &str) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with([' ', '\t', '#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            let name = name.split(']').next().unwrap_or_default();
            inside = name.split_whitespace().eq(wanted.split_whitespace());
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside) {
            keys.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::section_of;

    #[test]
    fn a_section_is_read_without_its_neighbours() {
        let text = "[default]\nregion=x\n[profile  walmgr]\nAWS_ACCESS_KEY_ID = key\n# a = b\n\
            s3 =\n  max = 1\naws_secret_access_key = a=b\n[other]\naws_access_key_id = no\n";
        let keys = section_of(text, "profile walmgr");
        assert_eq!(keys["aws_access_key_id"], "key");
        assert_eq!(keys["aws_secret_access_key"], "a=b");
        assert_eq!(keys.len(), 3);
        assert!(section_of(text, "walmgr").is_empty());
    }
}
