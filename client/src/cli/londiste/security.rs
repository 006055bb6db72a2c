//! Row level security of a table, as another database has it, and how it is made here.

use pgq_replica::name;

use super::site::Site;

/// Whether it is on, and for whom what is open.
#[derive(Clone, Debug, Default)]
pub(super) struct Security {
    enabled: bool,
    forced: bool,
    policies: Vec<Policy>,
}

#[derive(Clone, Debug)]
struct Policy {
    name: String,
    /// Whom it is for; none for everybody.
    roles: Vec<String>,
    /// What stands between the table's name and the roles …
    kind: String,
    /// … and behind them.
    conditions: String,
}

const FLAGS: &str = "
select c.relrowsecurity::text, c.relforcerowsecurity::text from pg_class c where c.oid = $1::oid";

const POLICIES: &str = "
select p.polname::text,
       format('as %s for %s', case when p.polpermissive then 'permissive' else 'restrictive' end,
              case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
                            when 'd' then 'delete' else 'all' end),
       coalesce('using (' || pg_get_expr(p.polqual, p.polrelid) || ') ', '')
           || coalesce('with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', ''),
       (select json_agg(r.rolname order by r.rolname)
          from unnest(p.polroles) o join pg_roles r on r.oid = o)::text
  from pg_policy p
 where p.polrelid = $1::oid
 order by p.polname";

impl Security {
    /// Read it of a table there, with pg_catalog as the path.
    pub(super) fn read(there: &mut Site, oid: &str) -> anyhow::Result<Self> {
        let one = [oid.into()];
        let mut found = Self::default();
        for row in there.rows(FLAGS, &one)? {
            (found.enabled, found.forced) = (row.flag(0)?, row.flag(1)?);
        }
        for row in there.rows(POLICIES, &one)? {
            // Everybody is no role.
            let roles = row.get(3)?.map(serde_json::from_str).transpose()?.unwrap_or_default();
            found.policies.push(Policy {
                name: row.text(0)?.to_owned(),
                roles,
                kind: row.text(1)?.to_owned(),
                conditions: row.text(2)?.to_owned(),
            });
        }
        Ok(found)
    }

    /// Make it here.
    pub(super) fn make(&self, here: &mut Site, target: &str) -> anyhow::Result<()> {
        let table = name::quoted(target);
        if self.enabled {
            here.run(&format!("alter table {table} enable row level security"))?;
        }
        if self.forced {
            log::warn!(
                "table \"{target}\": its row level security counts for its owner, too: the worker's role needs BYPASSRLS"
            );
            here.run(&format!("alter table {table} force row level security"))?;
        }
        for policy in &self.policies {
            policy.make(here, target, &table)?;
        }
        Ok(())
    }
}

impl Policy {
    fn make(&self, here: &mut Site, target: &str, table: &str) -> anyhow::Result<()> {
        let Self { name, roles, kind, conditions } = self;
        let mut present = Vec::new();
        for role in roles {
            if has_role(here, role)? {
                present.push(name::quote(role));
            } else {
                log::warn!(
                    "table \"{target}\": policy \"{name}\" is not for role \"{role}\", which is not here"
                );
            }
        }
        let to = match (roles.is_empty(), present.is_empty()) {
            (true, _) => "public".to_owned(),
            (false, false) => present.join(", "),
            // It says nothing on others.
            (false, true) => return Ok(()),
        };
        let name = name::quote(name);
        here.run(&format!("create policy {name} on {table} {kind} to {to} {conditions}"))
    }
}

/// Is there such a role here?
pub(super) fn has_role(site: &mut Site, role: &str) -> anyhow::Result<bool> {
    const ROLE: &str = "select r.rolname::pg_catalog.text
                          from pg_catalog.pg_roles r
                         where r.rolname operator(pg_catalog.=) $1";
    Ok(site.value(ROLE, &[role.into()])?.is_some())
}
