//! The keys that a configuration takes, asked of its own deserialisers.

use std::cell::Cell;

use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde::{Deserializer, de::value};

/// Follows a path of keys, and notes which fields are at its end.
#[derive(Clone, Copy)]
struct Probe<'a> {
    path: &'a [&'static str],
    found: &'a Cell<Option<&'static [&'static str]>>,
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Error::custom("a value"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self.path {
            [] => {
                self.found.set(Some(fields));
                Err(Error::custom("the end of the path"))
            }
            _ => visitor.visit_map(self),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Probe<'_> {
    type Error = value::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        let key = self.path.first().copied().unwrap_or_default();
        seed.deserialize(value::StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Self::Error> {
        seed.deserialize(Probe {
            path: self.path.split_first().map_or(&[][..], |(_, rest)| rest),
            found: self.found,
        })
    }
}

/// All keys of a structure, with those of the structures in it, as `a.b.c`.
pub(super) fn keys<T: DeserializeOwned>() -> Vec<String> {
    let mut keys = Vec::new();
    let mut paths: Vec<Vec<&'static str>> = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        let found = Cell::new(None);
        // Fails on purpose, at the end of the path.
        let _ = T::deserialize(Probe { path: &path, found: &found });
        match found.get() {
            Some(fields) => {
                paths.extend(fields.iter().map(|field| [&path[..], &[*field]].concat()))
            }
            None => keys.push(path.join(".")),
        }
    }
    keys.sort();
    keys
}
