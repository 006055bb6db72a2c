create or replace function londiste.set_session_replication_role(val text, is_local boolean)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
-- ----------------------------------------------------------------------
-- Function: londiste.set_session_replication_role(2)
--      Let a worker that is no superuser apply changes without firing triggers and checking foreign
--      keys. Whoever may call this may therefore write what foreign keys forbid.
-- Parameters:
--      val         origin, replica or local
--      is_local    for the rest of the transaction only
-- Errors: 22023 bad value for session_replication_role
-- ----------------------------------------------------------------------
begin
    if val in ('origin', 'replica', 'local') then
        perform set_config('session_replication_role', val, coalesce(is_local, false));
    else
        raise exception 'bad value for session_replication_role'
            using errcode = '22023',
                  hint = 'It is origin, replica or local.';
    end if;
end;
$$;
comment on function londiste.set_session_replication_role(text, boolean) is
    'set session_replication_role without being superuser';
