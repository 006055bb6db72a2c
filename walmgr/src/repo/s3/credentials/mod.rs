//! Where keys for S3 come from: settings, the environment, shared files, or a service that gives
//! keys for some hours.
//!
//! A service on this host is asked directly, never through a proxy, and given little time: it
//! answers at once, or is not there.

mod container;
mod instance;
mod profile;
mod web_identity;

use std::sync::Arc;
use std::time::Duration;

use rusty_s3::Credentials;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::repo::object_store::credentials::{
    Cached, Expiring, Shared, Source, read_secret, variable,
};
use crate::repo::object_store::http::Answer;
use crate::repo::s3::settings::{From, S3};

/// How long a service beside this host may take for each step.
const NEAR: Duration = Duration::from_secs(2);

/// Find the source that the settings name; it is not asked yet, unless its keys are at hand. What a
/// service gives is for the whole process; what a file has is read for each store that is opened.
///
/// # Errors
/// [`Error::Usage`] for one that is not set up.
pub(super) fn find(settings: &S3) -> Result<Arc<Cached<Credentials>>> {
    static SHARED: Shared<Credentials> = Shared::new();
    let from = match settings.credentials {
        From::Auto => choose(settings),
        from => from,
    };
    Ok(match from {
        From::Auto | From::Static | From::Environment => {
            let settings = settings.clone();
            given(&settings, from)?;
            Cached::new(Box::new(move || Ok(Expiring::forever(given(&settings, from)?))))
        }
        From::Profile => {
            let name = profile::name(settings);
            let (region, timeout) = (settings.region.clone(), settings.timeout);
            let shared = format!("profile {name:?} {region:?}");
            let asks = profile::asks_a_service(&name);
            let source: Source<_> = Box::new(move || profile::keys(&name, &region, timeout));
            if asks { SHARED.of(&shared, || source) } else { Cached::new(source) }
        }
        From::WebIdentity => {
            let role = web_identity::Role::from_environment(&settings.region, settings.timeout)?;
            let name = format!("{role:?}");
            SHARED.of(&name, || Box::new(move || role.assume()))
        }
        From::Container => {
            // Of the environment, which stays.
            let place = container::Place::from_environment()?;
            SHARED.of("container", || Box::new(move || place.keys()))
        }
        From::Instance => SHARED.of("instance", || Box::new(instance::keys)),
    })
}

/// The first source that is set up. The instance's service is asked where there is no other.
fn choose(settings: &S3) -> From {
    let is_set = |name| variable(&[name]).is_some();
    if settings.access_key.is_some() || settings.secret_key_file.is_some() {
        From::Static
    } else if is_set("AWS_ACCESS_KEY_ID") {
        From::Environment
    } else if is_set("AWS_WEB_IDENTITY_TOKEN_FILE") {
        From::WebIdentity
    } else if settings.profile.is_some() || profile::exists(&profile::name(settings)) {
        From::Profile
    } else if container::is_set_up() {
        From::Container
    } else {
        From::Instance
    }
}

/// Keys of settings or environment. With [`From::Static`] each may also come from the other.
fn given(settings: &S3, from: From) -> Result<Credentials> {
    let missing = |what: &str| Error::Usage(format!("{what} is not set"));
    if from == From::Environment {
        let key = variable(&["AWS_ACCESS_KEY_ID"]);
        let secret = variable(&["AWS_SECRET_ACCESS_KEY"]);
        return Ok(credentials(
            key.ok_or_else(|| missing("AWS_ACCESS_KEY_ID"))?,
            secret.ok_or_else(|| missing("AWS_SECRET_ACCESS_KEY"))?,
            variable(&["AWS_SESSION_TOKEN"]),
        ));
    }
    let key = settings.access_key.clone().or_else(|| variable(&["AWS_ACCESS_KEY_ID"]));
    let secret = match &settings.secret_key_file {
        Some(file) => Some(read_secret(file)?),
        None => variable(&["AWS_SECRET_ACCESS_KEY"]),
    };
    Ok(credentials(
        key.ok_or_else(|| missing("repository.s3.access_key"))?,
        secret.ok_or_else(|| missing("repository.s3.secret_key_file"))?,
        None,
    ))
}

fn credentials(key: String, secret: String, token: Option<String>) -> Credentials {
    match token {
        Some(token) => Credentials::new_with_token(key, secret, token),
        None => Credentials::new(key, secret),
    }
}

/// Keys as the services of instances and containers give them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

/// Read such an answer.
fn read(answer: &Answer, whose: &str) -> Result<Expiring<Credentials>> {
    if answer.status != 200 {
        return Err(answer.refused("get keys of", whose));
    }
    // The parser's message may show a part of what it read.
    let given: Given = serde_json::from_slice(&answer.body)
        .map_err(|_| Error::Failed(format!("the answer to the request for {whose} has no keys")))?;
    let keys = credentials(given.access_key_id, given.secret_access_key, given.token);
    match given.expiration {
        Some(end) => Expiring::until(keys, &end),
        None => Ok(Expiring::forever(keys)),
    }
}
