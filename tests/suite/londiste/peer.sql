-- What upstream's 3.8 answers is what ours answers. Where they differ by design, faults.rs says so.
create schema s;
create table t1 (id serial primary key, d text);
create table nopk (id int);
create table "Odd.Name" (id serial primary key, "B" text);
create table other (id int primary key, d text);
create table part (id int primary key) partition by range (id);
create view v as select 1;
create view triggers as
    select tgrelid::regclass, tgname, pg_get_triggerdef(oid), tgenabled
      from pg_trigger where not tgisinternal and tgname ~ 'londiste' order by 1, 2;
create view events as
    select ev_type, ev_data, ev_extra1, ev_extra2 from pgq.event_template order by ev_id;
create view tables as select * from londiste.table_info order by nr;
-- Names.
select londiste.make_fqname('a.b.c'), londiste.make_fqname('x'), londiste.make_fqname(''),
    londiste.quote_fqname('a.b.c'), londiste.quote_fqname('X'), londiste.quote_fqname('.x'),
    londiste.quote_fqname('select.table'), londiste.quote_fqname('a"b.c''d');
select (londiste.split_fqname(n)).* from unnest(array['a.b.c', 'x', '', '.', '"a"."b"']) n;
select londiste.find_column_types('t1'), londiste.find_column_types('nopk'),
    londiste.find_column_types('gone'), londiste.find_column_types('v');
select londiste.find_table_oid('public.t1')::regclass, londiste.find_table_oid('v'),
    londiste.find_seq_oid('t1_id_seq')::regclass, londiste.find_seq_oid('t1'),
    londiste.find_rel_oid('v', 'v')::regclass, londiste.find_rel_oid('part', 'p')::regclass,
    londiste.find_table_oid('part'), londiste.find_table_oid('Odd.Name');
select londiste.is_replica_func('pgq.sqltriga'::regproc),
    londiste.is_replica_func('pgq.logutriga'::regproc),
    londiste.is_replica_func('pgq.jsontriga'::regproc),
    londiste.is_replica_func('pgq.ticker()'::regprocedure), londiste.is_replica_func(0);
-- A root.
select pgq_node.register_location('q', 'n1', 'dbname=n1', false);
select pgq_node.create_node('q', 'root', 'n1', 'n1_w', null, null, null);
select * from londiste.local_add_table('q', 't1');
select * from londiste.local_add_table('q', 't1');
select * from londiste.local_add_table('q', 't1', array['x'], 'handler=foo');
select * from londiste.local_add_table('q', 'nopk');
select * from londiste.local_add_table('q', 'gone');
select * from londiste.local_add_table('q', 'part');
select * from londiste.local_add_table('q', 'v');
select * from londiste.local_add_table('q', 'public.Odd.Name');
select * from londiste.local_add_table('q', 'public.virt', array[]::text[], null, 'other');
select * from londiste.local_add_table('q', 'public.virt2', array[]::text[], null, 'other3');
select * from londiste.local_add_table('nq', 't1');
select * from londiste.local_add_table('nq', 'gone');
select * from londiste.local_add_table('q', 'other', array['merge_all','no_merge']);
select * from londiste.local_add_table('q', 'virtual', array['virtual_table'], 'handler=vtable');
select * from londiste.local_add_table('q', 'other',
    array['no_triggers','expect_sync','skip_truncate'], 'handler=x');
select * from londiste.local_add_table('q', 'other',
    array['no_triggers','expect_sync','skip_truncate'], 'handler=x');
