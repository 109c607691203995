//! Where in a request a rule was hit, as logs name it: `roles[0]`, `Operations[1].path`.
//!
//! SECURITY: a place is made of names that Wire reads and of indexes. What a client chose itself,
//! such as the key of a rich info field, appears as `other`.

use std::borrow::Cow;
use std::fmt;

use crate::json::Name;

/// A place in a request: a header, a parameter or an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(Cow<'static, str>);

impl Place {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An element of this list.
    pub fn index(self, index: usize) -> Self {
        Self(format!("{self}[{index}]").into())
    }

    /// An attribute of this object; `None` for one that Wire does not read.
    pub fn child(self, name: Option<Name>) -> Self {
        let name = name.map_or("other", Name::as_str);
        Self(format!("{self}.{name}").into())
    }
}

impl From<&'static str> for Place {
    fn from(place: &'static str) -> Self {
        Self(place.into())
    }
}

impl From<Name> for Place {
    fn from(name: Name) -> Self {
        name.as_str().into()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
