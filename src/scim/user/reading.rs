//! How Wire reads a user: its address, its name, and what is stored.

use std::borrow::Cow;

use serde::Serialize;

use super::{Mode, User};
use crate::json::{Array, Name, Object, Value};
use crate::wire::{boolean, email, language};

/// What Wire stores of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    pub handle: String,
    pub name: String,
    pub external_id: String,
    pub emails: Vec<String>,
    pub role: Option<String>,
    pub active: bool,
    pub locale: Option<&'static str>,
    pub rich_info: Vec<(String, String)>,
}

impl<'d> User<'d> {
    /// The entries of emails that are objects, with their indexes.
    pub(super) fn emails(&self) -> impl Iterator<Item = (usize, Object<'d>)> {
        let entries = self.emails.into_iter().flat_map(Array::elements).enumerate();
        entries.filter_map(|(at, entry)| Some((at, entry.as_object()?)))
    }

    /// The entry of emails that Wire uses: the first primary one, else the first.
    pub(super) fn address_entry(&self) -> Option<&'d str> {
        let primary = self.emails().find(|(_, entry)| is_primary(*entry));
        let (_, entry) = primary.or_else(|| self.emails().next())?;
        entry.string(Name::Value)
    }

    /// The name that Wire gives to a user without displayName.
    pub(super) fn default_name(&self, mode: Mode) -> Option<Cow<'d, str>> {
        let external_id = self.external_id;
        match (mode, self.address_entry()) {
            (Mode::Email, Some(entry)) => email::canonical(entry).map(Cow::Owned),
            (Mode::Email, None) => external_id.and_then(email::canonical).map(Cow::Owned),
            (Mode::Saml, _) => {
                external_id.map(|id| email::canonical(id).map_or(Cow::Borrowed(id), Cow::Owned))
            }
        }
    }

    /// What Wire stores of an accepted user.
    pub fn reading(&self, mode: Mode) -> Reading {
        let external_id = self.external_id;
        let address = self.address_entry().or(external_id).and_then(email::canonical);
        let name = match self.display_name {
            Some(display_name) => display_name.to_owned(),
            None => self.default_name(mode).unwrap_or_default().into_owned(),
        };
        let roles = self.object.value(Name::Roles).and_then(Value::as_array);
        Reading {
            handle: self.user_name.unwrap_or_default().to_lowercase(),
            name,
            external_id: external_id.unwrap_or_default().to_owned(),
            emails: address.into_iter().collect(),
            role: roles.and_then(|roles| roles.elements().next()?.as_str()).map(str::to_owned),
            active: is_active(self.object),
            locale: self.object.string(Name::PreferredLanguage).and_then(language::read),
            rich_info: self
                .rich_info
                .merged()
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        }
    }
}

/// Whether Wire considers a user active.
pub(crate) fn is_active(user: Object<'_>) -> bool {
    user.value(Name::Active).and_then(boolean::of).unwrap_or(true)
}

/// Whether Wire considers an entry of emails primary.
pub(crate) fn is_primary(entry: Object<'_>) -> bool {
    entry.value(Name::Primary).and_then(boolean::of).unwrap_or(false)
}
