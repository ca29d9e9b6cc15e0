//! What a quota allows, as `240/1m`.

use std::time::Duration;

use super::duration::parse_duration;

/// So many requests in any span of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// How many; 0 is taken as 1, since a stream that may not ask cannot run.
    pub requests: u32,
    /// The length of the window.
    pub per: Duration,
}

impl Allowance {
    /// Reads `240/1m`.
    pub fn parse(text: &str) -> Option<Self> {
        let (requests, per) = text.split_once('/')?;
        let per = parse_duration(per.trim()).filter(|per| !per.is_zero())?;
        Some(Self { requests: requests.trim().parse().ok()?, per })
    }
}
