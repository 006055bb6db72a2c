//! Read a batch in pages, so that memory does not grow with the batch.
//!
//! `pgq.get_batch_cursor` leaves a cursor in the caller's transaction; what it returns is the first
//! page, the rest is fetched. Pages are cut by weight: their number of rows follows the average
//! size of the events seen so far.

use fallible_iterator::FallibleIterator;
use postgres::Transaction;
use postgres::types::{ToSql, Type};

use crate::error::Error;
use crate::event::Event;
use crate::stats::count;
use crate::subscription::requests::open_cursor;

/// Bytes of events that a page aims at.
const PAGE_BYTES: usize = 4 << 20;
/// Rows of the very first page, when nothing is known of the events' size.
const FIRST_ROWS: usize = 500;
type Parameter<'v> = (&'v (dyn ToSql + Sync), Type);

/// Its name in the transaction.
pub(crate) const CURSOR: &str = "pgq_batch";

/// The next rows of it.
pub(crate) fn fetch(rows: usize) -> String {
    format!("fetch forward {rows} from {CURSOR}")
}

/// How many rows to ask for next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageSize {
    rows: usize,
    limit: usize,
}

impl PageSize {
    /// At most `limit` rows a page.
    pub(crate) fn at_most(limit: usize) -> Self {
        Self { rows: FIRST_ROWS.min(limit), limit }
    }

    /// How many rows to ask for.
    #[cfg(feature = "tokio")]
    pub(crate) fn rows(self) -> usize {
        self.rows
    }

    /// A page came.
    pub(crate) fn learn(&mut self, page: &[Event]) {
        self.learn_of(page.len(), page.iter().map(Event::weight).sum());
    }

    fn learn_of(&mut self, rows: usize, weight: usize) {
        if let Some(average) = weight.checked_div(rows) {
            // Growth is gradual: a run of small events may be followed by large ones.
            let fitting = PAGE_BYTES / average.max(1);
            self.rows = fitting.clamp(1, self.rows.saturating_mul(8)).min(self.limit);
        }
    }
}

/// Events up to the weight of a page.
#[derive(Default)]
struct Load {
    events: Vec<Event>,
    weight: usize,
}

impl Load {
    /// Add an event; what was there before it, when that is a page without it.
    fn add(&mut self, event: Event) -> Option<Vec<Event>> {
        let weight = event.weight();
        let is_full = !self.events.is_empty() && self.weight + weight > PAGE_BYTES;
        let full = is_full.then(|| std::mem::take(self).events);
        self.weight += weight;
        self.events.push(event);
        full
    }
}

/// An open cursor over a batch.
pub(crate) struct BatchCursor {
    size: PageSize,
    first: Option<Vec<Event>>,
    exhausted: bool,
}

impl BatchCursor {
    /// Open the cursor in this transaction. `filter` is SQL over the `ev_*` columns.
    pub(crate) fn open(
        transaction: &mut Transaction<'_>,
        batch_id: i64,
        filter: Option<&str>,
        mut size: PageSize,
    ) -> Result<Self, Error> {
        let asked = size.rows;
        let request = open_cursor(batch_id, CURSOR, asked, filter);
        let mut rows = transaction.query_typed_raw(&request.sql, request.parameters())?;
        let mut page = Vec::with_capacity(asked.min(1024));
        while let Some(row) = rows.next()? {
            page.push(Event::from_row(&row)?);
        }
        size.learn(&page);
        let exhausted = page.len() < asked;
        Ok(Self { size, first: Some(page), exhausted })
    }

