//! How single values of the config are written.

use crate::input::key::{Form, Kind, MAX_ITEMS};

const fn form(name: &'static str) -> Form {
    Form { name, pattern: None, number: false }
}

pub const ADDRESS: Kind = Kind::Text(&form("IP address and port"));
pub const SERVER: Kind =
    Kind::Text(&form("server: host:port, http://host[:port] or https://host[:port]"));
pub const HOST: Kind = Kind::Text(&form("host name"));
pub const FILE: Kind = Kind::Text(&form("path of a file"));
pub const FOLDER: Kind = Kind::Text(&form("path of a folder"));
pub const PATH: Kind =
    Kind::Text(&Form { name: "path of a URL", pattern: Some("^/"), number: false });
pub const COLLECTOR: Kind = Kind::Text(&form("URL of a collector"));
pub const RELEASE: Kind = Kind::Text(&Form {
    name: "release of Wire: two numbers, or any",
    pattern: Some(r"^(any|[0-9]+\.[0-9]+)$"),
    number: false,
});
pub const NETWORK: Kind = Kind::Text(&form("network, or a single address"));

/// Networks, of which there may be none.
pub const NETWORKS: Kind = Kind::List(&NETWORK, 0, MAX_ITEMS);

/// Networks, one at least.
pub const SOME_NETWORKS: Kind = Kind::List(&NETWORK, 1, MAX_ITEMS);
