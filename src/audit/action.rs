//! Which requests change something.

use strum::IntoStaticStr;

use crate::api::Handler;
use crate::metrics::MethodLabel;

/// What a request changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Resource {
    User,
    Group,
    Token,
}

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Action {
    Create,
    Replace,
    Patch,
    Delete,
    /// A replacement or a PATCH that sets `active` to false.
    Deactivate,
    /// A PATCH that sets `active` to true, or removes it, which means the same.
    Reactivate,
    /// Another method, which is forwarded if rules about methods are not enforced.
    Other,
}

impl Action {
    /// What a request does to which resource; `None` if it changes none.
    pub fn of(handler: Handler, method: MethodLabel) -> Option<(Self, Resource)> {
        let resource = match handler {
            Handler::Users | Handler::User => Resource::User,
            Handler::Groups | Handler::Group => Resource::Group,
            Handler::AuthTokens => Resource::Token,
            _ => return None,
        };
        let action = match method.as_str() {
            "GET" | "HEAD" | "OPTIONS" => return None,
            "POST" => Self::Create,
            "PUT" => Self::Replace,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        };
        Some((action, resource))
    }
}
