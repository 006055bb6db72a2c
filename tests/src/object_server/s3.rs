//! The protocol of S3.

use std::time::{Duration, SystemTime};

use crate::object_server::http::{Reply, Request, http_date, rfc3339};
use crate::object_server::{Fault, State, Upload};

const MARK: &str = "x-amz-meta-walmgr-upload";
const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";

fn failed(status: u16, code: &str) -> Reply {
    Reply::new(status, format!("<Error><Code>{code}</Code></Error>"))
}

/// Do what was asked.
pub(super) fn act(state: &mut State, request: &Request, fault: Fault) -> Reply {
    let caller = request.query("X-Amz-Credential").split('/').next().unwrap_or_default().to_owned();
    state.callers.insert(caller.clone());
    let with_token = request.query("X-Amz-Security-Token");
    if !request.query.contains_key("X-Amz-Signature") {
        return failed(403, "AccessDenied");
    }
    // Keys that a service has given are worth nothing without their token.
    if caller.starts_with("given-") && with_token != format!("token of {caller}") {
        return failed(403, "InvalidAccessKeyId");
    }
    if state.refused.contains(&caller) {
        return failed(400, "ExpiredToken");
    }
    let Some(key) = request.path.strip_prefix("/bucket") else {
        return failed(404, "NoSuchBucket");
    };
    let key = key.trim_start_matches('/').to_owned();
    if request.query.contains_key("uploads") || request.query.contains_key("uploadId") {
        return upload(state, request, key, fault);
    }
    let conditional = request.header("if-none-match") == "*";
    match request.method.as_str() {
        "GET" if key.is_empty() => list(state, request),
        "GET" | "HEAD" => read(state, request, &key),
        "POST" if request.query.contains_key("delete") => remove_many(state, request, fault),
        "PUT" => {
            if conditional && fault != Fault::Overwrites && state.objects.contains_key(&key) {
                return failed(412, "PreconditionFailed");
            }
            if request.headers.contains_key(MODE) && request.header("content-md5").is_empty() {
                return failed(400, "InvalidRequest");
            }
            let until = until(request);
            state.insert(key, request.body.clone(), String::new(), until);
            Reply::new(200, "")
        }
        "DELETE" => remove(state, request, &key),
        _ => Reply::new(405, ""),
    }
}

/// Until when the object is to be locked.
fn until(request: &Request) -> Option<SystemTime> {
    let text = request.headers.get(UNTIL)?;
    // The tests lock for whole days.
    let now = SystemTime::now();
    let day = Duration::from_secs(86_400);
    let days = (0..4000_u32).find(|days| rfc3339(now + day * *days) >= *text).unwrap();
    Some(now + day * days)
}

fn read(state: &State, request: &Request, key: &str) -> Reply {
    let Some(object) = state.objects.get(key) else { return failed(404, "NoSuchKey") };
    let (status, bytes) = match request.range() {
        Some((from, to)) => (206, object.bytes[from..to.min(object.bytes.len())].to_vec()),
        None => (200, object.bytes.clone()),
    };
    let mut reply = Reply::new(status, bytes).header("last-modified", http_date(object.time));
    reply = reply.header("x-amz-version-id", object.version.to_string());
    if let Some(until) = object.until {
        reply = reply.header(MODE, "GOVERNANCE").header(UNTIL, rfc3339(until));
    }
    if !object.mark.is_empty() {
        reply = reply.header(MARK, object.mark.clone());
    }
    reply
}

/// Without a version, a locked object only loses its name.
fn remove(state: &mut State, request: &Request, key: &str) -> Reply {
    let now = state.now();
    if let Some(version) = request.query.get("versionId") {
        let object = state.objects.get(key);
        let Some(object) = object.filter(|object| object.version.to_string() == *version) else {
            return failed(404, "NoSuchVersion");
        };
        if object.until.is_some_and(|until| now < until) {
            return failed(403, "AccessDenied");
        }
    }
    if let Some(old) = state.objects.remove(key) {
        state.hide(old);
    }
    Reply::new(204, "")
}

