//! What is done with events, by whichever door it was asked for: the flags of a command, or the INI
//! file of a service.

pub(super) mod apply;
pub(super) mod command;
pub(super) mod copy;
pub(super) mod distribute;
pub(super) mod function;
pub(super) mod line;
pub(super) mod retry_policy;
mod set_aside;
pub(super) mod stdout;
mod words;

pub(super) use set_aside::advise;
