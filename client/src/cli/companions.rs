//! What `status` and `top` show of the companion extensions, where they are installed.

use pgq_client::Error;
use postgres::Client;
use postgres::types::Type;

use super::output::Rows;

/// Members of cooperative consumers (`pgq_coop`): they share the main consumer's number and are
/// named after it.
const MEMBERS: &str = "
select q.queue_name as queue, mc.co_name as consumer,
       pg_catalog.substr(c.co_name, pg_catalog.length(mc.co_name) operator(pg_catalog.+) 2)
           as member,
       s.sub_batch as batch, pg_catalog.now() operator(pg_catalog.-) s.sub_active as last_seen
  from pgq.subscription s
  join pgq.consumer c on c.co_id operator(pg_catalog.=) s.sub_consumer
  join pgq.subscription m
    on m.sub_queue operator(pg_catalog.=) s.sub_queue
   and m.sub_id operator(pg_catalog.=) s.sub_id
   and m.sub_consumer operator(pg_catalog.<>) s.sub_consumer
  join pgq.consumer mc
    on mc.co_id operator(pg_catalog.=) m.sub_consumer
   and pg_catalog.starts_with(c.co_name, pg_catalog.concat(mc.co_name, '.'))
  join pgq.queue q on q.queue_id operator(pg_catalog.=) s.sub_queue
 order by 1, 2, 3";

/// Nodes of cascades with what is wrong with them (`pgq_node` 4).
const NODE_HEALTH: &str = "
select queue_name as queue, node_name as node, node_type as type, severity, problem, detail, hint
  from pgq_node.node_health()
 order by 1, 2,
          case when severity operator(pg_catalog.=) 'error' then 1
               when severity operator(pg_catalog.=) 'warning' then 2
               else 3 end,
          5";

/// The same of upstream's `pgq_node`, which does not say what is wrong.
const NODES: &str = "
select queue_name as queue, node_name as node, node_type as type, worker_name as worker
  from pgq_node.node_info
 order by 1, 2";

/// What there is to show.
pub(super) struct Companions {
    members: Option<Rows>,
    nodes: Option<Rows>,
}

impl Companions {
    /// Look, as far as the user may.
    pub(super) fn load(client: &mut Client) -> Result<Self, Error> {
        let members = has_extension(client, "pgq_coop")?
            .then(|| Rows::query(client, MEMBERS, &[]))
            .transpose()?
            .map(|rows| rows.of_kind("member"));
        let nodes = if may_call_node_health(client)? {
            Some(Rows::query(client, NODE_HEALTH, &[])?)
        } else if has_extension(client, "pgq_node")? && may_read_nodes(client)? {
            Some(Rows::query(client, NODES, &[])?)
        } else {
            None
        };
        let nodes = nodes.map(|rows| rows.of_kind("node"));
        Ok(Self { members, nodes })
    }

    /// The tables that have rows.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Rows> {
        [&self.members, &self.nodes].into_iter().flatten().filter(|rows| !rows.rows.is_empty())
    }

    /// False when a node has a problem.
    pub(super) fn is_healthy(&self) -> bool {
        let Some(nodes) = &self.nodes else { return true };
        let Some(severity) = nodes.columns.iter().position(|column| column == "severity") else {
            return true;
        };
        nodes.rows.iter().all(|row| {
            row.get(severity).and_then(|cell| cell.as_str()).is_none_or(|text| text == "ok")
        })
    }
}

fn has_extension(client: &mut Client, name: &str) -> Result<bool, Error> {
    let sql = "select exists (select from pg_catalog.pg_extension
                             where extname operator(pg_catalog.=) $1)";
    holds(client, sql, name)
}

fn may_call_node_health(client: &mut Client) -> Result<bool, Error> {
    let sql = "select coalesce(pg_catalog.has_function_privilege(
                                   pg_catalog.to_regprocedure($1)::pg_catalog.oid, 'execute'),
                               false)";
    holds(client, sql, "pgq_node.node_health(text, interval)")
}

fn may_read_nodes(client: &mut Client) -> Result<bool, Error> {
    let sql = "select coalesce(pg_catalog.has_table_privilege(
                                   pg_catalog.to_regclass($1)::pg_catalog.oid, 'select'),
                               false)";
    holds(client, sql, "pgq_node.node_info")
}

fn holds(client: &mut Client, sql: &str, name: &str) -> Result<bool, Error> {
    Ok(client.query_typed_one(sql, &[(&name, Type::TEXT)])?.try_get(0)?)
}
