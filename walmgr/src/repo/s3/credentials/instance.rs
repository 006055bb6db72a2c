//! The role of an EC2 instance, from its metadata service. Only version 2 is spoken: of version 1
//! anybody can get keys who can make a program on this host follow a URL.

use rusty_s3::Credentials;

use crate::error::{Error, Result};
use crate::repo::object_store::bucket::encode;
use crate::repo::object_store::credentials::{Expiring, variable};
use crate::repo::object_store::http::{Http, Request};
use crate::repo::s3::credentials::{NEAR, read};

const WHOSE: &str = "this instance (no other keys for S3 are set up)";
const ROLES: &str = "latest/meta-data/iam/security-credentials/";

/// Ask for the keys.
pub(super) fn keys() -> Result<Expiring<Credentials>> {
    let endpoint = variable(&["AWS_EC2_METADATA_SERVICE_ENDPOINT"]);
    let endpoint = endpoint.unwrap_or_else(|| "http://169.254.169.254".to_owned());
    let endpoint = endpoint.trim_end_matches('/');
    if variable(&["AWS_EC2_METADATA_DISABLED"]).is_some_and(|value| value == "true") {
        return Err(Error::Usage("AWS_EC2_METADATA_DISABLED forbids to ask for keys".to_owned()));
    }
    let http = Http::direct(NEAR);
    let answer = http.send(WHOSE, &|_| {
        let request = Request::new("PUT", format!("{endpoint}/latest/api/token"));
        Ok(request.header("x-aws-ec2-metadata-token-ttl-seconds", "300"))
    })?;
    if answer.status != 200 {
        return Err(answer.refused("get a token of", WHOSE));
    }
    let session = answer.text().trim().to_owned();
    let get = |path: &str| {
        http.send(WHOSE, &|_| {
            let request = Request::new("GET", format!("{endpoint}/{path}"));
            Ok(request.header("x-aws-ec2-metadata-token", session.clone()))
        })
    };
    let roles = get(ROLES)?;
    let text = roles.text();
    let role = text.lines().next().map(str::trim).filter(|role| !role.is_empty());
    match role {
        Some(role) if roles.status == 200 => {
            read(&get(&format!("{ROLES}{}", encode(role)))?, WHOSE)
        }
        _ => Err(roles.refused("get the role of", WHOSE)),
    }
}
