//! The config of ldap-scim-bridge, parsed as the bridge parses it: which keys it knows, which types
//! it requires, and what it ignores.
//!
//! The bridge ends at the first error; here all errors are reported.

use std::path::Path;

use super::note::{Note, Severity};
use super::yaml::{self, Member, Node, Value};
use crate::input::diagnostic::At;
use crate::input::near;
use crate::secret::Secret;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// A value and its position.
#[derive(Debug, Clone)]
pub struct Placed<T> {
    pub at: At,
    pub value: T,
}

/// The settings of the bridge.
#[allow(missing_debug_implementations, reason = "it holds a password")]
pub struct BridgeConfig {
    /// The log level is Debug or Trace: the bridge renders everything it has read.
    pub renders_all: Placed<bool>,
    pub directory: Directory,
    pub search: Search,
    pub delete_on: Option<DeleteOn>,
    pub delete_from: Option<Search>,
    pub target: Target,
    pub mapping: Mapping,
}

/// How to connect to the LDAP server.
#[allow(missing_debug_implementations, reason = "it holds a password")]
pub struct Directory {
    pub tls: Placed<bool>,
    pub host: Placed<String>,
    pub port: u16,
    pub dn: String,
    pub password: Placed<Secret>,
    pub codec: Codec,
}

/// The character encoding of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Utf8,
    Latin1,
}

/// One search: everything at or below `base` for which all filters hold.
#[derive(Debug, Clone)]
pub struct Search {
    pub at: At,
    pub base: String,
    /// Names and values, `objectClass` first.
    pub filters: Vec<(Placed<String>, String)>,
}

/// An attribute and the value that marks leavers.
#[derive(Debug, Clone)]
pub struct DeleteOn {
    pub key: Placed<String>,
    pub value: Placed<String>,
}

/// The SCIM side.
#[allow(missing_debug_implementations, reason = "it holds a token")]
pub struct Target {
    pub tls: Placed<bool>,
    pub host: Placed<String>,
    pub path: Placed<String>,
    pub token: Placed<Secret>,
}

/// Maps attributes of an entry to attributes of a user.
#[derive(Debug, Clone)]
pub struct Mapping {
    pub at: At,
    pub user_name: Placed<String>,
    pub external_id: Placed<String>,
    pub display_name: Option<Placed<String>>,
    pub email: Option<Placed<String>>,
    pub roles: Option<Placed<String>>,
}

impl Mapping {
    /// All pairs: the name of the target and the attribute.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &Placed<String>)> {
        let optional = [
            ("displayName", self.display_name.as_ref()),
            ("email", self.email.as_ref()),
            ("roles", self.roles.as_ref()),
        ];
        let mandatory = [("userName", &self.user_name), ("externalId", &self.external_id)];
        let optional = optional.into_iter().filter_map(|(target, name)| Some((target, name?)));
        mandatory.into_iter().chain(optional)
    }
}

/// Reads the file at `path`. The notes contain everything that the bridge cannot read and
/// everything that it ignores.
pub fn load(path: &Path) -> Result<(Option<BridgeConfig>, Vec<Note>), String> {
    use std::io::Read;
    let shown = path.display();
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path);
    file.and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{shown}: cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{shown}: is larger than 1MiB; is this the bridge's config?"));
    }
    // The bridge's library replaces what is not UTF-8.
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

/// Parses a config.
pub fn parse(text: &str) -> (Option<BridgeConfig>, Vec<Note>) {
    let root = match yaml::read(text) {
        Ok(root) => root,
        Err(yaml::Unreadable { at, why }) => {
            return (None, vec![Note::new(at, Severity::Unreadable, why)]);
        }
    };
    let mut notes = Vec::new();
    let config = top(&root, &mut notes);
    notes.sort_by_key(|note| (note.line, note.column));
    let unreadable = notes.iter().any(|note| note.severity == Severity::Unreadable);
    (config.filter(|_| !unreadable), notes)
}

fn top(root: &Node, notes: &mut Vec<Note>) -> Option<BridgeConfig> {
    let mut top = Section::new("", root, notes)?;
    let level = top.word("logLevel", &["Trace", "Debug", "Info", "Warn", "Error", "Fatal"], notes);
    let source = top.mandatory("ldapSource", notes);
    let target = top.mandatory("scimTarget", notes);
    let mapping = top.mandatory("mapping", notes);
    top.close(notes);
    let source = source.and_then(|node| source_of(&node, notes));
    let target = target.and_then(|node| target_of(&node, notes));
    let mapping = mapping.and_then(|node| mapping_of(&node, notes));
    let Placed { at, value } = level?;
    let renders_all = Placed { at, value: matches!(&*value, "Trace" | "Debug") };
    let (directory, search, delete_on, delete_from) = source?;
    Some(BridgeConfig {
        renders_all,
        directory,
        search,
        delete_on,
        delete_from,
        target: target?,
        mapping: mapping?,
    })
}

