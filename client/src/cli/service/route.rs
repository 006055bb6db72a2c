//! Services that read here and write there, exactly once.

use pgq_client::{Connector, Error, RemoteConsumer, Stop};
use pgq_ini::Section;

use super::intake::Intake;
use super::order::Order;

/// A consumer between two databases.
#[derive(Debug)]
pub(super) struct Route {
    intake: Intake,
    source: String,
    target: String,
    dead: Option<String>,
}

impl Route {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Error> {
        Ok(Self {
            intake: Intake::read(section)?,
            source: section.require("src_db")?,
            target: section.require("dst_db")?,
            dead: None,
        })
    }

    /// It may set events aside.
    pub(super) fn or_dead_letters(mut self, section: &mut Section<'_>) -> Result<Self, Error> {
        self.dead = section.take("dead_letter_queue")?;
        Ok(self)
    }

    /// The queue that is read.
    pub(super) fn queue(&self) -> &str {
        &self.intake.queue
    }

    /// Are its ends connection strings?
    pub(super) fn check(&self) -> Result<(), Error> {
        Connector::new(&self.source).and_then(|_| Connector::new(&self.target)).map(drop)
    }

    pub(super) fn connect(&self, stop: &Stop) -> Result<RemoteConsumer, Error> {
        let builder = RemoteConsumer::builder(&self.intake.queue, &self.intake.consumer);
        let mut builder = self.intake.tell(builder, stop);
        if let Some(queue) = &self.dead {
            builder = builder.dead_letter_queue(queue);
        }
        builder.connect(Connector::new(&self.source)?, Connector::new(&self.target)?)
    }

    /// Do what is ordered; what was done.
    pub(super) fn obey(&self, order: Order) -> Result<String, Error> {
        let intake = &self.intake;
        let mut consumer = self.connect(&Stop::new())?;
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
                format!("the target forgot the position of consumer \"{}\"", intake.consumer)
            }
        })
    }
}
