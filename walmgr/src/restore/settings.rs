//! Telling the server how to recover: a block in `postgresql.auto.conf`, and a signal file.

use std::path::Path;

use pgq_connect::quote;

use crate::error::{Error, Result};
use crate::plain_file;
use crate::restore::place::{remove_if_there, write_synced};
use crate::restore::target::Target;

/// The file that `ALTER SYSTEM` writes.
pub(crate) const AUTO: &str = "postgresql.auto.conf";
/// Nobody has so many settings.
const LIMIT: u64 = 64 << 20;

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
    /// Do not read ahead of replay (PostgreSQL 15 and newer): WAL is missing after the target, and
    /// asking for it would stop the server.
    pub(crate) no_prefetch: bool,
    /// Go on where WAL changes a page that is not there: databases were left out, and their pages
    /// do not come whole in the WAL.
    pub(crate) ignore_invalid_pages: bool,
    /// Become a standby: connection to the primary and slot, as far as there are any.
    pub(crate) standby: Option<(Option<String>, Option<String>)>,
}

impl Recovery {
    /// Write settings and signal file into a data directory.
    pub(crate) fn write(&self, data: &Path) -> Result<()> {
        let (settings, signal, other) = self.files(data)?;
        write_synced(&data.join(AUTO), &settings)?;
        remove_if_there(&data.join(other))?;
        write_synced(&data.join(signal), b"")
    }

    /// The text of the settings' file, the signal file that belongs in the data directory, and the
    /// one that does not.
    pub(crate) fn files(&self, data: &Path) -> Result<(Vec<u8>, &'static str, &'static str)> {
        let path = data.join(AUTO);
        // Its values need not be UTF-8.
        let before = match plain_file::read(&path, LIMIT) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::local(format!("read {}", path.display()))(error)),
        };
        let mut text = without_ours(&before);
        text.extend(self.block().into_bytes());
        Ok(match self.standby {
            Some(_) => (text, "standby.signal", "recovery.signal"),
            None => (text, "recovery.signal", "standby.signal"),
        })
    }

    fn block(&self) -> String {
        let mut lines = vec![BEGIN.to_owned()];
        let mut set = |name: &str, value: &str| {
            lines.push(format!("{name} = {}", quote::setting(value)));
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
        if self.no_prefetch {
            set("recovery_prefetch", "off");
        }
        if self.ignore_invalid_pages {
            set("ignore_invalid_pages", "on");
        }
        if self.no_archive {
            set("archive_mode", "off");
        }
        lines.push(END.to_owned());
        lines.join("\n") + "\n"
    }
}

/// The file without an earlier block of ours and without settings that the block decides.
fn without_ours(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut inside = false;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
        inside |= bare == BEGIN.as_bytes();
        let name =
            bare.split(|byte| matches!(byte, b'=' | b' ' | b'\t')).next().unwrap_or_default();
        if !inside && !OURS.iter().any(|ours| ours.as_bytes() == name) {
            out.extend(bare);
            out.push(b'\n');
        }
        inside &= bare != END.as_bytes();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Recovery, without_ours};
    use crate::restore::target::Target;

    #[test]
    fn an_earlier_block_and_rival_settings_are_replaced() {
        let recovery = Recovery {
            target: Target::Name("it's".to_owned()),
            exclusive: false,
            timeline: "latest".to_owned(),
            action: "promote".to_owned(),
            restore_command: "walmgr archive-get %f %p".to_owned(),
            no_archive: true,
            no_prefetch: false,
            ignore_invalid_pages: false,
            standby: None,
        };
        let block = recovery.block();
        assert!(block.contains("recovery_target_name = 'it''s'\n"), "{block}");
        assert!(block.contains("recovery_target_time = ''\n"), "{block}");
        let text = format!("work_mem = '1MB'\nrestore_command = 'false'\n{block}");
        assert_eq!(without_ours(text.as_bytes()), b"work_mem = '1MB'\n");
        let odd = b"search_path = '\xff'\nrestore_command = '\xfe'\nx = '1'";
        assert_eq!(without_ours(odd), b"search_path = '\xff'\nx = '1'\n");
    }
}
