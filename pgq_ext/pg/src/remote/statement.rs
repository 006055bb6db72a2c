//! Statements and their rows, in UTF-8, for who keeps a connection. Nothing here raises an error.

use std::ffi::{CStr, CString};
use std::time::Duration;

use super::answer::{Answer, Kind};
use super::connection::{Connection, OF_ANSWER, Patience};
use super::failure::Failure;
use crate::parameter::Parameter;
use crate::session::Row;

/// Bytes of an answer, at most; each row and each field counts for some more than it has.
const LARGEST: usize = 64 << 20;
const OF_ROW: usize = 64;

impl Connection {
    /// Run one statement; its rows. `silence` is how long nothing may come.
    pub fn rows(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        silence: Duration,
    ) -> Result<Vec<Row>, Failure> {
        let patience = Patience::Silence(silence);
        let mut rows = Vec::new();
        self.asking(|| {
            self.give_room(OF_ANSWER);
            self.send_statement(sql, parameters, patience)?;
            self.read_answer(patience, |answer| {
                let (new, size) = answer.rows()?;
                let fields: usize = new.iter().map(|row: &Row| row.len()).sum();
                rows.extend(new);
                Ok(size + fields * size_of::<Option<String>>())
            })
        })?;
        Ok(rows)
    }

    /// Run statements without parameters, and leave their rows unread.
    pub fn run(&self, sql: &str, silence: Duration) -> Result<(), Failure> {
        let patience = Patience::Silence(silence);
        self.asking(|| {
            self.give_room(OF_ANSWER);
            self.send_statements(&c_text(sql)?, patience)?;
            self.read_answer(patience, |_| Ok(0))
        })
    }

    /// Do something after which no more can be asked unless it succeeds, or the other side refuses
    /// in an orderly way.
    pub(super) fn asking<T>(
        &self,
        body: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if self.is_broken() {
            return Err(Failure::Unreachable("the connection is lost".to_owned()));
        }
        self.is_done.set(true);
        let result = body();
        if matches!(result, Ok(_) | Err(Failure::Refused { .. })) {
            self.is_done.set(false);
        }
        result
    }

    pub(super) fn send_statements(&self, sql: &CStr, patience: Patience) -> Result<(), Failure> {
        // SAFETY: a connection and a C string, which the library copies.
        if unsafe { (self.library.PQsendQuery)(self.raw, sql.as_ptr()) } == 0 {
            return Err(self.unreachable());
        }
        self.flush(patience)
    }

    fn send_statement(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
        patience: Patience,
    ) -> Result<(), Failure> {
        let value =
            |parameter: &Parameter<'_>| parameter.literal().as_deref().map(c_text).transpose();
        let values = parameters.iter().map(value).collect::<Result<Vec<_>, _>>()?;
        let types: Vec<u32> = parameters.iter().map(|it| it.type_oid().to_u32()).collect();
        self.send_parameters(&c_text(sql)?, &values, &types, patience)
    }

    /// Read all results; `take` takes those with rows, one by one, and says how large they are.
    fn read_answer(
        &self,
        patience: Patience,
        mut take: impl FnMut(&Answer) -> Result<usize, Failure>,
    ) -> Result<(), Failure> {
        // Row by row: the library would keep all that comes, however much.
        // SAFETY: a connection whose statement has just been sent.
        unsafe { (self.library.PQsetSingleRowMode)(self.raw) };
        let mut size = 0;
        let mut refused = None;
        while let Some(answer) = self.next(patience)? {
            match answer.kind() {
                Ok(Kind::Row | Kind::Done) => size += OF_ROW + take(&answer)?,
                Ok(Kind::CopyOut) => return Err(Failure::Protocol),
                Err(failure @ Failure::Refused { .. }) => {
                    size += OF_ROW;
                    refused.get_or_insert(failure);
                }
                Err(failure) => return Err(failure),
            }
            if size > LARGEST {
                return Err(Failure::TooLarge);
            }
            self.look_at_interrupts()?;
        }
        refused.map_or(Ok(()), Err)
    }
}

pub(super) fn c_text(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure::Encoding)
}
