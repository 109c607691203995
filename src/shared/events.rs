//! What replicas tell each other through a channel of the store.
//!
//! Whoever can write to the store can forge events, as it can change budgets: a token is refused for
//! `shield.refused_for` at most, and never one that Wire has accepted within the last hour.

use super::keys::TokenHash;

/// Something that one replica has learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Wire refused this token.
    Refused(TokenHash),
    /// Wire accepted this token.
    Accepted(TokenHash),
    /// A request with an invalid token came from this network.
    Failed(u128),
    /// The sender can be heard.
    Beat,
}

/// Tells replicas apart, so that none hears itself.
pub type Replica = [u8; 16];

impl Event {
    /// As it is published.
    pub fn encode(self, sender: &Replica) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + sender.len() + 32);
        bytes.push(match self {
            Self::Refused(_) => b'R',
            Self::Accepted(_) => b'A',
            Self::Failed(_) => b'F',
            Self::Beat => b'B',
        });
        bytes.extend(sender);
        match self {
            Self::Refused(hash) | Self::Accepted(hash) => bytes.extend(hash),
            Self::Failed(network) => bytes.extend(network.to_be_bytes()),
            Self::Beat => {}
        }
        bytes
    }

    /// What was published, and by whom; `None`: a later version may publish more.
    pub fn decode(bytes: &[u8]) -> Option<(Replica, Self)> {
        let (kind, rest) = bytes.split_first()?;
        let (sender, rest) = rest.split_first_chunk::<16>()?;
        let event = match (kind, rest.len()) {
            (b'R', 32) => Self::Refused(rest.try_into().ok()?),
            (b'A', 32) => Self::Accepted(rest.try_into().ok()?),
            (b'F', 16) => Self::Failed(u128::from_be_bytes(rest.try_into().ok()?)),
            (b'B', 0) => Self::Beat,
            _ => return None,
        };
        Some((*sender, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_they_were_written_and_anything_else_is_ignored() {
        for event in
            [Event::Refused([1; 32]), Event::Accepted([2; 32]), Event::Failed(3), Event::Beat]
        {
            let bytes = event.encode(&[7; 16]);
            assert_eq!(Event::decode(&bytes), Some(([7; 16], event)));
            for end in 0..bytes.len() {
                assert_eq!(Event::decode(&bytes[..end]), None);
            }
            assert_eq!(Event::decode(&[&bytes[..], b"x"].concat()), None);
        }
        assert_eq!(Event::decode(&[b'Z'; 17]), None);
    }
}
