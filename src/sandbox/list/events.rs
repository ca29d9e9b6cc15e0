//! The events list, the most treacherous of all.
//!
//! A silent cap; bounds that exclude themselves and forget their zone; equal
//! timestamps in no order; descending answers out of a window that is wide enough
//! for half a page, with `next: null` although older events exist.

use std::cmp::Reverse;

use serde_json::{Value, json};

use super::View;
use crate::cursor::Timestamp;
use crate::sandbox::answer::Answer;
use crate::sandbox::data::chance;
use crate::sandbox::data::event::Event;
use crate::sandbox::time::{self, HOUR, MINUTE, SECOND};

/// How far back a descending list looks first, and then, and then.
const WINDOWS: [i64; 6] = [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, 24 * HOUR];

/// The largest `offset` that is not refused.
const LARGEST_OFFSET: usize = 50_000;

/// What a request wants of the list.
struct Wish<'a> {
    /// The earliest instant, itself left out.
    after: Option<Timestamp>,
    /// The latest instant, itself left out.
    before: Timestamp,
    is_descending: bool,
    limit: usize,
    offset: usize,
    event: Option<&'a str>,
    distinct_id: Option<&'a str>,
}

/// Answers the list.
pub(in crate::sandbox) fn list(view: &View<'_>) -> Result<Answer, Answer> {
    let Some(wish) = wish(view)? else { return Ok(body(view, None, &[])) };
    let rows = if wish.is_descending { descending(view, &wish) } else { ascending(view, &wish) };
    let page: Vec<&Event> = rows.iter().skip(wish.offset).take(wish.limit).copied().collect();

    let has_more = rows.len() > wish.offset + wish.limit;
    let next = page.last().filter(|_| has_more).map(|last| {
        let bound = if wish.is_descending { "before" } else { "after" };
        view.question.link(&[(bound, time::iso(last.at))])
    });
    Ok(body(view, next.as_deref(), &page))
}

/// Reads the parameters; `None` where an unreadable `after` lets nothing through.
fn wish<'a>(view: &View<'a>) -> Result<Option<Wish<'a>>, Answer> {
    let question = view.question;
    let text = question.parameter("limit").unwrap_or("100");
    let Ok(limit) = text.parse::<usize>() else { return Err(Answer::server_error()) };
    let offset = question.count("offset", 0);
    if offset > LARGEST_OFFSET {
        let detail =
            format!("Offset is deprecated. Max supported offset value is {LARGEST_OFFSET}");
        return Err(Answer::invalid(&detail));
    }
    let after = question.parameter("after").map(time::read_wall_clock);
    if after == Some(None) {
        return Ok(None);
    }
    // The default is taken in the project's zone and then loses it, like every bound.
    let latest = time::shift(view.now, 5 * SECOND + i64::from(view.zone) * MINUTE);
    let before = question.parameter("before").and_then(time::read_wall_clock).unwrap_or(latest);
    let order = question.parameter("orderBy").unwrap_or(r#"["-timestamp"]"#);
    Ok(Some(Wish {
        after: after.flatten(),
        before,
        is_descending: order.replace(' ', "") == r#"["-timestamp"]"#,
        limit: limit.min(view.event_cap),
        offset,
        event: question.parameter("event"),
        distinct_id: question.parameter("distinct_id"),
    }))
}

impl Wish<'_> {
    /// The events between the bounds, by timestamp.
    fn between<'a>(&self, events: &'a [Event], after: Option<Timestamp>) -> &'a [Event] {
        let start = events.partition_point(|event| after.is_some_and(|after| event.at <= after));
        let end = events.partition_point(|event| event.at < self.before);
        events.get(start..end).unwrap_or_default()
    }

    fn wants(&self, event: &Event) -> bool {
        self.event.is_none_or(|name| event.name == name)
            && self.distinct_id.is_none_or(|id| event.distinct_id() == id)
    }

    /// Enough of the rows to fill the page and know whether there are more; equal timestamps are kept together.
    fn enough<'a>(&self, rows: impl Iterator<Item = &'a Event>) -> Vec<&'a Event> {
        let needed = self.offset + self.limit + 1;
        let mut enough: Vec<&Event> = Vec::new();
        for event in rows.filter(|event| self.wants(event)) {
            if enough.len() >= needed && enough.last().is_some_and(|last| last.at != event.at) {
                break;
            }
            enough.push(event);
        }
        enough
    }
}

