-- The control file can name an extension, not its version.

do $$
begin
    if (select split_part(extversion, '.', 1)::int4 < split_part('@LEAST@', '.', 1)::int4
          from pg_catalog.pg_extension
         where extname = '@REQUIRED@')
    then
        raise exception 'extension "@REQUIRED@" is older than @LEAST@'
            using errcode = '55000',
                  hint = 'Run ALTER EXTENSION @REQUIRED@ UPDATE first.';
    end if;
end;
$$;
