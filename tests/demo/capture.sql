-- Apply the events of logutriga to a copy of the tables they come from.
--
-- Load this into the database that holds the copy, then call replay_event() for each event of a
-- batch, in order. Names of schemas must not contain dots.

-- The bytes of an urlencoded text, piece by piece: %xx is a byte, + is a space, the rest stands for
-- itself.
create or replace function urldecode(encoded text)
returns table (at bigint, decoded bytea)
language sql immutable strict
as $$
    select at,
           case when piece[1] like '\%%' then decode(substr(piece[1], 2), 'hex')
                else convert_to(replace(piece[1], '+', ' '), 'utf8') end
      from regexp_matches(encoded, '%[0-9a-f]{2}|[^%]+', 'g') with ordinality as p(piece, at)
$$;

-- The columns of a row as logutriga writes it: name=value&name=value, NULL is a name without "=".
create or replace function urldecode_row(data text)
returns table (name text, value text)
language sql immutable strict
as $$
    select
        (select convert_from(string_agg(decoded, '' order by at), 'utf8')
           from urldecode(split_part(item, '=', 1))),
        case when strpos(item, '=') > 0 then
            coalesce((select convert_from(string_agg(decoded, '' order by at), 'utf8')
                        from urldecode(substr(item, strpos(item, '=') + 1))), '')
        end
      from regexp_split_to_table(data, '&') as item
     where item <> ''
$$;

-- Do to the copy what one event says. ev_type is I:, U: or D: and the key columns, or R; ev_extra1
-- is schema.table.
create or replace procedure replay_event(ev_type text, ev_data text, ev_extra1 text)
language plpgsql
as $$
declare
    target text := format('%I.%I', split_part(ev_extra1, '.', 1), substr(ev_extra1,
        strpos(ev_extra1, '.') + 1));
    keys text[] := string_to_array(substr(ev_type, 3), ',');
    columns text;
    literals text;
    assignments text;
    condition text;
begin
    if ev_type = 'R' then
        execute format('truncate %s', target);
        return;
    end if;
    select string_agg(format('%I', name), ', '),
           string_agg(format('%L', value), ', '),
           string_agg(format('%I = %L', name, value), ', '),
           string_agg(format('%I = %L', name, value), ' and ') filter (where name = any (keys))
      into columns, literals, assignments, condition
      from urldecode_row(ev_data);
    case left(ev_type, 1)
        when 'I' then execute format('insert into %s (%s) values (%s)', target, columns, literals);
        when 'U' then execute format('update %s set %s where %s', target, assignments, condition);
        when 'D' then execute format('delete from %s where %s', target, condition);
    end case;
end
$$;