/// A row's place among those of its timestamp, another in each request.
fn lot(view: &View<'_>, event: &Event) -> u64 {
    chance::mix(view.turn, event.serial, u64::from(event.edition) + event.name.len() as u64)
}

fn ascending<'a>(view: &View<'a>, wish: &Wish<'_>) -> Vec<&'a Event> {
    let mut rows = wish.enough(wish.between(&view.data.events, wish.after).iter());
    rows.sort_by_key(|event| (event.at, lot(view, event)));
    rows
}

/// From the first window that holds half a page; only when none does, from everything.
fn descending<'a>(view: &View<'a>, wish: &Wish<'_>) -> Vec<&'a Event> {
    let windows = WINDOWS.iter().map(|window| Some(time::shift(wish.before, -window)));
    for start in windows.chain([None]) {
        // A window as wide as the range asked for is the range.
        let start = start.filter(|start| wish.after.is_none_or(|after| after < *start));
        let is_whole = start.is_none();
        let range = wish.between(&view.data.events, start.or(wish.after));
        let mut rows = wish.enough(range.iter().rev());
        if is_whole || 2 * rows.len() >= wish.limit {
            rows.sort_by_key(|event| (Reverse(event.at), lot(view, event)));
            return rows;
        }
    }
    Vec::new()
}

/// The envelope, with the records as text.
fn body(view: &View<'_>, next: Option<&str>, page: &[&Event]) -> Answer {
    let has_person = view.is_old || view.question.is_on("include_person");
    let mut text = format!(r#"{{"next":{},"results":["#, json!(next));
    for (at, event) in page.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&record(view, event, has_person));
    }
    text.push_str("]}");
    Answer::new(200, text)
}

fn record(view: &View<'_>, event: &Event, has_person: bool) -> String {
    let known = view
        .data
        .persons
        .get(view.data.survivor(event.person))
        .filter(|person| has_person && person.is_shown());
    let person: Option<Value> = known.map(|person| person.beside_event());
    event.listed(view.data.seed, person.as_ref())
}

