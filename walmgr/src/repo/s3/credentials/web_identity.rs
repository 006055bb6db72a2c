//! The role that STS gives for a token in a file: IRSA on EKS, and every other OpenID provider.

use std::path::PathBuf;
use std::time::Duration;

use rusty_s3::Credentials;

use crate::error::{Error, Result};
use crate::repo::object_store::bucket::encode;
use crate::repo::object_store::credentials::{Expiring, read_secret, variable};
use crate::repo::object_store::http::{Http, Request, busy};

/// A role, and the token that opens it.
#[derive(Debug)]
pub(super) struct Role {
    /// Its name.
    pub(super) arn: String,
    /// The file with the token, which is written anew now and then.
    pub(super) token_file: PathBuf,
    /// What the session is called in the provider's log.
    pub(super) session: Option<String>,
    /// URL of STS.
    endpoint: String,
    timeout: Duration,
}

impl Role {
    /// A role; nothing is asked yet.
    pub(super) fn new(arn: String, token_file: PathBuf, region: &str, timeout: Duration) -> Self {
        let endpoint = variable(&["AWS_ENDPOINT_URL_STS"]);
        let endpoint = endpoint.unwrap_or_else(|| {
            let end = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://sts.{region}.amazonaws.com{end}")
        });
        Self { arn, token_file, session: variable(&["AWS_ROLE_SESSION_NAME"]), endpoint, timeout }
    }

    /// As the variables say.
    ///
    /// # Errors
    /// [`Error::Usage`] when one is missing.
    pub(super) fn from_environment(region: &str, timeout: Duration) -> Result<Self> {
        let get = |name: &'static str| {
            variable(&[name]).ok_or_else(|| Error::Usage(format!("{name} is not set")))
        };
        let file = get("AWS_WEB_IDENTITY_TOKEN_FILE")?;
        Ok(Self::new(get("AWS_ROLE_ARN")?, file.into(), region, timeout))
    }

    /// Ask STS for keys.
    pub(super) fn assume(&self) -> Result<Expiring<Credentials>> {
        let session = self.session.as_deref().unwrap_or("walmgr");
        let answer = Http::new(self.timeout, busy).send(&self.arn, &|_| {
            // In the body: what is in a URL ends up in logs.
            let body = format!(
                "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}\
                 &RoleSessionName={}&WebIdentityToken={}",
                encode(&self.arn),
                encode(session),
                encode(&read_secret(&self.token_file)?)
            );
            let request = Request::new("POST", format!("{}/", self.endpoint.trim_end_matches('/')));
            let form = "application/x-www-form-urlencoded";
            Ok(request.header("content-type", form).body(body.into_bytes()))
        })?;
        if answer.status != 200 {
            return Err(answer.refused("assume role", &self.arn));
        }
        let text = answer.text();
        let parsed = roxmltree::Document::parse(&text).ok();
        let value = |name: &str| {
            let found = parsed.iter().flat_map(|document| document.descendants());
            let mut found = found.filter(|node| node.tag_name().name() == name);
            found.next().and_then(|node| node.text()).map(|text| text.trim().to_owned())
        };
        let missing = || Error::Failed(format!("the answer for role {} has no keys", self.arn));
        let [key, secret, token, end] =
            ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"]
                .map(|name| value(name).ok_or_else(missing));
        Expiring::until(Credentials::new_with_token(key?, secret?, token?), &end?)
    }
}
