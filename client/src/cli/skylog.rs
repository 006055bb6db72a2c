//! `skylog.ini`: where SkyTools' services log to when `use_skylog` is set. It is a file for
//! Python's logging.config; what is taken from it are the handlers of the root logger. Levels and
//! formats are ours.

use std::path::PathBuf;

use pgq_client::{Error, read_ini};
use pgq_ini::{Ini, Section, expand_home};
use pgq_syslog::{Address, Facility};

use super::logging::{SyslogTarget, Targets, UdpTarget};

/// Where it is looked for unless `skylog_locations` says otherwise.
const LOCATIONS: [&str; 3] = ["skylog.ini", "~/.skylog.ini", "/etc/skylog.ini"];

/// Targets of a service that sets `use_skylog`: those of the first file found, else the machine's
/// syslog.
///
/// # Errors
/// [`Error::Config`] for a handler that cannot be had here, or arguments that do not fit it.
pub(super) fn targets(locations: &[String], job: &str, service: &str) -> Result<Targets, Error> {
    let locations: Vec<&str> = match locations {
        [] => LOCATIONS.to_vec(),
        own => own.iter().map(String::as_str).collect(),
    };
    // A home that nobody has holds no file.
    let mut paths = locations.into_iter().filter_map(|path| expand_home(path).ok());
    match paths.find(|path| path.is_file()) {
        Some(path) => read(&read_ini(&path)?, job, service),
        None => {
            let syslog = SyslogTarget {
                ident: job.to_owned(),
                facility: Facility::Daemon,
                address: Address::Here,
            };
            Ok(Targets { syslog: vec![syslog], ..Targets::default() })
        }
    }
}

fn read(ini: &Ini, job: &str, service: &str) -> Result<Targets, Error> {
    let mut targets = Targets::default();
    for name in ini.section("logger_root")?.list("handlers")? {
        let mut section = ini.section(&format!("handler_{name}"))?;
        add(&mut targets, &mut section, job, service).map_err(|what| {
            Error::Config(format!("{}: [{}]: {what}", ini.path().display(), section.name()))
        })?;
    }
    Ok(targets)
}

fn add(
    targets: &mut Targets,
    section: &mut Section<'_>,
    job: &str,
    service: &str,
) -> Result<(), String> {
    let class = section.literal("class").ok_or("no class")?;
    let text = section.literal("args").unwrap_or_else(|| "()".to_owned());
    let text = text.replace("%(job_name)s", job).replace("%(service_name)s", service);
    let arguments = parse(&text)?;
    let bad = || format!("class {class} does not take args {text}");
    match class.rsplit('.').next().unwrap_or(&class) {
        "StreamHandler" => targets.stderr = true,
        "FileHandler"
        | "RotatingFileHandler"
        | "EasyRotatingFileHandler"
        | "WatchedFileHandler" => {
            let Some(Argument::Text(path)) = arguments.first() else { return Err(bad()) };
            targets.files.push(expand_home(path).map_err(|error| error.to_string())?);
        }
        "SysLogHandler" | "SysLogHostnameHandler" => {
            let address = match arguments.first() {
                None => Address::Here,
                Some(Argument::Text(path)) => Address::Socket(PathBuf::from(path)),
                Some(Argument::Tuple(parts)) => Address::Host(host(parts).ok_or_else(bad)?),
                Some(_) => return Err(bad()),
            };
            let facility = match arguments.get(1) {
                None => "user".to_owned(),
                Some(Argument::Name(name)) => {
                    let name = name.rsplit('.').next().unwrap_or(name);
                    name.trim_start_matches("LOG_").to_lowercase()
                }
                Some(_) => return Err(bad()),
            };
            let facility: Result<Facility, _> = facility.parse();
            let facility = facility.map_err(|error| error.to_string())?;
            targets.syslog.push(SyslogTarget { ident: job.to_owned(), facility, address });
        }
        "UdpLogServerHandler" => targets.udp.push(UdpTarget {
            server: host(&arguments).ok_or_else(bad)?,
            job: job.to_owned(),
            service: service.to_owned(),
        }),
        "NullHandler" => {}
        _ => {
            return Err(format!(
                "class {class} cannot be had: there are StreamHandler, FileHandler, EasyRotatingFileHandler, \
                 SysLogHandler, SysLogHostnameHandler and UdpLogServerHandler"
            ));
        }
    }
    Ok(())
}

