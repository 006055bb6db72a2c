//! Services whose effects are their handler's affair.

use std::path::PathBuf;
use std::time::Duration;

use pgq_client::{Consumer, ConsumerBuilder, Error, Stop};
use pgq_ini::Section;

use super::intake::{Intake, interval};
use super::order::Order;

/// A consumer of one database.
#[derive(Debug)]
pub(super) struct Plain {
    intake: Intake,
    pub(super) database: String,
    dead: Option<String>,
    /// Its name in a group, and when it takes over others' batches.
    member: Option<(String, Option<Duration>)>,
    position_file: Option<PathBuf>,
}

impl Plain {
    /// A consumer of the database that this key names.
    pub(super) fn read(section: &mut Section<'_>, database: &str) -> Result<Self, Error> {
        Ok(Self {
            intake: Intake::read(section)?,
            database: section.require(database)?,
            dead: section.take("dead_letter_queue")?,
            member: None,
            position_file: None,
        })
    }

    /// It may be a member of a group.
    pub(super) fn or_member(mut self, section: &mut Section<'_>) -> Result<Self, Error> {
        let name = section.take("subconsumer_name")?;
        let takeover = interval(section, "subconsumer_timeout")?;
        self.member = name.map(|name| (name, takeover));
        Ok(self)
    }

    /// It may keep its position in a file.
    pub(super) fn or_local(mut self, section: &mut Section<'_>) -> Result<Self, Error> {
        self.position_file = section.file("local_tracking_file")?;
        Ok(self)
    }

    pub(super) fn has_dead_letter_queue(&self) -> bool {
        self.dead.is_some()
    }

    pub(super) fn builder(&self, stop: &Stop) -> ConsumerBuilder {
        let builder = Consumer::builder(&self.intake.queue, &self.intake.consumer);
        let mut builder = self.intake.tell(builder, stop);
        if let Some(queue) = &self.dead {
            builder = builder.dead_letter_queue(queue);
        }
        if let Some((member, takeover)) = &self.member {
            builder = builder.cooperative(member, *takeover);
        }
        if let Some(path) = &self.position_file {
            builder = builder.position_file(path);
        }
        builder
    }

    /// Do what is ordered; what was done.
    pub(super) fn obey(&self, order: Order) -> Result<String, Error> {
        let intake = &self.intake;
        let mut consumer = self.builder(&Stop::new()).connect(&self.database)?;
        Ok(match order {
            Order::Register => {
                intake.said(consumer.register()?, "registered", "was registered already")
            }
            Order::Unregister => {
                intake.said(consumer.unregister()?, "unregistered", "was not registered")
            }
            Order::Rewind => intake.went_back(consumer.rewind()?),
            Order::Reset => {
                consumer.reset()?;
                format!("the file has the position of consumer \"{}\"", intake.consumer)
            }
        })
    }
}
