//! What the gateway has done since it started, as numbers that Prometheus reads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::cursor::Timestamp;
use crate::report::Text;
use crate::send::deliver::Settled;
use crate::send::outbox::{Accepted, Level};
use crate::send::rules::Doubt;

/// Counts what happens; shared by all who do it.
#[derive(Debug)]
pub(super) struct Figures {
    accepted: AtomicU64,
    known: AtomicU64,
    elsewhere: AtomicU64,
    delivered: AtomicU64,
    refused: AtomicU64,
    rejected: Tally<String>,
    doubts: Tally<Doubt>,
    requests: Tally<u16>,
    /// The connections, and whether delivering to each fails.
    deliveries: Vec<(String, AtomicBool)>,
}

/// A count for each of some keys.
#[derive(Debug)]
struct Tally<K>(Mutex<BTreeMap<K, u64>>);

impl<K: Ord> Tally<K> {
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn add(&self, key: K) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    }

    fn each(&self, mut told: impl FnMut(&K, u64)) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().for_each(|(key, count)| told(key, *count));
    }
}

impl Figures {
    /// Nothing has happened yet; deliveries go to these connections.
    pub(super) fn new(connections: impl IntoIterator<Item = String>) -> Self {
        let deliveries = connections.into_iter().map(|name| (name, AtomicBool::new(false)));
        Self {
            accepted: AtomicU64::new(0),
            known: AtomicU64::new(0),
            elsewhere: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            rejected: Tally::new(),
            doubts: Tally::new(),
            requests: Tally::new(),
            deliveries: deliveries.collect(),
        }
    }

    pub(super) fn answered(&self, status: u16) {
        self.requests.add(status);
    }

    pub(super) fn accepted(&self, accepted: Accepted) {
        self.accepted.fetch_add(accepted.added, Ordering::Relaxed);
        self.known.fetch_add(accepted.known, Ordering::Relaxed);
    }

    pub(super) fn rejected(&self, code: &str) {
        self.rejected.add(code.to_owned());
    }

    pub(super) fn doubted(&self, doubt: Doubt) {
        self.doubts.add(doubt);
    }

    pub(super) fn left_elsewhere(&self) {
        self.elsewhere.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn settled(&self, settled: &Settled) {
        self.delivered.fetch_add(settled.delivered.len() as u64, Ordering::Relaxed);
        self.refused.fetch_add(settled.refused.len() as u64, Ordering::Relaxed);
    }

    pub(super) fn delivery_fails(&self, place: usize, fails: bool) {
        self.deliveries[place].1.store(fails, Ordering::Relaxed);
    }

    /// The text for Prometheus.
    pub(super) fn text(&self, level: &Level, now: Timestamp) -> String {
        let mut text = Text::default();
        let mut counter = |name, help, count: &AtomicU64| {
            text.counter(name, help);
            text.sample(&[], count.load(Ordering::Relaxed) as f64);
        };
        counter("hogline_serve_accepted_total", "Messages that became events.", &self.accepted);
        counter(
            "hogline_serve_duplicates_total",
            "Messages that had been taken before.",
            &self.known,
        );
        counter(
            "hogline_serve_not_for_posthog_total",
            "Messages whose integrations leave PostHog out.",
            &self.elsewhere,
        );
        counter(
            "hogline_serve_delivered_total",
            "Events that PostHog has answered for.",
            &self.delivered,
        );
        counter("hogline_serve_refused_total", "Events that PostHog refused.", &self.refused);
        text.counter("hogline_serve_rejected_total", "Messages that became no event, by reason.");
        self.rejected.each(|code, count| text.sample(&[("code", code)], count as f64));
        text.counter(
            "hogline_serve_doubts_total",
            "Events of which PostHog will not do all that they ask for.",
        );
        self.doubts.each(|doubt, count| {
            let word = serde_json::to_value(doubt).unwrap_or_default();
            text.sample(&[("doubt", word.as_str().unwrap_or_default())], count as f64);
        });
        text.counter("hogline_serve_requests_total", "Requests by the status of the answer.");
        self.requests
            .each(|status, count| text.sample(&[("status", &status.to_string())], count as f64));
        text.gauge("hogline_serve_delivery_failing", "1 while PostHog takes nothing.");
        for (name, fails) in &self.deliveries {
            let fails = f64::from(u8::from(fails.load(Ordering::Relaxed)));
            text.sample(&[("connection", name)], fails);
        }
        levels(&mut text, level, now);
        text.into_string()
    }
}

fn levels(text: &mut Text, level: &Level, now: Timestamp) {
    let age = level.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
    for (name, help, value) in [
        ("hogline_outbox_waiting", "Events that are to be delivered.", level.waiting as f64),
        (
            "hogline_outbox_refused",
            "Events that PostHog refused and that are kept.",
            level.refused as f64,
        ),
        ("hogline_outbox_bytes", "Bytes in use.", level.used as f64),
        ("hogline_outbox_max_bytes", "Bytes that may be in use.", level.most as f64),
        ("hogline_outbox_oldest_seconds", "For how long the oldest event waits.", age),
    ] {
        text.gauge(name, help);
        text.sample(&[], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_told_in_the_format_of_prometheus() {
        let figures = Figures::new(["SHOP".to_owned()]);
        let at = |text| Timestamp::parse(text).unwrap();
        let oldest = Some(at("2026-11-27T11:59:58.500Z"));
        let level = Level { waiting: 2, refused: 1, used: 4096, most: 1 << 30, oldest };

        figures.accepted(Accepted { added: 3, known: 1 });
        figures.rejected("event_missing");
        figures.rejected("event_missing");
        figures.doubted(Doubt::MergesWithItself);
        figures.answered(200);
        figures.delivery_fails(0, true);
        let text = figures.text(&level, at("2026-11-27T12:00:00Z"));

        for line in [
            "# TYPE hogline_serve_accepted_total counter",
            "hogline_serve_accepted_total 3",
            "hogline_serve_duplicates_total 1",
            "hogline_serve_rejected_total{code=\"event_missing\"} 2",
            "hogline_serve_doubts_total{doubt=\"merges_with_itself\"} 1",
            "hogline_serve_requests_total{status=\"200\"} 1",
            "hogline_serve_delivery_failing{connection=\"SHOP\"} 1",
            "# TYPE hogline_outbox_waiting gauge",
            "hogline_outbox_waiting 2",
            "hogline_outbox_oldest_seconds 1.5",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\nis not in\n{text}");
        }
        let page = include_str!("../../docs/serve.md");
        for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = name.split(' ').next().unwrap_or_default();
            assert!(page.contains(name), "{name} is not in docs/serve.md");
        }
    }
}