select * from triggers;
select * from tables;
select * from events;
select * from londiste.get_table_list('q');
select * from londiste.get_table_list('nq');
select * from londiste.local_show_missing('q');
select * from londiste.local_show_missing('nq');
-- Sequences of a root.
select * from londiste.local_add_seq('q', 't1_id_seq');
select * from londiste.local_add_seq('q', 't1_id_seq');
select * from londiste.local_add_seq('q', 'gone');
select * from londiste.local_add_seq('nq', 't1_id_seq');
select * from londiste.get_seq_list('q');
select * from londiste.root_check_seqs('q');
select * from londiste.root_check_seqs('nq');
select * from londiste.root_check_seqs('q', 5);
select setval('t1_id_seq', 25000);
select * from londiste.root_check_seqs('q', 100);
select setval('t1_id_seq', 30000);
select * from londiste.root_check_seqs('q', 100);
select * from londiste.get_seq_list('q');
select setval('t1_id_seq', 40000);
select * from londiste.root_check_seqs('q', null);
select * from londiste.get_seq_list('q');
select * from londiste.global_update_seq('q', 'x', 100);
select * from londiste.global_update_seq('nq', 'x', 100);
select * from londiste.local_remove_seq('q', 'x');
select * from londiste.global_remove_seq('q', 'x');
select * from londiste.local_remove_seq('nq', 'x');
-- What the node notes of a table.
select * from londiste.local_change_handler('q', 'public.t1', array['tgflags=BQ'], 'handler=y');
select * from londiste.local_change_handler('q', 'gone', array['tgflags=BQ'], 'handler=y');
select * from londiste.local_change_handler('nq', 't1', array['tgflags=BQ'], 'handler=y');
select * from londiste.local_change_handler('q', 'public.virtual', array['virtual_table'], 'a=b');
select * from londiste.local_set_table_state('q', 't1', '1:2:', 'in-copy');
select * from londiste.get_table_list('q');
select * from londiste.local_set_table_state('q', 't1', null, null);
select * from londiste.local_set_table_state('q', 'gone', null, null);
select * from londiste.local_set_table_attrs('q', 'public.t1', 'a=b');
select * from londiste.local_set_table_attrs('q', 'gone', 'a=b');
select * from londiste.local_set_table_struct('q', 'public.t1', null);
select * from londiste.local_set_table_struct('q', 'public.t1', 'create index x');
select * from londiste.local_set_table_struct('q', 'gone', null);
select * from tables;
select * from triggers;
-- Away with them.
select * from londiste.local_remove_table('q', 'gone');
select * from londiste.local_remove_table('q', 't1');
select * from londiste.local_remove_table('q', 'virtual');
select * from londiste.local_remove_table('q', 'public.virt');
select * from londiste.global_remove_table('q', 'gone');
select * from londiste.global_remove_table('q', 'other');
select * from londiste.global_remove_table('nq', 'other');
select * from londiste.global_add_table('q', 'g1');
select * from londiste.global_add_table('q', 'g1');
select * from londiste.global_add_table('nq', 'g1');
select * from londiste.local_remove_table('q', 'g1');
select * from londiste.global_remove_table('q', 'g1');
select * from tables;
select * from triggers;
select * from londiste.drop_table_triggers('q', 'public.Odd.Name');
select * from londiste.drop_table_triggers('q', 'public.gone');
select * from triggers;
select * from events;
-- EXECUTE.
select * from londiste.execute_start('q', 'f.sql', 'select 1', true);
select * from londiste.execute_start('q', 'f.sql', 'select 1', true);
select * from londiste.execute_finish('q', 'f.sql');
select * from londiste.execute_finish('q', 'f.sql');
select * from londiste.execute_finish('q', 'g.sql');
select * from londiste.execute_start('q', 'h.sql', 'select 2', false, 'local-table=a');
select * from londiste.execute_finish('q', 'h.sql');
select * from londiste.execute_start('nq', 'g.sql', 'select 1', true);
select * from londiste.execute_start('nq', 'g.sql', 'select 1', false);
select * from londiste.execute_finish('nq', 'f.sql');
select * from londiste.execute_finish('nq', 'g.sql');
select queue_name, execute_file, execute_sql, execute_attrs from londiste.applied_execute;
update londiste.applied_execute set execute_time = now() - interval '2 months 40 days'
    where execute_file = 'f.sql';
select londiste.periodic_maintenance();
select execute_file from londiste.applied_execute;
select londiste.root_notify_change('q', 'a', 'b');
select londiste.root_notify_change('nq', 'a', 'b');
select * from events;
select londiste.upgrade_schema();
select * from pgq.maint_operations();
-- Leaves and a branch, and leaves that are merged into a root and into a branch.
select pgq_node.register_location(q, n, 'dbname=' || n, false)
    from unnest(array['l','l2','r','p1','p2','p3','c','br','cb','d1','d2', 'xp']) q,
         unnest(array['me','up']) n;
