//! A correct ServiceProviderConfig for Wire with this guard (`discovery`). Wire's own says that
//! filters are not supported, and names HTTP Basic as the authentication scheme.

use serde::Deserialize;
use serde_json::{Value, json};

/// The maximum number of resources in one answer. Wire returns fewer.
const MAX_RESULTS: usize = 1000;

/// The document that replaces Wire's (RFC 7643 §5). Wire's own address and documentation are kept,
/// if its answer can be parsed.
pub fn replacement(wires: Option<&[u8]>) -> Vec<u8> {
    let kept = wires.and_then(|body| serde_json::from_slice::<Kept>(body).ok()).unwrap_or_default();
    let mut meta = json!({"resourceType": "ServiceProviderConfig"});
    if let Some(location) = kept.meta.and_then(|meta| meta.location) {
        meta["location"] = location.into();
    }
    let mut document = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": MAX_RESULTS},
        "changePassword": {"supported": false},
        "sort": {"supported": false},
        "etag": {"supported": false},
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "SCIM token",
            "description": "A SCIM token of the Wire team, sent as a bearer token.",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }],
        "meta": meta,
    });
    if let Some(uri) = kept.documentation_uri {
        document["documentationUri"] = Value::String(uri);
    }
    document.to_string().into_bytes()
}

/// What is taken over from Wire's answer.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    documentation_uri: Option<String>,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    location: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wires_own_address_is_kept() {
        let wires = br#"{"documentationUri":null,"filter":{"supported":false},
            "meta":{"location":"https://wire.example/scim/v2/ServiceProviderConfig"}}"#;
        for (wires, location) in [
            (Some(&wires[..]), json!("https://wire.example/scim/v2/ServiceProviderConfig")),
            (Some(b"x"), Value::Null),
            (None, Value::Null),
        ] {
            let document: Value = serde_json::from_slice(&replacement(wires)).unwrap();
            assert_eq!(document["meta"]["location"], location);
            assert_eq!(document["filter"]["supported"], true);
            assert_eq!(document.get("documentationUri"), None);
        }
    }
}
