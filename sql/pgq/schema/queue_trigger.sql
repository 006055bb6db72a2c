-- Whatever changes pgq.queue, and however, the queue caches of all backends hear of it.

drop trigger if exists queue_changed on pgq.queue;
create trigger queue_changed
    after insert or update or delete or truncate on pgq.queue
    for each statement execute function pgq._queue_changed();
alter table pgq.queue enable always trigger queue_changed;
