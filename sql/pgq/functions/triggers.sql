-- Trigger functions that write row changes into a queue. The first argument of the trigger is the
-- name of the queue. Returns, options and errors: docs/triggers.md.

create or replace function pgq.jsontriga()
returns trigger
language c
as 'MODULE_PATHNAME', 'pgq_jsontriga';
comment on function pgq.jsontriga() is 'row changes as events with JSON data';

create or replace function pgq.logutriga()
returns trigger
language c
as 'MODULE_PATHNAME', 'pgq_logutriga';
comment on function pgq.logutriga() is 'row changes as events with urlencoded data';

create or replace function pgq.sqltriga()
returns trigger
language c
as 'MODULE_PATHNAME', 'pgq_sqltriga';
comment on function pgq.sqltriga() is 'row changes as events with parts of SQL statements';
