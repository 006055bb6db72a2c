//! ALTER EXTENSION … UPDATE while everything goes on.

mod locks;