select pgq_node.create_node(q, 'root', 'me', q || '_w', null, null, null)
    from unnest(array['c','r']) q;
select pgq_node.create_node(q, 'branch', 'me', q || '_w', 'up', 1, null)
    from unnest(array['br','cb']) q;
select pgq_node.create_node(q, 'leaf', 'me', q || '_w', 'up', 1, c)
    from (values ('l', null), ('l2', null), ('p1', 'c'), ('p2', 'c'), ('p3', 'c'), ('d1', 'cb'),
                 ('d2', 'cb')) v (q, c);
select pgq.create_queue('plain');
select pgq_node.create_node('xp', 'leaf', 'me', 'xp_w', 'up', 1, 'plain');
create table m1 (id serial primary key, d text);
create table m2 (id serial primary key, d text);
create table m3 (id serial primary key, d text);
create table m4 (id serial primary key, d text);
select * from londiste.local_add_table('l', 'm1');
select * from londiste.global_add_table('l', 'm1');
select * from londiste.global_add_table('l', 'nopk');
select * from londiste.local_add_table('l', 'm1');
select * from londiste.local_add_table('l', 'nopk');
select * from tables;
select * from triggers;
select * from londiste.local_change_handler('l', 'public.m1', array['tgflags=BQ'], 'handler=y');
select * from triggers;
select * from londiste.local_remove_table('l', 'm1');
select * from londiste.local_remove_table('l', 'm1');
select * from londiste.global_remove_table('l', 'm1');
select * from londiste.root_notify_change('l', 'a', 'b');
select * from londiste.execute_start('l', 'l.sql', 'select 1', true);
select * from londiste.execute_start('l', 'l.sql', 'select 1', false);
select * from londiste.execute_finish('l', 'l.sql');
-- Merging.
select * from londiste.global_add_table('p1', 'm2');
select * from londiste.global_add_table('p2', 'm2');
select * from londiste.global_add_table('p3', 'm2');
select * from tables;
select * from londiste.local_add_table('p1', 'm2', array['no_merge']);
select * from londiste.local_add_table('p2', 'm2', array['no_merge']);
select * from londiste.local_add_table('p2', 'm2', array['merge_all']);
select * from londiste.local_add_table('p2', 'm2');
select * from tables;
select * from londiste.local_remove_table('p1', 'm2');
select * from londiste.local_remove_table('p2', 'm2');
select * from londiste.local_remove_table('p3', 'm2');
select * from londiste.local_add_table('p2', 'm2', array['merge_all'], 'handler=z');
select * from londiste.local_add_table('c', 'm2');
select * from londiste.local_add_table('p1', 'm2', array['merge_all'], 'handler=x');
select * from tables;
select * from triggers;
delete from londiste.table_info;
select * from triggers;
select londiste.global_add_table(q, 'm2') from unnest(array['p1','p2','p3']) q;
select * from londiste.local_add_table('p2', 'm2', array['merge_all', 'backup', 'tgflags=Q'],
    'handler=a', 'm3');