fn remove_many(state: &mut State, request: &Request, fault: Fault) -> Reply {
    if fault == Fault::NoBatches {
        return failed(501, "NotImplemented");
    }
    let text = String::from_utf8(request.body.clone()).unwrap();
    let keys: Vec<_> =
        text.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    if request.header("content-md5").is_empty() || keys.is_empty() || keys.len() > 1000 {
        return failed(400, "InvalidRequest");
    }
    state.batches += 1;
    for key in keys {
        if let Some(old) = state.objects.remove(key) {
            state.hide(old);
        }
    }
    let space = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";
    Reply::new(200, format!("<DeleteResult {space}></DeleteResult>"))
}

/// One of the four requests of an upload in parts.
fn upload(state: &mut State, request: &Request, key: String, fault: Fault) -> Reply {
    let space = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";
    let Some(id) = request.query.get("uploadId").cloned() else {
        if fault == Fault::NoParts {
            return failed(501, "NotImplemented");
        }
        let id = state.requests.to_string();
        let mark = request.header(MARK).to_owned();
        let body = format!(
            "<InitiateMultipartUploadResult {space}><Bucket>bucket</Bucket><Key>{key}</Key>\
             <UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        );
        let until = until(request);
        state.uploads.insert(id, Upload { key, mark, until, parts: Default::default() });
        return Reply::new(200, body);
    };
    let Some(upload) = state.uploads.get_mut(&id).filter(|upload| upload.key == key) else {
        return failed(404, "NoSuchUpload");
    };
    match request.method.as_str() {
        "PUT" => {
            let number: u32 = request.query("partNumber").parse().unwrap();
            upload.parts.insert(format!("{number:05}"), request.body.clone());
            Reply::new(200, "").header("etag", format!("\"part-{number:05}\""))
        }
        "DELETE" => {
            state.uploads.remove(&id);
            Reply::new(204, "")
        }
        _ if fault == Fault::ErrorInBody => failed(200, "InternalError"),
        _ => {
            let conditional = request.header("if-none-match") == "*";
            if conditional && fault != Fault::CompletesOver && state.objects.contains_key(&key) {
                return failed(412, "PreconditionFailed");
            }
            // The parts that are named, in their order; all but the last of at least 5 MiB.
            let text = String::from_utf8(request.body.clone()).unwrap();
            let sizes: Vec<_> = upload.parts.values().map(Vec::len).collect();
            let whole = upload.parts.keys().zip(1..).all(|(number, expected)| {
                *number == format!("{expected:05}") && text.contains(&format!("part-{number}"))
            });
            if !whole || sizes.iter().rev().skip(1).any(|size| *size < 5 << 20) {
                return failed(400, "InvalidPart");
            }
            let upload = state.uploads.remove(&id).unwrap();
            state.most_parts = state.most_parts.max(upload.parts.len());
            let bytes = upload.parts.into_values().collect::<Vec<_>>().concat();
            state.insert(key, bytes, upload.mark, upload.until);
            let body = format!(
                "<CompleteMultipartUploadResult {space}><ETag>x</ETag>\
                 </CompleteMultipartUploadResult>"
            );
            Reply::new(200, body)
        }
    }
}

/// ListObjectsV2 with prefix and delimiter.
fn list(state: &State, request: &Request) -> Reply {
    let (names, next) = state.page(request.query("prefix"), request.query("continuation-token"));
    let mut xml = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><MaxKeys>3</MaxKeys>",
    );
    for name in names {
        if name.ends_with('/') {
            xml.push_str(&format!("<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"));
        } else {
            xml.push_str(&format!(
                "<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>x</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
            ));
        }
    }
    if let Some(next) = next {
        xml.push_str(&format!("<NextContinuationToken>{next}</NextContinuationToken>"));
    }
    xml.push_str("</ListBucketResult>");
    Reply::new(200, xml)
}
