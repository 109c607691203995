//! The result of a comparison, as text and as JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::probe::{Expected, Got, Ids, Needs, Probe};
use crate::cli::printable;
use crate::release::Release;

#[derive(Default)]
pub struct Report {
    pub answered: Vec<(&'static Probe, Got)>,
    /// Probes that were not sent because they need a token or a test user.
    pub left_out: Vec<&'static Probe>,
    /// The attributes of the test user that have changed; `None` without a test user.
    pub changed: Option<Vec<String>>,
}

/// Which release the backend behaves as.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    Known(Release),
    /// All answers fit several releases.
    Undetermined,
    /// No known release; the one with the fewest differences, if there is exactly one.
    Unknown(Option<Release>),
}

/// An answer that is not the expected one.
#[derive(Serialize)]
struct Difference {
    probe: &'static str,
    request: Request,
    expected: BTreeMap<&'static str, Expected>,
    got: Got,
}

#[derive(Serialize)]
struct Request {
    method: &'static str,
    target: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'static str, String>,
    body: Option<String>,
}

impl Report {
    pub fn has_changed_user(&self) -> bool {
        self.changed.as_ref().is_some_and(|changed| !changed.is_empty())
    }

    /// Whether no answer differs from every known release, and the test user is unchanged.
    pub fn is_fine(&self) -> bool {
        !matches!(self.reading(), Reading::Unknown(_)) && !self.has_changed_user()
    }

    pub fn write(&self, ids: &Ids, as_json: bool, out: &mut impl Write) -> io::Result<()> {
        let reading = self.reading();
        let differences = self.differences(&reading, ids);
        if as_json {
            writeln!(out, "{}", self.json(&reading, &differences))
        } else {
            self.write_text(&reading, &differences, out)
        }
    }

    fn misses(&self, release: Release) -> usize {
        self.answered.iter().filter(|(probe, got)| !probe.fits(release, got)).count()
    }

    fn reading(&self) -> Reading {
        let misses = Release::ALL.map(|release| self.misses(release));
        let least = misses.into_iter().min().unwrap_or_default();
        let mut nearest = Release::ALL.into_iter().zip(misses).filter(|(_, all)| *all == least);
        match (least, nearest.next(), nearest.next()) {
            (0, Some((release, _)), None) => Reading::Known(release),
            (0, ..) => Reading::Undetermined,
            (_, Some((release, _)), None) => Reading::Unknown(Some(release)),
            _ => Reading::Unknown(None),
        }
    }

    /// The answers that differ from the nearest release, or from all that are equally near.
    fn differences(&self, reading: &Reading, ids: &Ids) -> Vec<Difference> {
        let nearest = match reading {
            Reading::Known(_) | Reading::Undetermined => return Vec::new(),
            Reading::Unknown(nearest) => nearest.map_or(Release::ALL.to_vec(), |one| vec![one]),
        };
        let differs =
            |probe: &Probe, got: &Got| nearest.iter().any(|release| !probe.fits(*release, got));
        let answered = self.answered.iter().filter(|(probe, got)| differs(probe, got));
        answered.map(|(probe, got)| Difference::new(probe, got, ids)).collect()
    }

    fn json(&self, reading: &Reading, differences: &[Difference]) -> Value {
        let left_out: Vec<Value> = self
            .left_out
            .iter()
            .map(|probe| json!({"probe": probe.name, "needs": probe.needs.option()}))
            .collect();
        let nearest = match reading {
            Reading::Unknown(nearest) => nearest.map(Release::as_str),
            _ => None,
        };
        json!({
            "release": reading.name(),
            "nearest": nearest,
            "suggestion": {"wire": {"release": reading.suggestion()}},
            "asked": self.answered.len(),
            "left_out": left_out,
            "differences": differences,
            "test_user": self.changed.as_ref().map(|changed| json!({"changed": changed})),
        })
    }

    fn write_text(
        &self,
        reading: &Reading,
        differences: &[Difference],
        out: &mut impl Write,
    ) -> io::Result<()> {
        writeln!(out, "release: {}", reading.name())?;
        if let Reading::Unknown(Some(nearest)) = reading {
            writeln!(out, "nearest: {}", nearest.as_str())?;
        }
        writeln!(
            out,
            "suggestion: wire: {{release: {}}} in the guard's config",
            match reading.suggestion() {
                "any" => "any".to_owned(),
                release => format!("\"{release}\""),
            }
        )?;
        writeln!(out, "asked: {} probes, {} differ", self.answered.len(), differences.len())?;
        for needs in [Needs::Token, Needs::TestUser] {
            let count = self.left_out.iter().filter(|probe| probe.needs == needs).count();
            if count > 0 {
                writeln!(out, "left out: {count} probes that need {}", needs.option())?;
            }
        }
        match &self.changed {
            None => {}
            Some(changed) if changed.is_empty() => writeln!(out, "test user: unchanged")?,
            Some(changed) => writeln!(
                out,
                "test user: CHANGED in {}; restore it, the backend applies what Wire refuses",
                printable(&changed.join(", "))
            )?,
        }
        for Difference { probe, request, expected, got } in differences {
            writeln!(
                out,
                "\ndifference: {probe}\n  request: {} {}",
                request.method, request.target
            )?;
            for (name, value) in &request.headers {
                writeln!(out, "  header: {name}: {value}")?;
            }
            if let Some(body) = &request.body {
                writeln!(out, "  body: {body}")?;
            }
            for (release, Expected { status, scim_type }) in expected {
                writeln!(out, "  expected of {release}: {}", answer(*status, *scim_type))?;
            }
            let scim_type = got.scim_type.as_deref().map(printable);
            writeln!(out, "  got: {}", answer(got.status, scim_type.as_deref()))?;
        }
        Ok(())
    }
}

fn answer(status: u16, scim_type: Option<&str>) -> String {
    scim_type.map_or(status.to_string(), |scim_type| format!("{status} {scim_type}"))
}

impl Reading {
    fn name(&self) -> &'static str {
        match self {
            Self::Known(release) => release.as_str(),
            Self::Undetermined => "undetermined",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The suggested value of `wire.release`.
    fn suggestion(&self) -> &'static str {
        match self {
            Self::Known(release) => release.as_str(),
            Self::Undetermined | Self::Unknown(_) => "any",
        }
    }
}

impl Difference {
    fn new(probe: &Probe, got: &Got, ids: &Ids) -> Self {
        let headers = probe.headers.iter().map(|(name, value)| (*name, ids.fill(value)));
        Self {
            probe: probe.name,
            request: Request {
                method: probe.verb.as_str(),
                target: ids.fill(probe.target),
                headers: headers.collect(),
                body: probe.shown_body().map(|body| ids.fill(body)),
            },
            expected: probe.answers().map(|(release, e)| (release.as_str(), e)).collect(),
            got: got.clone(),
        }
    }
}
