-- Trigger functions that write row changes into a queue. The first argument of the trigger is the
-- name of the queue. Options: docs/change-capture.md; errors: docs/errors.md.

create or replace function pgq.jsontriga()
returns trigger
language c
-- ----------------------------------------------------------------------
-- Function: pgq.jsontriga(0)
--      Put each change of a row into a queue: types and data are JSON objects. A trigger for
--      INSERT, UPDATE and DELETE of each row, or for TRUNCATE of each statement.
-- Parameters: arguments of the trigger: the queue, then options: docs/change-capture.md
-- Errors: docs/errors.md, capture triggers; 42501 the user may not insert events
-- Tables: the queue's event table
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_jsontriga';
comment on function pgq.jsontriga() is 'row changes as events with JSON data';

create or replace function pgq.logutriga()
returns trigger
language c
-- ----------------------------------------------------------------------
-- Function: pgq.logutriga(0)
--      Put each change of a row into a queue: data is url-encoded, as londiste reads it. A trigger
--      for INSERT, UPDATE and DELETE of each row, or for TRUNCATE of each statement.
-- Parameters: arguments of the trigger: the queue, then options: docs/change-capture.md
-- Errors: docs/errors.md, capture triggers; 42501 the user may not insert events
-- Tables: the queue's event table
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_logutriga';
comment on function pgq.logutriga() is 'row changes as events with urlencoded data';

create or replace function pgq.sqltriga()
returns trigger
language c
-- ----------------------------------------------------------------------
-- Function: pgq.sqltriga(0)
--      Put each change of a row into a queue: data is the end of an SQL statement. A trigger for
--      INSERT, UPDATE and DELETE of each row, or for TRUNCATE of each statement.
-- Parameters: arguments of the trigger: the queue, then options: docs/change-capture.md
-- Errors: docs/errors.md, capture triggers; 42501 the user may not insert events
-- Tables: the queue's event table
-- ----------------------------------------------------------------------
as 'MODULE_PATHNAME', 'pgq_sqltriga';
comment on function pgq.sqltriga() is 'row changes as events with parts of SQL statements';