fn host(parts: &[Argument]) -> Option<String> {
    match parts {
        [Argument::Text(host), Argument::Name(port)] => Some(format!("{host}:{port}")),
        _ => None,
    }
}

/// An argument in Python's notation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Argument {
    /// A string.
    Text(String),
    /// A number or a dotted name.
    Name(String),
    /// Several in parentheses.
    Tuple(Vec<Self>),
}

fn parse(text: &str) -> Result<Vec<Argument>, String> {
    let mut chars = text.trim().chars().peekable();
    let parsed = parse_argument(&mut chars);
    match parsed {
        Some(Argument::Tuple(arguments)) if chars.all(char::is_whitespace) => Ok(arguments),
        _ => Err(format!("args {text} are no tuple")),
    }
}

fn parse_argument(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Argument> {
    while chars.next_if(|char| char.is_whitespace()).is_some() {}
    match chars.next()? {
        '(' => {
            let mut parts = Vec::new();
            loop {
                while chars.next_if(|char| char.is_whitespace() || *char == ',').is_some() {}
                if chars.next_if_eq(&')').is_some() {
                    return Some(Argument::Tuple(parts));
                }
                parts.push(parse_argument(chars)?);
            }
        }
        quote @ ('\'' | '"') => {
            let mut value = String::new();
            loop {
                match chars.next()? {
                    '\\' => value.push(chars.next()?),
                    end if end == quote => return Some(Argument::Text(value)),
                    other => value.push(other),
                }
            }
        }
        first if first.is_alphanumeric() || first == '_' => {
            let mut name = String::from(first);
            let belongs = |char: &char| char.is_alphanumeric() || matches!(char, '_' | '.');
            while let Some(char) = chars.next_if(belongs) {
                name.push(char);
            }
            Some(Argument::Name(name))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use pgq_ini::Ini;

    use pgq_syslog::Address;

    use super::read;

    const FILE: &str = "[loggers]\nkeys = root\n[handlers]\nkeys = stderr, file, sys, net, udp, db\n\
        [formatters]\nkeys = short\n[formatter_short]\nformat = %(asctime)s %(message)s\n\
        [logger_root]\nlevel = INFO\nhandlers = stderr, file, sys, net, udp\n\
        [handler_stderr]\nclass = StreamHandler\nargs = ()\nlevel = INFO\nformatter = short\n\
        [handler_file]\nclass = skylog.EasyRotatingFileHandler\n\
        args = ('/var/log/%(service_name)s/%(job_name)s.log', 1024, 3)\n\
        [handler_sys]\nclass = skylog.SysLogHandler\n\
        args = (\"/dev/log\", handlers.SysLogHandler.LOG_LOCAL3)\n\
        [handler_net]\nclass = skylog.SysLogHostnameHandler\nargs = (('loghost', 514),)\n\
        [handler_udp]\nclass = skylog.UdpLogServerHandler\nargs = ('127.0.0.1', 6666)\n\
        [handler_db]\nclass = skylog.LogDBHandler\nargs = ('host=x',)\n";

    fn parse(text: &str) -> Result<crate::cli::logging::Targets, pgq_client::Error> {
        read(&Ini::parse(Path::new("skylog.ini"), text)?, "job", "queue_mover3")
    }

    #[test]
    fn handlers_of_the_root_logger_become_targets() {
        let targets = parse(FILE).unwrap();
        assert!(targets.stderr);
        assert_eq!(targets.files, [PathBuf::from("/var/log/queue_mover3/job.log")]);
        assert_eq!(Ok(targets.syslog[0].facility), "local3".parse());
        assert_eq!(targets.syslog[0].address, Address::Socket("/dev/log".into()));
        assert_eq!(Ok(targets.syslog[1].facility), "user".parse());
        assert_eq!(targets.syslog[1].address, Address::Host("loghost:514".to_owned()));
        assert_eq!(targets.udp[0].server, "127.0.0.1:6666");
    }

    #[test]
    fn what_cannot_be_had_is_named() {
        let error = parse(&FILE.replace("net, udp\n", "db\n")).unwrap_err().to_string();
        assert!(error.contains("[handler_db]: class skylog.LogDBHandler cannot be had"), "{error}");
        let error = parse(&FILE.replace("6666)", "6666")).unwrap_err().to_string();
        assert!(error.contains("[handler_udp]: args"), "{error}");
        assert!(parse("[loggers]\nkeys = root\n").is_err());
    }
}
