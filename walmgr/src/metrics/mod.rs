//! The numbers of an archive, in Prometheus' text format.
//!
//! What cannot be reached is a number as well (`walmgr_up`, `walmgr_server_up`): one repository
//! that is away leaves the numbers of the others, and of the server, as they are.

mod archive;
mod exposition;
mod file;
mod names;
mod server;

use jiff::Timestamp;

use crate::context::Context;
use crate::log;
use exposition::Samples;

pub(crate) use file::write;

/// All numbers, as text.
pub(crate) fn text(context: &Context) -> String {
    let mut samples = Samples::default();
    let stanza = context.config.stanza.as_str();
    let now = Timestamp::now();
    samples.set(&names::BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    samples.set(&names::INFO_TIMESTAMP, &[("stanza", stanza)], seconds(now));
    let server = server::gather(context, &mut samples, now);
    for one in context.each() {
        let name = one.repository();
        let labels = [("stanza", stanza), ("repository", name)];
        let mut own = Samples::default();
        let gathered = one
            .stanza()
            .and_then(|opened| archive::gather(&opened, server, &labels, &mut own, now));
        samples.set(&names::UP, &labels, u8::from(gathered.is_ok()));
        match gathered {
            Ok(()) => samples.extend(own),
            // Half of the numbers would look like all of them: there are none.
            Err(error) => log::warning(format_args!("repository \"{name}\": {error}")),
        }
    }
    samples.text()
}

/// A time as Prometheus has it.
fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}
