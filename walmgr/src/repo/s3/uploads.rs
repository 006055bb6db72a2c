//! The four requests of an upload in parts.

use rusty_s3::S3Action;
use rusty_s3::actions::CreateMultipartUpload;

use crate::error::Result;
use crate::repo::object_store::bucket::{Outcome, Write};
use crate::repo::object_store::http::Request;
use crate::repo::s3::{S3Bucket, VALID, digest};

/// Header by which an upload is known again whose completion got no answer.
pub(super) const MARK_HEADER: &str = "x-amz-meta-walmgr-upload";

impl S3Bucket {
    /// Begin; the upload's id.
    pub(super) fn begin_upload(&self, key: &str, mark: &str, how: Write) -> Result<String> {
        let answer = self.send(key, &|keys| {
            let mut action = self.bucket.create_multipart_upload(Some(keys), key);
            let mut headers = self.retained_headers(how);
            headers.push((MARK_HEADER, mark.to_owned()));
            for (name, value) in &headers {
                action.headers_mut().insert(*name, value.clone());
            }
            Ok(Request { headers, ..Request::new("POST", action.sign(VALID)) })
        })?;
        match CreateMultipartUpload::parse_response(&answer.text()) {
            Ok(response) if answer.status == 200 => Ok(response.upload_id().to_owned()),
            _ => Err(answer.refused("begin upload of", key)),
        }
    }

    /// Send a part; its tag.
    pub(super) fn send_part(
        &self,
        key: &str,
        upload: &str,
        number: u16,
        body: &[u8],
    ) -> Result<String> {
        let digest = digest(body);
        let answer = self.send(key, &|keys| {
            let mut action = self.bucket.upload_part(Some(keys), key, number, upload);
            action.headers_mut().insert("content-md5", digest.clone());
            let url = action.sign(VALID);
            Ok(Request::new("PUT", url).header("content-md5", digest.clone()).body(body))
        })?;
        match answer.header("etag") {
            Some(tag) if answer.is_success() => Ok(tag.to_owned()),
            _ => Err(answer.refused("send a part of", key)),
        }
    }

    /// Make the object exist, unless its name is taken.
    pub(super) fn complete_upload(
        &self,
        key: &str,
        upload: &str,
        tags: &[String],
    ) -> Result<Outcome> {
        let answer = self.send(key, &|keys| {
            let tags = tags.iter().map(String::as_str);
            let mut action = self.bucket.complete_multipart_upload(Some(keys), key, upload, tags);
            action.headers_mut().insert("if-none-match", "*");
            let url = action.sign(VALID);
            let body = action.body().into_bytes();
            Ok(Request::new("POST", url).header("if-none-match", "*").body(body))
        })?;
        // The status may have been sent before the work was done: then the body says how it went.
        let failed = answer.text().contains("<Error>");
        match answer.status {
            200 if !failed => Ok(Outcome::Done),
            412 => Ok(Outcome::taken(&answer)),
            // The first attempt may have worked: then the upload is gone.
            404 if answer.after_loss => Ok(Outcome::TakenAfterLoss),
            _ => Err(answer.refused("complete upload of", key)),
        }
    }

    pub(super) fn abort_upload(&self, key: &str, upload: &str) -> Result<()> {
        let answer = self.send(key, &|keys| {
            let action = self.bucket.abort_multipart_upload(Some(keys), key, upload);
            Ok(Request::new("DELETE", action.sign(VALID)))
        })?;
        match answer.status {
            200..=299 | 404 => Ok(()),
            _ => Err(answer.refused("abort upload of", key)),
        }
    }
}
