-- Messages that are sent again and again. Schedules are the administrators': the event is inserted
-- with the rights of the extension's owner, and nobody else can make or change one.

create table pgq.schedule (
    sc_name         text        not null,
    sc_queue        integer     not null,
    sc_type         text,
    sc_payload      text,
    sc_every        interval,
    sc_cron         text,
    sc_timezone     text        not null,
    sc_missed       text        not null,
    sc_from         timestamptz not null,
    sc_last_run     timestamptz,
    sc_next_run     timestamptz not null,
    sc_again        timestamptz,
    sc_error        text,

    constraint schedule_pkey primary key (sc_name)
)
with (fillfactor = 50);
comment on table pgq.schedule is 'messages that are sent again and again; see pgq.schedule()';
comment on column pgq.schedule.sc_name is 'name of the schedule';
comment on column pgq.schedule.sc_queue is 'queue of the messages';
comment on column pgq.schedule.sc_type is 'their type';
comment on column pgq.schedule.sc_payload is 'their payload';
comment on column pgq.schedule.sc_every is 'time between two of them; NULL: see sc_cron';
comment on column pgq.schedule.sc_cron is 'when they are sent, as a cron expression of five fields';
comment on column pgq.schedule.sc_timezone is 'time zone that days, and the expression, are of';
comment on column pgq.schedule.sc_missed is 'what is sent when its time is over: skip or once';
comment on column pgq.schedule.sc_from is 'the time that sc_every is counted from';
comment on column pgq.schedule.sc_last_run is
    'the time that the last message was for; NULL: there was none';
comment on column pgq.schedule.sc_next_run is 'the time that the next message is for';
comment on column pgq.schedule.sc_again is 'its message could not be sent, and is not before this';
comment on column pgq.schedule.sc_error is 'why it could not';

select pg_catalog.pg_extension_config_dump('pgq.schedule', '');
