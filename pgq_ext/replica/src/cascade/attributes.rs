//! Attributes that londiste keeps as one text: of a table, and of a script.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::urlencoded;

/// Names and their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(BTreeMap<String, String>);

impl Attributes {
    /// Read the urlencoded text.
    ///
    /// # Errors
    /// [`Error::Payload`] when it is not urlencoded.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let pairs = urlencoded::pairs(text)?.into_iter();
        Ok(Self(pairs.map(|(name, value)| (name, value.unwrap_or_default())).collect()))
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Set the value of a name.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Forget a name.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Add values to those of a name, with a comma between.
    pub(super) fn add(&mut self, name: &str, values: &str) {
        let own = self.0.entry(name.to_owned()).or_default();
        if !own.is_empty() && !values.is_empty() {
            own.push(',');
        }
        own.push_str(values);
    }

    /// The urlencoded text.
    pub fn encode(&self) -> String {
        let pair =
            |(name, value)| format!("{}={}", urlencoded::encode(name), urlencoded::encode(value));
        self.iter().map(pair).collect::<Vec<_>>().join("&")
    }

    /// Is it set, and not to 0?
    pub fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "" | "0"))
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::Attributes;

    #[test]
    fn attributes_are_urlencoded() {
        let attributes = Attributes::parse("handler=shard%28key%3Did%29&skip_truncate=1").unwrap();
        assert_eq!(attributes.get("handler"), Some("shard(key=id)"));
        assert!(attributes.is_set("skip_truncate"));
        assert!(!attributes.is_set("copy_node"));
        assert!(Attributes::parse("a=%zz").is_err());
        let mut changed = attributes.clone();
        changed.set("copy_node", "?");
        changed.remove("handler");
        assert_eq!(changed.encode(), "copy_node=%3f&skip_truncate=1");
        assert_eq!(attributes.encode(), "handler=shard%28key%3did%29&skip_truncate=1");
        assert_eq!(Attributes::parse(&attributes.encode()), Ok(attributes));
    }
}
