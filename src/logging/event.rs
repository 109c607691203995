//! The lines of the program's own events, such as warnings.

use std::fmt::Write as _;
use std::sync::{PoisonError, RwLock};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::Log;

use super::style::{Line, Style, level_name};

/// The format of log lines; `None`: the default.
static STYLE: RwLock<Option<Style>> = RwLock::new(None);

/// Applies the format of a configuration.
pub(super) fn set_style(log: &Log) {
    *STYLE.write().unwrap_or_else(PoisonError::into_inner) = Some(Style::of(log));
}

/// Formats events as lines: in JSON `{"level":"Info","msgs":["..", "key=value"]}`, the format of Wire's services.
pub(super) struct Events;

impl<S, N> FormatEvent<S, N> for Events
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = Message { level: level_name(*event.metadata().level()), msgs: &fields.msgs };
        let style = *STYLE.read().unwrap_or_else(PoisonError::into_inner);
        let style = style.unwrap_or_else(|| Style::of(&Log::default()));
        let line = style.line(&message).ok_or(std::fmt::Error)?;
        writer.write_str(&String::from_utf8_lossy(&line))
    }
}

/// An event.
#[derive(Serialize)]
struct Message<'a> {
    level: &'static str,
    msgs: &'a [String],
}

impl Line for Message<'_> {
    fn text(&self, out: &mut String) {
        let _ = write!(out, "{:<5} ", self.level);
        for (at, part) in self.msgs.iter().enumerate() {
            out.push_str(if at == 0 { "" } else { " " });
            out.push_str(part);
        }
    }
}

/// The message first, then every other field as `key=value`.
#[derive(Default)]
struct Fields {
    msgs: Vec<String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut text = String::new();
        match field.name() {
            "message" => {
                let _ = write!(text, "{value:?}");
                self.msgs.insert(0, text);
            }
            name if name.starts_with("log.") => {}
            name => {
                let _ = write!(text, "{name}={value:?}");
                self.msgs.push(text);
            }
        }
    }
}