select * from tables;
select * from triggers;
delete from londiste.table_info;
select londiste.global_add_table(q, 'm4') from unnest(array['d1','d2','cb']) q;
select * from londiste.local_add_table('d1', 'm4', array['merge_all']);
select * from tables;
select * from triggers;
select * from londiste.local_remove_table('d1', 'm4');
select * from londiste.global_remove_table('d2', 'm4');
select * from londiste.local_add_table('cb', 'm4', array['expect_sync']);
select * from tables;
select * from triggers;
delete from londiste.table_info;
select londiste.global_add_table(q, 'm4') from unnest(array['cb', 'd1','d2']) q;
select * from londiste.local_add_table('cb', 'm4');
select * from londiste.local_add_table('d1', 'm4');
select * from londiste.local_add_table('d2', 'm4', array['merge_all']);
select * from tables;
delete from londiste.table_info;
select londiste.global_add_table(q, 'm4') from unnest(array['p1', 'p2','p3']) q;
select * from londiste.local_add_table('p3', 'm4', array['no_merge']);
begin;
select * from londiste.local_add_table('p2', 'm4', array['merge_all']);
rollback;
select * from londiste.local_add_table('p2', 'm4');
delete from londiste.table_info;
select londiste.global_add_table(q, 'm4') from unnest(array['l','r']) q;
begin;
select * from londiste.local_add_table('l', 'm4');
rollback;
select * from londiste.local_add_table('r', 'm4');
select * from londiste.local_add_table('l', 'm4');
delete from londiste.table_info;
select londiste.global_add_table(q, 'm4') from unnest(array['l','l2']) q;
select * from londiste.local_add_table('l', 'm4', array['expect_sync'], 'handler=a');
select * from tables;
delete from londiste.table_info;
select * from londiste.global_add_table('xp', 'm4');
select * from londiste.local_add_table('xp', 'm4');
select * from tables;
delete from londiste.table_info;
-- Sequences below the root.
select * from londiste.local_add_seq('br', 'm3_id_seq');
select * from londiste.global_update_seq('br', 'm3_id_seq', 77);
select * from londiste.global_update_seq('br', 'remote_seq', 77);
select * from londiste.local_add_seq('br', 'm3_id_seq');
select * from londiste.local_add_seq('br', 'm3_id_seq');
select last_value from m3_id_seq;
select * from londiste.global_update_seq('br', 'm3_id_seq', 99);
select * from londiste.global_update_seq('br', 'm3_id_seq', 88);
select last_value from m3_id_seq;
select * from londiste.root_check_seqs('br');
select * from londiste.get_seq_list('br');
select londiste.global_add_table('br', t) from unnest(array['z', 'A', 'a', 's.x']) t;
select * from londiste.local_show_missing('br');
select * from londiste.get_table_list('br');
select * from londiste.local_remove_seq('br', 'm3_id_seq');
select * from londiste.local_remove_seq('br', 'm3_id_seq');
select * from londiste.local_remove_seq('br', 'nope');
select * from londiste.global_remove_seq('br', 'm3_id_seq');
select * from londiste.global_remove_seq('br', 'm3_id_seq');
select pgq_node.drop_node('br', 'me');
select * from tables;
select * from londiste.seq_info;
-- Triggers.
create table w (id int primary key, a text, b text);
select ret_code, ret_note from londiste.create_trigger('f1', 'public.w', null, 'public.w', 'root');
select ret_code, ret_note from londiste.create_trigger('f2', 'public.w',
    array['tgflags=BQ', 'ignore=a', 'skip_truncate','merge_all','expect_sync','no_merge'],
    'public.w', 'root');
select ret_code, ret_note from londiste.create_trigger('f3', 'public.w',
    array['tgflags=JI', 'backup', null], 'public.w', 'root');
select ret_code, ret_note from londiste.create_trigger('f4', 'public.g''h\x',
    array['tgflags=lj', 'ignore=b'], 'public.w', 'leaf');
select ret_code, ret_note from londiste.create_trigger('f5', 'public.g',
    array['ev_extra1=''a'''], 'public.w', 'branch');
select ret_code, ret_note from londiste.create_trigger('f6', 'public.w',
    array['tgflags=Q', 'tgflags=J'], 'public.w', 'root');
select ret_code, ret_note from londiste.create_trigger('f7', 'public.w',
    array['tgflags=LQ', 'unknown'], 'public.w', 'root');
select ret_code, ret_note from londiste.create_trigger('f8', 'public.w',
    array['tgflags=BA'], 'public.w', 'root');
select ret_code, ret_note from londiste.create_trigger('f9', 'public.w',
    array['tgflags=XYZ', 'skip_truncate=1', 'pkey=a'], 'public.w', 'root');
select ret_code, ret_note from londiste.create_trigger('a b"''', 'public.w',
    array['tgflags='], 'public.w', 'root');
select ret_code, ret_note from londiste.create_trigger('f10', 'public.w',
    array['no_triggers'], 'public.w', 'root');
