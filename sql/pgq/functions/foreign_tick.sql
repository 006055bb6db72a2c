create or replace function pgq._full_xid(i_xid xid, i_near bigint)
returns bigint
language sql
immutable
strict
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._full_xid(2)
--      Transaction id with its epoch: the one that is nearest to i_near.
-- ----------------------------------------------------------------------
    -- Expanded into its query, where any search_path may be in force.
    select i_near
           operator(pg_catalog.+)
           ((i_xid::pg_catalog.text::bigint
             operator(pg_catalog.-) (i_near operator(pg_catalog.&) 4294967295)
             operator(pg_catalog.+) 6442450944)
            operator(pg_catalog.%) 4294967296)
           operator(pg_catalog.-) 2147483648
$$;
comment on function pgq._full_xid(xid, bigint) is
    'transaction id with its epoch, the one nearest to another';

create or replace function pgq._is_foreign_tick(
    i_snapshot  txid_snapshot,
    i_xmin      xid,
    i_now       txid_snapshot)
returns boolean
language sql
immutable
as $$
-- ----------------------------------------------------------------------
-- Function: pgq._is_foreign_tick(3)
--      True if a tick was laid in another cluster and came here by a dump: its snapshot ends in the
--      future, or begins after the transaction that stored the row.
-- Parameters:
--      i_snapshot  snapshot of the tick
--      i_xmin      xmin of its row
--      i_now       present snapshot
-- ----------------------------------------------------------------------
    select pg_catalog.txid_snapshot_xmax(i_snapshot)
               operator(pg_catalog.>) pg_catalog.txid_snapshot_xmax(i_now)
        or pg_catalog.txid_snapshot_xmin(i_snapshot)
           operator(pg_catalog.>) pgq._full_xid(i_xmin, pg_catalog.txid_snapshot_xmax(i_now))
$$;
comment on function pgq._is_foreign_tick(txid_snapshot, xid, txid_snapshot) is
    'true if a tick was laid in another cluster';
