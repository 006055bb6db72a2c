-- The locks that schema/comments.sql takes in the end, before anything else is done: who has to be
-- waited for is waited for here, and meets no half of an update. Reading and writing goes on beside
-- them; create_partition(), VACUUM and ANALYZE wait. Only where upgrade_schema() has something to
-- change does it take a stronger lock, of that table.

lock table only londiste.table_info, only londiste.seq_info, only londiste.applied_execute,
           only londiste.pending_fkeys
    in share update exclusive mode;

-- What these return, or are called with, changed over the versions, and create or replace cannot
-- change that.

drop function if exists londiste.get_table_list(text);
drop function if exists londiste.restore_table_fkey(text, text);
drop function if exists londiste.find_rel_oid(text, text);
drop function if exists londiste.find_table_oid(text);
drop function if exists londiste.find_seq_oid(text);
