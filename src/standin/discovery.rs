//! The discovery routes, by which a client learns what the service supports. Like Wire's, they do not declare
//! everything that the service supports.

use serde_json::{Value, json};

use super::http::Response;
use super::scim;

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// One document of the discovery routes.
pub(super) enum Document {
    ServiceProviderConfig,
    Schemas,
    Schema(String),
    ResourceTypes,
}

impl Document {
    /// The document at a path below `/scim/v2`.
    pub(super) fn find(path: &[&[u8]]) -> Option<Self> {
        match path {
            [b"ServiceProviderConfig"] => Some(Self::ServiceProviderConfig),
            [b"Schemas"] => Some(Self::Schemas),
            [b"Schemas", urn] => Some(Self::Schema(String::from_utf8_lossy(urn).into_owned())),
            [b"ResourceTypes"] => Some(Self::ResourceTypes),
            _ => None,
        }
    }

    pub(super) fn answer(&self) -> Response {
        match self {
            Self::ServiceProviderConfig => Response::scim(200, &service_provider_config()),
            Self::Schemas => {
                Response::scim(200, &super::render::list(&[schema(USER), schema(GROUP)]))
            }
            Self::Schema(urn) if urn == USER || urn == GROUP => Response::scim(200, &schema(urn)),
            Self::Schema(urn) => scim::error(404, None, &format!("Schema {urn} not found")),
            Self::ResourceTypes => {
                let types = [
                    resource_type("User", "/Users", USER),
                    resource_type("Group", "/Groups", GROUP),
                ];
                Response::scim(200, &super::render::list(&types))
            }
        }
    }
}

fn service_provider_config() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "documentationUri": null,
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": false, "maxResults": 0},
        "changePassword": {"supported": false},
        "sort": {"supported": false},
        "etag": {"supported": false},
        "authenticationSchemes": [{
            "type": "httpbasic",
            "name": "HTTP Basic",
            "description": "Authentication via the HTTP Basic standard",
            "specUri": "https://tools.ietf.org/html/rfc7617"
        }],
        "meta": {"resourceType": "ServiceProviderConfig", "location": "https://example.com/scim/v2/ServiceProviderConfig"}
    })
}

fn resource_type(name: &str, endpoint: &str, schema: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": name,
        "name": name,
        "endpoint": endpoint,
        "schema": schema,
        "meta": {"resourceType": "ResourceType", "location": format!("https://example.com/scim/v2/ResourceTypes/{name}")}
    })
}

fn schema(urn: &str) -> Value {
    let attribute = |name: &str, kind: &str, many: bool, required: bool| {
        json!({
            "name": name, "type": kind, "multiValued": many, "required": required, "caseExact": false,
            "mutability": "readWrite", "returned": "default", "uniqueness": "none", "description": name
        })
    };
    let (name, attributes) = if urn == USER {
        let attributes = [
            attribute("userName", "string", false, true),
            attribute("externalId", "string", false, false),
            attribute("displayName", "string", false, false),
            attribute("active", "boolean", false, false),
            attribute("preferredLanguage", "string", false, false),
            attribute("roles", "string", true, false),
        ];
        ("User", attributes.to_vec())
    } else {
        ("Group", vec![attribute("displayName", "string", false, true)])
    };
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": urn,
        "name": name,
        "description": name,
        "attributes": attributes,
        "meta": {"resourceType": "Schema", "location": format!("https://example.com/scim/v2/Schemas/{urn}")}
    })
}
