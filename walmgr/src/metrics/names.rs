//! Every metric there is. `docs/walmgr.md` explains them, and the rules in `packaging/monitoring`
//! use them; tests hold both against this list.

use super::exposition::{Kind, Metric};

macro_rules! metrics {
    ($($id:ident $kind:ident $name:literal $help:literal)*) => {
        $(pub(super) static $id: Metric = Metric { name: $name, kind: Kind::$kind, help: $help };)*
        #[cfg(test)]
        pub(super) static ALL: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    UP Gauge "walmgr_up" "1: the repository was reached and read, 0: it was not."
    BUILD_INFO Gauge "walmgr_build_info" "1, with the version of walmgr."
    INFO_TIMESTAMP Gauge "walmgr_info_timestamp_seconds" "When these numbers were made."

    SERVER_UP Gauge "walmgr_server_up" "1: the server answered, 0: it did not."
    SERVER_IN_RECOVERY Gauge "walmgr_server_in_recovery" "1: the server is a standby."
    READY_FILES Gauge "walmgr_archiver_ready_files"
        "WAL files that wait for the server's archiver."
    ARCHIVED Counter "walmgr_archiver_archived_total"
        "WAL files that the server's archiver has seen stored."
    FAILED Counter "walmgr_archiver_failed_total" "Failed attempts of the server's archiver."
    LAST_ARCHIVED Gauge "walmgr_archiver_last_archived_timestamp_seconds"
        "When the server's archiver last saw a file stored."
    LAST_ARCHIVED_AGE Gauge "walmgr_archiver_last_archived_age_seconds"
        "How long ago that was."
    LAST_FAILED Gauge "walmgr_archiver_last_failed_timestamp_seconds"
        "When the server's archiver last failed."

    BACKLOG_SEGMENTS Gauge "walmgr_backlog_segments"
        "Whole segments of the server that are not in the repository."
    BACKLOG Gauge "walmgr_backlog_bytes"
        "WAL that the server has written and the repository does not have."
    LAST_TIMELINE Gauge "walmgr_wal_last_timeline" "The newest timeline in the repository."
    LAST_SEGMENT Gauge "walmgr_wal_last_segment_number"
        "Number of the last segment of that timeline: its position divided by the segments' size."
    LAST_LSN Gauge "walmgr_wal_last_lsn_bytes"
        "Position in the WAL, in bytes, where that segment ends."
    WAL_SEGMENTS Gauge "walmgr_wal_segments" "WAL segments in the repository."
    WAL_BYTES Gauge "walmgr_wal_bytes" "Their size, before compression."
    WAL_MISSING Gauge "walmgr_wal_segments_missing"
        "Segments missing between others of their timeline."
    OLDEST Gauge "walmgr_restorable_oldest_timestamp_seconds"
        "The oldest time on the way to the newest timeline that can be restored."
    NEWEST Gauge "walmgr_restorable_newest_timestamp_seconds"
        "The newest such time: of the last transaction in the WAL that recovery reaches."
    PRESENT Gauge "walmgr_restorable_to_present"
        "1: recovery from the newest backup reaches all later WAL, 0: some of it is missing."
    BACKUPS Gauge "walmgr_backups" "Complete backups."
    BACKUPS_ABANDONED Gauge "walmgr_backups_abandoned"
        "Backups that do not lead to the newest timeline."
    BACKUPS_PINNED Gauge "walmgr_backups_pinned" "Backups that are pinned."
    BACKUP_BYTES Gauge "walmgr_backups_stored_bytes"
        "Bytes that the backups which are there have added to the repository."
    LAST_BACKUP Gauge "walmgr_last_backup_timestamp_seconds"
        "End of the newest backup, and of the newest that stored everything itself (kind)."
    LAST_BACKUP_AGE Gauge "walmgr_last_backup_age_seconds" "How long ago that was."
    LAST_BACKUP_DURATION Gauge "walmgr_last_backup_duration_seconds" "How long it took."
    LAST_BACKUP_SIZE Gauge "walmgr_last_backup_size_bytes" "Size of its files."
    LAST_BACKUP_ADDED Gauge "walmgr_last_backup_stored_bytes" "What it added to the repository."
    LAST_BACKUP_DAMAGED Gauge "walmgr_last_backup_damaged_pages"
        "Pages with a wrong checksum in it."
}

#[cfg(test)]
mod tests {
    use super::{ALL, Kind};

    /// The names that a text speaks of.
    fn named(text: &str) -> Vec<&str> {
        let is_part = |ch: char| ch.is_ascii_lowercase() || ch.is_ascii_digit() || ch == '_';
        text.split(|ch| !is_part(ch)).filter(|word| word.starts_with("walmgr_")).collect()
    }

    #[test]
    fn names_follow_the_conventions() {
        for (at, metric) in ALL.iter().enumerate() {
            let (name, help) = (metric.name, metric.help);
            assert!(name.starts_with("walmgr_") && named(name) == [name], "{name}");
            assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert!(help.ends_with('.') && help.starts_with(char::is_alphanumeric), "{name}");
            assert!(!ALL[..at].iter().any(|other| other.name == name), "{name} twice");
        }
    }

    #[test]
    fn the_manual_explains_every_metric_and_rules_use_no_other() {
        let manual = include_str!("../../../docs/walmgr.md");
        let documented = named(manual);
        for metric in ALL {
            assert!(documented.contains(&metric.name), "docs/walmgr.md lacks {}", metric.name);
        }
        let rules = include_str!("../../../packaging/monitoring/walmgr-alerts.yml");
        let used = named(rules);
        assert!(used.len() > 10, "{used:?}");
        for name in used {
            assert!(ALL.iter().any(|metric| metric.name == name), "no metric is called {name}");
        }
    }
}
