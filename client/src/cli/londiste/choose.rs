//! Which tables or sequences a command is about.

use std::collections::BTreeSet;

use pgq_client::{Error, Pattern};
use pgq_replica::name;

use super::site::Site;

/// Tables or sequences by their names.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Names {
    /// Names, "schema.name" or of schema public; with * and ? for several
    names: Vec<String>,
    /// All that there are
    #[arg(long)]
    all: bool,
    /// Take names that are not in the list, too
    #[arg(long)]
    force: bool,
}

/// What is chosen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    Sequence,
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Sequence => "sequence",
        }
    }

    fn attached(self) -> &'static str {
        match self {
            Self::Table => "select table_name from londiste.get_table_list($1) where local",
            Self::Sequence => "select seq_name from londiste.get_seq_list($1) where local",
        }
    }

    fn missing(self) -> &'static str {
        match self {
            Self::Table => {
                "select obj_name from londiste.local_show_missing($1)
                  where obj_kind operator(pg_catalog.=) 'r'"
            }
            Self::Sequence => {
                "select obj_name from londiste.local_show_missing($1)
                  where obj_kind operator(pg_catalog.=) 'S'"
            }
        }
    }
}

fn list(site: &mut Site, sql: &str, queue: &str) -> anyhow::Result<Vec<String>> {
    let rows = site.rows(sql, &[queue.into()])?;
    rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
}

impl Names {
    /// Those that are attached here.
    pub(super) fn attached(
        &self,
        site: &mut Site,
        queue: &str,
        kind: Kind,
    ) -> anyhow::Result<Vec<String>> {
        let attached = list(site, kind.attached(), queue)?;
        let missing = list(site, kind.missing(), queue)?;
        self.choose(kind, &attached, &missing, "is not attached to the node")
    }

    /// Those that are not attached here yet.
    pub(super) fn missing(
        &self,
        site: &mut Site,
        queue: &str,
        kind: Kind,
    ) -> anyhow::Result<Vec<String>> {
        let missing = list(site, kind.missing(), queue)?;
        let attached = list(site, kind.attached(), queue)?;
        self.choose(kind, &missing, &attached, "is not there to be added")
    }

    fn choose(
        &self,
        kind: Kind,
        from: &[String],
        done: &[String],
        absent: &str,
    ) -> anyhow::Result<Vec<String>> {
        let noun = kind.noun();
        if self.names.is_empty() {
            return match self.all {
                true => Ok(from.to_vec()),
                false => {
                    Err(Error::Config(format!("no {noun} is named; hint: --all means all")).into())
                }
            };
        }
        let (mut seen, mut chosen) = (BTreeSet::new(), Vec::new());
        for given in &self.names {
            let full = name::full(given);
            let pattern = Pattern::new(&full);
            if !pattern.is_name() {
                chosen.extend(from.iter().filter(|name| pattern.matches(name)).cloned());
            } else if from.contains(&full) {
                chosen.push(full);
            } else if done.contains(&full) {
                log::warn!("{noun} \"{full}\": nothing to do");
            } else if self.force {
                log::warn!("{noun} \"{full}\" {absent}; --force takes it all the same");
                chosen.push(full);
            } else {
                return Err(Error::Absent(format!(
                    "{noun} \"{full}\" {absent}; hint: \"{}\" and \"missing\" list what there is",
                    if kind == Kind::Table { "tables" } else { "seqs" }
                ))
                .into());
            }
        }
        chosen.retain(|name| seen.insert(name.clone()));
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Names};

    fn chosen(names: &[&str], all: bool, force: bool) -> Result<Vec<String>, String> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let lists = [["public.a", "public.ab", "s.a"], ["public.c", "s.c", "s.d"]]
            .map(|list| list.map(str::to_owned));
        let names = Names { names, all, force };
        names
            .choose(Kind::Table, &lists[0], &lists[1], "is not there")
            .map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_patterns_choose_each_table_once() {
        assert_eq!(chosen(&["a*", "a"], false, false).unwrap(), ["public.a", "public.ab"]);
        assert_eq!(chosen(&["*.a"], true, false).unwrap(), ["public.a", "s.a"]);
        assert_eq!(chosen(&["c", "s.a"], false, false).unwrap(), ["s.a"]);
        assert_eq!(chosen(&["x"], false, true).unwrap(), ["public.x"]);
        assert_eq!(chosen(&[], true, false).unwrap().len(), 3);
        assert!(chosen(&["x"], false, false).unwrap_err().starts_with("table \"public.x\" is not"));
        assert!(chosen(&[], false, true).unwrap_err().contains("--all"));
    }
}
