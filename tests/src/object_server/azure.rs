//! The protocol of Azure Blob, with block blobs.

use crate::object_server::http::{Reply, Request, http_date};
use crate::object_server::{Fault, State, Upload};

const MARK: &str = "x-ms-meta-walmgr_upload";

fn failed(status: u16, code: &str) -> Reply {
    Reply::new(status, "").header("x-ms-error-code", code)
}

/// Do what was asked.
pub(super) fn act(state: &mut State, request: &Request, fault: Fault) -> Reply {
    let shown = request.header("authorization");
    let signed = shown.starts_with("SharedKey account:") || request.query.contains_key("sig");
    let caller = shown.strip_prefix("Bearer ").unwrap_or_default();
    state.callers.insert(caller.to_owned());
    if request.header("x-ms-date").is_empty() || request.header("x-ms-version").is_empty() {
        return failed(400, "MissingRequiredHeader");
    }
    if !signed && (caller.is_empty() || state.refused.contains(caller)) {
        return failed(401, "InvalidAuthenticationInfo");
    }
    let Some(key) = request.path.strip_prefix("/account/bucket") else {
        return failed(404, "ContainerNotFound");
    };
    let key = key.trim_start_matches('/').to_owned();
    let new = request.header("if-none-match") == "*";
    match (request.method.as_str(), request.query("comp")) {
        ("GET", "list") => list(state, request),
        ("GET" | "HEAD", _) => read(state, request, &key),
        ("PUT", "block") if fault == Fault::NoParts => failed(501, "NotImplemented"),
        ("PUT", "block") => {
            let parts = Default::default();
            let upload = Upload { key: key.clone(), mark: String::new(), until: None, parts };
            let upload = state.uploads.entry(key).or_insert(upload);
            let id = request.query("blockid").to_owned();
            if upload.parts.keys().any(|other| other.len() != id.len()) {
                return failed(400, "InvalidBlobOrBlock");
            }
            upload.parts.insert(id, request.body.clone());
            Reply::new(201, "")
        }
        ("PUT", "blocklist") if fault == Fault::ErrorInBody => failed(400, "InvalidInput"),
        ("PUT", "blocklist") => complete(state, request, key, new && fault != Fault::CompletesOver),
        ("PUT", "") => {
            if request.header("x-ms-blob-type") != "BlockBlob" {
                return failed(400, "InvalidHeaderValue");
            }
            if new && fault != Fault::Overwrites && state.objects.contains_key(&key) {
                return failed(409, "BlobAlreadyExists");
            }
            state.uploads.remove(&key);
            state.insert(key, request.body.clone(), String::new(), None);
            Reply::new(201, "")
        }
        ("DELETE", _) => match state.objects.remove(&key) {
            Some(_) => Reply::new(202, ""),
            None => failed(404, "BlobNotFound"),
        },
        _ => failed(405, "UnsupportedHttpVerb"),
    }
}

/// Make a blob of its blocks, and discard all others that were sent for it.
fn complete(state: &mut State, request: &Request, key: String, new: bool) -> Reply {
    if new && state.objects.contains_key(&key) {
        return failed(409, "BlobAlreadyExists");
    }
    let text = String::from_utf8(request.body.clone()).unwrap();
    let ids = text.split("<Uncommitted>").skip(1).map(|rest| rest.split('<').next().unwrap());
    let blocks = state.uploads.get(&key);
    let parts: Option<Vec<_>> =
        ids.map(|id| blocks.and_then(|upload| upload.parts.get(id)).cloned()).collect();
    let Some(parts) = parts else { return failed(400, "InvalidBlockList") };
    state.uploads.remove(&key);
    state.most_parts = state.most_parts.max(parts.len());
    state.insert(key, parts.concat(), request.header(MARK).to_owned(), None);
    Reply::new(201, "")
}

fn read(state: &State, request: &Request, key: &str) -> Reply {
    let Some(object) = state.objects.get(key) else { return failed(404, "BlobNotFound") };
    let (status, bytes) = match request.range() {
        Some((from, to)) => (206, object.bytes[from..to.min(object.bytes.len())].to_vec()),
        None => (200, object.bytes.clone()),
    };
    let mut reply = Reply::new(status, bytes).header("last-modified", http_date(object.time));
    if !object.mark.is_empty() {
        reply = reply.header(MARK, object.mark.clone());
    }
    reply
}

fn list(state: &State, request: &Request) -> Reply {
    let (names, next) = state.page(request.query("prefix"), request.query("marker"));
    // As it comes, with a mark of byte order.
    let mut xml = String::from(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <EnumerationResults ContainerName=\"bucket\"><Delimiter>/</Delimiter><Blobs>",
    );
    for name in names {
        let kind = if name.ends_with('/') { "BlobPrefix" } else { "Blob" };
        xml.push_str(&format!("<{kind}><Name>{name}</Name></{kind}>"));
    }
    let next = next.map(|next| next.to_string()).unwrap_or_default();
    xml.push_str(&format!("</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"));
    Reply::new(200, xml)
}
