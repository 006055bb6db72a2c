//! A small object store that speaks as much of the S3 protocol as an archive needs, and misbehaves
//! on demand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// What the store does instead of its duty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it works.
    #[default]
    None,
    /// Every request fails with this status.
    Status(u16),
    /// Every second request fails with status 503.
    Flaky,
    /// It does what was asked and hangs up before the first answer to each PUT; repeated ones are
    /// answered.
    LostAnswers,
    /// It accepts connections and says nothing.
    Silence,
    /// Bodies come one byte at a time, and never end.
    Trickle,
    /// Bodies end early.
    Cut,
    /// Bodies have a wrong bit.
    WrongBytes,
    /// It does not know conditional writes.
    Overwrites,
    /// It knows them, but not for the completion of an upload in parts.
    CompletesOver,
    /// It does not know uploads in parts.
    NoParts,
    /// Completing an upload is answered with status 200 and an error.
    ErrorInBody,
    /// It sends every client to the store on another port.
    SendsElsewhere(u16),
    /// Bodies have no end.
    Endless,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, (Vec<u8>, SystemTime)>,
    fault: Fault,
    requests: u64,
    lost: Vec<String>,
    uploads: BTreeMap<String, Upload>,
    /// What uploads were marked with, by object.
    marks: BTreeMap<String, String>,
    most_parts: usize,
}

/// An upload in parts that is not complete.
struct Upload {
    key: String,
    mark: String,
    parts: BTreeMap<u32, Vec<u8>>,
}

/// A running store with a bucket named `bucket`; it stops with the process.
#[derive(Clone)]
pub struct S3Server {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl S3Server {
    /// Start a store on a free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let running = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = running.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        server
    }

    /// Lines of configuration for a repository in it.
    pub fn place(&self, secret_file: &std::path::Path) -> String {
        std::fs::write(secret_file, "secret\n").unwrap();
        format!(
            "repository.s3.endpoint = 'http://127.0.0.1:{}'\nrepository.s3.bucket = 'bucket'\n\
             repository.s3.prefix = 'some/where'\nrepository.s3.path_style = true\n\
             repository.s3.access_key = 'key'\nrepository.s3.secret_key_file = '{}'\n\
             repository.s3.timeout = '500ms'",
            self.port,
            secret_file.display()
        )
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How often it was asked.
    pub fn requests(&self) -> u64 {
        self.state.lock().unwrap().requests
    }

    /// From now on it does this instead of its duty.
    pub fn misbehave(&self, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        state.fault = fault;
        state.lost.clear();
    }

    /// Names of all objects.
    pub fn names(&self) -> Vec<String> {
        self.state.lock().unwrap().objects.keys().cloned().collect()
    }

    /// How many uploads in parts are neither complete nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.state.lock().unwrap().uploads.len()
    }

    /// The largest number of parts that an object was made of.
    pub fn most_parts(&self) -> usize {
        self.state.lock().unwrap().most_parts
    }

    /// Take an object out; its bytes.
    pub fn remove(&self, name: &str) -> Vec<u8> {
        self.state.lock().unwrap().objects.remove(name).unwrap().0
    }

