//! The role of a container, from the agent of ECS or EKS.

use std::path::PathBuf;

use rusty_s3::Credentials;

use crate::error::{Error, Result};
use crate::repo::object_store::credentials::{Expiring, read_secret, variable};
use crate::repo::object_store::http::{Http, Request};
use crate::repo::s3::credentials::{NEAR, read};

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

/// Hosts that may be asked without TLS: what is sent to them leaves no machine.
const NEAR_HOSTS: [&str; 6] =
    ["127.0.0.1", "localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// True where there is an agent.
pub(super) fn is_set_up() -> bool {
    variable(&[RELATIVE, FULL]).is_some()
}

/// Where the agent is.
pub(super) struct Place {
    url: String,
    token: Option<Token>,
}

enum Token {
    Given(String),
    /// A file that is written anew now and then.
    In(PathBuf),
}

impl Place {
    /// As the variables say.
    pub(super) fn from_environment() -> Result<Self> {
        let url = match (variable(&[RELATIVE]), variable(&[FULL])) {
            (Some(path), _) => format!("http://169.254.170.2{path}"),
            (None, Some(url)) => url,
            (None, None) => {
                return Err(Error::Usage(format!("neither {RELATIVE} nor {FULL} is set")));
            }
        };
        let plain = url.strip_prefix("http://").map(|rest| {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            match authority.rsplit_once(':') {
                Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
                _ => authority,
            }
        });
        match plain {
            Some(host) if !NEAR_HOSTS.contains(&host) => {
                return Err(Error::Usage(format!("{FULL}: without TLS only this host is asked")));
            }
            None if !url.starts_with("https://") => {
                return Err(Error::Usage(format!("{FULL} is no URL")));
            }
            _ => {}
        }
        let file = variable(&["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]);
        let token = file
            .map(|file| Token::In(file.into()))
            .or_else(|| variable(&["AWS_CONTAINER_AUTHORIZATION_TOKEN"]).map(Token::Given));
        Ok(Self { url, token })
    }

    /// Ask for the keys.
    pub(super) fn keys(&self) -> Result<Expiring<Credentials>> {
        const WHOSE: &str = "this container";
        let answer = Http::direct(NEAR).send(WHOSE, &|_| {
            let request = Request::new("GET", self.url.as_str());
            Ok(match &self.token {
                Some(Token::Given(token)) => request.header("authorization", token.clone()),
                Some(Token::In(file)) => request.header("authorization", read_secret(file)?),
                None => request,
            })
        })?;
        read(&answer, WHOSE)
    }
}
