//! Tokens for GCS: for a service account's key, or from the metadata server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::repo::gcs::settings::{From, Gcs};
use crate::repo::object_store::credentials::{Cached, Expiring, Shared, read_secret, variable};
use crate::repo::object_store::http::{Http, Request, busy};
use crate::repo::object_store::token;

const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// How long the metadata server may take for each step.
const NEAR: Duration = Duration::from_secs(2);

/// Find the source that the settings name; it is not asked yet.
///
/// # Errors
/// [`Error::Usage`] for one that is not set up.
pub(super) fn find(settings: &Gcs) -> Result<Arc<Cached<String>>> {
    static SHARED: Shared<String> = Shared::new();
    let file = settings.service_account_file.clone();
    let file = file.or_else(|| variable(&["GOOGLE_APPLICATION_CREDENTIALS"]).map(PathBuf::from));
    let timeout = settings.timeout;
    Ok(match (settings.credentials, file) {
        (From::Auto | From::ServiceAccount, Some(file)) => {
            let name = format!("{file:?}");
            SHARED.of(&name, || Box::new(move || Account::read(&file)?.token(timeout)))
        }
        (From::ServiceAccount, None) => {
            return Err(Error::Usage("repository.gcs.service_account_file is not set".to_owned()));
        }
        (From::Auto | From::Metadata, _) => SHARED.of("metadata", || Box::new(from_metadata)),
    })
}

fn from_metadata() -> Result<Expiring<String>> {
    const WHOSE: &str = "this host's service account (no other is set up)";
    let host = variable(&["GCE_METADATA_HOST"]);
    let host = host.unwrap_or_else(|| "metadata.google.internal".to_owned());
    let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
    let answer = Http::direct(NEAR).send(WHOSE, &|_| {
        Ok(Request::new("GET", url.as_str()).header("metadata-flavor", "Google"))
    })?;
    token::read(&answer, WHOSE)
}

/// A service account, as Google's console writes it to a file.
#[derive(Deserialize)]
struct Account {
    client_email: String,
    private_key_id: Option<String>,
    private_key: String,
    token_uri: String,
}

impl Account {
    fn read(file: &Path) -> Result<Self> {
        let usage = |why: &str| Error::Usage(format!("{}: {why}", file.display()));
        let text = read_secret(file)?;
        let kind: serde_json::Value =
            serde_json::from_str(&text).map_err(|_| usage("it is not JSON"))?;
        match kind.get("type").and_then(serde_json::Value::as_str) {
            Some("service_account") => {}
            kind => {
                let kind = kind.unwrap_or("without a type");
                return Err(usage(&format!("credentials of type {kind} are not known")));
            }
        }
        // The parser's message may show a part of the key.
        serde_json::from_value(kind).map_err(|_| usage("it is no key of a service account"))
    }

    /// Ask for a token, for the next hour.
    fn token(&self, timeout: Duration) -> Result<Expiring<String>> {
        let whose = format!("service account {}", self.client_email);
        let answer = Http::new(timeout, busy).send(&whose, &|_| {
            let assertion = self.assertion(Timestamp::now().as_second())?;
            let kind = "urn:ietf:params:oauth:grant-type:jwt-bearer";
            let fields = [("grant_type", kind), ("assertion", assertion.as_str())];
            Ok(token::form(&self.token_uri, &fields))
        })?;
        token::read(&answer, &whose)
    }

    /// The signed claim to be this account.
    fn assertion(&self, now: i64) -> Result<String> {
        let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let header = serde_json::json!({
            "alg": "RS256", "typ": "JWT", "kid": self.private_key_id,
        });
        let claims = serde_json::json!({
            "iss": self.client_email, "scope": SCOPE, "aud": self.token_uri,
            "iat": now, "exp": now + 3600,
        });
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = sign(&self.private_key, signed.as_bytes()).ok_or_else(|| {
            Error::Usage(format!("the private key of {} is no RSA key", self.client_email))
        })?;
        Ok(format!("{signed}.{signature}"))
    }
}

/// RS256 with a key in PEM (PKCS #8).
fn sign(pem: &str, message: &[u8]) -> Option<String> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (text, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let text: String = text.split_whitespace().collect();
    let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(text).ok()?).ok()?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
    Some(URL_SAFE_NO_PAD.encode(signature))
}

#[cfg(test)]
mod tests {
    use super::sign;

    #[test]
    fn signatures_are_those_of_rfc_7515() {
        // Appendix A.2: header and claims, and the key there, as PKCS #8.
        let message = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA\
            6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = sign(include_str!("rfc7515-a2.pem"), message.as_bytes()).unwrap();
        assert_eq!(
            signature,
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt\
             _O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArL\
             IARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7no\
             OPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ\
             Ge77Rw"
        );
    }
}