select ret_code, ret_note from londiste.create_trigger('f11', 'public.w',
    array['virtual_table'], 'public.w', 'root');
select ret_code, ret_note from londiste.create_trigger('f12', 'public.w', null, 'public.no',
    'leaf');
select * from triggers;
drop table w;
-- Triggers that skip.
create table w (id int primary key, a text, b text);
select ret_code, ret_note from londiste.create_trigger('f1', 'public.g',
    array['tgflags=BSQLJ', 'backup'], 'public.w', 'leaf');
select ret_code, ret_note from londiste.create_trigger('f2', 'public.w', null, 'public.w', 'root');
select ret_code, ret_note from londiste.create_trigger('f3', 'public.w',
    array['SKIP','tgflags=bqd'], 'public.w', 'branch');
select ret_code, ret_note from londiste.create_trigger('f4', 'public.w',
    array['tgflags=B'], 'public.w', 'branch');
select * from triggers;
drop table w;
create table w (id int primary key, a text, b text);
create trigger mine before insert on w for each row execute function pgq.logutriga('z', 'SKIP');
select ret_code, ret_note from londiste.create_trigger('f1', 'public.w',
    array['skip','tgflags=B'], 'public.w', 'root');
select tgname, pg_get_triggerdef(oid) from pg_trigger where tgrelid = 'w'::regclass order by 1;
create trigger mine before insert on w for each row execute function pgq.logutriga('z', 'SKIP');
select ret_code, ret_note from londiste.create_trigger('f2', 'public.w',
    array['skip','tgflags=B'], 'public.w', 'root');
select ret_code, ret_note from londiste.create_trigger('f3', 'public.w',
    array['tgflags=B'], 'public.w', 'root');
select tgname, pg_get_triggerdef(oid) from pg_trigger where tgrelid = 'w'::regclass order by 1;
-- Foreign keys; their tables are found without help of the search path.
create table s.parent (id int primary key, x int unique);
create table s.child (id int primary key, p int references s.parent,
    x int constraint "C x" references s.parent (x) on delete cascade deferrable, w int);
create table s.third (id int primary key);
alter table s.third add constraint stranger foreign key (id) references s.child not valid;
select * from londiste.find_table_fkeys('s.parent');
select * from londiste.find_table_fkeys('s.child');
select * from londiste.find_table_fkeys('s.gone');
select londiste.drop_table_fkey('s.child', 'child_p_fkey'),
    londiste.drop_table_fkey('s.child', 'child_p_fkey'),
    londiste.drop_table_fkey('s.child', 'C x'), londiste.drop_table_fkey('s.gone', 'x');
select * from londiste.get_table_pending_fkeys('s.parent');
select * from londiste.get_table_pending_fkeys('s.third');
select * from londiste.get_valid_pending_fkeys('q');
select * from londiste.local_add_table('q', 's.parent');
select * from londiste.get_valid_pending_fkeys('q');
select * from londiste.local_add_table('q', 's.child');
select * from londiste.get_valid_pending_fkeys('q');
select * from londiste.get_valid_pending_fkeys('nq');
update londiste.table_info set custom_snapshot = '1:1:' where table_name = 's.parent';
select * from londiste.get_valid_pending_fkeys('q');
select londiste.restore_table_fkey('s.child', 'gone');
select londiste.restore_table_fkey('s.child', 'child_p_fkey');
select londiste.restore_table_fkey('s.child', 'C x', true);
alter table s.child add constraint "C x" foreign key (x) references s.parent (x) not valid;
select londiste.restore_table_fkey('s.child', 'C x', true);
alter table s.child validate constraint "C x";
select londiste.restore_table_fkey('s.child', 'C x', true);
select conname, convalidated from pg_constraint
    where conrelid = 's.child'::regclass and contype = 'f' order by 1;
select * from londiste.pending_fkeys;
-- Session.
begin;
select londiste.set_session_replication_role('replica', true);
show session_replication_role;
commit;
show session_replication_role;
select londiste.set_session_replication_role('local', false);
show session_replication_role;
select londiste.set_session_replication_role('Origin', false);
select londiste.set_session_replication_role(null, false);
select londiste.set_session_replication_role('origin', null);
show session_replication_role;
-- Partitions.
create table s.p (id int primary key, t timestamptz, d text check (d <> ''));
create function s.f() returns trigger language plpgsql as 'begin return new; end';
create trigger ptr before insert on s.p
    for each row when (new.id > 5) execute function s.f('a''b');