    /// Put an object in, whether or not there is one.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.state.lock().unwrap().objects.insert(name.to_owned(), (bytes, SystemTime::now()));
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some(request) = read(&mut reader) {
            let fault = {
                let mut state = self.state.lock().unwrap();
                state.requests += 1;
                match state.fault {
                    Fault::Flaky if state.requests % 2 == 1 => Fault::Status(503),
                    Fault::Flaky => Fault::None,
                    fault => fault,
                }
            };
            match fault {
                Fault::Silence => {
                    // Until the client has had enough.
                    let _ = reader.read(&mut [0]);
                    return;
                }
                Fault::SendsElsewhere(port) => {
                    let place = format!("http://127.0.0.1:{port}{}", request.path);
                    let headers = [("location".to_owned(), place)];
                    respond(&mut stream, 307, &headers, b"", true, Fault::None);
                    continue;
                }
                Fault::Endless => {
                    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                    let mut chunk = b"100000\r\n".to_vec();
                    chunk.resize(chunk.len() + (1 << 20), b'x');
                    chunk.extend(b"\r\n");
                    let mut wrote = stream.write_all(head);
                    while wrote.is_ok() {
                        wrote = stream.write_all(&chunk);
                    }
                    return;
                }
                Fault::Status(status) => {
                    respond(
                        &mut stream,
                        status,
                        &[],
                        b"<Error><Code>Trouble</Code></Error>",
                        true,
                        Fault::None,
                    );
                    continue;
                }
                _ => {}
            }
            let (status, headers, body) = self.act(&request, fault);
            let completes = request.method == "POST" && request.query.contains_key("uploadId");
            if fault == Fault::LostAnswers && (request.method == "PUT" || completes) {
                let mut state = self.state.lock().unwrap();
                let part = request.query.get("partNumber");
                let what = format!("{} {} {part:?}", request.method, request.path);
                if !state.lost.contains(&what) {
                    state.lost.push(what);
                    return;
                }
            }
            let has_body = request.method != "HEAD";
            if !respond(&mut stream, status, &headers, &body, has_body, fault) {
                return;
            }
        }
    }

    fn act(&self, request: &Request, fault: Fault) -> (u16, Vec<(String, String)>, Vec<u8>) {
        fn none<T>() -> Vec<T> {
            Vec::new()
        }
        if !request.query.contains_key("X-Amz-Signature") {
            return (403, none(), b"<Error><Code>AccessDenied</Code></Error>".to_vec());
        }
        let mut state = self.state.lock().unwrap();
        let Some(key) = request.path.strip_prefix("/bucket") else {
            return (404, none(), b"<Error><Code>NoSuchBucket</Code></Error>".to_vec());
        };
        let key = key.trim_start_matches('/').to_owned();
        if request.query.contains_key("uploads") || request.query.contains_key("uploadId") {
            return upload(&mut state, request, key, fault);
        }
        match request.method.as_str() {
            "GET" if key.is_empty() => (200, none(), list(&state.objects, &request.query)),
            "GET" | "HEAD" => {
                let Some((bytes, time)) = state.objects.get(&key) else {
                    return (404, none(), b"<Error><Code>NoSuchKey</Code></Error>".to_vec());
                };
                let mut headers = vec![("last-modified".to_owned(), http_date(*time))];
                if let Some(mark) = state.marks.get(&key) {
                    headers.push(("x-amz-meta-walmgr-upload".to_owned(), mark.clone()));
                }
                match request.headers.get("range").and_then(|range| range.strip_prefix("bytes=")) {
                    Some(range) => {
                        let (from, to) = range.split_once('-').unwrap();
                        let to: usize = to.parse::<usize>().unwrap() + 1;
                        let part = bytes[from.parse().unwrap()..to.min(bytes.len())].to_vec();
                        (206, headers, part)
                    }
                    None => (200, headers, bytes.clone()),
                }
            }
            "PUT" => {
                let conditional =
                    request.headers.get("if-none-match").is_some_and(|value| value == "*");
                if conditional && fault != Fault::Overwrites && state.objects.contains_key(&key) {
                    return (
                        412,
                        none(),
                        b"<Error><Code>PreconditionFailed</Code></Error>".to_vec(),
                    );
                }
                state.marks.remove(&key);
                state.objects.insert(key, (request.body.clone(), SystemTime::now()));
                (200, none(), none())
            }
            "DELETE" => {
                state.objects.remove(&key);
                (204, none(), none())
            }
            _ => (405, none(), none()),
        }
    }
}

