//! How the rows of a stream came in over time, in constant memory.
//!
//! Points lie evenly in time. When there would be too many of them every second one is
//! dropped, so a run of a second and one of a day are told in as many.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// As many points as a chart can show; more would only cost memory and report.
const POINTS: usize = 120;

/// From one point to the next at first. Most streams are read within a second.
const FINEST: Duration = Duration::from_millis(20);

/// How many rows there were when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Series {
    /// From one point to the next; the first is so long after the beginning.
    #[serde(rename = "every_seconds", serialize_with = "seconds")]
    every: Duration,
    /// All rows so far, at each point. After the last one there were no more.
    rows: Vec<u64>,
}

impl Default for Series {
    fn default() -> Self {
        Self { every: FINEST, rows: Vec::new() }
    }
}

impl Series {
    /// Notes how many rows there are so long after the beginning: no earlier than noted last.
    pub(super) fn note(&mut self, after: Duration, rows: u64) {
        while self.place_of(after) >= POINTS {
            self.thin_out();
        }
        let (place, last) = (self.place_of(after), self.rows.last().copied().unwrap_or(0));
        self.rows.truncate(place);
        self.rows.resize(place, last);
        self.rows.push(rows);
    }

    /// The points: seconds after the beginning, and rows.
    pub(super) fn points(&self) -> impl Iterator<Item = (f64, u64)> {
        let every = self.every.as_secs_f64();
        self.rows.iter().enumerate().map(move |(n, rows)| ((n + 1) as f64 * every, *rows))
    }

    fn place_of(&self, after: Duration) -> usize {
        usize::try_from(after.as_nanos() / self.every.as_nanos().max(1)).unwrap_or(usize::MAX)
    }

    fn thin_out(&mut self) {
        self.every *= 2;
        self.rows = self.rows.chunks(2).filter_map(|pair| pair.last().copied()).collect();
    }
}

fn seconds<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(notes: &[(u64, u64)]) -> Vec<(f64, u64)> {
        let mut series = Series::default();
        for (millis, rows) in notes {
            series.note(Duration::from_millis(*millis), *rows);
        }
        series.points().collect()
    }

    #[test]
    fn rows_are_noted_at_even_steps() {
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[(3, 5), (19, 7)]), [(0.02, 7)]);
        assert_eq!(of(&[(3, 5), (70, 9)]), [(0.02, 5), (0.04, 5), (0.06, 5), (0.08, 9)]);
    }

    #[test]
    fn a_long_run_takes_no_more_points_than_a_short_one() {
        let seconds: Vec<_> = (1..=100_000).map(|n| (n * 1000, n)).collect();
        let points = of(&seconds);

        assert!((POINTS / 2..=POINTS).contains(&points.len()), "{}", points.len());
        assert_eq!(points.last().unwrap().1, 100_000);
        for (at, rows) in points {
            assert!((at - rows as f64).abs() <= 1.0 || rows == 100_000, "{rows} at {at}");
        }
    }

    #[test]
    fn what_was_noted_before_a_pause_is_kept() {
        let points = of(&[(10, 5), (86_400_000, 6)]);

        assert!(points.len() <= POINTS);
        assert_eq!((points[0].1, points.last().unwrap().1), (5, 6));
    }
}
