//! The JSON API of Google Cloud Storage, and the service that gives tokens for a key.

use serde_json::{Value, json};

use crate::object_server::http::{Reply, Request, rfc3339};
use crate::object_server::{Fault, State};

const OBJECTS: &str = "/storage/v1/b/bucket/o";

/// A key of RFC 7515, which opens nothing.
const KEY: &str = include_str!("../../../walmgr/src/repo/gcs/rfc7515-a2.pem");

/// The file of a service account whose tokens come from this port as well.
pub(super) fn account(port: u16) -> String {
    let uri = format!("http://127.0.0.1:{port}/token");
    json!({
        "type": "service_account", "client_email": "walmgr@example.invalid",
        "private_key_id": "1", "private_key": KEY, "token_uri": uri,
    })
    .to_string()
}

/// How many uploads have left parts.
pub(super) fn open_uploads(state: &State) -> usize {
    let parts = state.objects.keys().filter_map(|name| name.split_once("/walmgr.parts/"));
    let uploads = parts.map(|(_, rest)| rest.split('/').next().unwrap());
    uploads.collect::<std::collections::BTreeSet<_>>().len()
}

fn failed(status: u16, reason: &str) -> Reply {
    let error = json!({ "error": { "code": status, "errors": [{ "reason": reason }] } });
    Reply::new(status, error.to_string())
}

/// Do what was asked.
pub(super) fn act(state: &mut State, request: &Request, fault: Fault) -> Reply {
    if request.path == "/token" {
        // Header, claims and signature: whether they are good is for the tests of the signature.
        let body = String::from_utf8_lossy(&request.body).into_owned();
        if !body.contains("&assertion=") || body.matches('.').count() != 2 {
            return Reply::new(400, "{\"error\":\"invalid_grant\"}");
        }
        return Reply::new(200, "{\"access_token\":\"of-the-key\",\"expires_in\":3600}");
    }
    let caller = request.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
    state.callers.insert(caller.to_owned());
    if caller.is_empty() || state.refused.contains(caller) {
        return failed(401, "authError");
    }
    let fresh = request.query("ifGenerationMatch") == "0";
    if request.path == format!("/upload{OBJECTS}") {
        return create(state, request, fresh && fault != Fault::Overwrites);
    }
    let Some(key) = request.path.strip_prefix(OBJECTS) else { return failed(404, "notFound") };
    let key = key.trim_start_matches('/').to_owned();
    match request.method.as_str() {
        "GET" if key.is_empty() => list(state, request),
        "GET" => read(state, request, &key),
        "DELETE" => match state.objects.remove(&key) {
            Some(_) => Reply::new(204, ""),
            None => failed(404, "notFound"),
        },
        "POST" => match key.strip_suffix("/compose") {
            Some(_) if fault == Fault::NoParts => failed(501, "notImplemented"),
            Some(_) if fault == Fault::ErrorInBody => failed(400, "invalid"),
            Some(key) => compose(state, request, key, fresh && fault != Fault::CompletesOver),
            None => failed(405, "notAllowed"),
        },
        _ => failed(405, "notAllowed"),
    }
}

/// An upload at once: its description, and its content.
fn create(state: &mut State, request: &Request, fresh: bool) -> Reply {
    let boundary = request.header("content-type").split_once("boundary=").unwrap().1;
    let find = |what: &[u8], from: usize| {
        let rest = &request.body[from..];
        from + rest.windows(what.len()).position(|window| window == what).unwrap()
    };
    let about = find(b"\r\n\r\n", 0) + 4;
    let about_end = find(b"\r\n--", about);
    let content = find(b"\r\n\r\n", about_end) + 4;
    let end = request.body.len() - format!("\r\n--{boundary}--\r\n").len();
    assert!(request.body[end..].starts_with(format!("\r\n--{boundary}--").as_bytes()));
    let about: Value = serde_json::from_slice(&request.body[about..about_end]).unwrap();
    if about["md5Hash"].as_str().is_none_or(str::is_empty) {
        return failed(400, "required");
    }
    insert(state, about["name"].as_str().unwrap(), &request.body[content..end], "", fresh)
}

fn compose(state: &mut State, request: &Request, key: &str, fresh: bool) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let sources = body["sourceObjects"].as_array().unwrap();
    let names: Vec<_> = sources.iter().map(|source| source["name"].as_str().unwrap()).collect();
    if names.is_empty() || names.len() > 32 {
        return failed(400, "invalid");
    }
    if fresh && state.objects.contains_key(key) {
        return failed(412, "conditionNotMet");
    }
    let mut bytes = Vec::new();
    for name in &names {
        let Some(part) = state.objects.get(*name) else { return failed(404, "notFound") };
        bytes.extend_from_slice(&part.bytes);
    }
    if !key.contains("walmgr.parts") {
        state.most_parts = state.most_parts.max(names.len());
    }
    let mark = body["destination"]["metadata"]["walmgr_upload"].as_str().unwrap_or_default();
    insert(state, key, &bytes, mark, fresh)
}

fn insert(state: &mut State, key: &str, bytes: &[u8], mark: &str, fresh: bool) -> Reply {
    if fresh && state.objects.contains_key(key) {
        return failed(412, "conditionNotMet");
    }
    state.insert(key.to_owned(), bytes.to_vec(), mark.to_owned(), None);
    Reply::new(200, json!({ "name": key }).to_string())
}

fn read(state: &State, request: &Request, key: &str) -> Reply {
    let Some(object) = state.objects.get(key) else { return failed(404, "notFound") };
    if request.query("alt") != "media" {
        let mut about = json!({
            "name": key, "size": object.bytes.len().to_string(), "updated": rfc3339(object.time),
        });
        if !object.mark.is_empty() {
            about["metadata"] = json!({ "walmgr_upload": object.mark });
        }
        return Reply::new(200, about.to_string());
    }
    match request.range() {
        Some((from, to)) => Reply::new(206, &object.bytes[from..to.min(object.bytes.len())]),
        None => Reply::new(200, object.bytes.as_slice()),
    }
}

fn list(state: &State, request: &Request) -> Reply {
    let (names, next) = state.page(request.query("prefix"), request.query("pageToken"));
    let (directories, names): (Vec<_>, Vec<_>) = names.into_iter().partition(|n| n.ends_with('/'));
    let items: Vec<_> = names.iter().map(|name| json!({ "name": name, "size": "1" })).collect();
    let mut listing = json!({ "kind": "storage#objects" });
    // What is empty is left out.
    if !items.is_empty() {
        listing["items"] = items.into();
    }
    if !directories.is_empty() {
        listing["prefixes"] = directories.into();
    }
    if let Some(next) = next {
        listing["nextPageToken"] = next.to_string().into();
    }
    Reply::new(200, listing.to_string())
}
