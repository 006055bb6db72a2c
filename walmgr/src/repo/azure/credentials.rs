//! What opens a container of Azure: a key, a shared access signature, or a token of Entra ID.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Result};
use crate::repo::azure::settings::{Azure, From};
use crate::repo::object_store::bucket::encode;
use crate::repo::object_store::credentials::{Cached, Expiring, Shared, read_secret, variable};
use crate::repo::object_store::http::{Http, Request, busy};
use crate::repo::object_store::token;

const RESOURCE: &str = "https://storage.azure.com/";
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";

/// How long the metadata service may take for each step.
const NEAR: Duration = Duration::from_secs(2);

/// What opens a container.
#[derive(Clone)]
pub(super) enum Key {
    /// Signs each request.
    Shared(Vec<u8>),
    /// Stands in each query.
    Sas(String),
    /// Stands in a header.
    Bearer(String),
}

/// Find what the settings name; no service is asked yet.
///
/// # Errors
/// [`Error::Usage`] for what is not set up.
pub(super) fn find(settings: &Azure) -> Result<Arc<Cached<Key>>> {
    static SHARED: Shared<Key> = Shared::new();
    let settings = settings.clone();
    Ok(match choose(&settings) {
        From::Auto | From::ManagedIdentity => {
            let name = format!("{:?}", settings.client_id);
            SHARED.of(&name, || Box::new(move || managed(&settings)))
        }
        From::WorkloadIdentity => {
            let workload = Workload::from_environment(&settings)?;
            let name = format!("{workload:?}");
            SHARED.of(&name, || Box::new(move || workload.token()))
        }
        From::SharedKey => {
            shared(&settings)?;
            Cached::new(Box::new(move || Ok(Expiring::forever(shared(&settings)?))))
        }
        From::Sas => {
            sas(&settings)?;
            Cached::new(Box::new(move || Ok(Expiring::forever(sas(&settings)?))))
        }
    })
}

fn choose(settings: &Azure) -> From {
    let is_set = |name| variable(&[name]).is_some();
    match settings.credentials {
        From::Auto if settings.account_key_file.is_some() => From::SharedKey,
        From::Auto if settings.sas_file.is_some() => From::Sas,
        From::Auto if is_set("AZURE_STORAGE_KEY") => From::SharedKey,
        From::Auto if is_set("AZURE_STORAGE_SAS_TOKEN") => From::Sas,
        From::Auto if is_set(TOKEN_FILE) => From::WorkloadIdentity,
        From::Auto => From::ManagedIdentity,
        from => from,
    }
}

fn shared(settings: &Azure) -> Result<Key> {
    let text = match &settings.account_key_file {
        Some(file) => Some(read_secret(file)?),
        None => variable(&["AZURE_STORAGE_KEY"]),
    };
    let usage = |why: &str| Error::Usage(format!("repository.azure.account_key_file {why}"));
    let text = text.ok_or_else(|| usage("is not set"))?;
    Ok(Key::Shared(STANDARD.decode(text).map_err(|_| usage("holds no key: it is not base64"))?))
}

fn sas(settings: &Azure) -> Result<Key> {
    let text = match &settings.sas_file {
        Some(file) => Some(read_secret(file)?),
        None => variable(&["AZURE_STORAGE_SAS_TOKEN"]),
    };
    let text = text.map(|text| text.trim_start_matches('?').to_owned());
    match text {
        Some(text) if text.contains("sig=") => Ok(Key::Sas(text)),
        Some(_) => Err(Error::Usage("repository.azure.sas_file has no signature".to_owned())),
        None => Err(Error::Usage("repository.azure.sas_file is not set".to_owned())),
    }
}

fn bearer(token: Expiring<String>) -> Expiring<Key> {
    Expiring { value: Key::Bearer(token.value), until: token.until }
}

/// The identity of this virtual machine.
fn managed(settings: &Azure) -> Result<Expiring<Key>> {
    const WHOSE: &str = "this machine's identity (nothing else opens the container)";
    let host = variable(&["AZURE_POD_IDENTITY_AUTHORITY_HOST"]);
    let host = host.unwrap_or_else(|| "http://169.254.169.254".to_owned());
    let client = settings.client_id.clone().or_else(|| variable(&["AZURE_CLIENT_ID"]));
    let client = client.map(|id| format!("&client_id={}", encode(&id))).unwrap_or_default();
    let url = format!(
        "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={}{client}",
        host.trim_end_matches('/'),
        encode(RESOURCE)
    );
    let answer = Http::direct(NEAR)
        .send(WHOSE, &|_| Ok(Request::new("GET", url.as_str()).header("metadata", "true")))?;
    Ok(bearer(token::read(&answer, WHOSE)?))
}

/// The identity of a workload: a token that Entra ID trusts.
#[derive(Debug)]
struct Workload {
    authority: String,
    tenant: String,
    client: String,
    token_file: String,
    timeout: Duration,
}

impl Workload {
    fn from_environment(settings: &Azure) -> Result<Self> {
        let get = |name: &'static str| {
            variable(&[name]).ok_or_else(|| Error::Usage(format!("{name} is not set")))
        };
        let authority = variable(&["AZURE_AUTHORITY_HOST"]);
        let authority = authority.unwrap_or_else(|| "https://login.microsoftonline.com".to_owned());
        let client = settings.client_id.clone();
        Ok(Self {
            authority: authority.trim_end_matches('/').to_owned(),
            tenant: get("AZURE_TENANT_ID")?,
            client: client.map_or_else(|| get("AZURE_CLIENT_ID"), Ok)?,
            token_file: get(TOKEN_FILE)?,
            timeout: settings.timeout,
        })
    }

    fn token(&self) -> Result<Expiring<Key>> {
        let whose = format!("client {}", self.client);
        let url = format!("{}/{}/oauth2/v2.0/token", self.authority, encode(&self.tenant));
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let scope = format!("{RESOURCE}.default");
        let answer = Http::new(self.timeout, busy).send(&whose, &|_| {
            let assertion = read_secret(self.token_file.as_ref())?;
            let fields = [
                ("grant_type", "client_credentials"),
                ("client_id", self.client.as_str()),
                ("scope", scope.as_str()),
                ("client_assertion_type", kind),
                ("client_assertion", assertion.as_str()),
            ];
            Ok(token::form(&url, &fields))
        })?;
        Ok(bearer(token::read(&answer, &whose)?))
    }
}