    /// Hand over the events of a batch in pages that have the weight of one, or one event, whatever
    /// follows on what: rows are read while they come. Nobody else can use the transaction
    /// meanwhile. What was learnt about the events' size is for the next batch.
    pub(crate) fn each_page(
        transaction: &mut Transaction<'_>,
        batch_id: i64,
        filter: Option<&str>,
        mut size: PageSize,
        mut handle: impl FnMut(Vec<Event>) -> Result<(), Error>,
    ) -> Result<PageSize, Error> {
        let request = open_cursor(batch_id, CURSOR, size.rows, filter);
        let mut asked = size.rows;
        let mut rows = transaction.query_typed_raw(&request.sql, request.parameters())?;
        loop {
            let (mut count, mut weight, mut load) = (0, 0, Load::default());
            while let Some(row) = rows.next()? {
                let event = Event::from_row(&row)?;
                count += 1;
                weight += event.weight();
                if let Some(page) = load.add(event) {
                    handle(page)?;
                }
            }
            drop(rows);
            if !load.events.is_empty() {
                handle(load.events)?;
            }
            size.learn_of(count, weight);
            if count < asked {
                break;
            }
            asked = size.rows;
            let no_parameters: [Parameter<'_>; 0] = [];
            rows = transaction.query_typed_raw(&fetch(asked), no_parameters)?;
        }
        transaction.batch_execute(&format!("close {CURSOR}"))?;
        Ok(size)
    }

    /// The next page; none at the end.
    pub(crate) fn next_page(
        &mut self,
        transaction: &mut Transaction<'_>,
    ) -> Result<Option<Vec<Event>>, Error> {
        if let Some(page) = self.first.take() {
            return Ok((!page.is_empty()).then_some(page));
        }
        if self.exhausted {
            return Ok(None);
        }
        let asked = self.size.rows;
        let no_parameters: [Parameter<'_>; 0] = [];
        let mut rows = transaction.query_typed_raw(&fetch(asked), no_parameters)?;
        let mut page = Vec::with_capacity(asked);
        while let Some(row) = rows.next()? {
            page.push(Event::from_row(&row)?);
        }
        self.size.learn(&page);
        self.exhausted = page.len() < asked;
        Ok((!page.is_empty()).then_some(page))
    }

    /// True when the batch has no events.
    pub(crate) fn is_empty(&self) -> bool {
        self.exhausted && self.first.as_ref().is_some_and(Vec::is_empty)
    }

    /// Close the cursor; a later batch in the same transaction could not open it again otherwise.
    /// What was learnt about the events' size is for the next batch.
    pub(crate) fn close(self, transaction: &mut Transaction<'_>) -> Result<PageSize, Error> {
        transaction.batch_execute(&format!("close {CURSOR}"))?;
        Ok(self.size)
    }
}

/// Called while a batch is handled, with the number of its events that have been handed out.
pub(crate) type OnProgress = Box<dyn FnMut(u64) + Send>;

/// The pages of a batch on their way to a handler.
pub(crate) struct Pages<'p> {
    cursor: BatchCursor,
    handed_out: u64,
    on_progress: Option<&'p mut OnProgress>,
}

impl<'p> Pages<'p> {
    pub(crate) fn new(cursor: BatchCursor, on_progress: Option<&'p mut OnProgress>) -> Self {
        Self { cursor, handed_out: 0, on_progress }
    }

    /// The next page; none at the end.
    pub(crate) fn next(
        &mut self,
        transaction: &mut Transaction<'_>,
    ) -> Result<Option<Vec<Event>>, Error> {
        let page = self.cursor.next_page(transaction)?;
        if let Some(progress) = &mut self.on_progress {
            // What was handed out before is done by now.
            progress(self.handed_out);
        }
        self.handed_out += count(page.as_ref().map_or(0, Vec::len));
        Ok(page)
    }

    /// Events that have been handed out.
    pub(crate) fn handed_out(&self) -> u64 {
        self.handed_out
    }

    /// True when the batch has no events.
    pub(crate) fn is_empty(&self) -> bool {
        self.cursor.is_empty()
    }

    /// See [`BatchCursor::close`].
    pub(crate) fn close(self, transaction: &mut Transaction<'_>) -> Result<PageSize, Error> {
        self.cursor.close(transaction)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::{Load, PAGE_BYTES, PageSize};
    use crate::event::Event;

    fn event(bytes: usize) -> Event {
        Event {
            id: 1,
            time: SystemTime::UNIX_EPOCH,
            txid: 1,
            retry: None,
            ev_type: None,
            data: Some("x".repeat(bytes)),
            extra1: None,
            extra2: None,
            extra3: None,
            extra4: None,
        }
    }

    #[test]
    fn a_page_has_the_weight_of_one_whatever_follows() {
        let mut load = Load::default();
        let sizes = [vec![100; 10], vec![PAGE_BYTES * 2], vec![PAGE_BYTES / 2; 5]].concat();
        let mut pages: Vec<usize> = sizes
            .into_iter()
            .filter_map(|bytes| load.add(event(bytes)))
            .map(|page| page.len())
            .collect();
        pages.push(load.events.len());
        assert_eq!(pages, [10, 1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn large_events_shrink_pages_and_small_ones_grow_them() {
        let mut size = PageSize::at_most(10_000);
        size.learn(&[event(1 << 20)]);
        assert!(size.rows <= 4, "{size:?}");
        for _ in 0..10 {
            size.learn(&[event(100)]);
        }
        assert_eq!(size.rows, 10_000);
        size.learn(&[event(PAGE_BYTES * 2)]);
        assert_eq!(size.rows, 1);
    }
}
