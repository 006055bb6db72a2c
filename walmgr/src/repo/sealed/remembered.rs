//! The keys of repositories, got once in a process: a command or a passphrase takes its time, and a
//! repository's key stays the same whatever becomes of those that wrap it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::master::Master;
use super::settings::Encryption;
use crate::error::Result;
use crate::flight::Flight;

/// The key of one place, opened by one setting.
struct Known {
    place: String,
    settings: Encryption,
    master: OnceLock<Master>,
    getting: Flight<Master>,
}

/// The key of a place. Who wants it while it is got waits for that; nobody waits for the key of
/// another place.
///
/// # Errors
/// Those of `get`, which is called again the next time.
pub(super) fn master(
    place: &str,
    settings: &Encryption,
    get: impl FnOnce() -> Result<Master>,
) -> Result<Master> {
    let known = known(place, settings);
    if let Some(master) = known.master.get() {
        return Ok(master.clone());
    }
    known.getting.join(|| match known.master.get() {
        // Somebody had it just now.
        Some(master) => Ok(master.clone()),
        None => get().map(|master| known.master.get_or_init(|| master).clone()),
    })
}

fn known(place: &str, settings: &Encryption) -> Arc<Known> {
    static KNOWN: Mutex<Vec<Arc<Known>>> = Mutex::new(Vec::new());
    let mut all = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let found = all.iter().find(|known| known.place == place && known.settings == *settings);
    if let Some(known) = found {
        return Arc::clone(known);
    }
    let known = Arc::new(Known {
        place: place.to_owned(),
        settings: settings.clone(),
        master: OnceLock::new(),
        getting: Flight::new(),
    });
    all.push(Arc::clone(&known));
    known
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::master;
    use crate::error::{Error, Result};
    use crate::repo::sealed::master::Master;
    use crate::repo::sealed::settings::Encryption;

    fn settings(file: &str) -> Encryption {
        toml::from_str(&format!("key_file = '{file}'")).unwrap()
    }

    fn never() -> Result<Master> {
        Err(Error::Failed("it was got again".into()))
    }

    #[test]
    fn a_key_is_got_once_for_its_place_and_setting() {
        let get = || Master::random();
        let one = master("https://one bucket", &settings("/k"), get).unwrap();
        assert!(master("https://one bucket", &settings("/k"), never).unwrap().id() == one.id());
        let other = master("https://other bucket", &settings("/k"), get).unwrap();
        assert!(other.id() != one.id());
        assert!(master("https://one bucket", &settings("/other"), never).is_err());
    }

    #[test]
    fn a_failure_is_not_kept() {
        assert!(master("failing", &settings("/k"), never).is_err());
        master("failing", &settings("/k"), Master::random).unwrap();
        master("failing", &settings("/k"), never).unwrap();
    }

    #[test]
    fn a_key_that_takes_its_time_holds_up_no_other() {
        let (go_on, may_go_on) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let slow = std::thread::spawn(move || {
            master("slow", &settings("/k"), || {
                begin.send(()).unwrap();
                may_go_on.recv().unwrap();
                Master::random()
            })
        });
        begun.recv().unwrap();
        // It would wait for ever.
        master("quick", &settings("/k"), Master::random).unwrap();
        go_on.send(()).unwrap();
        slow.join().unwrap().unwrap();
    }
}
