//! A search for a group by its exact name (`groups.filter`). Wire can search only for groups whose
//! name contains a string, so all of these are requested, and the client receives those with
//! exactly this name.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::json::Name;
use crate::query;
use crate::wire::filter::{self, Attribute, Comparison, Operator};

use super::search_query::{comparison, split, with_filter};

/// The maximum number of groups whose names contain the string.
const MAX_GROUPS: usize = 1000;

/// The maximum size of all answers, in bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The maximum number of requests for one search.
const MAX_PAGES: usize = 100;

const LIST_RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// A search for groups by `displayName eq "..."`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSearch {
    /// The query for Wire, without startIndex.
    target: Vec<u8>,
    name: String,
    /// The part of the result that the client requested: its first element, from 1, and how many.
    start: usize,
    count: Option<usize>,
}

/// Why a search has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchFault {
    /// The search exceeds the guard's limits.
    TooMany,
    /// Wire's answer is not a list, or the pages are inconsistent.
    Unreadable,
}

/// What has been found so far.
#[derive(Debug, Default)]
pub struct Found {
    /// The ids of all groups that were examined.
    ids: HashSet<String>,
    total: usize,
    exact: Vec<Box<RawValue>>,
    bytes: usize,
    pages: usize,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(rename = "totalResults")]
    total: u64,
    #[serde(rename = "Resources", borrow, default)]
    groups: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    id: String,
    display_name: String,
}

impl GroupSearch {
    /// Parses the target of a GET of groups: `None` if its filter is not `displayName eq "..."`.
    pub fn read(target: &[u8]) -> Option<Self> {
        let (_, query) = split(target);
        let filter = query::parameter(Some(query), b"filter")??;
        let Comparison { attribute, operator: Operator::Equal, literal } = filter::read(&filter)?
        else {
            return None;
        };
        let Attribute { name, sub: None, .. } = attribute else { return None };
        let name = (Name::of(name) == Some(Name::DisplayName)).then(|| literal.to_text())??;
        let number = |parameter| match query::parameter(Some(query), parameter) {
            Some(Some(number)) => number.parse::<i64>().map(Some).ok(),
            _ => Some(None),
        };
        let start = number(b"startIndex")?.unwrap_or(1);
        let count = number(b"count")?;
        let filter = comparison("displayName", "co", &name);
        let target = with_filter(target, &filter, &[b"startIndex", b"count"])?;
        Some(Self {
            target,
            name,
            // Less than 1 is 1, and a negative count is 0 (RFC 7644 §3.4.2.4).
            start: usize::try_from(start).unwrap_or(1).max(1),
            count: count.map(|count| usize::try_from(count).unwrap_or(0)),
        })
    }

    /// The target of the next request.
    pub fn next_target(&self, found: &Found) -> Vec<u8> {
        let mut target = self.target.clone();
        if !found.ids.is_empty() {
            target.extend_from_slice(format!("&startIndex={}", found.ids.len() + 1).as_bytes());
        }
        target
    }

    /// Adds one page of Wire's answer. `true`: it was the last.
    pub fn take(&self, found: &mut Found, body: &[u8]) -> Result<bool, SearchFault> {
        found.pages += 1;
        found.bytes += body.len();
        let page: Page<'_> = serde_json::from_slice(body).map_err(|_| SearchFault::Unreadable)?;
        let total = usize::try_from(page.total).unwrap_or(usize::MAX);
        if total.max(page.groups.len()) > MAX_GROUPS
            || found.bytes > MAX_BYTES
            || found.pages > MAX_PAGES
        {
            return Err(SearchFault::TooMany);
        }
        if found.pages > 1 && total != found.total && !found.ids.is_empty() {
            // Groups were added or removed meanwhile: the previous pages may have gaps.
            *found = Found { bytes: found.bytes, pages: found.pages, ..Found::default() };
            return Ok(false);
        }
        found.total = total;
        let before = found.ids.len();
        for written in page.groups {
            let group: Group =
                serde_json::from_str(written.get()).map_err(|_| SearchFault::Unreadable)?;
            if found.ids.insert(group.id) && group.display_name == self.name {
                found.exact.push(written.to_owned());
            }
        }
        let complete = found.ids.len() >= total;
        // A page without new groups would never end the search.
        if !complete && found.ids.len() == before {
            return Err(SearchFault::Unreadable);
        }
        Ok(complete)
    }

    /// The answer for the client.
    pub fn answer(&self, found: &Found) -> Vec<u8> {
        let part = found.exact.iter().skip(self.start - 1);
        let part: Vec<&RawValue> =
            part.take(self.count.unwrap_or(usize::MAX)).map(AsRef::as_ref).collect();
        list(found.exact.len(), self.start, &part)
    }
}