type Source = (Directory, Search, Option<DeleteOn>, Option<Search>);

fn source_of(node: &Node, notes: &mut Vec<Note>) -> Option<Source> {
    let mut source = Section::new("ldapSource", node, notes)?;
    let tls = source.boolean("tls", notes);
    let host = source.text("host", notes);
    let port = source.port(notes);
    let dn = source.text("dn", notes);
    let password = source.text("password", notes);
    let codec = source.word("codec", &["utf8", "latin1"], notes);
    let search = source.mandatory("search", notes);
    let delete_on = source.optional("deleteOnAttribute");
    let delete_from = source.optional("deleteFromDirectory");
    source.close(notes);
    let search = search.and_then(|node| search_of("ldapSource.search", &node, notes));
    let delete_on = delete_on.map(|node| delete_on_of(&node, notes));
    let path = "ldapSource.deleteFromDirectory";
    let delete_from = delete_from.map(|node| search_of(path, &node, notes));
    let Placed { at, value } = password?;
    let directory = Directory {
        tls: tls?,
        host: host?,
        port: port?,
        dn: dn?.value,
        password: Placed { at, value: Secret::new(value) },
        codec: if codec?.value == "utf8" { Codec::Utf8 } else { Codec::Latin1 },
    };
    // A value that is present but invalid is reported already; that it is missing here does not
    // matter then.
    Some((directory, search?, delete_on.flatten(), delete_from.flatten()))
}

fn search_of(path: &'static str, node: &Node, notes: &mut Vec<Note>) -> Option<Search> {
    let mut search = Section::new(path, node, notes)?;
    let base = search.text("base", notes);
    let class = search.text("objectClass", notes);
    let class_key = |at| Placed { at, value: "objectClass".to_string() };
    let mut filters: Vec<_> =
        class.into_iter().map(|class| (class_key(class.at), class.value)).collect();
    // Every other key here is one more filter.
    for Member { key, at, value } in std::mem::take(&mut search.members) {
        if let Some(text) = search.as_text(&key, &value, notes) {
            filters.push((Placed { at, value: key }, text));
        }
    }
    Some(Search { at: node.at, base: base?.value, filters })
}

fn delete_on_of(node: &Node, notes: &mut Vec<Note>) -> Option<DeleteOn> {
    let mut section = Section::new("ldapSource.deleteOnAttribute", node, notes)?;
    let key = section.text("key", notes);
    let value = section.text("value", notes);
    section.close(notes);
    Some(DeleteOn { key: key?, value: value? })
}

fn target_of(node: &Node, notes: &mut Vec<Note>) -> Option<Target> {
    let mut target = Section::new("scimTarget", node, notes)?;
    let tls = target.boolean("tls", notes);
    let host = target.text("host", notes);
    let port = target.port(notes);
    let path = target.text("path", notes);
    let token = target.text("token", notes);
    target.close(notes);
    let Placed { at, value } = token?;
    port?;
    let token = Placed { at, value: Secret::new(value) };
    Some(Target { tls: tls?, host: host?, path: path?, token })
}

fn mapping_of(node: &Node, notes: &mut Vec<Note>) -> Option<Mapping> {
    let mut mapping = Section::new("mapping", node, notes)?;
    let user_name = mapping.text("userName", notes);
    let external_id = mapping.text("externalId", notes);
    let mut optional = |key| {
        let node = mapping.optional(key)?;
        let value = mapping.as_text(key, &node, notes)?;
        Some(Placed { at: node.at, value })
    };
    let (display_name, email, roles) =
        (optional("displayName"), optional("email"), optional("roles"));
    mapping.close(notes);
    Some(Mapping {
        at: node.at,
        user_name: user_name?,
        external_id: external_id?,
        display_name,
        email,
        roles,
    })
}

/// One mapping of the file, from which known keys are taken one by one.
struct Section {
    path: &'static str,
    at: At,
    members: Vec<Member>,
    asked: Vec<&'static str>,
}

