//! The services that give keys and tokens: of an EC2 instance, a container, STS, Google's metadata
//! server, Azure's, and Entra ID. Each answer is another key: `given-1`, `given-2` and so on.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::object_server::Fault;
use crate::object_server::http::{Reply, Request, read, respond, rfc3339};

#[derive(Default)]
struct State {
    given: u32,
    /// For how long a key is good.
    lifetime: u64,
    asked: BTreeSet<String>,
    is_down: bool,
}

/// All of them on one port; they stop with the process.
#[derive(Clone)]
pub struct IdentityServer {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl IdentityServer {
    /// Start on a free port, with keys that are good for so many seconds.
    pub fn start(lifetime: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { lifetime, ..State::default() }));
        let server = Self { port, state };
        let running = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = running.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        server
    }

    /// Host and port.
    pub fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many keys it has given.
    pub fn given(&self) -> u32 {
        self.state.lock().unwrap().given
    }

    /// Paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.iter().cloned().collect()
    }

    /// From now on it gives nothing.
    pub fn go_down(&self) {
        self.state.lock().unwrap().is_down = true;
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(request) = read(&mut reader) {
            let mut state = self.state.lock().unwrap();
            state.asked.insert(request.path.clone());
            let reply = match state.is_down {
                true => Reply::new(500, ""),
                false => answer(&mut state, &request),
            };
            drop(state);
            if !respond(&mut stream, &reply, SystemTime::now(), true, Fault::None) {
                return;
            }
        }
    }
}

fn answer(state: &mut State, request: &Request) -> Reply {
    let form = String::from_utf8_lossy(&request.body).into_owned();
    match (request.method.as_str(), request.path.as_str()) {
        ("PUT", "/latest/api/token")
            if !request.header("x-aws-ec2-metadata-token-ttl-seconds").is_empty() =>
        {
            Reply::new(200, "session")
        }
        ("GET", path) if path.starts_with("/latest/meta-data/") => {
            if request.header("x-aws-ec2-metadata-token") != "session" {
                return Reply::new(401, "");
            }
            match path.strip_prefix("/latest/meta-data/iam/security-credentials/") {
                Some("") => Reply::new(200, "the-role"),
                Some("the-role") => Reply::new(200, keys(state)),
                _ => Reply::new(404, ""),
            }
        }
        ("GET", "/container") if request.header("authorization") == "of the container" => {
            Reply::new(200, keys(state))
        }
        ("POST", "/")
            if form.contains("Action=AssumeRoleWithWebIdentity")
                && form.contains("WebIdentityToken=of-the-pod")
                && form.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fthe-role") =>
        {
            Reply::new(200, assumed(state))
        }
        ("GET", "/computeMetadata/v1/instance/service-accounts/default/token")
            if request.header("metadata-flavor") == "Google" =>
        {
            Reply::new(200, token(state))
        }
        ("GET", "/metadata/identity/oauth2/token")
            if request.header("metadata") == "true"
                && request.query("resource") == "https://storage.azure.com/"
                && request.query("client_id") == "the-client" =>
        {
            Reply::new(200, token(state))
        }
        ("POST", "/the-tenant/oauth2/v2.0/token")
            if form.contains("client_assertion=of-the-pod")
                && form.contains("client_id=the-client")
                && form.contains("scope=https%3A%2F%2Fstorage.azure.com%2F.default") =>
        {
            Reply::new(200, token(state))
        }
        _ => Reply::new(400, ""),
    }
}

fn next(state: &mut State) -> (String, String) {
    state.given += 1;
    let end = SystemTime::now() + Duration::from_secs(state.lifetime);
    (format!("given-{}", state.given), rfc3339(end))
}

fn keys(state: &mut State) -> String {
    let (key, end) = next(state);
    format!(
        "{{\"Code\":\"Success\",\"AccessKeyId\":\"{key}\",\"SecretAccessKey\":\"secret\",\
         \"Token\":\"token of {key}\",\"Expiration\":\"{end}\"}}"
    )
}

fn assumed(state: &mut State) -> String {
    let (key, end) = next(state);
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><Credentials><SessionToken>token of {key}</SessionToken>\
         <SecretAccessKey>secret</SecretAccessKey><Expiration>{end}</Expiration>\
         <AccessKeyId>{key}</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>\
         </AssumeRoleWithWebIdentityResponse>"
    )
}

fn token(state: &mut State) -> String {
    let lifetime = state.lifetime;
    let (key, _) = next(state);
    // Azure gives the number as text.
    format!(
        "{{\"access_token\":\"{key}\",\"expires_in\":\"{lifetime}\",\"token_type\":\"Bearer\"}}"
    )
}
