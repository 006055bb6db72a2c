create or replace function pgq._no_queue_hint(i_queue_name text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._no_queue_hint(1)
--      What to do when there is no such queue: the texts of these errors are PgQ's, and mostly do
--      not name it. A queue whose name differs in case or in spaces around it is named.
-- ----------------------------------------------------------------------
    select case
               when i_queue_name is null then 'The queue''s name is NULL.'
               else format('There is no queue "%s" in database "%s". ', i_queue_name,
                           current_database())
                    || coalesce(
                           (select format('There is "%s".', min(q.queue_name))
                              from pgq.queue q
                             where lower(trim(q.queue_name)) = lower(trim(i_queue_name))
                            having count(*) > 0),
                           'Create it with pgq.create_queue(), or see pgq.get_queue_info().')
           end
$$;
comment on function pgq._no_queue_hint(text) is 'what to do when there is no such queue';
