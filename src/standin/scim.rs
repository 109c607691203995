//! The effects of SCIM requests on the store.

use serde_json::json;

use super::http::{Request, Response};
use super::reading::{self, Fault, Group, Mode, Patch, User, UserFilter};
use super::render;
use super::store::{Change, Store};

/// A SCIM error in Wire's format: keys in alphabetical order, the status as a string.
pub(super) fn error(status: u16, scim_type: Option<&str>, detail: &str) -> Response {
    let mut body = json!({
        "detail": detail,
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": status.to_string(),
    });
    if let Some(scim_type) = scim_type {
        body["scimType"] = scim_type.into();
    }
    Response::scim(status, &body)
}

fn refused(fault: Fault) -> Response {
    match fault {
        Fault::Parse(text) => Response::text(400, &text),
        Fault::Rule { status, scim_type, detail } => error(status, scim_type, &detail),
    }
}

/// A search that could be parsed.
pub(super) enum Search {
    User(UserFilter),
    Groups { contains: Option<String>, start: i64, count: Option<i64> },
}

/// A search that could not be parsed: it is answered before the token is checked.
pub(super) enum Refused {
    Now(Response),
    Later(Response),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Parse(_) => Self::Now(refused(fault)),
            Fault::Rule { .. } => Self::Later(refused(fault)),
        }
    }
}

fn first<'q>(query: &'q [(String, Option<String>)], name: &str) -> Option<&'q str> {
    query.iter().find(|(key, _)| key == name)?.1.as_deref()
}

pub(super) fn user_search(query: &[(String, Option<String>)]) -> Result<Search, Refused> {
    match first(query, "filter") {
        Some(filter) => Ok(Search::User(reading::user_filter(filter)?)),
        None => {
            let detail = "Please specify a filter when getting users.";
            Err(Refused::Later(error(400, Some("tooMany"), detail)))
        }
    }
}

pub(super) fn group_search(query: &[(String, Option<String>)]) -> Result<Search, Refused> {
    let number = |name| match first(query, name).map(str::parse::<i64>) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(Refused::Now(Response::text(400, "Error parsing query parameter"))),
    };
    let (start, count) = (number("startIndex")?.unwrap_or(1), number("count")?);
    let contains = first(query, "filter").map(reading::group_filter).transpose()?;
    Ok(Search::Groups { contains, start, count })
}

pub(super) fn list(store: &Store, search: &Search) -> Response {
    let resources: Vec<_> = match search {
        Search::User(filter) => store
            .users()
            .filter(|(_, user)| user.matches(filter))
            .map(|(id, user)| render::user(id, user))
            .collect(),
        Search::Groups { contains, start, count } => {
            let named = store.groups().filter(|(_, group)| {
                contains.as_ref().is_none_or(|part| {
                    group.display_name.to_lowercase().contains(&part.to_lowercase())
                })
            });
            let skip = usize::try_from(start - 1).unwrap_or(0);
            let take = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(0));
            let all: Vec<_> = named.map(|(id, group)| render::group(id, group)).collect();
            let part: Vec<_> = all.iter().skip(skip).take(take).cloned().collect();
            return Response::scim(200, &render::page(&part, all.len(), skip + 1));
        }
    };
    Response::scim(200, &render::list(&resources))
}

/// A body that was parsed.
pub(super) enum Write {
    User(Box<User>),
    Patch(Patch),
    /// With the result of its rules, which are reported only after the token is checked.
    Group(Result<Group, Fault>),
    GroupPatch,
}

/// Parses a body; the error is the response to one that cannot be parsed.
pub(super) fn parse(
    request: &Request,
    group: bool,
    body: &[u8],
) -> Result<Option<Write>, Response> {
    let write = match (group, request.method.as_str()) {
        (false, "PATCH") => Write::Patch(reading::patch(body).map_err(refused)?),
        (false, _) => Write::User(Box::new(reading::user(body).map_err(refused)?)),
        (true, "PATCH") if reading::is_json(body) => Write::GroupPatch,
        (true, "PATCH") => return Err(Response::text(400, "Error in $: not JSON")),
        (true, _) => match reading::group(body) {
            Err(fault @ Fault::Parse(_)) => return Err(refused(fault)),
            judged => Write::Group(judged),
        },
    };
    Ok(Some(write))
}

pub(super) fn create(store: &mut Store, mode: Mode, write: Option<Write>) -> Response {
    match write {
        Some(Write::User(user)) => put_user(store, mode, None, *user, 201),
        Some(Write::Group(group)) => put_group(store, None, group, 201),
        _ => Response::empty(405),
    }
}

pub(super) fn on_user(
    store: &mut Store,
    mode: Mode,
    method: &str,
    id: &str,
    write: Option<Write>,
) -> Response {
    let known = store.user(id).cloned();
    match (method, write, known) {
        ("DELETE", ..) => {
            store.delete_user(id);
            Response::empty(204)
        }
        (_, _, None) => error(404, None, &format!("User {id} not found")),
        (_, Some(Write::User(user)), Some(_)) => put_user(store, mode, Some(id), *user, 200),
        (_, Some(Write::Patch(patch)), Some(known)) => {
            match patch.apply(&known.user, store.release) {
                Ok(user) => put_user(store, mode, Some(id), user, 200),
                Err(fault) => refused(fault),
            }
        }
        (_, _, Some(known)) => Response::scim(200, &render::user(id, &known)),
    }
}

fn put_user(store: &mut Store, mode: Mode, id: Option<&str>, user: User, status: u16) -> Response {
    let reading = match reading::validate(&user, mode, store.release) {
        Ok(reading) => reading,
        Err(fault) => return refused(fault),
    };
    match store.put_user(id, user, reading) {
        Change::Done(id) => match store.user(&id) {
            Some(stored) => Response::scim(status, &render::user(&id, stored)),
            None => Response::empty(404),
        },
        Change::Taken(what) => error(409, Some("uniqueness"), &format!("{what} is already taken")),
        Change::Reserved => error(502, None, "the handle is reserved"),
    }
}

pub(super) fn on_group(
    store: &mut Store,
    method: &str,
    id: &str,
    write: Option<Write>,
) -> Response {
    match (method, write) {
        ("DELETE", _) => {
            store.delete_group(id);
            Response::empty(204)
        }
        (_, Some(Write::GroupPatch)) => Response::text(500, "Something went wrong"),
        (_, Some(Write::Group(group))) if store.group(id).is_some() => {
            put_group(store, Some(id), group, 200)
        }
        _ => match store.group(id) {
            Some(group) => Response::scim(200, &render::group(id, group)),
            None => error(404, None, &format!("Group {id} not found")),
        },
    }
}

fn put_group(
    store: &mut Store,
    id: Option<&str>,
    group: Result<Group, Fault>,
    status: u16,
) -> Response {
    let group = match group {
        Ok(group) => group,
        Err(fault) => return refused(fault),
    };
    if group.members.iter().any(|member| store.user(&member.to_lowercase()).is_none()) {
        return match status {
            201 => Response::text(500, "Something went wrong"),
            _ => error(404, None, "a member was not found"),
        };
    }
    let id = store.put_group(id, group);
    match store.group(&id) {
        Some(group) => Response::scim(status, &render::group(&id, group)),
        None => Response::empty(404),
    }
}