alter table s.p enable always trigger ptr;
create rule r1 as on insert to s.p where new.id = 99 do instead nothing;
alter table s.p enable replica rule r1;
create index on s.p (d);
set timezone = 'Asia/Kolkata';
select londiste.create_partition('s.p', 's.p_2020_01_02', 'id', 't', '2020-01-02 13:14+00', 'day');
select londiste.create_partition('s.p', 's.p_2020_01_02', 'id', 't', '2020-01-02 13:14+00', 'day');
select londiste.create_partition('s.p', 's.p_2020_01', 'id', 't', '2020-01-02 13:14+00', 'month');
select londiste.create_partition('s.p', 's.p_1', null, 't', '2020-01-02 13:14+00', 'hour');
select londiste.create_partition('s.p', 's.p_2', null, 't', '2020-01-02 13:14+00', 'week');
select londiste.create_partition('s.p', 's.p_3', null, 't', '2020-01-02 13:14+00', 'year');
select londiste.create_partition('s.p', 's.p_nof', 'id', '', null, null);
select londiste.create_partition('s.p', 's.p_nul', null, null, null, null);
select londiste.create_partition('s.p', null, 'id', 't', '2020-01-02 13:14:15+00', 'week');
select londiste.create_partition('s.gone', 's.x', 'id', 't', '2020-01-02 13:14:15+00', 'week');
create table s.d (id int, d date);
create table s.t (id int, d timestamp);
select londiste.create_partition('s.d', 's.d_1', null, 'd', '2020-01-02 13:14+00', 'month');
select londiste.create_partition('s.t', 's.t_1', null, 'd', '2020-01-02 13:14+00', 'month');
select conrelid::regclass, conname, pg_get_constraintdef(oid)
    from pg_constraint where connamespace = 's'::regnamespace order by 1, 2;
select indrelid::regclass, pg_get_indexdef(indexrelid) from pg_index
    where indrelid::regclass::text like 's.p%' order by 1, 2;
select tgname, tgenabled, pg_get_triggerdef(oid) from pg_trigger
    where tgrelid::regclass::text like 's.p_2020%' order by 3;
select pg_get_ruledef(oid), ev_enabled from pg_rewrite
    where ev_class::regclass::text like 's.p_2020%' order by 1;
select p, londiste.is_obsolete_partition('s.p' || n, r::interval, p)
    from (values ('day', '_2020_01_02', '1 day'), ('month', '_2020_01', '1 day'),
                 ('yearly', '_2020', '1 day'), ('hourly', '_2020_01_02_03', '1 day'),
                 ('day', '_2020_01', '1 day'), ('daily', '_9020_01_02', '1 day'),
                 ('month', '_2020_01_02', '1 day'), ('year', '', '1 day'),
                 ('hour', '_2020_01_02_03', '1000 years'), ('monthly', '_2020_01', null)) v (p,
                     n, r);
select londiste.is_obsolete_partition('s.p_' || to_char(now(), 'YYYY_MM_DD'), '0 day', 'day'),
    londiste.is_obsolete_partition('s.p_' || to_char(now() - interval '1 day', 'YYYY_MM_DD'),
                                   '0 day', 'day'),
    londiste.is_obsolete_partition('s.p_' || to_char(now() - interval '1 day', 'YYYY_MM_DD'),
                                   '1 day', 'day');
select londiste.is_obsolete_partition('s.p_2020_01_02', '1 day', 'week');
select londiste.list_obsolete_partitions('s.p', '1 day', 'day');
select londiste.list_obsolete_partitions('s.p', '1 day', 'month');
select londiste.drop_obsolete_partitions('s.p', '1 day', 'month');
select londiste.list_obsolete_partitions('s.p', '1 day', 'month');
select londiste.drop_obsolete_partitions('s.gone', '1 day', 'month');