/// A list response (RFC 7644 §3.4.2).
pub(super) fn list(total: usize, start: usize, resources: &[&RawValue]) -> Vec<u8> {
    #[derive(serde::Serialize)]
    struct List<'a> {
        #[serde(rename = "Resources")]
        resources: &'a [&'a RawValue],
        #[serde(rename = "itemsPerPage")]
        count: usize,
        schemas: [&'a str; 1],
        #[serde(rename = "startIndex")]
        start: usize,
        #[serde(rename = "totalResults")]
        total: usize,
    }
    let list = List { resources, count: resources.len(), schemas: [LIST_RESPONSE], start, total };
    serde_json::to_vec(&list).unwrap_or_else(|_| json!({}).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(query: &str) -> Option<GroupSearch> {
        GroupSearch::read(format!("/scim/v2/Groups?{query}").as_bytes())
    }

    fn page(total: usize, groups: &[(&str, &str)]) -> Vec<u8> {
        let groups: Vec<_> =
            groups.iter().map(|(id, name)| json!({"id": id, "displayName": name})).collect();
        json!({"totalResults": total, "Resources": groups}).to_string().into_bytes()
    }

    fn names(answer: &[u8]) -> (usize, Vec<String>) {
        let answer: serde_json::Value = serde_json::from_slice(answer).unwrap();
        let groups = answer["Resources"].as_array().unwrap();
        let ids: Vec<_> =
            groups.iter().map(|group| group["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(answer["itemsPerPage"], ids.len());
        (usize::try_from(answer["totalResults"].as_u64().unwrap()).unwrap(), ids)
    }

    #[test]
    fn only_equality_of_display_name_is_accepted() {
        for query in [
            "filter=displayName+eq+%22Eng%22",
            "filter=DISPLAYNAME%20EQ%20%22Eng%22&count=5",
            "filter=urn:ietf:params:scim:schemas:core:2.0:User:displayName+eq+%22Eng%22",
            "excludedAttributes=members&filter=displayName+eq+%22\\u0045ng%22",
        ] {
            assert_eq!(search(query).unwrap().name, "Eng", "{query}");
        }
        for query in [
            "",
            "filter",
            "filter=",
            "filter=displayName+co+%22Eng%22",
            "filter=displayName+eq+true",
            "filter=displayName.x+eq+%22Eng%22",
            "filter=externalId+eq+%22Eng%22",
            "filter=displayName+eq+%22Eng%22+and+x+eq+1",
            "filter=displayName+eq+%22Eng%22&count=x",
            "filter=displayName+co+%22a%22&filter=displayName+eq+%22a%22",
        ] {
            assert_eq!(search(query), None, "{query}");
        }
    }

    #[test]
    fn all_pages_are_requested_and_exact_names_are_found() {
        let search = search("filter=displayName+eq+%22Eng%22&startIndex=2&count=5&x=1").unwrap();
        let mut found = Found::default();
        let target = |found: &Found| String::from_utf8(search.next_target(found)).unwrap();
        let first = "/scim/v2/Groups?filter=displayName%20co%20%22Eng%22&x=1";
        assert_eq!(target(&found), first);
        let one = [("1", "Eng"), ("2", "eng"), ("3", "Eng 2")];
        assert_eq!(search.take(&mut found, &page(5, &one)), Ok(false));
        assert_eq!(target(&found), format!("{first}&startIndex=4"));
        assert_eq!(search.take(&mut found, &page(5, &[("4", "Eng"), ("5", "Eng")])), Ok(true));
        assert_eq!(names(&search.answer(&found)), (3, vec!["4".into(), "5".into()]));
    }

    #[test]
    fn the_client_receives_the_part_that_it_requested() {
        for (query, ids) in [
            ("", vec!["1", "2", "3"]),
            ("&startIndex=0", vec!["1", "2", "3"]),
            ("&startIndex=-5&count=1", vec!["1"]),
            ("&startIndex=3", vec!["3"]),
            ("&startIndex=4", vec![]),
            ("&count=0", vec![]),
            ("&count=-1", vec![]),
            ("&count=2", vec!["1", "2"]),
        ] {
            let search = search(&format!("filter=displayName+eq+%22a%22{query}")).unwrap();
            let mut found = Found::default();
            let groups = [("1", "a"), ("2", "a"), ("3", "a")];
            assert_eq!(search.take(&mut found, &page(3, &groups)), Ok(true));
            let ids = ids.into_iter().map(str::to_owned).collect();
            assert_eq!(names(&search.answer(&found)), (3, ids), "{query}");
        }
    }

    #[test]
    fn inconsistent_or_endless_lists_have_no_answer() {
        let search = search("filter=displayName+eq+%22a%22").unwrap();
        let take = |pages: &[Vec<u8>]| {
            let mut found = Found::default();
            let taken: Vec<_> = pages.iter().map(|page| search.take(&mut found, page)).collect();
            *taken.last().unwrap()
        };
        assert_eq!(take(&[page(1001, &[("1", "a")])]), Err(SearchFault::TooMany));
        assert_eq!(take(&[page(2, &[])]), Err(SearchFault::Unreadable));
        let same = page(3, &[("1", "a")]);
        assert_eq!(take(&[same.clone(), same]), Err(SearchFault::Unreadable));
        for answer in [&b"{}"[..], b"x", br#"{"totalResults":-1}"#] {
            assert_eq!(take(&[answer.to_vec()]), Err(SearchFault::Unreadable));
        }
        let nameless = br#"{"totalResults":1,"Resources":[{"id":"1"}]}"#.to_vec();
        assert_eq!(take(&[nameless]), Err(SearchFault::Unreadable));
        assert_eq!(take(&[br#"{"totalResults":0}"#.to_vec()]), Ok(true));
        // Groups in excess of the announced number are examined as well.
        assert_eq!(take(&[page(0, &[("1", "a")])]), Ok(true));
        let many: Vec<_> =
            (1..=MAX_PAGES + 1).map(|nth| page(999, &[(&nth.to_string(), "a")])).collect();
        assert_eq!(take(&many), Err(SearchFault::TooMany));
    }

    #[test]
    fn a_list_that_changes_between_pages_is_read_again() {
        let search = search("filter=displayName+eq+%22a%22").unwrap();
        let mut found = Found::default();
        assert_eq!(search.take(&mut found, &page(3, &[("1", "a"), ("2", "b")])), Ok(false));
        assert_eq!(search.take(&mut found, &page(2, &[])), Ok(false));
        assert_eq!(search.next_target(&found), search.target);
        assert_eq!(search.take(&mut found, &page(2, &[("2", "a"), ("3", "a")])), Ok(true));
        assert_eq!(names(&search.answer(&found)).1, ["2", "3"]);
    }
}
