//! A run as a page: for whoever is woken by it, and for whoever looks later.
//!
//! One file that loads nothing from elsewhere and runs no script; a policy in its head has the
//! browser see to that. What went wrong and what to do stand at the top. All HTML is made of
//! [`markup`], which nothing that a server says can break out of.

mod history;
mod markup;
mod streams;
mod timeline;
mod verdict;

use markup::{Markup, tag, text};

use super::Facts;
use super::figures::{counted, grouped, instant};
use super::notes;
use crate::http::{Left, spell};
use crate::spec::registry::BURST;

const STYLE: &str = include_str!("page.css");

const HEAD: &str = "<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <meta name=\"color-scheme\" content=\"light dark\">\n\
    <meta http-equiv=\"Content-Security-Policy\" \
    content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
    <link rel=\"icon\" href=\"data:,\">\n";

/// The whole page.
pub fn page(facts: &Facts<'_>) -> String {
    let title = format!("{} – {}", verdict::title(facts), facts.replication);
    let title = tag("title").text(title).into_string();
    let sections = [
        verdict::verdict(facts),
        verdict::remedies(facts),
        streams::streams(facts),
        remarks(facts),
        timeline::timeline(facts.outcomes),
        quotas(facts),
        history::history(facts),
        foot(facts),
    ];
    let main = tag("main").holding(sections).into_string();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n{HEAD}{title}\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n{main}\n</body>\n</html>\n"
    )
}

/// A part of the page under a heading.
fn section(heading: &str, parts: impl IntoIterator<Item = Markup>) -> Markup {
    let heading = tag("h2").text(heading);
    tag("section").holding([heading].into_iter().chain(parts))
}

/// What else the run has to say of its rows.
fn remarks(facts: &Facts<'_>) -> Markup {
    let notes = notes(facts.outcomes);
    if notes.is_empty() {
        return Markup::default();
    }
    let items = notes.iter().map(|note| tag("li").text(note));
    section("Worth knowing", [tag("ul").holding(items)])
}

/// What PostHog still lets be asked.
fn quotas(facts: &Facts<'_>) -> Markup {
    let lasting = facts.quotas.iter().filter(|(counter, _)| !counter.ends_with(BURST));
    let lines: Vec<Markup> = lasting.map(|(counter, left)| quota(counter, *left)).collect();
    if lines.is_empty() {
        return Markup::default();
    }
    let asked = facts.outcomes.iter().map(|outcome| outcome.requests).sum();
    let told = format!(
        "This run sent {}. Below, what all runs of this machine have used of PostHog's quotas.",
        counted(asked, "request")
    );
    section("Requests and quotas", [tag("p").text(told), tag("div").class("quotas").holding(lines)])
}

fn quota(counter: &str, left: Left) -> Markup {
    let used = left.of.requests.saturating_sub(left.requests);
    let share = f64::from(used) / f64::from(left.of.requests.max(1));
    let mood = match share {
        0.9.. => "bad",
        // From here on hogline spreads what is left.
        0.5.. => "wait",
        _ => "good",
    };
    let fill = tag("span").class(mood).with("style", format!("width:{:.1}%", share * 100.0));
    let [used, left_over, all] = [used, left.requests, left.of.requests].map(|n| grouped(n.into()));
    let told = format!("{used} of {all} in {}, {left_over} left", spell(left.of.per));
    tag("div").class("quota").holding([
        tag("strong").text(counter),
        tag("div").class("gauge").holding([fill.text("")]),
        tag("span").class("told").text(told),
    ])
}

fn foot(facts: &Facts<'_>) -> Markup {
    let Facts { replication, source, target, begun, ended, exit, .. } = facts;
    let code = exit.code();
    let facts = [
        ("replication", replication.clone()),
        ("from", source.clone()),
        ("to", target.clone()),
        ("began", instant(*begun)),
        ("ended", instant(*ended)),
        ("exit code", format!("{code} (hogline explain {code})")),
        ("hogline", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let told = facts.into_iter().filter(|(_, value)| !value.is_empty());
    let pairs = told.map(|(name, value)| {
        tag("div").holding([tag("dt").text(name), tag("dd").holding([text(value)])])
    });
    tag("footer").holding([tag("dl").holding(pairs)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Allowance, Mode};
    use crate::cursor::Timestamp;
    use crate::error::{Exit, Failure};
    use crate::http::Meter;
    use crate::report::{Outcome, Tally};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn outcome(stream: &str, failure: Option<Failure>) -> Outcome {
        let name = (stream.to_owned(), format!("sqlite://posthog.db#{stream}"));
        let to = failure.is_none().then(|| at("2026-03-04T00:00:00Z"));
        let took = std::time::Duration::from_millis(1500);
        let (tally, meter) = (Tally::of(stream), Meter::default());
        Outcome::new(name, Mode::Incremental, tally, &meter, took, to, failure)
    }

    fn refused(cause: &str) -> Failure {
        let fix = "add the scope `cohort:read` to the key".to_owned();
        Failure {
            what: "stream `cohorts` stopped".into(),
            cause: cause.into(),
            fix,
            exit: Exit::Key,
        }
    }

    #[test]
    fn a_failure_stands_at_the_top_with_its_fix_and_is_no_markup() {
        let outcomes = [outcome("events", None), outcome("cohorts", Some(refused("<img src=x>")))];
        let left = Left { requests: 300, of: Allowance::parse("1200/1h").unwrap() };

        let html = page(&Facts {
            exit: Exit::Partly,
            outcomes: &outcomes,
            quotas: [("clickhouse".to_owned(), left)].into(),
            ..Facts::of("<b>.yaml", at("2026-03-04T00:00:00Z"))
        });

        for part in [
            "<title>1 of 2 streams failed – &lt;b&gt;.yaml</title>",
            "&lt;img src=x&gt;",
            "add the scope <code>cohort:read</code> to the key",
            "900 of 1,200 in 1 h, 300 left",
            "complete to 2026-03-04 00:00:00",
        ] {
            assert!(html.contains(part), "{part}\nis not in\n{html}");
        }
        assert!(html.find("cohort:read") < html.find("<table"), "the fix comes first");
    }

    #[test]
    fn a_page_loads_nothing_and_runs_nothing() {
        let outcomes = [outcome("events", None)];
        let html = page(&Facts {
            outcomes: &outcomes,
            ..Facts::of("replication.yaml", at("2026-03-04T00:00:00Z"))
        });

        for elsewhere in ["<script", "http://", "https://", "url(", "@import", "src="] {
            assert!(!html.contains(elsewhere), "{elsewhere} is in\n{html}");
        }
    }
}
