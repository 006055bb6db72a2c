-- The control file can name an extension, not its version.

do $$
begin
    if (select split_part(extversion, '.', 1)::int4 < 4 from pg_catalog.pg_extension where extname = 'pgq') then
        raise exception 'extension "pgq" is older than 4.0'
            using errcode = '55000',
                  hint = 'Run ALTER EXTENSION pgq UPDATE first.';
    end if;
end;
$$;
