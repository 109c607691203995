//! The audit log: a line for each request that changes a user, a group or a token, with who, what, on which id,
//! which attributes, and how it ended; and one for each change of what a token may delete or deactivate.
//!
//! SECURITY: a line has names of attributes and never a value. Its slot in the queue is reserved
//! before anything of the request is forwarded, and the request is refused if there is none: no
//! change is ever missing in the log. The slot is held from when the whole body was read until the
//! answer is known, so that slow clients hold none.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::deprovisioning::AllowanceChange;
use crate::logging::AccessLog;

mod action;
mod allowance;
mod contents;
mod entry;
mod line;
mod queue;

pub use action::{Action, Resource};
pub use contents::Contents;
pub use entry::Entry;
pub use queue::flush;

use allowance::AllowanceLine;
use queue::{Queue, Queued};

/// Writes the lines of audited requests.
#[derive(Clone)]
pub struct AuditLog {
    access: AccessLog,
    /// Created for the first line.
    queue: Arc<OnceLock<Queue>>,
}

impl AuditLog {
    /// Lines go to the same place as those of `access`, in the same format, but through a separate
    /// queue.
    pub fn new(access: &AccessLog) -> Self {
        Self { access: access.clone(), queue: Arc::default() }
    }

    /// A line for a request, in a slot of the queue; `None`: the queue is full.
    pub fn begin(&self, action: Action, resource: Resource) -> Option<Box<Entry>> {
        let slot = self.queue().reserve()?;
        Some(Box::new(Entry::new(slot, action, resource)))
    }

    /// Writes what a token may do beyond its limit from now on. It does not wait: the change is in use already.
    pub fn write_allowance(&self, change: AllowanceChange) {
        self.queue().push(Queued::Allowance(AllowanceLine::new(change)));
    }

    fn queue(&self) -> &Queue {
        self.queue.get_or_init(|| Queue::start(&self.access))
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").finish_non_exhaustive()
    }
}