impl Section {
    fn new(path: &'static str, node: &Node, notes: &mut Vec<Note>) -> Option<Self> {
        let Value::Map(members) = &*node.value else {
            let name = if path.is_empty() { "the config" } else { path };
            let message =
                format!("{name} must be a mapping of keys to values, and is {}", node.kind());
            notes.push(Note::new(node.at, Severity::Unreadable, message));
            return None;
        };
        Some(Self { path, at: node.at, members: members.clone(), asked: Vec::new() })
    }

    fn named(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.asked.push(key);
        let at = self.members.iter().position(|member| member.key == key)?;
        Some(self.members.remove(at).value)
    }

    /// To the bridge null is the same as absent if a key is optional.
    fn optional(&mut self, key: &'static str) -> Option<Node> {
        self.take(key).filter(|node| !matches!(*node.value, Value::Null))
    }

    fn mandatory(&mut self, key: &'static str, notes: &mut Vec<Note>) -> Option<Node> {
        let found = self.take(key);
        if found.is_none() {
            let name = self.named(key);
            let written = self.members.iter().map(|member| &*member.key);
            let hint = match near::near(key, written) {
                Some(other) => format!("; is `{other}` a misspelling of it?"),
                None => String::new(),
            };
            let message = format!("{name} is missing, and the bridge has no default for it{hint}");
            notes.push(Note::new(self.at, Severity::Unreadable, message));
        }
        found
    }

    fn text(&mut self, key: &'static str, notes: &mut Vec<Note>) -> Option<Placed<String>> {
        let node = self.mandatory(key, notes)?;
        let value = self.as_text(key, &node, notes)?;
        Some(Placed { at: node.at, value })
    }

    fn as_text(&self, key: &str, node: &Node, notes: &mut Vec<Note>) -> Option<String> {
        if let Value::Text(text) = &*node.value {
            return Some(text.clone());
        }
        let advice = match *node.value {
            Value::Bool(_) | Value::Number(_) => "; put it in quotes",
            _ => "",
        };
        let message =
            format!("{} must be a string, and is {}{advice}", self.named(key), node.kind());
        notes.push(Note::new(node.at, Severity::Unreadable, message));
        None
    }

    fn word(
        &mut self,
        key: &'static str,
        words: &[&str],
        notes: &mut Vec<Note>,
    ) -> Option<Placed<String>> {
        let text = self.text(key, notes)?;
        if words.contains(&&*text.value) {
            return Some(text);
        }
        let message = format!(
            "{} must be one of {}, in exactly this spelling",
            self.named(key),
            words.join(", ")
        );
        notes.push(Note::new(text.at, Severity::Unreadable, message));
        None
    }

    fn boolean(&mut self, key: &'static str, notes: &mut Vec<Note>) -> Option<Placed<bool>> {
        let node = self.mandatory(key, notes)?;
        if let Value::Bool(value) = *node.value {
            return Some(Placed { at: node.at, value });
        }
        let message = format!(
            "{} must be true or false without quotes, and is {}",
            self.named(key),
            node.kind()
        );
        notes.push(Note::new(node.at, Severity::Unreadable, message));
        None
    }

    fn port(&mut self, notes: &mut Vec<Note>) -> Option<u16> {
        let node = self.mandatory("port", notes)?;
        let name = self.named("port");
        let Value::Number(number) = &*node.value else {
            let advice = if matches!(*node.value, Value::Text(_)) {
                "; write it without quotes"
            } else {
                ""
            };
            let message = format!("{name} must be a number, and is {}{advice}", node.kind());
            notes.push(Note::new(node.at, Severity::Unreadable, message));
            return None;
        };
        let port = yaml::port(number);
        match port {
            None => {
                let message = format!("{name} must be a whole number");
                notes.push(Note::new(node.at, Severity::Unreadable, message));
            }
            Some(port)
                if number.parse::<u16>().ok() != Some(port) && number.parse::<i64>().is_ok() =>
            {
                let message = format!("{name} is not a port; the bridge uses port {port} instead");
                notes.push(Note::warning(node.at, message));
            }
            Some(_) => {}
        }
        port
    }

    /// Reports the keys that were not looked up, which the bridge silently ignores.
    fn close(self, notes: &mut Vec<Note>) {
        for member in &self.members {
            let known = self.asked.iter().copied();
            let hint = match (self.path, &*member.key) {
                ("mapping", "emails") => "; did you mean `email`?".into(),
                ("mapping", "role") => "; did you mean `roles`?".into(),
                (_, key) => near::hint(key, known),
            };
            let name = self.named(&member.key);
            let message =
                format!("{name} is not a key of the bridge, which silently ignores it{hint}");
            notes.push(Note::warning(member.at, message));
        }
    }
}
