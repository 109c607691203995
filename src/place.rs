//! Where in a request a rule was hit, as logs name it: `roles[0]`, `Operations[1].path`.
//!
//! SECURITY: a place consists of names that Wire reads and of indexes. Names that a client chose,
//! such as the key of a rich info field, appear as `other`.

use std::borrow::Cow;
use std::fmt;

use crate::json::Name;

/// A place in a request: a header, a parameter or an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(Cow<'static, str>);

impl Place {
    /// An attribute of the body; `None` for one that Wire does not read.
    pub fn of(name: Option<Name>) -> Self {
        Self(name.map_or("other", Name::as_str).into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An element of this array.
    pub fn index(self, index: usize) -> Self {
        Self(format!("{self}[{index}]").into())
    }

    /// An attribute of this object; `None` for one that Wire does not read.
    pub fn child(self, name: Option<Name>) -> Self {
        let name = name.map_or("other", Name::as_str);
        Self(format!("{self}.{name}").into())
    }
}

/// A value that is converted to a place only when one is needed: only hits need one.
pub trait IntoPlace {
    fn into_place(self) -> Place;
}

impl IntoPlace for Place {
    fn into_place(self) -> Place {
        self
    }
}

impl IntoPlace for &'static str {
    fn into_place(self) -> Place {
        Place(self.into())
    }
}

impl IntoPlace for Name {
    fn into_place(self) -> Place {
        self.as_str().into_place()
    }
}

impl<F: FnOnce() -> Place> IntoPlace for F {
    fn into_place(self) -> Place {
        self()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
