-- What pgq.send(), pgq.receive() and their like keep beside PgQ's tables. Who does not use them has
-- no rows here, and nothing else reads these tables.

create type pgq.message as (
    msg_id      bigint,
    batch_id    bigint,
    type        text,
    payload     text,
    key         text,
    headers     jsonb,
    retry_count integer,
    created_at  timestamptz,
    extra3      text,
    extra4      text
);
comment on type pgq.message is 'an event as pgq.receive() gives it';

create type pgq.seek_result as (
    from_tick   bigint,
    to_tick     bigint,
    events      bigint
);
comment on type pgq.seek_result is 'what pgq.seek() did';

-- A queue without a row has the defaults, which pgq._queue_option() knows.
create table pgq.queue_option (
    opt_queue               integer     not null,
    opt_max_retries         integer     not null,
    opt_retry_base          interval    not null,
    opt_retry_max           interval    not null,
    opt_dead_letter_queue   text,
    opt_keep                interval    not null,
    opt_unique_for          interval    not null,
    opt_slot_lease          interval    not null,

    constraint queue_option_pkey primary key (opt_queue)
);
comment on table pgq.queue_option is
    'settings of queues that pgq.send(), pgq.nack() and rotation go by; set by '
    'pgq.set_queue_config()';

comment on column pgq.queue_option.opt_queue is 'the queue';
comment on column pgq.queue_option.opt_max_retries is
    'how often a message comes again before it is a dead letter';
comment on column pgq.queue_option.opt_retry_base is 'wait before it comes again the first time';
comment on column pgq.queue_option.opt_retry_max is 'longest wait';
comment on column pgq.queue_option.opt_dead_letter_queue is
    'queue that dead letters go to; NULL: they are in pgq.dead_letter';
comment on column pgq.queue_option.opt_keep is
    'how long events stay although all consumers have them';
comment on column pgq.queue_option.opt_unique_for is
    'for how long a unique key is not sent again';
comment on column pgq.queue_option.opt_slot_lease is
    'after what silence of a worker others get its slots';

-- One row for a subscription, of no use, and overwritten by the next page, once the batch is
-- another one. Each page has a new number, by which it is looked up in one step, however many
-- earlier versions of the row cannot be removed yet. That there is one row only is seen to by the
-- lock of the subscription: the index for that would have an entry of one key for each page.
create table pgq.page (
    page_queue      integer     not null,
    page_consumer   integer     not null,
    page_id         bigint      not null,
    page_batch      bigint      not null,
    page_begin      bigint,
    page_end        bigint,
    page_is_last    boolean     not null default false,
    page_tick       bigint,
    page_aside      integer     not null default 0,

    constraint page_pkey primary key (page_queue, page_consumer, page_id),
    constraint page_id_key unique (page_id)
)
with (fillfactor = 50);
comment on table pgq.page is 'how far the open batch of a consumer has been handed out';
comment on column pgq.page.page_queue is 'queue of the subscription';
comment on column pgq.page.page_consumer is 'consumer of the subscription';
comment on column pgq.page.page_id is
    'number of the page: the batch_id that its messages have, while page_end is set';
comment on column pgq.page.page_batch is 'the batch, as pgq.subscription has it';
comment on column pgq.page.page_begin is
    'messages up to this one are acknowledged; NULL: none is';
comment on column pgq.page.page_end is
    'last message that pgq.receive() gave; NULL: none since the last acknowledgement';
comment on column pgq.page.page_is_last is 'the batch has no messages behind page_end';
comment on column pgq.page.page_tick is 'the tick that the batch begins at';
comment on column pgq.page.page_aside is
    'how many messages of the batch its holder has put aside: see pgq.aside';

-- A row for each message, and not a list that each one writes anew. By the tick that the batch
-- begins at, and not by the batch: whoever takes a batch of a cooperative group over, or gets it
-- after its holder has left, has it under another id, and what was put aside stays so.
create table pgq.aside (
    as_queue    integer     not null,
    as_sub      integer     not null,
    as_tick     bigint      not null,
    as_msg_id   bigint      not null,

    constraint aside_pkey primary key (as_queue, as_sub, as_tick, as_msg_id)
);
comment on table pgq.aside is
    'messages that pgq.nack() has put aside: they come no more in their batch';
comment on column pgq.aside.as_queue is 'queue of the subscription';
comment on column pgq.aside.as_sub is
    'the subscription, by the number that members of a cooperative group share: sub_id';
comment on column pgq.aside.as_tick is 'the tick that the batch begins at';
comment on column pgq.aside.as_msg_id is 'the message';

create table pgq.dead_letter (
    dl_queue        integer     not null,
    dl_consumer     integer     not null,
    dl_msg_id       bigint      not null,
    dl_created_at   timestamptz not null,
    dl_retry_count  integer     not null,
    dl_type         text,
    dl_payload      text,
    dl_extra1       text,
    dl_extra2       text,
    dl_extra3       text,
    dl_extra4       text,
    dl_reason       text,
    dl_first_failed timestamptz not null default now(),
    dl_last_failed  timestamptz not null default now(),
    dl_count        integer     not null default 1,

    constraint dead_letter_pkey primary key (dl_queue, dl_consumer, dl_msg_id)
);
comment on table pgq.dead_letter is 'messages that a consumer has given up; see pgq.dead_letters()';
comment on column pgq.dead_letter.dl_queue is 'queue of the message';
comment on column pgq.dead_letter.dl_consumer is 'consumer that has given it up';
comment on column pgq.dead_letter.dl_msg_id is 'id of the message: ev_id';
comment on column pgq.dead_letter.dl_created_at is 'when it was sent: ev_time';
comment on column pgq.dead_letter.dl_retry_count is 'how often it came again: ev_retry';
comment on column pgq.dead_letter.dl_type is 'its type: ev_type';
comment on column pgq.dead_letter.dl_payload is 'its payload: ev_data';
comment on column pgq.dead_letter.dl_extra1 is 'its key: ev_extra1';
comment on column pgq.dead_letter.dl_extra2 is 'its headers: ev_extra2';
comment on column pgq.dead_letter.dl_extra3 is 'its ev_extra3';
comment on column pgq.dead_letter.dl_extra4 is 'its ev_extra4';
comment on column pgq.dead_letter.dl_reason is 'why it was given up, the last time';
comment on column pgq.dead_letter.dl_first_failed is 'when it was given up first';
comment on column pgq.dead_letter.dl_last_failed is 'when it was given up last';
comment on column pgq.dead_letter.dl_count is 'how often this message has been given up';

select pg_catalog.pg_extension_config_dump('pgq.queue_option', '');
select pg_catalog.pg_extension_config_dump('pgq.page', '');
select pg_catalog.pg_extension_config_dump('pgq.aside', '');
select pg_catalog.pg_extension_config_dump('pgq.dead_letter', '');
