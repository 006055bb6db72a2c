//! What is installed, beside what else: packaging, upstream's daemon, and a newcomer's first steps.

pub(crate) mod first_steps;
mod generator;
mod harness;
mod packaging;
pub(crate) mod pgqd;
mod transcripts;
