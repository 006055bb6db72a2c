create or replace function pgq._full_xid(i_xid xid, i_near bigint)
returns bigint as $$
-- ----------------------------------------------------------------------
-- Function: pgq._full_xid(2)
--      Transaction id with its epoch: the one that is nearest to i_near.
-- ----------------------------------------------------------------------
    select i_near + (i_xid::text::bigint - (i_near & 4294967295) + 6442450944) % 4294967296 - 2147483648;
$$ language sql immutable strict;

comment on function pgq._full_xid(xid, bigint) is 'transaction id with its epoch, the one nearest to another';

create or replace function pgq._is_foreign_tick(i_snapshot txid_snapshot, i_xmin xid, i_now txid_snapshot)
returns boolean as $$
-- ----------------------------------------------------------------------
-- Function: pgq._is_foreign_tick(3)
--      True if a tick was laid in another cluster and came here by a dump: its snapshot ends in the future, or
--      begins after the transaction that stored the row.
-- Parameters:
--      i_snapshot - snapshot of the tick
--      i_xmin     - xmin of its row
--      i_now      - present snapshot
-- ----------------------------------------------------------------------
    select pg_catalog.txid_snapshot_xmax(i_snapshot) > pg_catalog.txid_snapshot_xmax(i_now)
        or pg_catalog.txid_snapshot_xmin(i_snapshot) > pgq._full_xid(i_xmin, pg_catalog.txid_snapshot_xmax(i_now));
$$ language sql immutable;

comment on function pgq._is_foreign_tick(txid_snapshot, xid, txid_snapshot) is 'true if a tick was laid in another cluster';
