//! An entry of a directory, reduced to the attributes of interest.

/// A DN and the values of some attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    pub dn: Vec<u8>,
    /// In the order in which they first appeared, under the names as written.
    attributes: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
}

impl Entry {
    pub fn new(dn: Vec<u8>) -> Self {
        Self { dn, attributes: Vec::new() }
    }

    /// Adds a value to the attribute of this name.
    pub fn add(&mut self, name: &[u8], value: Vec<u8>) {
        match self.attributes.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => self.attributes.push((name.to_vec(), vec![value])),
        }
    }

    /// The values of the attribute of exactly this name.
    pub fn values(&self, name: &str) -> Option<&[Vec<u8>]> {
        let found = self.attributes.iter().find(|(known, _)| known == name.as_bytes());
        found.map(|(_, values)| &values[..])
    }

    /// The values that a server compares for this name: ignoring case, and including options.
    pub fn values_at_server<'e>(&'e self, name: &'e str) -> impl Iterator<Item = &'e [u8]> {
        let named = self.attributes.iter().filter(|(known, _)| is_spelling_of(known, name));
        named.flat_map(|(_, values)| values.iter().map(Vec::as_slice))
    }

    pub fn attributes(&self) -> impl Iterator<Item = (&[u8], &[Vec<u8>])> {
        self.attributes.iter().map(|(name, values)| (&name[..], &values[..]))
    }

    /// The DN as a string.
    pub fn dn_text(&self) -> String {
        String::from_utf8_lossy(&self.dn).into_owned()
    }
}

/// Whether a server considers `written` to be the attribute `name`: in any case, with any options.
pub fn is_spelling_of(written: &[u8], name: &str) -> bool {
    let name = name.as_bytes();
    written.eq_ignore_ascii_case(name)
        || written.get(name.len()) == Some(&b';')
            && written[..name.len()].eq_ignore_ascii_case(name)
}
