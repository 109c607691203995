//! A look-up of a user by an address, if addresses are repaired to handles
//! (`user_name.local_part`).
//!
//! SECURITY: two people whose addresses have the same local part have the same handle, and only one
//! of them exists in Wire. The client receives the user only if it has the requested address;
//! otherwise nobody, so that a client never changes the wrong person.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::Name;
use crate::query;
use crate::wire::filter::{self, Comparison, Operator};

use super::group_search::{SearchFault, list};
use super::search_query::{comparison, split, with_filter};
use super::{Repair, Repairs, user_name};

const LOCAL_PART: Repairs = Repairs::of(&[Repair::UserNameLocalPart]);

/// A look-up of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSearch {
    /// The name that the client requested.
    asked: String,
    /// The query for Wire.
    pub target: Vec<u8>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(rename = "Resources", borrow, default)]
    users: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    external_id: Option<String>,
    emails: Option<Vec<Email>>,
}

#[derive(Deserialize)]
struct Email {
    value: Option<String>,
}

impl UserSearch {
    /// Parses the target of a GET of users: `None` if its filter is not for a userName that is an
    /// address.
    pub fn read(target: &[u8]) -> Option<Self> {
        let (_, query) = split(target);
        let filter = query::parameter(Some(query), b"filter")??;
        let Comparison { attribute, operator: Operator::Equal, literal } = filter::read(&filter)?
        else {
            return None;
        };
        let is_user_name = Name::of(attribute.name) == Some(Name::UserName);
        let asked = literal.to_text().filter(|_| is_user_name)?;
        let (handle, _) = user_name::repaired(&asked, LOCAL_PART, true)?;
        let target = with_filter(target, &comparison("userName", "eq", &handle), &[])?;
        Some(Self { asked, target })
    }

    /// The answer for the client; `None` if it is Wire's own, as every user in it has the address.
    pub fn answer(&self, body: &[u8]) -> Result<Option<Vec<u8>>, SearchFault> {
        let page: Page<'_> = serde_json::from_slice(body).map_err(|_| SearchFault::Unreadable)?;
        let mut theirs = Vec::new();
        for written in &page.users {
            let user: User =
                serde_json::from_str(written.get()).map_err(|_| SearchFault::Unreadable)?;
            if self.is_of(&user) {
                theirs.push(*written);
            }
        }
        let all = theirs.len() == page.users.len();
        Ok((!all).then(|| list(theirs.len(), 1, &theirs)))
    }

    fn is_of(&self, user: &User) -> bool {
        let emails = user.emails.iter().flatten().filter_map(|email| email.value.as_deref());
        user.external_id.as_deref().into_iter().chain(emails).any(|name| is_same(name, &self.asked))
    }
}

/// Whether two addresses are the same: the domain ignoring case, the local part exactly.
fn is_same(one: &str, other: &str) -> bool {
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((local, domain)), Some((other_local, other_domain))) => {
            local == other_local && domain.to_lowercase() == other_domain.to_lowercase()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn bob() -> UserSearch {
        UserSearch { asked: "bob@a.example".into(), target: Vec::new() }
    }

    #[test]
    fn only_look_ups_by_an_address_are_recognised() {
        let read =
            |filter: &str| UserSearch::read(format!("/scim/v2/Users?{filter}&a=1").as_bytes());
        let search = read("filter=userName+eq+%22B.ob%40a.example%22").unwrap();
        assert_eq!(search.asked, "B.ob@a.example");
        let target = String::from_utf8(search.target).unwrap();
        assert_eq!(target, "/scim/v2/Users?filter=userName%20eq%20%22b.ob%22&a=1");
        for filter in [
            "filter=userName+eq+%22bob%22",
            "filter=externalId+eq+%22bob%40a.example%22",
            "filter=userName+eq+%22a%40b%40c%22",
            "filter=userName+eq+%22@a.example%22",
            "filter=userName+eq+5",
            "filter",
        ] {
            assert_eq!(read(filter), None, "{filter}");
        }
    }

    #[test]
    fn a_user_is_returned_only_for_its_own_address() {
        let search = bob();
        let answer = |user: Value| {
            let body = json!({"totalResults": 1, "Resources": [user]}).to_string();
            let answer = search.answer(body.as_bytes()).unwrap();
            answer
                .map(|body| serde_json::from_slice::<Value>(&body).unwrap()["totalResults"].clone())
        };
        for user in [
            json!({"userName": "bob", "externalId": "bob@a.example"}),
            json!({"userName": "bob", "externalId": "bob@A.Example", "emails": []}),
            json!({"externalId": "x", "emails": [{"value": "z@a.example"}, {"value": "bob@a.example"}]}),
        ] {
            assert_eq!(answer(user.clone()), None, "{user}");
        }
        for user in [
            json!({"userName": "bob", "externalId": "bob@b.example"}),
            json!({"userName": "bob", "externalId": "Bob@a.example"}),
            json!({"userName": "bob", "externalId": null, "emails": null}),
            json!({"userName": "bob", "externalId": "bob"}),
            json!({"userName": "bob@a.example"}),
        ] {
            assert_eq!(answer(user.clone()), Some(0.into()), "{user}");
        }
    }

    #[test]
    fn an_answer_that_is_not_a_list_is_rejected() {
        let search = bob();
        for body in [&b""[..], b"x", br#"{"Resources":[{"externalId":5}]}"#] {
            assert_eq!(search.answer(body), Err(SearchFault::Unreadable));
        }
        assert_eq!(search.answer(b"{}"), Ok(None));
    }
}
