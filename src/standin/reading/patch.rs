//! A PATCH: parsed whole, then applied operation by operation to the stored user.

use serde_json::value::RawValue;

use super::filter::{Attribute, EXTENSION, PROFILE, Path, path};
use super::json::{Members, Object, as_array, as_boolean, as_string, fold, scan, text_of};
use super::{Fault, User, emails, rich_info, user};
use crate::release::Release;

const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// A PATCH that was parsed.
#[derive(Debug)]
pub struct Patch(Vec<Operation>);

#[derive(Debug)]
struct Operation {
    remove: bool,
    path: Option<Path>,
    value: Option<Box<RawValue>>,
}

/// Parses a PATCH.
pub fn patch(body: &[u8]) -> Result<Patch, Fault> {
    let text = text_of(body)?;
    let object = Object::read(scan(&text)?, "patch")?;
    if !object.strings("schemas")?.iter().any(|urn| urn == PATCH_OP)
        || object.some("operations").is_none()
    {
        return Fault::parse("schemas");
    }
    object
        .array("operations")?
        .into_iter()
        .map(|raw| operation(&Object::read(raw, "Operations")?))
        .collect::<Result<_, _>>()
        .map(Patch)
}

fn operation(object: &Object<'_>) -> Result<Operation, Fault> {
    let remove = match object.required_string("op")?.to_lowercase().as_str() {
        "add" | "replace" => false,
        "remove" => true,
        _ => return Fault::parse("op"),
    };
    let path = match object.string("path")? {
        Some(text) => Some(path(&text).ok_or_else(|| Fault::Parse("Error in $.path".into()))?),
        None => None,
    };
    Ok(Operation { remove, path, value: object.some("value").map(ToOwned::to_owned) })
}

impl Patch {
    /// The user after all operations, to which Wire's rules are applied.
    pub fn apply(&self, user: &User, release: Release) -> Result<User, Fault> {
        let mut user = user.clone();
        for operation in &self.0 {
            apply(&mut user, operation, release)?;
        }
        Ok(user)
    }
}

fn apply(user: &mut User, operation: &Operation, release: Release) -> Result<(), Fault> {
    let value = operation.value.as_deref();
    match (&operation.path, operation.remove) {
        (Some(Path::Values { .. }), _) if release < Release::R5_35 => {
            Err(Fault::rule("invalidPath", "can not lens into multi-valued attributes yet"))
        }
        (Some(Path::Values { attribute, filter, .. }), true) => {
            emails::remove(&mut user.emails, attribute, filter)
        }
        (Some(Path::Attribute(attribute)), remove)
            if [Some(PROFILE), Some(EXTENSION)].contains(&attribute.schema) =>
        {
            rich(user, attribute, remove, value)
        }
        (None, true) => Err(Fault::rule("noTarget", "remove needs a path")),
        (Some(Path::Attribute(attribute)), true) => clear(user, attribute),
        (path, false) => {
            let value = value.ok_or_else(|| Fault::value("No value was provided"))?;
            match path {
                Some(Path::Attribute(attribute)) => set(user, attribute, value),
                Some(Path::Values { attribute, filter, sub }) => {
                    emails::put(&mut user.emails, attribute, filter, sub.as_deref(), value)
                }
                None => replace(user, value),
            }
        }
    }
}

fn clear(user: &mut User, attribute: &Attribute) -> Result<(), Fault> {
    match attribute.name.to_lowercase().as_str() {
        "username" => return Err(Fault::rule("mutability", "userName cannot be removed")),
        "displayname" => user.display_name = None,
        "externalid" => user.external_id = None,
        "active" => user.active = None,
        "roles" => user.roles.clear(),
        _ => {}
    }
    Ok(())
}

fn set(user: &mut User, attribute: &Attribute, value: &RawValue) -> Result<(), Fault> {
    let text = || as_string(value).ok_or_else(|| Fault::value("expected a string"));
    match attribute.name.to_lowercase().as_str() {
        "username" => user.user_name = text()?,
        "displayname" => user.display_name = Some(text()?),
        "externalid" => user.external_id = Some(text()?),
        "active" => {
            user.active =
                Some(as_boolean(value).ok_or_else(|| Fault::value("expected a boolean"))?);
        }
        "roles" => {
            let roles = as_array(value)
                .and_then(|list| list.into_iter().map(as_string).collect::<Option<_>>());
            user.roles = roles.ok_or_else(|| Fault::value("expected an array of strings"))?;
        }
        _ => {
            let detail =
                "we only support attributes username, displayname, externalid, active, roles";
            return Err(Fault::rule("invalidPath", detail));
        }
    }
    Ok(())
}

/// A value without a path: a user with five attributes, of which the roles are ignored.
fn replace(user: &mut User, value: &RawValue) -> Result<(), Fault> {
    let refused = || Fault::rule("invalidPath", "unsupported attributes in a value without path");
    let Members(members) = serde_json::from_str(value.get()).map_err(|_| refused())?;
    let mut seen = Vec::new();
    for (name, _) in members {
        let name = fold(&name);
        let known =
            ["username", "displayname", "externalid", "active", "roles"].contains(&name.as_str());
        if !known || seen.contains(&name) {
            return Err(refused());
        }
        seen.push(name);
    }
    let object = Object::read(value, "value").map_err(|_| refused())?;
    let new = user::from_object(&object).map_err(|fault| match fault {
        Fault::Parse(detail) => Fault::value(&detail),
        rule @ Fault::Rule { .. } => rule,
    })?;
    user.user_name = new.user_name;
    user.display_name = new.display_name;
    user.external_id = new.external_id;
    user.active = new.active;
    Ok(())
}

fn rich(
    user: &mut User,
    attribute: &Attribute,
    remove: bool,
    value: Option<&RawValue>,
) -> Result<(), Fault> {
    if attribute.sub {
        return Err(Fault::value("rich info has no sub-attributes"));
    }
    let key = fold(&attribute.name);
    if remove {
        user.rich_info.retain(|(other, _)| fold(other) != key);
    } else {
        let text = value.and_then(as_string).ok_or_else(|| Fault::value("expected a string"))?;
        match user.rich_info.iter_mut().find(|(other, _)| fold(other) == key) {
            Some(field) => *field = (attribute.name.clone(), text),
            None => user.rich_info.push((attribute.name.clone(), text)),
        }
    }
    if attribute.schema == Some(EXTENSION) {
        user.rich_info.sort_by_key(|(other, _)| fold(other));
    }
    user.rich_info = rich_info::normal(std::mem::take(&mut user.rich_info));
    Ok(())
}
