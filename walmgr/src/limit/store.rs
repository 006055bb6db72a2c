//! A repository that is used at a limited rate.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use super::Limiter;
use crate::error::Result;
use crate::repo::{Created, Fill, Lock, LockMode, New, Sink, Source, Store};

/// No more than this is written or read before it is paid for.
const PIECE: usize = 256 << 10;

/// A store behind a limit: all bytes of objects count, in both directions.
pub(crate) struct Limited {
    inner: Box<dyn Store>,
    limiter: Limiter,
}

impl Limited {
    /// The store, behind the limit if there is one.
    pub(crate) fn behind(limiter: Option<&Limiter>, inner: Box<dyn Store>) -> Box<dyn Store> {
        match limiter {
            Some(limiter) => Box::new(Self { inner, limiter: limiter.clone() }),
            None => inner,
        }
    }
}

struct LimitedSink<'a> {
    inner: &'a mut dyn Sink,
    limiter: &'a Limiter,
}

impl Write for LimitedSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        self.limiter.take(piece.len());
        self.inner.write_all(piece)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Seek for LimitedSink<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

struct LimitedSource {
    inner: Box<dyn Source>,
    limiter: Limiter,
}

impl Source for LimitedSource {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.limiter.take(buffer.len());
        self.inner.read_exact_at(buffer, offset)
    }

    fn reader(&self) -> Box<dyn Read + '_> {
        Box::new(LimitedReader { inner: self.inner.reader(), limiter: &self.limiter })
    }
}

struct LimitedReader<'a> {
    inner: Box<dyn Read + 'a>,
    limiter: &'a Limiter,
}

impl Read for LimitedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(PIECE);
        let count = self.inner.read(buffer.get_mut(..room).unwrap_or_default())?;
        self.limiter.take(count);
        Ok(count)
    }
}

impl Store for Limited {
    fn create(&self, key: &str, fill: &mut Fill<'_>) -> Result<Created> {
        self.inner
            .create(key, &mut |sink| fill(&mut LimitedSink { inner: sink, limiter: &self.limiter }))
    }

    fn shares_syncs(&self) -> bool {
        self.inner.shares_syncs()
    }

    fn reads_cheaply(&self) -> bool {
        self.inner.reads_cheaply()
    }

    fn create_all(&self, objects: Vec<New<'_>>) -> Vec<Result<Created>> {
        let limiter = &self.limiter;
        let limited = objects.into_iter().map(|mut new| New {
            key: new.key,
            fill: Box::new(move |sink| (new.fill)(&mut LimitedSink { inner: sink, limiter })),
        });
        self.inner.create_all(limited.collect())
    }

    fn settle(&self, key: &str) -> Result<()> {
        self.inner.settle(key)
    }

    fn open(&self, key: &str) -> Result<Option<Box<dyn Source>>> {
        let limit = |inner| -> Box<dyn Source> {
            Box::new(LimitedSource { inner, limiter: self.limiter.clone() })
        };
        Ok(self.inner.open(key)?.map(limit))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        self.inner.list(directory)
    }

    fn remove(&self, key: &str) -> Result<()> {
        self.inner.remove(key)
    }

    fn remove_all(&self, keys: &[String]) -> Result<Vec<String>> {
        self.inner.remove_all(keys)
    }

    fn retained(&self, key: &str) -> Result<Option<String>> {
        self.inner.retained(key)
    }

    fn set_aside(&self, key: &str) -> Result<()> {
        self.inner.set_aside(key)
    }

    fn lock(&self, key: &str, mode: LockMode) -> Result<Box<dyn Lock>> {
        self.inner.lock(key, mode)
    }

    fn sweep(&self, directory: &str, age: Duration) -> Result<Vec<String>> {
        self.inner.sweep(directory, age)
    }

    fn pack_size(&self) -> u64 {
        self.inner.pack_size()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn identity(&self) -> String {
        self.inner.identity()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use super::{Limited, Limiter};
    use crate::repo::local::LocalStore;
    use crate::repo::{New, create_small, read_all};

    #[test]
    fn what_goes_through_a_limit_comes_whole_and_not_before_it_is_due() {
        let directory = tempfile::tempdir().unwrap();
        let plain = LocalStore::init(directory.path()).unwrap();
        let limiter = Limiter::new(8 << 20);
        let store = Limited::behind(Some(&limiter), Box::new(plain));
        let bytes: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
        create_small(store.as_ref(), "a", &bytes).unwrap();
        let fill = |text: &'static [u8]| New {
            key: String::from_utf8_lossy(text).into_owned(),
            fill: Box::new(|sink: &mut dyn crate::repo::Sink| {
                sink.write_all(text).unwrap();
                Ok(())
            }),
        };
        assert!(store.create_all(vec![fill(b"b"), fill(b"c")]).iter().all(Result::is_ok));
        assert_eq!(read_all(store.as_ref(), "a").unwrap().unwrap(), bytes);
        let mut again = Vec::new();
        store.open("a").unwrap().unwrap().reader().read_to_end(&mut again).unwrap();
        assert_eq!(again, bytes);
        assert_eq!(read_all(store.as_ref(), "c").unwrap().unwrap(), b"c");
        // Three megabytes at eight a second.
        let paid = limiter.bucket.lock().unwrap().paid();
        assert!(paid >= Duration::from_millis(375), "{paid:?}");
    }
}
