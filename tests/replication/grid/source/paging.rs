//! Pages and the ways to the next: wrong, missing, in circles, elsewhere.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Answer, Lasting, Mangle, SHARE, Scene, Sent, all_run_well, last_on, mangle, try_all};
use crate::grid::{Fault, Ground, Tried};

#[test]
fn a_source_that_pages_wrongly_costs_no_row() {
    let faults = [
        Fault::new("links that lead nowhere", wrong_links),
        Fault::new("pages with other rows", other_rows),
        Fault::new("pages without end", without_end),
        Fault::new("no list of rows", no_rows),
        Fault::new("rows out of range or order", astray),
    ];
    try_all("source: paging", SHARE, &faults);
}

/// A mangle of the answer's JSON.
fn edit(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Mangle {
    mangle(move |answer: Answer| answer.edited(&change).sent())
}

/// A mangle that puts a value under a name.
fn put(name: &'static str, value: Value) -> Mangle {
    edit(move |answer| answer[name] = value.clone())
}

fn rows(answer: &mut Value) -> &mut Vec<Value> {
    answer["results"].as_array_mut().unwrap()
}

/// Each strikes a page of records, from the second page on.
fn pass_by_pages(ground: &Ground, mangles: &[Mangle]) -> Tried {
    let scene = Scene::on(ground);
    for (n, mangle) in mangles.iter().enumerate() {
        scene.proxy.strikes_once(scene.records(), usize::from(n == 0), mangle);
    }
    all_run_well(&scene);
    Tried::Passed(mangles.len())
}

fn last_by_pages(ground: &Ground, faults: &[Lasting]) -> Tried {
    let scene = Scene::on(ground);
    let records = scene.records();
    last_on(&scene, records, faults)
}

/// Nothing that an answer says of the next page is needed, and no host in it is asked.
fn wrong_links(ground: &Ground) -> Tried {
    // A page without rows that names a next one says two things at once: see `without_end`.
    let link = |link: &str| {
        let link = link.to_owned();
        edit(move |answer| {
            if !rows(answer).is_empty() {
                answer["next"] = json!(link);
            }
        })
    };
    match ground.paging {
        "offset" | "time window" => {
            let mut mangles = vec![
                put("next", Value::Null),
                put("next", json!(17)),
                put("next", json!(false)),
                put("next", json!({ "offset": 100 })),
                edit(|answer| {
                    answer.as_object_mut().unwrap().remove("next");
                }),
                link(""),
                link("?cursor=abc"),
                link("/api/elsewhere/?limit=100"),
                link("not a link"),
            ];
            if ground.paging == "offset" {
                let all = "limit=100&offset=999999";
                let places = ["https://evil.example", "http://127.0.0.1:1", "http://x@[::1]:2", ""];
                mangles.extend(places.map(|place| link(&format!("{place}/api/?{all}"))));
                mangles.push(edit(|answer| answer["count"] = Value::Null));
            }
            pass_by_pages(ground, &mangles)
        }
        "cursor" => pass_by_pages(
            ground,
            &[
                // Where no cursor comes, pages are asked for by offset.
                edit(|answer| {
                    answer.as_object_mut().unwrap().remove("next_cursor");
                }),
                put("next", json!("http://evil.example/?offset=1")),
                edit(|answer| {
                    if answer["next_cursor"].is_string() {
                        answer["next_cursor"] = json!(17);
                    }
                }),
            ],
        ),
        "whole" => last_by_pages(
            ground,
            &[
                Lasting::new(6, "there is more of it", link("http://posthog.example/?offset=100")),
                Lasting::new(6, "there is more of it", put("count", json!(1000))),
            ],
        ),
        _ => Tried::Empty("SQL answers have no links"),
    }
}

/// Rows left out, rows seen before, rows twice: what is missing is asked for.
fn other_rows(ground: &Ground) -> Tried {
    let short = edit(|answer| {
        let half = rows(answer).len().div_ceil(2);
        rows(answer).truncate(half);
    });
    let twice = edit(|answer| {
        let all = rows(answer);
        *all = all.iter().flat_map(|row| [row.clone(), row.clone()]).collect();
    });
    let unlinked_half = edit(|answer| {
        let half = rows(answer).len().div_ceil(2);
        rows(answer).truncate(half);
        answer["next"] = Value::Null;
    });
    let empty = edit(|answer| rows(answer).clear());
    match ground.paging {
        "keyset" | "keyset and join" => pass_by_pages(ground, &[short, twice]),
        "time window" => pass_by_pages(ground, &[short, twice, unlinked_half]),
        "offset" => pass_by_pages(ground, &[twice, empty, short, unlinked_half]),
        "cursor" => pass_by_pages(ground, &[twice]),
        _ => Tried::Empty("one answer is all"),
    }
}

/// Answers that never come to an end are no endless walk.
fn without_end(ground: &Ground) -> Tried {
    let circle = |says: &'static str, mangle: Mangle| Lasting::new(6, says, mangle);
    match ground.paging {
        "offset" => last_by_pages(
            ground,
            &[
                circle(
                    "leads from offset",
                    edit(|answer| {
                        answer["next"] = json!("http://x.example/?limit=100&offset=10");
                    }),
                ),
                circle("leads from offset", first_page_again("offset=")),
                circle(
                    "kept shifting",
                    edit(|answer| {
                        answer["count"] = json!(1_000_000);
                    }),
                ),
                circle("bring no new row", endless_empty_pages()),
            ],
        ),
        "cursor" => last_by_pages(
            ground,
            &[
                circle(
                    "an empty page says that there is more",
                    edit(|answer| {
                        rows(answer).clear();
                        answer["has_next"] = json!(true);
                    }),
                ),
                circle("rows are not in the order of time", first_page_again("after=")),
            ],
        ),
        "time window" => last_by_pages(
            ground,
            &[circle(
                "an empty page says that there is more",
                edit(|answer| {
                    rows(answer).clear();
                    answer["next"] = json!("http://x.example/?after=2026-01-01");
                }),
            )],
        ),
        _ => Tried::Empty("a walk by key or of one answer names no next page"),
    }
}

/// Answers the questions that have a parameter as the last one without it, which it must have seen.
fn first_page_again(parameter: &'static str) -> Mangle {
    let first = Mutex::new(None::<Answer>);
    Arc::new(move |asked, answer| {
        let mut first = first.lock().unwrap();
        if !asked.line.contains(parameter) {
            *first = Some(answer.clone());
        }
        first.clone().unwrap_or(answer).sent()
    })
}

/// No rows, and always a next page.
fn endless_empty_pages() -> Mangle {
    Arc::new(|asked, answer: Answer| {
        let (_, rest) = asked.line.split_once("offset=").unwrap_or(("", "0"));
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let next = digits.parse::<u64>().unwrap() + 100;
        let edited = answer.edited(|answer| {
            rows(answer).clear();
            answer["next"] = json!(format!("http://x.example/?offset={next}"));
        });
        edited.sent()
    })
}

/// What holds no rows where they belong is no empty page.
fn no_rows(ground: &Ground) -> Tried {
    let no_list = "has no list of records at `results`";
    last_by_pages(
        ground,
        &[
            Lasting::new(6, no_list, put("results", Value::Null)),
            Lasting::new(6, no_list, put("results", json!({}))),
            Lasting::new(6, no_list, put("results", json!("none"))),
            Lasting::new(
                6,
                no_list,
                edit(|answer| {
                    answer.as_object_mut().unwrap().remove("results");
                }),
            ),
            Lasting::new(
                6,
                "where a record should be",
                edit(|answer| {
                    rows(answer).push(json!(17));
                }),
            ),
            Lasting::new(
                6,
                "where a record should be",
                edit(|answer| {
                    rows(answer).insert(0, Value::Null);
                }),
            ),
            Lasting::new(
                6,
                "not the JSON asked for",
                edit(|answer| {
                    let other = if rows(answer).first().is_some_and(Value::is_array) {
                        json!({})
                    } else {
                        json!([])
                    };
                    rows(answer).push(other);
                }),
            ),
        ],
    )
}

/// Rows that were not asked for, and rows without the cursor they were asked for by.
fn astray(ground: &Ground) -> Tried {
    let (name, place) = match ground.paging {
        "keyset" => ("", 3),
        "time window" => ("timestamp", 0),
        "cursor" => ("start_time", 0),
        _ => return Tried::Empty("the list is not read by time"),
    };
    let time = move |value: Value| {
        edit(move |answer| {
            let Some(last) = rows(answer).last_mut() else { return };
            match last {
                Value::Array(items) => items[place] = value.clone(),
                last => last[name] = value.clone(),
            }
        })
    };
    let range = "a row lies outside of the ";
    let no_time = if ground.paging == "keyset" { range } else { "a row has no time" };
    let mut faults = vec![
        Lasting::new(6, range, time(json!("9999-12-31T23:59:59.999999Z"))),
        Lasting::new(6, "", time(json!("0001-01-01T00:00:00Z"))),
    ];
    if ground.paging != "cursor" {
        faults.push(Lasting::new(6, no_time, time(Value::Null)));
        faults.push(Lasting::new(6, no_time, time(json!("soon"))));
    }
    let in_chunks: Vec<Lasting> = match ground.paging {
        "keyset" => faults.iter().cloned().map(Lasting::sparing_counts).collect(),
        _ => Vec::new(),
    };
    if ground.paging != "cursor" {
        // Chunks have no order, and of recordings either will do, as long as it is one.
        faults.push(Lasting::new(6, "order", edit(|answer| rows(answer).reverse())));
    }
    if ground.paging == "keyset" {
        faults = faults.into_iter().map(Lasting::refusing_counts).collect();
    }
    last_by_pages(ground, &[in_chunks, faults].concat())
}

impl Lasting {
    /// Strikes the records alone.
    fn sparing_counts(self) -> Self {
        self.on_counts(Answer::sent)
    }

    /// Strikes the records, and refuses to count: what is read in chunks is walked by key then.
    fn refusing_counts(self) -> Self {
        self.on_counts(|answer| Answer { status: 400, ..answer }.saying("{}").sent())
    }

    fn on_counts(self, counted: fn(Answer) -> Sent) -> Self {
        let of_records = self.mangle;
        let mangle: Mangle = Arc::new(move |asked, answer| match asked.body.contains("count()") {
            true => counted(answer),
            false => of_records(asked, answer),
        });
        Self { mangle, ..self }
    }
}
