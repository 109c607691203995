//! The page of the admin listener: plain HTML without scripts.
//!
//! SECURITY: all content from elsewhere is escaped, and the Content-Security-Policy allows only
//! this page's own style.

use std::fmt::{self, Display, Write as _};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::activity::{Counts, RepairSummary, Summary};
use crate::rule::Rule;

use super::advice::{Advice, Answer};
use super::state::{Certificate, Config, Deprovisioning, Registry, Server, Shared, State};

const STYLE: &str = include_str!("style.css");

/// The value of Content-Security-Policy.
pub fn policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    POLICY.get_or_init(|| {
        let hash = STANDARD.encode(Sha256::digest(STYLE));
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    })
}

/// The whole page.
pub fn render(state: &State) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    // Writing to a string cannot fail.
    let _ = page.whole(state);
    page.0
}

struct Page(String);

/// Text that is escaped.
struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.to_string().chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

impl Page {
    fn whole(&mut self, state: &State) -> fmt::Result {
        let out = &mut self.0;
        write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta http-equiv=\"refresh\" content=\"30\">\
             <title>Wire SCIM Guard</title>\n<style>{STYLE}</style></head>\n<body>\n\
             <header><h1>Wire SCIM Guard</h1>\n<p>"
        )?;
        out.push_str(match state.stopping {
            true => "<span class=\"warn\">stopping</span>",
            false => "<span class=\"good\">serving</span>",
        });
        writeln!(
            out,
            ", version {}, since {}. <small>As of {}; <a href=\"/i/state\">JSON</a>, <a \
             href=\"/metrics\">metrics</a></small></p></header>\n<main>",
            Escaped(state.version),
            state.started.seconds(),
            state.now.seconds()
        )?;
        self.lately(&state.rules)?;
        self.enforce(&state.enforce)?;
        self.repairs(&state.repairs)?;
        self.servers(&state.servers)?;
        self.deprovisioning(&state.deprovisioning)?;
        self.shared(state.shared.as_ref())?;
        self.registry(state.registry.as_ref())?;
        self.certificates(&state.certificates)?;
        let what = "The files as they are now are not in use:";
        self.failure(what, state.certificates_failure.as_deref())?;
        self.config(&state.config)?;
        if state.log_lines_dropped > 0 {
            let dropped = state.log_lines_dropped;
            writeln!(self.0, "<p class=\"bad\">{dropped} log lines were dropped.</p>")?;
        }
        self.0.push_str("</main>\n</body>\n</html>\n");
        Ok(())
    }

    fn lately(&mut self, rules: &[Summary]) -> fmt::Result {
        self.heading("What was refused and reported")?;
        if rules.is_empty() {
            return writeln!(self.0, "<p>No request has hit a rule since the start.</p>");
        }
        writeln!(
            self.0,
            "<p class=\"faint\">Numbers are of the last 24 hours; routes and tokens since the start.</p>"
        )?;
        self.table(&[
            "Rule",
            "Refused",
            "Reported",
            "Wire served",
            "Wire refused",
            "Routes",
            "Tokens",
            "Last",
        ]);
        for summary in rules {
            let Counts { refused, reported, confirmed, overruled, missed, .. } = summary.lately;
            self.begin_row();
            let checks = Rule::from_id(summary.rule).map_or(
                "Wire refused what the guard let pass: run wire-scim-guard compare.",
                |rule| rule.entry().checks,
            );
            write!(
                self.0,
                "<td data-label=\"Rule\"><span><code>{}</code><br><small>{}</small></span></td>",
                Escaped(summary.rule),
                Escaped(checks)
            )?;
            self.number("Refused", refused, "")?;
            self.number("Reported", reported, "")?;
            self.number("Wire served", overruled, "warn")?;
            self.number("Wire refused", confirmed + missed, if missed > 0 { "bad" } else { "" })?;
            let last = [summary.last.seconds(), summary.example.clone()];
            self.usage(&summary.handlers, &summary.tokens, summary.other_tokens, &last)?;
        }
        self.end_table();
        Ok(())
    }

    fn enforce(&mut self, advice: &[Advice]) -> fmt::Result {
        self.heading("Is it safe to enforce?")?;
        if advice.is_empty() {
            return writeln!(self.0, "<p>No rule only reports.</p>");
        }
        self.table(&["Rule", "Safe", "Why"]);
        for Advice { rule, safe_to_enforce, why } in advice {
            let (class, word) = match safe_to_enforce {
                Answer::Yes => ("good", "yes, so far"),
                Answer::No => ("bad", "no"),
                Answer::Policy => ("warn", "your policy"),
                Answer::Unknown => ("faint", "unknown"),
            };
            self.begin_row();
            self.code("Rule", rule)?;
            self.text("Safe", class, word)?;
            self.text("Why", "", why)?;
            self.end_row();
        }
        self.end_table();
        Ok(())
    }

    fn repairs(&mut self, repairs: &[RepairSummary]) -> fmt::Result {
        self.heading("Repairs")?;
        if repairs.is_empty() {
            return writeln!(self.0, "<p>No request was repaired since the start.</p>");
        }
        self.table(&["Repair", "Repaired", "Routes", "Tokens", "Last"]);
        for summary in repairs {
            self.begin_row();
            self.code("Repair", summary.repair)?;
            self.number("Repaired", summary.lately, "")?;
            let last = [summary.last.seconds(), summary.example.clone()];
            self.usage(&summary.handlers, &summary.tokens, summary.other_tokens, &last)?;
        }
        self.end_table();
        Ok(())
    }

    fn servers(&mut self, servers: &[Server]) -> fmt::Result {
        self.heading("Backend servers")?;
        self.table(&["Server", "State"]);
        for Server { server, state } in servers {
            let class = if *state == "in rotation" { "good" } else { "bad" };
            self.begin_row();
            self.code("Server", server)?;
            self.text("State", class, state)?;
            self.end_row();
        }
        self.end_table();
        Ok(())
    }

    fn deprovisioning(&mut self, tokens: &[Deprovisioning]) -> fmt::Result {
        if tokens.is_empty() {
            return Ok(());
        }
        self.heading("Users deleted or deactivated")?;
        self.table(&["Token", "Lately", "Limit", "Since the start"]);
        for Deprovisioning { token, used, at_most, within, total } in tokens {
            let class = if *used >= u64::from(*at_most) { "bad" } else { "" };
            self.begin_row();
            self.text("Token", "", token.as_deref().unwrap_or("outside of the registry"))?;
            self.number("Lately", *used, class)?;
            self.text("Limit", "", format_args!("{at_most} in {within}"))?;
            self.number("Since the start", *total, "")?;
            self.end_row();
        }
        self.end_table();
        Ok(())
    }

    fn shared(&mut self, shared: Option<&Shared>) -> fmt::Result {
        let Some(shared) = shared else { return Ok(()) };
        self.heading("Shared state")?;
        let class = if shared.failure.is_none() && shared.listening { "good" } else { "bad" };
        let (store, sentence) = (Escaped(&shared.store), Escaped(shared.sentence()));
        writeln!(self.0, "<p><code>{store}</code>: <span class=\"{class}\">{sentence}</span>.</p>")
    }

    fn registry(&mut self, registry: Option<&Registry>) -> fmt::Result {
        self.heading("Token registry")?;
        let Some(registry) = registry else {
            return writeln!(self.0, "<p>None: every well-formed token is Wire's to judge.</p>");
        };
        let Registry { file, tokens, since, failure, next_expiry } = registry;
        writeln!(
            self.0,
            "<p>{tokens} {} of <code>{}</code>, in use since {}.</p>",
            if *tokens == 1 { "token" } else { "tokens" },
            Escaped(file),
            since.seconds()
        )?;
        if let Some(expiry) = next_expiry {
            let (token, at) = (Escaped(&expiry.token), expiry.at.seconds());
            writeln!(self.0, "<p>The next to expire is {token}, on {at}.</p>")?;
        }
        self.failure("The file as it is now is not in use:", failure.as_deref())
    }

    fn certificates(&mut self, certificates: &[Certificate]) -> fmt::Result {
        self.heading("Certificates")?;
        if certificates.is_empty() {
            return writeln!(self.0, "<p>No listener speaks TLS.</p>");
        }
        self.table(&["Listener", "File", "Expires"]);
        for Certificate { certificate, file, expires } in certificates {
            self.begin_row();
            self.code("Listener", certificate)?;
            self.code("File", file)?;
            self.text("Expires", "", expires.seconds())?;
            self.end_row();
        }
        self.end_table();
        Ok(())
    }

    fn config(&mut self, config: &Config) -> fmt::Result {
        self.heading("Config")?;
        match &config.file {
            Some(file) => writeln!(
                self.0,
                "<p><code>{}</code>, in use since {}, fingerprint <code>{}</code>.</p>",
                Escaped(file),
                config.since.seconds(),
                Escaped(&config.fingerprint)
            )?,
            None => writeln!(self.0, "<p>No file.</p>")?,
        }
        if let Some(at) = config.last_reload {
            writeln!(self.0, "<p>Last reload: {}.</p>", at.seconds())?;
        }
        let what = "The last reload failed, and what is in the files now is not in use:";
        self.failure(what, config.failure.as_deref())?;
        for warning in &config.warnings {
            writeln!(self.0, "<p class=\"warn\">{}</p>", Escaped(warning))?;
        }
        Ok(())
    }

    fn heading(&mut self, text: &str) -> fmt::Result {
        writeln!(self.0, "<h2>{}</h2>", Escaped(text))
    }

    fn failure(&mut self, what: &str, failure: Option<&str>) -> fmt::Result {
        match failure {
            None => Ok(()),
            Some(why) => {
                writeln!(self.0, "<p class=\"bad\">{what}</p><pre>{}</pre>", Escaped(why))
            }
        }
    }

    fn table(&mut self, columns: &[&str]) {
        self.0.push_str("<table><thead><tr>");
        for column in columns {
            let class = match *column {
                "Refused" | "Reported" | "Repaired" | "Wire served" | "Wire refused" | "Lately"
                | "Since the start" => " class=\"number\"",
                _ => "",
            };
            let _ = write!(self.0, "<th scope=\"col\"{class}>{}</th>", Escaped(column));
        }
        self.0.push_str("</tr></thead><tbody>\n");
    }

    fn end_table(&mut self) {
        self.0.push_str("</tbody></table>\n");
    }

    fn begin_row(&mut self) {
        self.0.push_str("<tr>");
    }

    fn end_row(&mut self) {
        self.0.push_str("</tr>\n");
    }

    fn code(&mut self, label: &str, code: impl Display) -> fmt::Result {
        write!(self.0, "<td data-label=\"{label}\"><code>{}</code></td>", Escaped(code))
    }

    fn text(&mut self, label: &str, class: &str, text: impl Display) -> fmt::Result {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        write!(self.0, "<td data-label=\"{label}\"{class}>{}</td>", Escaped(text))
    }

    fn number(&mut self, label: &str, number: u64, class: &str) -> fmt::Result {
        let class = if number == 0 { "zero" } else { class };
        write!(self.0, "<td data-label=\"{label}\" class=\"number {class}\">{number}</td>")
    }

    /// The last cells of a rule or a repair: its routes, its tokens, and its last request.
    fn usage(
        &mut self,
        routes: &[(&str, u64)],
        tokens: &[(String, u64)],
        other_tokens: u64,
        last: &[String],
    ) -> fmt::Result {
        self.cell("Routes", &counted(routes, 0))?;
        self.cell("Tokens", &counted(tokens, other_tokens))?;
        self.cell("Last", last)?;
        self.end_row();
        Ok(())
    }

    fn cell(&mut self, label: &str, lines: &[String]) -> fmt::Result {
        write!(self.0, "<td data-label=\"{label}\"><span>")?;
        for (nth, line) in lines.iter().enumerate() {
            write!(self.0, "{}{}", if nth == 0 { "" } else { "<br>" }, Escaped(line))?;
        }
        self.0.push_str("</span></td>");
        Ok(())
    }
}

/// Names with their counts.
fn counted(names: &[(impl Display, u64)], others: u64) -> Vec<String> {
    let named = names.iter().map(|(name, count)| format!("{name}: {count}"));
    named.chain((others > 0).then(|| format!("others: {others}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_escaped() {
        assert_eq!(
            Escaped("<a href=\"x\">&'").to_string(),
            "&lt;a href=&quot;x&quot;&gt;&amp;&#39;"
        );
    }
}
