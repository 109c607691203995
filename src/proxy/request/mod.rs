//! A request in Pingora's phases: `filter` has a method for each phase, `judging` is the first
//! one's work, and `context` what is kept in between. `body` reads a body, `judge_pool` judges
//! large ones, `token_limits` asks the store that replicas share, `auditing` notes what the audit log
//! says, `answer` writes a refusal and `failure` chooses the one for a failed backend; `recorder`
//! counts and logs the request at its end. `replace` replaces some of the backend's answers; `own`
//! is what requests that the guard itself sends need, and `turns` has them wait for one another.

pub(in crate::proxy) mod answer;
mod auditing;
pub(in crate::proxy) mod body;
mod context;
pub(in crate::proxy) mod failure;
pub(in crate::proxy) mod filter;
mod judge_pool;
mod judging;
mod own;
pub(in crate::proxy) mod recorder;
pub(in crate::proxy) mod replace;
pub(in crate::proxy) mod session;
mod spans;
mod token_limits;
mod turns;

pub use context::FilterCtx;
pub use filter::RequestFilter;
