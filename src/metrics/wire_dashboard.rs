//! The metric by which Wire's services report their requests, with the same labels, so that Wire's own dashboard
//! "Wire Services" shows the guard as it shows them.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, Registry};

use super::{MethodLabel, REQUEST_SECONDS, register};
use crate::api::Handler;

#[derive(Debug)]
pub(super) struct WireDashboard(HistogramVec);

impl WireDashboard {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = HistogramOpts::new(
            "http_request_duration_seconds",
            "From the end of the request head to the end of the response, as Wire's services report it.",
        );
        let labels = ["handler", "method", "status_code"];
        let seconds = HistogramVec::new(opts.buckets(REQUEST_SECONDS.to_vec()), &labels)?;
        Ok(Self(register(registry, seconds)?))
    }

    pub(super) fn observe(
        &self,
        handler: Handler,
        method: MethodLabel,
        status: u16,
        took: Duration,
    ) {
        let labels = [handler.as_str(), method.as_str(), &status.to_string()];
        self.0.with_label_values(&labels).observe(took.as_secs_f64());
    }
}
