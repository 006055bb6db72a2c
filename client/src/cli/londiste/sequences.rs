//! Sequences are attached to the node.

use std::collections::BTreeMap;

use pgq_client::Error;
use pgq_replica::name;

use super::choose::{Kind, Names};
use super::set::Set;
use super::site::Site;
use super::structure::{exists, make_schema, sequence};
use crate::cli::{Exit, output};

/// Sequences for `add-seq`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct AddSequence {
    #[command(flatten)]
    names: Names,
    /// Make the sequence where it is missing
    #[arg(long)]
    create: bool,
    /// The same
    #[arg(long)]
    create_full: bool,
    /// Leave out sequences that are not there
    #[arg(long)]
    skip_non_existing: bool,
}

/// The sequences of the queue, as a node knows them, and their last values.
fn sequences_of(site: &mut Site, queue: &str) -> anyhow::Result<BTreeMap<String, String>> {
    const SEQUENCES: &str =
        "select seq_name, last_value::pg_catalog.text from londiste.get_seq_list($1)";
    let rows = site.rows(SEQUENCES, &[queue.into()])?;
    rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned()))).collect()
}

/// `add-seq`.
pub(super) fn add(set: &mut Set, options: &AddSequence) -> anyhow::Result<Exit> {
    let queue = set.queue.clone();
    let provider = (!set.own.is_root()).then(|| set.provider()).transpose()?;
    if let Some(provider) = &provider {
        learn(set, provider)?;
    }
    let chosen = options.names.missing(&mut set.here, &queue, Kind::Sequence)?;
    for sequence in chosen {
        if !exists(&mut set.here, &sequence, "S")? {
            match &provider {
                Some(provider) if options.create || options.create_full => {
                    make(set, provider, &sequence)?;
                }
                _ if options.skip_non_existing => {
                    log::warn!("sequence \"{sequence}\" is not there, and is left out");
                    continue;
                }
                _ => {
                    return Err(Error::Absent(format!(
                        "sequence \"{sequence}\" does not exist here; hint: --create makes it as the provider has it"
                    ))
                    .into());
                }
            }
        }
        let values = [queue.as_str().into(), sequence.as_str().into()];
        let answer = set.here.call("londiste.local_add_seq($1, $2)", &values)?;
        output::line(&answer.note)?;
    }
    Ok(Exit::Ok)
}

fn make(set: &mut Set, provider: &str, sequence_name: &str) -> anyhow::Result<()> {
    let Some(statement) = sequence(set.site(provider)?, sequence_name)? else {
        let what = format!("sequence \"{sequence_name}\" is not on node \"{provider}\" either");
        return Err(Error::Absent(what).into());
    };
    log::info!("sequence \"{sequence_name}\" is made");
    set.here.run("begin; set local search_path = pg_catalog")?;
    make_schema(&mut set.here, name::split(sequence_name).0)?;
    set.here.run(&statement)?;
    set.here.run("commit")
}

/// Have the node know the sequences that its provider knows, and no others.
fn learn(set: &mut Set, provider: &str) -> anyhow::Result<()> {
    let queue = set.queue.clone();
    let there = sequences_of(set.site(provider)?, &queue)?;
    let here = sequences_of(&mut set.here, &queue)?;
    let register = set.settings.node.register_sequences.clone();
    for (sequence, value) in &there {
        if !here.contains_key(sequence) && register.takes(sequence) {
            log::info!("sequence \"{sequence}\" is new on the queue");
            let values = [queue.as_str().into(), sequence.as_str().into(), value.as_str().into()];
            set.here.call("londiste.global_update_seq($1, $2, $3::pg_catalog.int8)", &values)?;
        }
    }
    for sequence in here.keys().filter(|sequence| !there.contains_key(*sequence)) {
        log::warn!("sequence \"{sequence}\" is no longer on the queue, and is removed");
        let values = [queue.as_str().into(), sequence.as_str().into()];
        set.here.call("londiste.global_remove_seq($1, $2)", &values)?;
    }
    Ok(())
}
