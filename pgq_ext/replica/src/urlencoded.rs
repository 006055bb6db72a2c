//! Texts as PgQ's triggers and londiste encode rows and attributes: `a=1&b&c=`.

use crate::error::Error;

/// Names and values: a name without `=` is NULL; `+` is a space.
pub(crate) fn pairs(text: &str) -> Result<Vec<(String, Option<String>)>, Error> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => Ok((decode(name)?, Some(decode(value)?))),
            None => Ok((decode(pair)?, None)),
        })
        .collect()
}

/// A text in this encoding.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'.' | b'-' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            other => encoded.push_str(&format!("%{other:02x}")),
        }
    }
    encoded
}

fn decode(text: &str) -> Result<String, Error> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(text.to_owned());
    }
    let bad = || Error::Payload("bad urlencoding in a trigger event".to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
                let byte = digits.and_then(|hex| u8::from_str_radix(hex, 16).ok());
                bytes.push(byte.ok_or_else(bad)?);
                rest = &after[2..];
            }
            other => bytes.push(other),
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    refuse_nul(&text)?;
    Ok(text)
}

/// No text of PostgreSQL has one, so no trigger wrote it; a driver would take it for a broken
/// connection.
pub(crate) fn refuse_nul(text: &str) -> Result<(), Error> {
    match text.contains('\0') {
        true => Err(Error::Payload("a NUL character in a trigger event".to_owned())),
        false => Ok(()),
    }
}
