//! INI files as SkyTools reads them, for services, `pgqd.ini` and walmgr3's files.
//!
//! SkyTools 3.2 read them with Python 2 (`SafeConfigParser`), today's python-skytools does with
//! Python 3 (`configparser`); both through `skytools.config.Config`. What the two read alike is
//! read so here. Where they differ:
//!
//! | written | Python 2 | Python 3 | here |
//! |---|---|---|---|
//! | a key twice in a section, a section twice | the last one counts | error | error |
//! | a line deeper than its key's | continues the value | the same | continues the value |
//! | a line as deep as its key, which is indented | error, or continues a value | a key | a key |
//! | a blank line within a value | left out | stays | left out |
//! | an indented `#` or `;` | continues the value | comment | comment |
//! | `key = value ; text` | comment | part of the value | error where the value is used |
//! | `rem text` | comment | error | error |
//! | `key = ""` | empty | two quotes | empty |
//! | `[a]b]` | section `a` | section `a]b` | error |
//! | a byte order mark | error | error | left out |
//! | not UTF-8 | bytes | error | error |
//!
//! In everything else the Pythons agree, and so does this crate:
//!
//! - `[DEFAULT]` stands behind all sections, and may be there more than once. What follows the
//!   bracket of a section's name is no part of it.
//! - `=` and `:` part key and value, whichever comes first. Keys are lower-cased, names of sections
//!   are not. Space around keys and values is left out, so that lines may end in CRLF. A value that
//!   begins with `;` is a value.
//! - `%(name)s` is replaced when the value is used, in at most ten steps. `%%` is a percent sign, a
//!   lone `%` an error. With `config_format = 2` (Python 3 only) `${name}`, `${section:name}` and
//!   `$$` are used instead.
//! - `job_name` (the file's name), `service_name` (the section's), `host_name`, `config_dir` and
//!   `config_file` may be used as if they were set.
//! - Booleans are 1/0, yes/no, true/false, on/off. `~` and `~user` are homes.
//!
//! Of its own this crate has:
//!
//! | written | Python | here |
//! |---|---|---|
//! | a key that nobody takes | ignored | an error, at [`Section::end`] |
//! | an empty value | an empty text | not set |
//! | a list | by commas | by commas and lines, without empty items |
//! | `~name` of nobody | stays | error |
//! | `%include FILE` | error | the file's lines, as in pgqd.ini |
#![forbid(unsafe_code)]

mod error;
mod file;
mod format;
mod home;
mod parse;
mod section;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use file::{Ini, Opened};
pub use home::{expand_home, home};
pub use parse::first_section;
pub use section::Section;
