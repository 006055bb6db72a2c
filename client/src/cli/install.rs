//! `pgq install`: extensions, and a look at what else is needed.

use pgq_client::{Error, Features};
use postgres::Client;
use postgres::types::Type;
use serde_json::{Value, json};

use super::output::Rows;
use super::{Exit, Global};

/// Create the extensions and check the rest.
#[derive(Debug, clap::Args)]
pub(super) struct Install {
    /// Extensions besides pgq
    #[arg(long, value_delimiter = ',', value_name = "EXTENSION,…")]
    with: Vec<String>,
    /// These extensions and not pgq: pgq_ext is all that the target of move, split and load needs
    #[arg(long, value_delimiter = ',', value_name = "EXTENSION,…", conflicts_with = "with")]
    only: Vec<String>,
    /// Change nothing, only check
    #[arg(long)]
    check: bool,
}

impl Install {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let mut client = global.connector()?.connect()?;
        let mut report = Report::default();
        let mut complete = true;
        let with_queues = self.only.is_empty() || self.only.iter().any(|name| name == "pgq");
        let pgq = if self.only.is_empty() { Some("pgq") } else { None };
        let named = self.only.iter().chain(&self.with).map(String::as_str);
        for extension in pgq.into_iter().chain(named.filter(|name| !name.is_empty())) {
            complete &= self.extension(&mut client, extension, &mut report)?;
        }
        if complete && with_queues {
            check_roles(&mut client, &mut report)?;
            check_ticks(&mut client, &mut report)?;
        }
        report.rows.print(global.format())?;
        Ok(if complete { Exit::Ok } else { Exit::Missing })
    }

    /// Create or update an extension; false when it is missing at the end.
    fn extension(
        &self,
        client: &mut Client,
        name: &str,
        report: &mut Report,
    ) -> Result<bool, Error> {
        let row = client.query_typed_opt(
            "select installed_version::pg_catalog.text, default_version::pg_catalog.text
               from pg_catalog.pg_available_extensions
              where name operator(pg_catalog.=) $1",
            &[(&name, Type::TEXT)],
        )?;
        let what = format!("extension {name}");
        let Some(row) = row else {
            let advice = "install it into this server: make install, or the distribution's package";
            report.add(&what, "not available", advice);
            return Ok(false);
        };
        let installed: Option<String> = row.try_get(0)?;
        let available: String = row.try_get(1)?;
        let quoted = pgq_replica::name::quote(name);
        match installed {
            Some(version) if version == available => report.add(&what, &version, ""),
            Some(version) if self.check => {
                let advice = format!("alter extension {name} update; -- to {available}");
                report.add(&what, &version, &advice);
            }
            Some(version) => {
                client.batch_execute(&format!("alter extension {quoted} update"))?;
                report.add(&what, &format!("updated from {version} to {available}"), "");
            }
            None if self.check => {
                report.add(&what, "not installed", &format!("create extension {name} cascade;"));
                return Ok(false);
            }
            None => {
                client.batch_execute(&format!("create extension {quoted} cascade"))?;
                report.add(&what, &format!("installed {available}"), "");
            }
        }
        Ok(true)
    }
}

#[derive(Default)]
struct Report {
    rows: Rows,
}

impl Report {
    fn add(&mut self, what: &str, state: &str, advice: &str) {
        if self.rows.columns.is_empty() {
            self.rows.columns = ["what", "state", "advice"].map(str::to_owned).to_vec();
        }
        let advice = if advice.is_empty() { Value::Null } else { json!(advice) };
        self.rows.rows.push(vec![json!(what), json!(state), advice]);
    }
}

fn check_roles(client: &mut Client, report: &mut Report) -> Result<(), Error> {
    let rows = client.query_typed(
        "select r.name,
                coalesce(pg_catalog.pg_has_role(current_user, g.oid, 'member'), false)
           from pg_catalog.unnest(array['pgq_reader', 'pgq_writer', 'pgq_admin']) as r (name)
                left join pg_catalog.pg_roles g on g.rolname operator(pg_catalog.=) r.name",
        &[],
    )?;
    for row in rows {
        let role: String = row.try_get(0)?;
        let (state, advice) = if row.try_get(1)? {
            ("you are a member", String::new())
        } else {
            ("you are no member", format!("grant {role} to …;"))
        };
        report.add(&format!("role {role}"), state, &advice);
    }
    Ok(())
}

/// Somebody must make ticks, or consumers wait for ever.
fn check_ticks(client: &mut Client, report: &mut Report) -> Result<(), Error> {
    let has_worker = Features::has_function(client, "worker_status")?;
    let state: Option<String> = if has_worker {
        client
            .query_typed_opt(
                "select state
                   from pgq.worker_status()
                  where database_name operator(pg_catalog.=) pg_catalog.current_database()",
                &[],
            )?
            .map(|row| row.try_get(0))
            .transpose()?
    } else {
        None
    };
    let (state, advice) = match (state.as_deref(), why_no_worker(client)?) {
        (Some(state @ ("running" | "starting")), _) => (state, String::new()),
        (_, Some((finding, remedy))) => {
            report.add("worker", &finding, &remedy);
            return Ok(());
        }
        (state, None) if has_worker => (
            state.unwrap_or("not running"),
            "shared_preload_libraries = 'pgq' and a restart; until then: select pgq.start_worker(), or pgq ticker".to_owned(),
        ),
        (state, None) => (
            state.unwrap_or("not running"),
            "this PgQ has no worker: run pgq ticker, or pgqd".to_owned(),
        ),
    };
    report.add("worker", state, &advice);
    Ok(())
}

/// What the server itself says about a worker that does not run, and what to do; none when it says
/// nothing, or not to us.
fn why_no_worker(client: &mut Client) -> Result<Option<(String, String)>, Error> {
    let knows = client.query_typed_one(
        "select coalesce(pg_catalog.has_function_privilege(
                    pg_catalog.to_regprocedure('pgq.queue_health()')::pg_catalog.oid,
                    'execute'), false)",
        &[],
    )?;
    if !knows.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let row = client.query_typed_opt(
        "select finding, remedy
           from pgq.queue_health()
          where code operator(pg_catalog.=) 'worker_not_running'
          limit 1",
        &[],
    )?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}
