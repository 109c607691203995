//! The JSON of a user, byte for byte as the bridge writes it: keys in alphabetical order, absent ones left
//! out, raw UTF-8.

/// The attributes of a user.
#[derive(Debug, Default)]
pub struct Body<'a> {
    pub active: Option<Active<'a>>,
    pub display_name: Option<&'a str>,
    pub email: Option<&'a str>,
    pub external_id: Option<&'a str>,
    pub role: Option<&'a str>,
    pub user_name: Option<&'a str>,
}

/// The value of `active` from a source other than the bridge.
#[derive(Debug, Clone, Copy)]
pub enum Active<'a> {
    Is(bool),
    /// Not a boolean: sent unchanged, for the rules to judge.
    Text(&'a str),
}

impl Body<'_> {
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = b"{".to_vec();
        match self.active {
            Some(Active::Is(active)) => {
                out.extend_from_slice(format!("\"active\":{active},").as_bytes());
            }
            Some(Active::Text(text)) => member(&mut out, "\"active\":", text, ","),
            None => {}
        }
        if let Some(name) = self.display_name {
            member(&mut out, "\"displayName\":", name, ",");
        }
        if let Some(email) = self.email {
            member(&mut out, "\"emails\":[{\"value\":", email, "}],");
        }
        if let Some(id) = self.external_id {
            member(&mut out, "\"externalId\":", id, ",");
        }
        if let Some(role) = self.role {
            member(&mut out, "\"roles\":[", role, "],");
        }
        out.extend_from_slice(b"\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"]");
        if let Some(name) = self.user_name {
            member(&mut out, ",\"userName\":", name, "");
        }
        out.push(b'}');
        out
    }
}

fn member(out: &mut Vec<u8>, before: &str, text: &str, after: &str) {
    out.extend_from_slice(before.as_bytes());
    string(out, text);
    out.extend_from_slice(after.as_bytes());
}

/// A JSON string; serde_json would shorten two more control characters.
fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_as_the_bridge_writes_them() {
        let body =
            Body { user_name: Some("a\"\\\n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}ü"), ..Body::default() };
        let wanted = "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"],\"userName\":\
                      \"a\\\"\\\\\\n\\r\\t\\u0008\\u000c\\u0000\\u001f\u{7f}ü\"}";
        assert_eq!(String::from_utf8_lossy(&body.to_json()), wanted);
    }
}
