//! The process in Prometheus: the standard process metrics, with processor time in fractions of a second, which
//! rates over short intervals need.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Opts};

const CPU: &str = "process_cpu_seconds_total";

pub(super) struct Process {
    /// All other metrics. It reports the processor time as well, in whole seconds, which is removed.
    rest: ProcessCollector,
    cpu: Counter,
}

impl Process {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let cpu = Counter::with_opts(Opts::new(CPU, "User and system CPU time spent in seconds."))?;
        Ok(Self { rest: ProcessCollector::for_self(), cpu })
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.rest.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        if let Ok(spent) = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID) {
            let more = Duration::from(spent).as_secs_f64() - self.cpu.get();
            // A concurrent scrape may have added more already.
            self.cpu.inc_by(more.max(0.0));
        }
        let rest = self.rest.collect().into_iter().filter(|family| family.name() != CPU);
        self.cpu.collect().into_iter().chain(rest).collect()
    }
}
