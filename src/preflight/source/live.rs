//! The live directory, queried as the bridge queries it: a simple bind, and one search without
//! paging for each base. The answer is kept in a temporary file, as everything is read several
//! times.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::time::Duration;

use indicatif::ProgressBar;
use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, ResultEntry, Scope, ldap_escape};

use super::directory::{Directory, Found};
use super::{Input, scratch};
use crate::preflight::bridge::advice::is_plain_name;
use crate::preflight::bridge::config::{BridgeConfig, Search};
use crate::preflight::bridge::note::Note;
use crate::preflight::dn::Dn;
use crate::preflight::entry::{Entry, is_spelling_of};
use crate::preflight::ldif::write::write;
use crate::secret::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The timeout between two entries.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const PAGE: i32 = 500;

/// Result codes that the bridge treats as success: the size limit, or an administrative limit.
const LIMITS: [u32; 2] = [4, 11];

/// What the server has answered so far.
#[derive(Debug)]
pub struct Answer {
    pub inputs: Vec<Input>,
    pub found: Found,
    /// Why the answer is incomplete.
    pub fault: Option<String>,
    pub notes: Vec<Note>,
}

/// Queries the server of the config; with `password`, if given, instead of the config's.
pub fn ask(
    config: &BridgeConfig,
    password: Option<&Secret>,
    bar: &ProgressBar,
) -> io::Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut answer = Answer {
        inputs: Vec::new(),
        found: Found::Answered { search: HashSet::new(), delete: HashSet::new() },
        fault: None,
        notes: Vec::new(),
    };
    let wanted = Directory::wanted(config);
    let password = password.unwrap_or(&config.directory.password.value);
    let places = std::iter::once(&config.search).chain(&config.delete_from);
    for (place, search) in places.enumerate() {
        let mut spool = Spool::new(&wanted, bar.clone())?;
        let asked = runtime.block_on(async {
            let mut ldap = connect(config, password).await?;
            let limit = spool.search(&mut ldap, search).await?;
            let whole = count(&mut ldap, search).await;
            // The connection ends with the process; whether it is closed properly does not matter.
            let _ = ldap.unbind().await;
            Ok::<_, String>((limit, whole))
        });
        let (input, names, count) = spool.finish()?;
        answer.inputs.push(input);
        match &mut answer.found {
            Found::Answered { search, .. } if place == 0 => *search = names,
            Found::Answered { delete, .. } => *delete = names,
            Found::Applied(_) => {}
        }
        match asked {
            Ok((limit, whole)) => answer.notes.extend(missed(search, count, limit, whole)),
            Err(why) => {
                answer.fault = Some(why);
                break;
            }
        }
    }
    Ok(answer)
}

/// The entries that the bridge would not receive.
fn missed(search: &Search, count: u64, limit: Option<u32>, whole: Option<u64>) -> Option<Note> {
    let message = match (limit, whole) {
        (_, Some(whole)) if whole > count => format!(
            "the server returns {count} of {whole} entries to a search without paging, which is how the bridge \
             searches: {} would never be synchronised. Raise the size limit for the bridge's account.",
            whole - count
        ),
        (Some(code), _) => format!(
            "the server ended the search at a limit (result {code}) after {count} entries; the bridge treats that as \
             success, and the others would never be synchronised. Raise the limit for the bridge's account."
        ),
        _ => return None,
    };
    Some(Note::warning(search.at, message))
}

async fn connect(config: &BridgeConfig, password: &Secret) -> Result<Ldap, String> {
    let directory = &config.directory;
    let (host, port) = (&directory.host.value, directory.port);
    let scheme = if directory.tls.value { "ldaps" } else { "ldap" };
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let server = format!("{scheme}://{bracketed}:{port}");
    let settings = LdapConnSettings::new().set_conn_timeout(CONNECT_TIMEOUT);
    let connected = LdapConnAsync::with_settings(settings, &server).await;
    let (connection, mut ldap) = connected.map_err(|error| unreachable(&server, &error))?;
    tokio::spawn(connection.drive());
    // SECURITY: the password is in no message.
    let bound =
        ldap.with_timeout(ANSWER_TIMEOUT).simple_bind(&directory.dn, password.reveal()).await;
    let result = bound.map_err(|error| format!("{server}: no answer to the bind: {error}"))?;
    match result.rc {
        0 => Ok(ldap),
        code => Err(format!(
            "{server}: refuses the bind of ldapSource.dn: {}",
            refusal(code, &result.text)
        )),
    }
}

fn unreachable(server: &str, error: &LdapError) -> String {
    let why = error.to_string();
    let advice = if why.contains("UnknownIssuer") || why.contains("certificate") {
        "; the bridge trusts the certificates of the system alone: add the CA there (for this command, SSL_CERT_FILE \
         names a file of them)"
    } else {
        "; check ldapSource.host, port and tls"
    };
    format!("{server}: cannot be reached: {why}{advice}")
}