/// One of the four requests of an upload in parts.
fn upload(
    state: &mut State,
    request: &Request,
    key: String,
    fault: Fault,
) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let failed = |status, code: &str| {
        (status, Vec::new(), format!("<Error><Code>{code}</Code></Error>").into_bytes())
    };
    let Some(id) = request.query.get("uploadId").cloned() else {
        if fault == Fault::NoParts {
            return failed(501, "NotImplemented");
        }
        let id = state.requests.to_string();
        let mark = request.headers.get("x-amz-meta-walmgr-upload").cloned().unwrap_or_default();
        let body = format!(
            "<InitiateMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Bucket>bucket</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>\
             </InitiateMultipartUploadResult>"
        );
        state.uploads.insert(id, Upload { key, mark, parts: BTreeMap::new() });
        return (200, Vec::new(), body.into_bytes());
    };
    let Some(upload) = state.uploads.get_mut(&id).filter(|upload| upload.key == key) else {
        return failed(404, "NoSuchUpload");
    };
    match request.method.as_str() {
        "PUT" => {
            let number = request.query["partNumber"].parse().unwrap();
            upload.parts.insert(number, request.body.clone());
            (200, vec![("etag".to_owned(), format!("\"part-{number}\""))], Vec::new())
        }
        "DELETE" => {
            state.uploads.remove(&id);
            (204, Vec::new(), Vec::new())
        }
        _ if fault == Fault::ErrorInBody => failed(200, "InternalError"),
        _ => {
            let conditional = request.headers.get("if-none-match").is_some_and(|v| v == "*");
            if conditional && fault != Fault::CompletesOver && state.objects.contains_key(&key) {
                return failed(412, "PreconditionFailed");
            }
            // The parts that are named, in their order; all but the last of at least 5 MiB.
            let text = String::from_utf8(request.body.clone()).unwrap();
            let sizes: Vec<_> = upload.parts.values().map(Vec::len).collect();
            let whole = upload.parts.keys().zip(1..).all(|(number, expected)| {
                *number == expected && text.contains(&format!("part-{number}"))
            });
            if !whole || sizes.iter().rev().skip(1).any(|size| *size < 5 << 20) {
                return failed(400, "InvalidPart");
            }
            let upload = state.uploads.remove(&id).unwrap();
            state.most_parts = state.most_parts.max(upload.parts.len());
            let bytes = upload.parts.into_values().collect::<Vec<_>>().concat();
            state.marks.insert(key.clone(), upload.mark);
            state.objects.insert(key, (bytes, SystemTime::now()));
            let body = "<CompleteMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                <ETag>x</ETag></CompleteMultipartUploadResult>";
            (200, Vec::new(), body.as_bytes().to_vec())
        }
    }
}

/// ListObjectsV2 with prefix and delimiter, three entries a page.
fn list(
    objects: &BTreeMap<String, (Vec<u8>, SystemTime)>,
    query: &BTreeMap<String, String>,
) -> Vec<u8> {
    let prefix = query.get("prefix").cloned().unwrap_or_default();
    let mut entries: Vec<String> = objects
        .keys()
        .filter_map(|key| key.strip_prefix(prefix.as_str()))
        .map(|rest| match rest.split_once('/') {
            Some((directory, _)) => format!("{directory}/"),
            None => rest.to_owned(),
        })
        .collect();
    entries.dedup();
    let start = query.get("continuation-token").map_or(0, |token| token.parse::<usize>().unwrap());
    let end = entries.len().min(start + 3);
    let mut xml = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><MaxKeys>3</MaxKeys>",
    );
    for entry in &entries[start..end] {
        if entry.ends_with('/') {
            xml.push_str(&format!(
                "<CommonPrefixes><Prefix>{prefix}{entry}</Prefix></CommonPrefixes>"
            ));
        } else {
            xml.push_str(&format!(
                "<Contents><Key>{prefix}{entry}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>x</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
            ));
        }
    }
    if end < entries.len() {
        xml.push_str(&format!("<NextContinuationToken>{end}</NextContinuationToken>"));
    }
    xml.push_str("</ListBucketResult>");
    xml.into_bytes()
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect();
    Some(Request { method, path: decode(path), query, headers, body })
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let hex = std::str::from_utf8(&after[..2]).unwrap();
            bytes.push(u8::from_str_radix(hex, 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Send an answer; false when the connection is of no use afterwards.
fn respond(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
    has_body: bool,
    fault: Fault,
) -> bool {
    let mut text = format!(
        "HTTP/1.1 {status} x\r\ncontent-length: {}\r\ndate: {}\r\n",
        body.len(),
        http_date(SystemTime::now())
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    if stream.write_all(text.as_bytes()).is_err() || !has_body {
        return !has_body;
    }
    let spoilt = matches!(status, 200 | 206) && body.len() > 20;
    match fault {
        Fault::Trickle if spoilt => {
            while stream.write_all(&body[..1]).is_ok() {
                std::thread::park_timeout(Duration::from_millis(100));
            }
            false
        }
        Fault::Cut if spoilt => {
            let _ = stream.write_all(&body[..body.len() / 2]);
            false
        }
        Fault::WrongBytes if spoilt => {
            let mut body = body.to_vec();
            let middle = body.len() / 2;
            body[middle] ^= 1;
            stream.write_all(&body).is_ok()
        }
        _ => stream.write_all(body).is_ok(),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`; the name of the day is not looked at.
fn http_date(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date from a day count, by the usual era arithmetic.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let names =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        weekdays[usize::try_from(days % 7).unwrap()],
        names[usize::try_from(month - 1).unwrap()],
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}
