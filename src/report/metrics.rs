//! A run as numbers that Prometheus reads from a file (node_exporter's textfile collector).
//!
//! What tells how fresh a stream is comes from the state, so that a run which fails does not
//! make it look fresh, nor forget it.

use super::{Facts, Freshness, Outcome, Text};
use crate::cursor::Timestamp;

const FAILED: &str = "1 where the last run did not complete the stream.";
const REPAIRED: &str = "Values of the last run that were changed to fit.";
const REQUESTS: &str = "Requests of the last run, retries included.";
const DURATION: &str = "How long the last run of the stream took.";
const WAITED: &str = "Of that, waiting for quotas and after refusals.";

/// The text of the file.
pub fn metrics(facts: &Facts<'_>) -> String {
    let Facts { ended, exit, outcomes, freshness, quotas, .. } = facts;
    let mut text = Text::default();
    text.gauge("hogline_run_ended_timestamp_seconds", "When the last run ended.");
    text.sample(&[], ended.seconds());
    text.gauge("hogline_run_exit_code", "How the last run ended; 0 is complete.");
    text.sample(&[], f64::from(exit.code()));
    text.each(outcomes, "hogline_stream_failed", FAILED, |outcome| {
        f64::from(u8::from(outcome.failure.is_some()))
    });
    // A run that could not begin failed for every stream that is known.
    for known in freshness.iter().filter(|_| facts.failure.is_some()) {
        text.sample(&[("stream", &known.stream), ("object", &known.object)], 1.0);
    }
    text.gauge("hogline_stream_rows", "Rows of the last run by what became of them.");
    for outcome in *outcomes {
        let rows = outcome.rows;
        let kinds = [
            ("new", rows.new),
            ("updated", rows.updated),
            ("unchanged", rows.unchanged),
            ("late", rows.late),
            ("deleted", rows.deleted),
        ];
        for (kind, count) in kinds {
            let [stream, object] = of(outcome);
            text.sample(&[stream, object, ("kind", kind)], count as f64);
        }
    }
    text.each(outcomes, "hogline_stream_repaired_values", REPAIRED, |outcome| {
        outcome.repairs.values().sum::<u64>() as f64
    });
    text.each(outcomes, "hogline_stream_requests", REQUESTS, |outcome| outcome.requests as f64);
    text.each(outcomes, "hogline_stream_duration_seconds", DURATION, |outcome| outcome.seconds);
    text.each(outcomes, "hogline_stream_waited_seconds", WAITED, |outcome| outcome.waited_seconds);
    text.gauge(
        "hogline_stream_complete_to_timestamp_seconds",
        "Up to when the stream is complete.",
    );
    for known in freshness {
        text.optional(known, known.complete_to);
    }
    text.gauge(
        "hogline_stream_last_success_timestamp_seconds",
        "When the last run ended that completed the stream.",
    );
    for known in freshness {
        text.optional(known, known.last_success);
    }
    text.gauge("hogline_quota_requests_left", "Requests left of each of PostHog's quotas.");
    for (counter, left) in quotas {
        text.sample(&[("quota", counter)], f64::from(left.requests));
    }
    text.into_string()
}

fn of(outcome: &Outcome) -> [(&str, &str); 2] {
    [("stream", &outcome.stream), ("object", &outcome.object)]
}

impl Text {
    /// A family with one value of every stream of the run.
    fn each(
        &mut self,
        outcomes: &[Outcome],
        name: &'static str,
        help: &str,
        value: impl Fn(&Outcome) -> f64,
    ) {
        self.gauge(name, help);
        for outcome in outcomes {
            self.sample(&of(outcome), value(outcome));
        }
    }

    fn optional(&mut self, known: &Freshness, at: Option<Timestamp>) {
        let Some(at) = at else { return };
        self.sample(&[("stream", &known.stream), ("object", &known.object)], at.seconds());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Allowance, Mode};
    use crate::error::Exit;
    use crate::http::{Left, Meter};
    use crate::report::Tally;

    #[test]
    fn a_run_is_told_in_the_format_of_prometheus() {
        let name = ("events".to_owned(), "sqlite://a\"b#t".to_owned());
        let (tally, meter) = (Tally::of("events"), Meter::default());
        let took = std::time::Duration::from_millis(1500);
        let outcome = Outcome::new(name, Mode::Incremental, tally, &meter, took, None, None);
        let at = |text| Timestamp::parse(text).unwrap();
        let known = Freshness {
            stream: "events".into(),
            object: "t".into(),
            complete_to: Some(at("2026-03-04T00:00:00.5Z")),
            last_success: None,
        };
        let left = Left { requests: 17, of: Allowance::parse("4800/1h").unwrap() };
        let text = metrics(&Facts {
            ended: at("2026-03-04T00:00:01Z"),
            exit: Exit::Partly,
            outcomes: &[outcome],
            freshness: vec![known],
            quotas: BTreeMap::from([("crud".to_owned(), left)]),
            ..Facts::of("replication.yaml", at("2026-03-04T00:00:00Z"))
        });

        for line in [
            "# TYPE hogline_run_exit_code gauge",
            "hogline_run_ended_timestamp_seconds 1772582401",
            "hogline_run_exit_code 3",
            "hogline_stream_failed{stream=\"events\",object=\"sqlite://a\\\"b#t\"} 0",
            "hogline_stream_rows{stream=\"events\",object=\"sqlite://a\\\"b#t\",kind=\"late\"} 0",
            "hogline_stream_duration_seconds{stream=\"events\",object=\"sqlite://a\\\"b#t\"} 1.5",
            "hogline_stream_complete_to_timestamp_seconds{stream=\"events\",object=\"t\"} 1772582400.5",
            "hogline_quota_requests_left{quota=\"crud\"} 17",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\nis not in\n{text}");
        }
        let page = include_str!("../../docs/running.md");
        for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = name.trim_end_matches(" gauge");
            assert!(page.contains(name), "{name} is not in docs/running.md");
        }
    }
}
