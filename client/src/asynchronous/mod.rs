//! A consumer for programs of async functions, on tokio.

mod batch;
mod builder;
mod session;
mod stop;
mod waiting;

use crate::batch::Batch;
use crate::cursor::PageSize;
use crate::error::{Error, HandlerError};
use crate::outage::Outage;
use crate::stats::Stats;
use crate::subscription::Subscription;
use crate::subscription::requests;

pub use batch::AsyncBatch;
pub use builder::AsyncConsumerBuilder;
use builder::Settings;
use session::Session;
pub use stop::AsyncStop;

/// A consumer of one queue, as [`crate::Consumer`], whose work is done by async functions. Made by
/// [`AsyncConsumer::builder`]; it must be used inside a runtime of tokio.
///
/// What is written through [`AsyncBatch::transaction`] is exactly-once: it commits with the batch.
/// Effects elsewhere are at-least-once.
pub struct AsyncConsumer {
    session: Session,
    subscription: Subscription,
    settings: Settings,
    page_size: PageSize,
    stats: Stats,
}

impl AsyncConsumer {
    /// Begin a consumer of `queue` named `consumer`.
    pub fn builder(queue: &str, consumer: &str) -> AsyncConsumerBuilder {
        AsyncConsumerBuilder::new(queue, consumer)
    }

    /// Register at the newest tick: what is inserted from now on will come. True when it was not
    /// registered before; a position that exists is kept.
    ///
    /// # Errors
    /// [`Error::Server`]: no such queue (42704), not a pgq_reader (42501).
    pub async fn register(&mut self) -> Result<bool, Error> {
        let answer = self.session.ask(&self.subscription.registration()).await?;
        Ok(answer.try_get::<_, i32>(0)? != 0)
    }

    /// Unregister; events that wait for a retry are dropped. False when it was not registered.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Lost`].
    pub async fn unregister(&mut self) -> Result<bool, Error> {
        let answer = self.session.ask(&self.subscription.removal()).await?;
        Ok(answer.try_get::<_, i32>(0)? != 0)
    }

    /// A handle that stops it from elsewhere.
    pub fn stop_handle(&self) -> AsyncStop {
        self.settings.stop.clone()
    }

    /// Totals so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The next batch, which may be empty and is to be finished all the same; waits for one, and
    /// for a server that is away. None when stopped. A batch that was not finished comes again.
    ///
    /// A call that is given up (`select!`, `timeout`) loses nothing. Its wait in the server goes on
    /// for `wait_timeout` at most, and the next call comes after that.
    ///
    /// # Errors
    /// What waiting does not cure; also what happens while the batch is opened. [`Error::cure`]
    /// tells whether to call again.
    pub async fn next_batch(&mut self) -> Result<Option<AsyncBatch<'_>>, Error> {
        match self.await_batch().await? {
            None => Ok(None),
            Some(batch) => self.open(batch).await.map(Some),
        }
    }

    /// Hand batches to `handler` until stopped; empty ones are finished without it. When it fails
    /// nothing of the batch is committed, and the batch comes again after a pause. Outages of the
    /// server are waited out. A panic is not caught: it ends the task, and the batch comes again
    /// to the next consumer of the name.
    ///
    /// # Errors
    /// Only what waiting does not cure: the consumer or the queue is gone, permission is missing,
    /// the SQL is refused. See [`Error::cure`].
    pub async fn run_batches<H>(&mut self, mut handler: H) -> Result<Stats, Error>
    where
        H: AsyncFnMut(&mut AsyncBatch<'_>) -> Result<(), HandlerError>,
    {
        let mut outage = Outage::new(self.subscription.full_name());
        let mut left = self.settings.max_batches;
        while left != Some(0) {
            let Some(batch) = self.await_batch().await? else { break };
            let id = batch.id;
            let done = match self.open(batch).await {
                Ok(batch) => process(batch, &mut handler).await,
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => {
                    outage.over();
                    left = left.map(|left| left - 1);
                }
                Err(error) => {
                    let error = self.explain(error, id).await;
                    self.wait_out(&mut outage, error).await?;
                }
            }
        }
        Ok(self.stats)
    }

    /// The batch that is open or comes next; none when stopped.
    async fn await_batch(&mut self) -> Result<Option<Batch>, Error> {
        let mut outage = Outage::new(self.subscription.full_name());
        while !self.settings.stop.is_requested() {
            match self.look().await {
                Ok(found) => {
                    outage.over();
                    if found.is_some() {
                        return Ok(found);
                    }
                }
                Err(error) => self.wait_out(&mut outage, error).await?,
            }
        }
        Ok(None)
    }

    async fn open(&mut self, batch: Batch) -> Result<AsyncBatch<'_>, Error> {
        let Self { session, subscription, settings, page_size, stats } = self;
        let (client, _) = session.get().await?;
        let transaction = client.transaction().await?;
        let filter = settings.filter.as_deref();
        AsyncBatch::open(batch, transaction, subscription, filter, page_size, stats).await
    }

    /// The error, or that another process has finished the batch meanwhile: then the next one
    /// comes.
    async fn explain(&mut self, error: Error, batch_id: i64) -> Error {
        if !Subscription::may_be_gone(&error) {
            return error;
        }
        let Ok(answer) = self.session.ask(&requests::batch_info(batch_id)).await else {
            return error;
        };
        match Batch::from_batch_info(batch_id, &answer) {
            Ok(None) => Error::BatchGone { batch_id, consumer: self.subscription.full_name() },
            _ => error,
        }
    }

    /// Pause after an error that time or somebody's hand cures; else give it back.
    async fn wait_out(&mut self, outage: &mut Outage, error: Error) -> Result<(), Error> {
        if !error.is_worth_trying_again(false) {
            return Err(error);
        }
        if error.needs_reconnect() {
            self.session.close();
            self.stats.reconnects += 1;
        }
        self.settings.stop.sleep(outage.pause(&error)).await;
        Ok(())
    }

    /// The open batch, or the next one; waits for one a while.
    async fn look(&mut self) -> Result<Option<Batch>, Error> {
        let answer = self.session.ask(&self.subscription.look()).await?;
        if let Some(batch) = Batch::from_next_batch(&answer)? {
            return Ok(Some(batch));
        }
        match self.wait().await? {
            None => Ok(None),
            Some(id) => {
                let answer = self.session.ask(&requests::batch_info(id)).await?;
                Batch::from_batch_info(id, &answer)
            }
        }
    }
}

async fn process<H>(mut batch: AsyncBatch<'_>, handler: &mut H) -> Result<(), Error>
where
    H: AsyncFnMut(&mut AsyncBatch<'_>) -> Result<(), HandlerError>,
{
    if !batch.is_empty() {
        handler(&mut batch).await.map_err(|source| Error::Handler { event_id: None, source })?;
    }
    batch.finish().await?;
    Ok(())
}
