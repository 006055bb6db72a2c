//! Shared Key: the signature of one request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Headers that are signed by their place, in this order; Content-Length stands between the second
/// and third.
const PLACES: [&str; 10] = [
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// What is signed of a request.
pub(super) fn text(
    account: &str,
    method: &str,
    path: &str,
    query: &[(&str, &str)],
    headers: &[(&'static str, String)],
    length: usize,
) -> String {
    let header = |name: &str| {
        headers.iter().find(|(other, _)| *other == name).map_or("", |(_, value)| value.as_str())
    };
    let mut text = format!("{method}\n");
    for (number, name) in PLACES.iter().enumerate() {
        if number == 2 {
            let length = if length == 0 { String::new() } else { length.to_string() };
            text.push_str(&format!("{length}\n"));
        }
        text.push_str(&format!("{}\n", header(name)));
    }
    let mut own: Vec<_> = headers.iter().filter(|(name, _)| name.starts_with("x-ms-")).collect();
    own.sort();
    for (name, value) in own {
        text.push_str(&format!("{name}:{value}\n"));
    }
    text.push_str(&format!("/{account}{path}"));
    let mut query = query.to_vec();
    query.sort_unstable();
    for (name, value) in query {
        text.push_str(&format!("\n{name}:{value}"));
    }
    text
}

/// The value of the header that shows it.
pub(super) fn authorization(account: &str, key: &[u8], text: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(format!("SharedKey {account}:{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::{authorization, text};

    #[test]
    fn what_is_signed_is_as_microsoft_publishes_it() {
        // The example of "Authorize with Shared Key" for a version from 2015-02-21 on.
        let headers = [
            ("x-ms-version", "2015-02-21".to_owned()),
            ("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT".to_owned()),
        ];
        let query = [("timeout", "20"), ("restype", "container"), ("comp", "metadata")];
        assert_eq!(
            text("myaccount", "GET", "/mycontainer", &query, &headers, 0),
            "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n\
             x-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:metadata\nrestype:container\n\
             timeout:20"
        );
    }

    #[test]
    fn signatures_are_those_of_rfc_4231() {
        // Test case 2.
        let header = authorization("a", b"Jefe", "what do ya want for nothing?").unwrap();
        assert_eq!(header, "SharedKey a:W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
    }
}
