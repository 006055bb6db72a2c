-- Whatever changes pgq.queue, and however, the queue caches of all backends hear of it: also under
-- session_replication_role = replica (always), and where a subscription applies the change (for
-- each row). Without exactly this no backend remembers anything of a queue, see
-- pgq_ext/src/event/queue_cache.rs.

drop trigger if exists queue_changed on pgq.queue;
create trigger queue_changed
    after insert or update or delete on pgq.queue
    for each row execute function pgq._queue_changed();
drop trigger if exists queue_emptied on pgq.queue;
create trigger queue_emptied
    after truncate on pgq.queue
    for each statement execute function pgq._queue_changed();
alter table pgq.queue enable always trigger queue_changed;
alter table pgq.queue enable always trigger queue_emptied;
