//! The stand-in's data, in memory and for one team.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::login::Tokens;
use super::reading::{self, Email, Group, Mode, Reading, User, UserFilter};
use super::{SAML_TOKEN, TOKEN};
use crate::release::Release;

/// The user that exists at the start.
pub const USER_ID: &str = "5b8c4d6e-1f2a-4b3c-8d9e-0a1b2c3d4e5f";

/// The group that exists at the start.
pub const GROUP_ID: &str = "9d2f7c1a-3b4e-4c5d-a6f7-8091a2b3c4d5";

/// Reserved handles.
const RESERVED: &str = "account admin administrator all android anna avs backend bot cs design dev developer \
    development everyone help helpdesk hr info ios legal management news otto payment product purchase qa \
    support team user web wire wirebot wireteam";

/// A stored user: as parsed except for `emails`, for PATCHes to be applied to, and as interpreted.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) user: User,
    pub(super) reading: Reading,
    pub(super) created: String,
    pub(super) modified: String,
}

impl Stored {
    pub(super) fn matches(&self, filter: &UserFilter) -> bool {
        match filter {
            UserFilter::UserName(name) => self.reading.handle == name.to_lowercase(),
            UserFilter::ExternalId(id) => self.reading.external_id == *id,
        }
    }
}

/// The outcome of storing a user.
pub(super) enum Change {
    /// Stored under this id.
    Done(String),
    /// Another user has the same value of this attribute.
    Taken(&'static str),
    Reserved,
}

#[derive(Debug)]
pub(super) struct Store {
    pub(super) release: Release,
    users: BTreeMap<String, Stored>,
    groups: BTreeMap<String, Group>,
    pub(super) tokens: Tokens,
}

impl Store {
    /// A store with one user, one group and the tokens of the demo.
    pub(super) fn with_samples(release: Release) -> Self {
        let tokens = Tokens::new([(TOKEN, Mode::Email), (SAML_TOKEN, Mode::Saml)]);
        let mut store = Self { release, users: BTreeMap::new(), groups: BTreeMap::new(), tokens };
        store.add_sample(USER_ID);
        store.put_group(
            Some(GROUP_ID),
            Group { display_name: "Sample Group".into(), members: Vec::new() },
        );
        store
    }

    /// Adds a user with this id; the first is named `sample`, the others after their id.
    pub(super) fn add_sample(&mut self, id: &str) {
        let name = if id == USER_ID { "sample" } else { id };
        let address = format!("{name}@example.com");
        let sample = User {
            user_name: name.to_owned(),
            external_id: Some(address.clone()),
            display_name: Some("Sample User".into()),
            emails: vec![Email::plain(&address)],
            active: Some(true),
            preferred_language: Some("en".into()),
            roles: vec!["member".into()],
            rich_info: vec![("Dept".into(), "Ops".into())],
            password: None,
        };
        if let Ok(reading) = reading::validate(&sample, Mode::Email, self.release) {
            self.put_user(Some(id), sample, reading);
        }
    }

    /// How the team of a token identifies its users; `None` for an unknown token.
    pub(super) fn mode_of(&self, token: &[u8]) -> Option<Mode> {
        self.tokens.mode_of(token)
    }

    pub(super) fn users(&self) -> impl Iterator<Item = (&str, &Stored)> {
        self.users.iter().map(|(id, user)| (id.as_str(), user))
    }

    pub(super) fn user(&self, id: &str) -> Option<&Stored> {
        self.users.get(id)
    }

    pub(super) fn delete_user(&mut self, id: &str) {
        self.users.remove(id);
        for group in self.groups.values_mut() {
            group.members.retain(|member| !member.eq_ignore_ascii_case(id));
        }
    }

    /// Stores a user; without an id, as a new one.
    pub(super) fn put_user(
        &mut self,
        id: Option<&str>,
        mut user: User,
        mut reading: Reading,
    ) -> Change {
        let mut others = self.users.iter().filter(|(other, _)| Some(other.as_str()) != id);
        let taken = others.find_map(|(_, other)| {
            if other.reading.handle == reading.handle {
                Some("userName")
            } else if other.reading.external_id == reading.external_id {
                Some("externalId")
            } else {
                None
            }
        });
        if let Some(what) = taken {
            return Change::Taken(what);
        }
        let before = id.and_then(|id| self.users.get(id));
        let kept = before.is_some_and(|before| before.reading.handle == reading.handle);
        if !kept && RESERVED.split_whitespace().any(|handle| handle == reading.handle) {
            return Change::Reserved;
        }
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let created = before.map_or_else(|| now.clone(), |before| before.created.clone());
        user.emails = self.kept(&user, &reading);
        // If the request has no role, the stored one is kept.
        reading.role =
            reading.role.or_else(|| before.and_then(|before| before.reading.role.clone()));
        let id = id.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
        self.users.insert(id.clone(), Stored { user, reading, created, modified: now });
        Change::Done(id)
    }

    /// The one address that is stored: with its type and primary since 5.35, without them before.
    fn kept(&self, user: &User, reading: &Reading) -> Vec<Email> {
        let plain = || reading.emails.iter().map(|address| Email::plain(address)).collect();
        if self.release < Release::R5_35 {
            return plain();
        }
        user.kept_email().map_or_else(plain, |email| vec![email.clone()])
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.groups.iter().map(|(id, group)| (id.as_str(), group))
    }

    pub(super) fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(super) fn delete_group(&mut self, id: &str) {
        self.groups.remove(id);
    }

    pub(super) fn put_group(&mut self, id: Option<&str>, group: Group) -> String {
        let id = id.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
        self.groups.insert(id.clone(), group);
        id
    }
}