/// A result code for people; `text` is the server's own.
fn refusal(code: u32, text: &str) -> String {
    let what = match code {
        8 => {
            "it requires TLS (strongerAuthRequired); set ldapSource.tls to true, and the port to that of LDAPS (636)"
        }
        32 => "there is no such entry (noSuchObject); check the base of the search",
        49 => "the name or the password is wrong (invalidCredentials)",
        50 => "the account is not permitted to do that (insufficientAccessRights)",
        53 => "it is unwilling (unwillingToPerform)",
        _ => "",
    };
    let own: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    match (what.is_empty(), own.is_empty()) {
        (true, _) => format!("result {code} {own}").trim_end().into(),
        (false, true) => what.into(),
        (false, false) => format!("{what}; it reports: {own}"),
    }
}

/// The filter of a search: the conjunction of equality matches, with special characters escaped.
/// `None` if no entry can match.
fn filter(search: &Search) -> Option<String> {
    let mut text = "(&".to_string();
    for (name, value) in &search.filters {
        if !is_plain_name(&name.value) {
            return None;
        }
        text.push_str(&format!("({}={})", name.value, ldap_escape(value.as_str())));
    }
    text.push(')');
    Some(text)
}

/// How many entries there are without the limit of one answer; `None` if the server does not say.
async fn count(ldap: &mut Ldap, search: &Search) -> Option<u64> {
    let filter = filter(search)?;
    let adapters: Vec<Box<dyn Adapter<'_, String, Vec<String>>>> =
        vec![Box::new(EntriesOnly::new()), Box::new(PagedResults::new(PAGE))];
    let none = vec!["1.1".to_string()];
    let ldap = ldap.with_timeout(ANSWER_TIMEOUT);
    let mut found = ldap
        .streaming_search_with(adapters, &search.base, Scope::Subtree, &filter, none)
        .await
        .ok()?;
    let mut count = 0;
    while found.next().await.ok()?.is_some() {
        count += 1;
    }
    (found.finish().await.rc == 0).then_some(count)
}

/// Writes entries to a temporary file as they arrive.
struct Spool<'w> {
    wanted: &'w [String],
    out: BufWriter<File>,
    names: HashSet<Dn>,
    count: u64,
    bar: ProgressBar,
}

impl<'w> Spool<'w> {
    fn new(wanted: &'w [String], bar: ProgressBar) -> io::Result<Self> {
        let out = BufWriter::new(scratch()?);
        Ok(Self { wanted, out, names: HashSet::new(), count: 0, bar })
    }

    /// Searches as the bridge does; returns the code of the limit that ended the answer, if one
    /// did.
    async fn search(&mut self, ldap: &mut Ldap, search: &Search) -> Result<Option<u32>, String> {
        let Some(filter) = filter(search) else { return Ok(None) };
        // No attributes are named, so all user attributes are returned.
        let all: Vec<&str> = Vec::new();
        let ldap = ldap.with_timeout(ANSWER_TIMEOUT);
        let started = ldap.streaming_search(&search.base, Scope::Subtree, &filter, all).await;
        let after = |count: u64, error: LdapError| {
            format!("the directory ended its answer after {count} entries: {error}")
        };
        let mut found = started.map_err(|error| after(0, error))?;
        loop {
            match found.next().await {
                Ok(Some(result)) if result.is_ref() || result.is_intermediate() => {}
                Ok(Some(result)) => {
                    let entry = decoded(result, self.wanted)
                        .ok_or("the directory sent an entry that is not a valid LDAP message")?;
                    self.add(&entry)
                        .map_err(|error| format!("a temporary file cannot be written: {error}"))?;
                }
                Ok(None) => break,
                Err(error) => return Err(after(self.count, error)),
            }
        }
        let result = found.finish().await;
        match result.rc {
            0 => Ok(None),
            code if LIMITS.contains(&code) => Ok(Some(code)),
            code => Err(format!(
                "the directory refuses the search, after {} entries: {}",
                self.count,
                refusal(code, &result.text)
            )),
        }
    }

    fn add(&mut self, entry: &Entry) -> io::Result<()> {
        self.names.insert(Dn::new(&entry.dn_text()));
        self.count += 1;
        self.bar.inc(1);
        write(&mut self.out, entry)
    }

    /// The file, the names in it, and how many entries there are.
    fn finish(self) -> io::Result<(Input, HashSet<Dn>, u64)> {
        let mut file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.flush()?;
        let size = file.stream_position()?;
        Ok((Input::of(file, size), self.names, self.count))
    }
}

/// The entry of a search result, reduced to what is used. The library's own parser would panic on
/// malformed data.
fn decoded(result: ResultEntry, wanted: &[String]) -> Option<Entry> {
    let mut parts = result.0.match_id(4)?.expect_constructed()?.into_iter();
    let mut entry = Entry::new(parts.next()?.expect_primitive()?);
    for attribute in parts.next()?.expect_constructed()? {
        let mut parts = attribute.expect_constructed()?.into_iter();
        let name = parts.next()?.expect_primitive()?;
        if !wanted.iter().any(|known| is_spelling_of(&name, known)) {
            continue;
        }
        for value in parts.next()?.expect_constructed()? {
            entry.add(&name, value.expect_primitive()?);
        }
    }
    Some(entry)
}
