//! The page on mapping says what the program does.
//!
//! Its tables are held against the tables of the profiles, and every message that it shows is
//! mapped: what stands beside it must be what becomes of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::arrival;
use crate::send::mapping::fields::Field;
use crate::send::mapping::{Mapping, Options, Outcome, Profile, hogline, rudderstack, segment};

const PAGE: &str = include_str!("../../../../docs/mapping.md");

/// The rows of tables whose first cell is code.
fn rows(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| line.starts_with("| `"))
}

fn cells(row: &'static str) -> Vec<&'static str> {
    row.trim_matches('|').split(" | ").map(str::trim).collect()
}

/// What is between a pair of backticks, if that is all.
fn quoted(cell: &'static str) -> Option<&'static str> {
    cell.strip_prefix('`')?.strip_suffix('`').filter(|inner| !inner.contains('`'))
}

/// What becomes of a message, in the words of the page.
fn told(profile: Profile, message: &Map<String, Value>) -> String {
    match Mapping::of(profile).map(message.clone(), &arrival()) {
        Ok(Outcome::Draft(draft)) => {
            format!("`{}` of `{}`", draft.event.unwrap(), draft.distinct_id.unwrap())
        }
        Ok(Outcome::NotForPostHog(reason)) => format!("not for PostHog: {reason}"),
        Err(rejection) => format!("rejected: {rejection}"),
    }
}

#[test]
fn every_message_in_a_table_becomes_what_stands_beside_it() {
    let mut shown = 0;
    for cells in rows(PAGE).map(cells) {
        let Some(text) = quoted(cells[0]).filter(|text| text.starts_with('{')) else { continue };
        let message = serde_json::from_str(text).unwrap();
        shown += 1;
        let everywhere = [cells[1]; 3];
        let expected = if cells.len() == 2 { &everywhere } else { &cells[1..] };
        let got = Profile::ALL.map(|(_, profile)| told(profile, &message));
        assert_eq!(got, expected, "{}", cells[0]);
    }
    assert!(shown > 20, "{shown} messages");
}

#[test]
fn every_property_and_its_places_are_on_the_page() {
    type Tables = &'static [(&'static str, &'static [Field])];
    const TABLES: [Tables; 3] = [
        &[
            ("", &hogline::FIELDS),
            (" of pages", &hogline::OF_PAGES),
            (" of screens", &hogline::OF_SCREENS),
        ],
        &[("", &segment::FIELDS)],
        &[("", &rudderstack::FIELDS), (" of screens", &rudderstack::OF_SCREENS)],
    ];
    let mut expected: BTreeMap<String, [String; 3]> = BTreeMap::new();
    for (profile, tables) in TABLES.iter().enumerate() {
        for (of, fields) in *tables {
            for (property, places) in *fields {
                let none = ["–"; 3].map(str::to_owned);
                let row = expected.entry(format!("`{property}`{of}")).or_insert(none);
                let places: Vec<String> = places.iter().map(|p| format!("`{p}`")).collect();
                row[profile] = places.join(", ");
            }
        }
    }

    let section = PAGE.split("\n## Properties").nth(1).unwrap().split("\n## ").next().unwrap();

    let expected =
        expected.into_iter().map(|(label, row)| format!("| {label} | {} |", row.join(" | ")));
    assert_eq!(rows(section).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn the_options_are_what_the_page_says() {
    let yes_or_no = |is_so: bool| if is_so { "yes" } else { "no" };
    let options = Profile::ALL.map(|(_, profile)| Options::of(profile));
    let told = |start: &str| -> Vec<&str> {
        let row = PAGE.lines().find(|line| line.starts_with(&format!("| {start} | "))).unwrap();
        cells(row)[2..].to_vec()
    };

    let types = options.each_ref().map(|options| {
        options.default_group_type.as_ref().map_or("none".to_owned(), |kind| format!("`{kind}`"))
    });
    assert_eq!(told("default group type"), types);
    let sets = options.each_ref().map(|options| yes_or_no(options.set_traits_on_all_calls));
    assert_eq!(told("set traits on all calls"), sets);
    let without = options.each_ref().map(|options| yes_or_no(options.anonymous_without_person));
    assert_eq!(told("anonymous without person"), without);
    assert_eq!(told("use_v2_group"), ["–", "–", yes_or_no(options[2].use_v2_group)]);
}

#[test]
fn every_example_becomes_the_events_below_it() {
    let fences = PAGE.split("```json\n").skip(1).map(|fence| fence.split("```").next().unwrap());
    let objects: Vec<Map<String, Value>> =
        fences.map(|fence| serde_json::from_str(fence).unwrap()).collect();
    assert!(objects.len() >= 6, "{} fences", objects.len());
    for pair in objects.chunks(2) {
        let [message, expected] = pair else { panic!("an example without its events") };
        let got = Profile::ALL.map(|(name, profile)| {
            let outcome = Mapping::of(profile).map(message.clone(), &arrival());
            let Ok(Outcome::Draft(draft)) = outcome else { panic!("{outcome:?}") };
            let event = json!({
                "event": draft.event,
                "distinct_id": draft.distinct_id,
                "properties": draft.properties,
            });
            (name.to_owned(), event)
        });
        let got = Map::from_iter(got);
        assert_eq!(&got, expected, "{}", serde_json::to_string_pretty(&got).unwrap());
    }
}