/// Answers one event, by id.
pub(in crate::sandbox) fn retrieve(view: &View<'_>, id: &str) -> Result<Answer, Answer> {
    let Ok(uuid) = uuid::Uuid::parse_str(id) else {
        return Err(Answer::problem(400, "validation_error", "invalid", "Invalid UUID"));
    };
    let found = view.data.events.iter().find(|event| event.uuid == uuid.as_u128());
    let none = || Answer::not_found(&format!("No events exist for event UUID {id}"));
    Ok(Answer::new(200, record(view, found.ok_or_else(none)?, true)))
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::sandbox::Options;
    use crate::sandbox::client::{follow, get, ids, list, small, started};

    const ASCENDING: &str = "orderBy=%5B%22timestamp%22%5D";
    const ALL: &str = "after=2026-01-01T00:00:00Z&before=2026-12-01T00:00:00Z";

    #[tokio::test]
    async fn following_next_loses_events_of_equal_timestamps() {
        let sandbox = started(small()).await;

        let followed = follow(&sandbox, &format!("events/?{ASCENDING}&{ALL}&limit=100")).await;

        let found: HashSet<_> = ids(&followed).into_iter().collect();
        let truth: HashSet<_> = sandbox
            .truth("events")
            .iter()
            .map(|event| event["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(truth.len(), 2000);
        assert!(found.len() < truth.len(), "{} were found", found.len());
        assert!(found.iter().all(|id| truth.contains(*id)));
    }

    #[tokio::test]
    async fn windows_small_enough_to_come_whole_give_everything() {
        let sandbox = started(small()).await;
        let (mut found, mut copies) = (HashMap::new(), 0);
        for hour in 0..24 * 21 {
            // Both bounds exclude themselves: each window begins a microsecond early.
            let from = time::shift(Timestamp::parse("2026-11-01").unwrap(), hour * time::HOUR - 1);
            let to = time::shift(from, time::HOUR + 1);
            let page =
                list(&sandbox, &format!("events/?{ASCENDING}&after={from}&before={to}&limit=1000"))
                    .await;
            assert!(page["next"].is_null());
            for event in page["results"].as_array().unwrap() {
                copies += 1;
                let key =
                    (event["id"].clone(), event["event"].clone(), event["distinct_id"].clone());
                found.insert(key.map_to_text(), event.clone());
            }
        }

        let truth = sandbox.truth("events");
        assert_eq!(found.len(), truth.len());
        assert!(copies > found.len(), "some copies are not merged");
        for event in &truth {
            let key = (event["id"].clone(), event["event"].clone(), event["distinct_id"].clone());
            let row = &found[&key.map_to_text()];
            assert_eq!(row["properties"], event["properties"]);
            assert_eq!(row["elements_chain"], event["elements_chain"]);
        }
    }

    /// A key that can be hashed.
    trait MapToText {
        fn map_to_text(&self) -> String;
    }

    impl MapToText for (Value, Value, Value) {
        fn map_to_text(&self) -> String {
            format!("{} {} {}", self.0, self.1, self.2)
        }
    }

    #[tokio::test]
    async fn the_history_holds_what_makes_copying_hard() {
        let sandbox = started(small()).await;
        let truth = sandbox.truth("events");

        let mut by_id: HashMap<&str, Vec<&Value>> = HashMap::new();
        let mut by_time: HashMap<&str, usize> = HashMap::new();
        for event in &truth {
            by_id.entry(event["id"].as_str().unwrap()).or_default().push(event);
            *by_time.entry(event["timestamp"].as_str().unwrap()).or_default() += 1;
        }
        let shared: Vec<_> = by_id.values().filter(|events| events.len() > 1).collect();
        assert!(shared.len() >= 10);
        assert!(shared.iter().all(|events| events[0]["timestamp"] == events[1]["timestamp"]));
        assert!(by_time.values().any(|count| *count >= 380));
        assert!(by_time.values().filter(|count| **count >= 38).count() > 10);
        assert!(
            truth
                .iter()
                .any(|event| event["properties"]["big"] == json!(9_007_199_254_740_993_i64))
        );
        assert!(truth[0]["properties"].to_string().len() > 900);
    }

    #[tokio::test]
    async fn equal_timestamps_change_places_between_requests() {
        let sandbox = started(small()).await;
        let target = format!("events/?{ASCENDING}&{ALL}&limit=30");

        let (one, other) = (list(&sandbox, &target).await, list(&sandbox, &target).await);

        assert_ne!(one["results"], other["results"]);
        assert_eq!(one["results"][0]["timestamp"], other["results"][29]["timestamp"]);
        assert!(one["results"][0]["person"].is_null());
        let with_person = list(&sandbox, &format!("{target}&include_person=true")).await;
        assert!(with_person["results"][0]["person"]["properties"]["email"].is_string());
    }

    #[tokio::test]
    async fn the_limit_is_capped_without_a_word() {
        let sandbox = started(Options { event_cap: 150, ..small() }).await;

        let size = async |query: &str| {
            list(&sandbox, &format!("events/?{query}{ALL}")).await["results"]
                .as_array()
                .unwrap()
                .len()
        };

        assert_eq!(size(&format!("{ASCENDING}&limit=5000&")).await, 150);
        assert_eq!(size(&format!("{ASCENDING}&")).await, 100);
    }

    #[tokio::test]
    async fn a_descending_list_ends_before_the_end() {
        let sandbox = started(small()).await;
        let now = sandbox.now();
        sandbox.add_events(30, Duration::from_secs(10), now);

        let page = list(&sandbox, "events/?limit=40").await;

        // 30 of 40 rows in the last minute are enough for it.
        assert_eq!(page["results"].as_array().unwrap().len(), 30);
        assert!(page["next"].is_null());
        let more = list(&sandbox, "events/?limit=20").await;
        assert!(
            more["next"].as_str().unwrap().contains("before=2026-11-21T06%3A18%3A15."),
            "{}",
            more["next"]
        );
    }

    #[tokio::test]
    async fn bounds_lose_their_zone() {
        let sandbox = started(Options { timezone_offset_minutes: -300, ..small() }).await;
        let bounded = async |after: &str, before: &str| {
            list(&sandbox, &format!("events/?{ASCENDING}&limit=1000&after={after}&before={before}"))
                .await["results"]
                .clone()
        };
        let sorted = |rows: Value| {
            let rows = rows.as_array().unwrap().clone();
            let mut ids: Vec<_> = ids(&rows).into_iter().map(str::to_owned).collect();
            ids.sort();
            ids
        };

        let utc = sorted(bounded("2026-11-10T00:00:00Z", "2026-11-12T00:00:00Z").await);
        let shifted =
            sorted(bounded("2026-11-10T00:00:00%2B05:00", "2026-11-12T00:00:00%2B05:00").await);
        assert_eq!(utc, shifted);

        // West of Greenwich the newest hours are missing where `before` is.
        sandbox.add_events(5, Duration::from_secs(60), sandbox.now());
        let newest =
            list(&sandbox, &format!("events/?{ASCENDING}&after=2026-11-21T06:00:00Z")).await;
        assert!(newest["results"].as_array().unwrap().is_empty());
    }

    #[tokio::test]
    async fn filters_name_an_event_or_whose_it_is() {
        let sandbox = started(small()).await;
        let event = &sandbox.truth("events")[7];
        let id = event["distinct_id"].as_str().unwrap();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("distinct_id", id)
            .append_pair("event", event["event"].as_str().unwrap())
            .finish();

        let rows = list(&sandbox, &format!("events/?{ASCENDING}&{ALL}&{query}")).await;

        let rows = rows["results"].as_array().unwrap();
        assert!(!rows.is_empty());
        assert!(rows.iter().all(|row| row["distinct_id"] == id && row["event"] == event["event"]));
    }

    #[tokio::test]
    async fn an_offset_too_large_is_refused_and_an_event_can_be_had_by_id() {
        let sandbox = started(small()).await;

        let refused = get(&sandbox, "/api/projects/12345/events/?offset=50001").await;
        assert_eq!(refused.detail(), "Offset is deprecated. Max supported offset value is 50000");
        assert_eq!(get(&sandbox, "/api/projects/12345/events/?limit=abc").await.status, 500);
        assert_eq!(get(&sandbox, "/api/projects/12345/events/x/").await.detail(), "Invalid UUID");
        let id = sandbox.truth("events")[0]["id"].as_str().unwrap().to_owned();
        assert_eq!(list(&sandbox, &format!("events/{id}/")).await["id"], id);
    }

    #[tokio::test]
    async fn late_events_changed_copies_and_deletions_show_in_the_truth() {
        let sandbox = started(small()).await;
        let before = sandbox.truth("events");
        let now = sandbox.now();

        let added = sandbox.add_events(3, Duration::from_secs(86_400 * 5), now);
        let after = sandbox.truth("events");
        assert_eq!(after.len(), before.len() + 3);
        let late = after.iter().find(|event| event["id"] == added[0]).unwrap();
        assert_eq!(
            (&late["timestamp"], &late["created_at"]),
            (&json!(now.minus(Duration::from_secs(432_000)).to_string()), &json!(now.to_string()))
        );

        sandbox.touch("events", 2);
        let touched = sandbox.truth("events");
        assert_eq!(touched.len(), after.len());
        assert_eq!(touched.iter().filter(|event| event["properties"]["edition"] == 1).count(), 2);

        sandbox.delete("events", 4);
        assert!(sandbox.truth("events").len() >= after.len() - 4);
    }

    #[tokio::test]
    async fn the_same_seed_makes_the_same_project_quickly() {
        let began = Instant::now();
        let one = started(Options { events: 20_000, ..small() }).await;
        let took = began.elapsed();
        let other = started(Options { events: 20_000, ..small() }).await;

        assert_eq!(one.truth("events")[..50], other.truth("events")[..50]);
        assert!(took < Duration::from_secs(5), "starting took {took:?}");
    }
}
