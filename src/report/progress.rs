//! What a person at a terminal sees while a run goes on: a line for each stream that is read.
//!
//! The only user of indicatif. Streams count for themselves; this looks at their tallies ten
//! times a second and draws, so that rows cost nothing more for being watched. Where stderr is
//! no terminal, or logs are for machines, each stream tells a line when it begins, every half
//! minute and when it ends. There are no colours.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::figures::{counted, grouped, instant};
use super::tally::{Glance, Tally};
use super::tell;
use crate::http::{Client, left_of_all, spell};
use crate::spec::registry::BURST;

/// Lines are told so often where nothing is drawn.
const TOLD: Duration = Duration::from_secs(30);

/// As often as the eye follows; more would only heat the terminal.
const FRAMES: u8 = 10;

/// Every so many frames the quotas are looked up: the ledger is a file that others use as well.
const LEDGER_LOOKED_UP: u64 = 20;

/// Parts of a bar: finer than it is drawn.
const WHOLE: u64 = 1000;

/// A stream whose end is not known: a list does not say how long it is.
const LIST: &str = "{prefix} {spinner:<24} {wide_msg}";

/// A stream that walks through a range of time.
const WALK: &str = "{prefix} [{bar:16}] {percent:>3}%  {wide_msg}";

/// What is being drawn, so that what else goes to the terminal can be let through.
static SCREEN: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Whether logs are for machines.
static IS_PLAIN: AtomicBool = AtomicBool::new(false);

/// From now on nothing is drawn, terminal or not.
pub fn never_draw() {
    IS_PLAIN.store(true, Ordering::Relaxed);
}

/// Writes to the terminal while no line is in the way.
pub(super) fn aside<T>(write: impl FnOnce() -> T) -> T {
    match screen() {
        Some(screen) => screen.suspend(write),
        None => write(),
    }
}

/// Whether streams are drawn, so that they need not say that they begin.
pub(super) fn is_drawn() -> bool {
    screen().is_some()
}

fn screen() -> Option<MultiProgress> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Shows how far each stream is, until dropped.
pub struct Progress<'a> {
    tallies: &'a [Arc<Tally>],
    clients: &'a [Client],
}

impl<'a> Progress<'a> {
    /// Prepares to show these; from now on the terminal is shared.
    pub fn of(tallies: &'a [Arc<Tally>], clients: &'a [Client]) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(FRAMES);
        if !target.is_hidden() && !IS_PLAIN.load(Ordering::Relaxed) {
            let screen = MultiProgress::with_draw_target(target);
            *SCREEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(screen);
        }
        Self { tallies, clients }
    }

    /// Never ends by itself.
    pub async fn watch(&self) {
        match screen() {
            Some(screen) => self.draw(screen).await,
            None => self.tell_lines().await,
        }
    }

    async fn tell_lines(&self) {
        let mut ticks = tokio::time::interval(TOLD);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            for tally in self.tallies.iter().filter(|tally| tally.glance().is_some()) {
                tell(&format!("{}: {}", tally.stream(), tally.line()));
            }
        }
    }

    async fn draw(&self, screen: MultiProgress) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::from(FRAMES));
        let mut lines = Lines::of(screen, self.tallies);
        for frame in 0_u64.. {
            ticks.tick().await;
            lines.show(self.tallies);
            if frame.is_multiple_of(LEDGER_LOOKED_UP) {
                lines.quotas.set_message(self.requests_left().await);
            }
        }
    }

    async fn requests_left(&self) -> String {
        let left = left_of_all(self.clients).await;
        let lasting = left.iter().filter(|(counter, _)| !counter.ends_with(BURST));
        let told =
            lasting.map(|(counter, left)| format!("{counter} {}", grouped(left.requests.into())));
        let told: Vec<String> = told.collect();
        if told.is_empty() { String::new() } else { format!("requests left: {}", told.join(", ")) }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        SCREEN.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The lines on the screen: one for each stream that is read, below them what is left to ask.
struct Lines {
    screen: MultiProgress,
    bars: Vec<Option<ProgressBar>>,
    quotas: ProgressBar,
    /// How wide the longest name is.
    width: usize,
}

impl Lines {
    fn of(screen: MultiProgress, tallies: &[Arc<Tally>]) -> Self {
        let widths = tallies.iter().map(|tally| tally.stream().chars().count());
        let width = widths.max().unwrap_or(0);
        let quotas = screen.add(bar().with_style(style("{wide_msg}")));
        Self { screen, bars: vec![None; tallies.len()], quotas, width }
    }

    fn show(&mut self, tallies: &[Arc<Tally>]) {
        let Self { screen, bars, quotas, width } = self;
        for (tally, place) in tallies.iter().zip(bars) {
            match (tally.glance(), &place) {
                (Some(glance), None) => {
                    let name = format!("{:<width$}", tally.stream());
                    let new = bar().with_style(style(LIST)).with_prefix(name);
                    show(place.insert(screen.insert_before(quotas, new)), &glance);
                }
                (Some(glance), Some(bar)) => show(bar, &glance),
                (None, Some(bar)) => {
                    bar.finish_and_clear();
                    screen.remove(bar);
                    *place = None;
                }
                (None, None) => {}
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // One that is dropped while it is drawn stays on the screen.
        for bar in self.bars.iter().flatten().chain([&self.quotas]) {
            bar.finish_and_clear();
        }
    }
}

/// A bar that is not drawn before it is told where.
fn bar() -> ProgressBar {
    ProgressBar::with_draw_target(Some(WHOLE), ProgressDrawTarget::hidden())
}

fn show(bar: &ProgressBar, glance: &Glance) {
    let template = if glance.share.is_some() { WALK } else { LIST };
    bar.set_style(style(template));
    bar.set_position((glance.share.unwrap_or(0.0) * WHOLE as f64) as u64);
    bar.set_message(words(glance));
    bar.tick();
}

/// A line in words: rows, rows a second, where in time, how long it will take.
fn words(glance: &Glance) -> String {
    let speed = glance.rows as f64 / glance.took.as_secs_f64().max(0.1);
    let mut words = format!("{}, {}/s", counted(glance.rows, "row"), grouped(speed.round() as u64));
    if let Some(at) = glance.reached {
        words += &format!(", at {}", instant(at).trim_end_matches(" UTC"));
    }
    if let Some(to_go) = glance.to_go {
        words += &format!(", {} to go", spell(to_go));
    }
    words
}

fn style(template: &'static str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ").tick_chars("|/-\\ ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Timestamp;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        let mut glance = Glance {
            rows: 12_000,
            took: Duration::from_secs(10),
            reached: Timestamp::parse("2026-01-05T10:00:00Z"),
            share: Some(0.4),
            to_go: Some(Duration::from_secs(125)),
        };
        let all = "12,000 rows, 1,200/s, at 2026-01-05 10:00:00, 2 min 5 s to go";
        assert_eq!(words(&glance), all);

        (glance.rows, glance.reached, glance.to_go) = (1, None, None);
        assert_eq!(words(&glance), "1 row, 0/s");
    }
}
