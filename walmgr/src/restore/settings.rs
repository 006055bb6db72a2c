//! Telling the server how to recover: a block in `postgresql.auto.conf`, and a signal file.

use std::path::Path;

use crate::error::{Error, Result};
use crate::restore::place::{remove_if_there, write_synced};
use crate::restore::select::Target;

const BEGIN: &str = "# walmgr: recovery settings begin";
const END: &str = "# walmgr: recovery settings end";

/// Settings that this block decides alone.
const OURS: [&str; 13] = [
    "restore_command",
    "archive_cleanup_command",
    "recovery_target",
    "recovery_target_time",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_xid",
    "recovery_target_inclusive",
    "recovery_target_timeline",
    "recovery_target_action",
    "primary_conninfo",
    "primary_slot_name",
    "promote_trigger_file",
];

/// How the server shall recover.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    /// Where to end; ignored by a standby, which never ends by itself.
    pub(crate) target: Target,
    /// Stop just before the target instead of just after.
    pub(crate) exclusive: bool,
    /// `latest`, `current` or a number.
    pub(crate) timeline: String,
    /// `promote`, `pause` or `shutdown`.
    pub(crate) action: String,
    /// The server's `restore_command`.
    pub(crate) restore_command: String,
    /// Let the restored server archive nothing.
    pub(crate) no_archive: bool,
    /// Become a standby: connection to the primary and slot, as far as there are any.
    pub(crate) standby: Option<(Option<String>, Option<String>)>,
}

impl Recovery {
    /// Write settings and signal file into a data directory.
    pub(crate) fn write(&self, data: &Path) -> Result<()> {
        let path = data.join("postgresql.auto.conf");
        let before = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::local(format!("read {}", path.display()))(error)),
        };
        write_synced(&path, (without_ours(&before) + &self.block()).as_bytes())?;
        let (signal, other) = match self.standby {
            Some(_) => ("standby.signal", "recovery.signal"),
            None => ("recovery.signal", "standby.signal"),
        };
        remove_if_there(&data.join(other))?;
        write_synced(&data.join(signal), b"")
    }

    fn block(&self) -> String {
        let mut lines = vec![BEGIN.to_owned()];
        let mut set = |name: &str, value: &str| {
            lines.push(format!("{name} = '{}'", value.replace('\\', "\\\\").replace('\'', "''")));
        };
        set("restore_command", &self.restore_command);
        set("recovery_target_timeline", &self.timeline);
        // An empty value is "none"; this also overrides what postgresql.conf may have.
        let targets = [
            "recovery_target",
            "recovery_target_time",
            "recovery_target_lsn",
            "recovery_target_name",
            "recovery_target_xid",
        ];
        let chosen = match (&self.standby, &self.target) {
            (Some(_), _) | (None, Target::End) => None,
            (None, Target::Immediate) => Some(("recovery_target", "immediate".to_owned())),
            (None, Target::Time(time)) => Some((
                "recovery_target_time",
                time.strftime("%Y-%m-%d %H:%M:%S%.6f+00").to_string(),
            )),
            (None, Target::Lsn(lsn)) => Some(("recovery_target_lsn", lsn.to_string())),
            (None, Target::Name(name)) => Some(("recovery_target_name", name.clone())),
            (None, Target::Xid(xid)) => Some(("recovery_target_xid", xid.to_string())),
        };
        for name in
            targets.iter().filter(|name| chosen.as_ref().is_none_or(|(ours, _)| ours != *name))
        {
            set(name, "");
        }
        if let Some((name, value)) = &chosen {
            set(name, value);
            set("recovery_target_inclusive", if self.exclusive { "off" } else { "on" });
            set("recovery_target_action", &self.action);
        }
        if let Some((conninfo, slot)) = &self.standby {
            set("primary_conninfo", conninfo.as_deref().unwrap_or_default());
            set("primary_slot_name", slot.as_deref().unwrap_or_default());
        }
        if self.no_archive {
            set("archive_mode", "off");
        }
        lines.push(END.to_owned());
        lines.join("\n") + "\n"
    }
}

/// The file without an earlier block of ours and without settings that the block decides.
fn without_ours(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for line in text.lines() {
        if line == BEGIN {
            inside = true;
        }
        let name = line.split(['=', ' ', '\t']).next().unwrap_or_default();
        if !inside && !OURS.contains(&name) {
            out.push_str(line);
            out.push('\n');
        }
        if line == END {
            inside = false;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Recovery, without_ours};
    use crate::restore::select::Target;

    #[test]
    fn an_earlier_block_and_rival_settings_are_replaced() {
        let recovery = Recovery {
            target: Target::Name("it's".to_owned()),
            exclusive: false,
            timeline: "latest".to_owned(),
            action: "promote".to_owned(),
            restore_command: "walmgr archive-get %f %p".to_owned(),
            no_archive: true,
            standby: None,
        };
        let block = recovery.block();
        assert!(block.contains("recovery_target_name = 'it''s'\n"), "{block}");
        assert!(block.contains("recovery_target_time = ''\n"), "{block}");
        let text = format!("work_mem = '1MB'\nrestore_command = 'false'\n{block}");
        assert_eq!(without_ours(&text), "work_mem = '1MB'\n");
    }
}
