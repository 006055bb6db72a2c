//! What of a repository is not needed any more: which backups ([`retention`]), and which WAL and
//! packs then ([`unneeded`]).

pub(crate) mod locked;
pub(crate) mod retention;
pub(crate) mod settings;
pub(crate) mod tiers;
pub(crate) mod unneeded;
