//! Wire's SCIM API as one table: a row for each route, with its template, its methods and the bodies
//! they take, and what a token needs to use it. Recognising targets, judging heads and bodies, the
//! limits of tokens and the labels of metrics all follow from it.

use http::Method;

/// The routes of Wire's SCIM API, and what else a target can be. The names are metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handler {
    Users,
    User,
    Groups,
    Group,
    ServiceProviderConfig,
    Schemas,
    Schema,
    ResourceTypes,
    /// Wire's own token API, protected by its login: forwarded as it is, or refused, never judged.
    AuthTokens,
    /// Some other path of the backend.
    Other,
    /// A target or a request that could not be parsed.
    Invalid,
}

/// What a body is judged as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// POST of a user.
    NewUser,
    /// PUT of a user.
    User,
    /// PATCH of a user.
    Patch,
    /// POST of a group.
    NewGroup,
    /// PUT of a group.
    Group,
    /// PATCH of a group: read, and then always refused.
    GroupPatch,
    /// The body of a method that Wire does not serve, if that rule is not enforced: forwarded
    /// unchanged.
    Unserved,
}

/// The resources to which the registry can limit a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    Users,
    Groups,
}

impl Resource {
    /// The resources by their names in the registry.
    pub const NAMED: [(&'static str, Self); 2] = [("Users", Self::Users), ("Groups", Self::Groups)];
}

/// The id that follows the name of a collection in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    Absent,
    Uuid,
    Any,
}

/// One row of the API.
#[derive(Debug)]
pub struct Route {
    pub handler: Handler,
    /// The label in metrics and logs: a template, never what a client sent.
    pub template: &'static str,
    /// The first path segment after `/scim/v2`; empty if nothing is judged.
    pub name: &'static str,
    pub id: Id,
    /// The methods that are judged, each with the body that it takes.
    pub methods: &'static [(&'static str, Option<BodyKind>)],
    /// The methods that Wire serves, as the Allow header lists them.
    pub allow: &'static str,
    /// Whether Wire asks for a token.
    pub token: bool,
    /// What a token may be limited to.
    pub resource: Option<Resource>,
}

const GET: (&str, Option<BodyKind>) = ("GET", None);
const HEAD: (&str, Option<BodyKind>) = ("HEAD", None);
const DELETE: (&str, Option<BodyKind>) = ("DELETE", None);

/// How many rows there are.
const COUNT: usize = 11;

/// The rows, in the order of [`Handler`].
static ROUTES: [Route; COUNT] = [
    Route {
        handler: Handler::Users,
        template: "/scim/v2/Users",
        name: "Users",
        id: Id::Absent,
        methods: &[GET, HEAD, ("POST", Some(BodyKind::NewUser))],
        allow: "GET, HEAD, POST",
        token: true,
        resource: Some(Resource::Users),
    },
    Route {
        handler: Handler::User,
        template: "/scim/v2/Users/:uid",
        name: "Users",
        id: Id::Uuid,
        methods: &[
            GET,
            HEAD,
            ("PUT", Some(BodyKind::User)),
            ("PATCH", Some(BodyKind::Patch)),
            DELETE,
        ],
        allow: "GET, HEAD, PUT, PATCH, DELETE",
        token: true,
        resource: Some(Resource::Users),
    },
    Route {
        handler: Handler::Groups,
        template: "/scim/v2/Groups",
        name: "Groups",
        id: Id::Absent,
        methods: &[GET, HEAD, ("POST", Some(BodyKind::NewGroup))],
        allow: "GET, HEAD, POST",
        token: true,
        resource: Some(Resource::Groups),
    },
    Route {
        handler: Handler::Group,
        template: "/scim/v2/Groups/:gid",
        name: "Groups",
        id: Id::Uuid,
        methods: &[
            GET,
            HEAD,
            ("PUT", Some(BodyKind::Group)),
            ("PATCH", Some(BodyKind::GroupPatch)),
            DELETE,
        ],
        allow: "GET, HEAD, PUT, DELETE",
        token: true,
        resource: Some(Resource::Groups),
    },
    discovery(
        Handler::ServiceProviderConfig,
        "/scim/v2/ServiceProviderConfig",
        "ServiceProviderConfig",
        Id::Absent,
    ),
    discovery(Handler::Schemas, "/scim/v2/Schemas", "Schemas", Id::Absent),
    discovery(Handler::Schema, "/scim/v2/Schemas/:uri", "Schemas", Id::Any),
    discovery(Handler::ResourceTypes, "/scim/v2/ResourceTypes", "ResourceTypes", Id::Absent),
    unjudged(Handler::AuthTokens, "/scim/auth-tokens"),
    unjudged(Handler::Other, "other"),
    unjudged(Handler::Invalid, "invalid"),
];

/// A route that describes the service: read-only, and without a token.
const fn discovery(handler: Handler, template: &'static str, name: &'static str, id: Id) -> Route {
    Route {
        handler,
        template,
        name,
        id,
        methods: &[GET, HEAD],
        allow: "GET, HEAD",
        token: false,
        resource: None,
    }
}

/// A route that is forwarded or refused as a whole; method and token are not checked.
const fn unjudged(handler: Handler, template: &'static str) -> Route {
    Route { token: true, ..discovery(handler, template, "", Id::Absent) }
}

impl Handler {
    /// All handlers, in the order of the table.
    pub const ALL: [Self; COUNT] = {
        let mut all = [Self::Invalid; COUNT];
        let mut at = 0;
        while at < COUNT {
            all[at] = ROUTES[at].handler;
            at += 1;
        }
        all
    };

    /// The row of this handler.
    pub fn route(self) -> &'static Route {
        &ROUTES[self as usize]
    }

    /// The label in metrics and logs.
    pub fn as_str(self) -> &'static str {
        self.route().template
    }
}

impl Route {
    /// What Wire does with a method: the kind of body it parses, if any, or, as an error, the methods
    /// that it serves on this route.
    pub fn body_of(&self, method: &Method) -> Result<Option<BodyKind>, &'static str> {
        let row = self.methods.iter().find(|(name, _)| *name == method.as_str());
        row.map(|(_, body)| *body).ok_or(self.allow)
    }
}

/// The route of a path below `/scim/v2`: its first segment, and whether an id follows.
pub fn find(name: &[u8], has_id: bool) -> Option<&'static Route> {
    named(name).find(|route| (route.id != Id::Absent) == has_id)
}

/// Whether a path below `/scim/v2` may begin with this segment.
pub fn is_collection(name: &[u8]) -> bool {
    named(name).next().is_some()
}

fn named(name: &[u8]) -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(move |route| !route.name.is_empty() && route.name.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_in_the_order_of_the_handlers() {
        for (at, handler) in Handler::ALL.into_iter().enumerate() {
            assert_eq!(handler as usize, at);
        }
    }

    #[test]
    fn templates_and_allowed_methods_follow_from_the_rest_of_a_row() {
        for route in &ROUTES {
            // A PATCH of a group is parsed, so that its refusal can say what to do instead.
            let served =
                route.methods.iter().filter(|(_, body)| *body != Some(BodyKind::GroupPatch));
            let served: Vec<&str> = served.map(|(method, _)| *method).collect();
            assert_eq!(route.allow, served.join(", "));
            if !route.name.is_empty() {
                let base = format!("/scim/v2/{}", route.name);
                let id = route.template.strip_prefix(&base).expect("another name");
                assert_eq!(id.starts_with("/:"), route.id != Id::Absent, "{}", route.template);
            }
        }
    }
}
