//! The persons list: newest first, by offset, with pages that come back short.
//!
//! Ghosts are counted into a page and then left out of it, so a short page is not
//! the last one; `next` is there whenever a page was full before that.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::View;
use crate::sandbox::answer::Answer;
use crate::sandbox::data::chance;
use crate::sandbox::data::person::{self, Person};
use crate::sandbox::time;

/// The most distinct ids that are looked at at once; the rest is ignored without a word.
const MOST_IDS: usize = 200;

/// Answers the list.
pub(in crate::sandbox) fn list(view: &View<'_>) -> Result<Answer, Answer> {
    let question = view.question;
    let text = question.parameter("limit").unwrap_or("100");
    let Ok(limit) = text.parse::<usize>() else { return Err(Answer::server_error()) };
    let offset = question.count("offset", 0);
    let all = found(view)?;
    let page: Vec<&Person> = all.iter().skip(offset).take(limit).copied().collect();

    let link = |offset: usize| {
        question.link(&[("limit", limit.to_string()), ("offset", offset.to_string())])
    };
    let next = (page.len() >= limit).then(|| link(offset + limit));
    let previous = offset.checked_sub(limit).filter(|_| offset > 0).map(link);
    let shown = page.iter().filter(|person| !person.is_ghost());
    let records: Vec<_> = shown.map(|person| person.record(view.data.seed)).collect();
    let count = question.is_on("include_total").then(|| format!(r#","count":{}"#, all.len()));
    Ok(Answer::new(
        200,
        format!(
            r#"{{"results":{},"next":{},"previous":{}{}}}"#,
            json!(records),
            json!(next),
            json!(previous),
            count.unwrap_or_default(),
        ),
    ))
}

/// The persons that the filters leave, newest first.
fn found<'a>(view: &View<'a>) -> Result<Vec<&'a Person>, Answer> {
    let question = view.question;
    let updated_after = match question.parameter("updated_after") {
        None => None,
        Some(text) => Some(
            time::read_relative(text, view.zone, view.now)
                .ok_or_else(|| Answer::invalid(&format!("Invalid date: {text}")))?,
        ),
    };
    let email = question.parameter("email");
    let id = question.parameter("distinct_id");
    let mut found: Vec<&Person> = view.data.persons.iter().filter(|one| !one.is_deleted).collect();
    found.retain(|one| updated_after.is_none_or(|after| one.updated > after));
    found.retain(|one| email.is_none_or(|email| one.email().as_deref() == Some(email)));
    found.retain(|one| id.is_none_or(|id| one.distinct_ids().iter().any(|own| own == id)));
    found.sort_by_key(|one| std::cmp::Reverse((one.created, one.number)));
    Ok(found)
}

/// Answers the persons of some distinct ids, by these ids. Of many only the first are looked at.
pub(in crate::sandbox) fn by_ids(view: &View<'_>) -> Result<Answer, Answer> {
    let unread = |error: &str| Answer::problem(400, "invalid_request", "parse_error", error);
    let body: Value = serde_json::from_slice(&view.question.body)
        .map_err(|error| unread(&format!("JSON parse error - {error}")))?;
    let ids = body["distinct_ids"].as_array().ok_or_else(|| unread("distinct_ids is required"))?;
    let asked: HashSet<&str> = ids.iter().take(MOST_IDS).filter_map(Value::as_str).collect();
    let mut results = Map::new();
    for person in view.data.persons.iter().filter(|one| one.is_shown()) {
        for id in person.distinct_ids().iter().filter(|id| asked.contains(id.as_str())) {
            results.insert(id.clone(), person.retrieved(view.data.seed));
        }
    }
    Ok(Answer::value(&json!({ "results": results })))
}

/// Answers one person, by id.
pub(in crate::sandbox) fn retrieve(view: &View<'_>, id: &str) -> Result<Answer, Answer> {
    let seed = view.data.seed;
    let is_meant = |one: &&Person| {
        chance::uuid_text(person::uuid(seed, one.number)) == id
            || (one.number + 1000).to_string() == id
    };
    if !id.contains('-') && id.parse::<u64>().is_err() {
        let detail = format!(
            "The ID provided does not look like a personID. If you are using a distinctId, please use /persons?distinct_id={id} instead."
        );
        return Err(Answer::invalid(&detail));
    }
    let mut shown = view.data.persons.iter().filter(|one| one.is_shown());
    let found = shown.find(is_meant).ok_or_else(|| Answer::not_found("Not found."))?;
    Ok(Answer::value(&found.retrieved(seed)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::sandbox::Options;
    use crate::sandbox::client::{follow, list, small, started};

    #[tokio::test]
    async fn persons_come_short_and_end_with_an_empty_page() {
        let sandbox = started(Options { persons: 200, ..small() }).await;

        let mut sizes = Vec::new();
        for offset in [0, 50, 100, 150, 200] {
            let page = list(&sandbox, &format!("persons/?limit=50&offset={offset}")).await;
            sizes.push((page["results"].as_array().unwrap().len(), page["next"].is_null()));
        }
        let ghosts: usize = sizes[..4].iter().map(|(size, _)| 50 - size).sum();

        assert_eq!(ghosts, 2);
        assert!(sizes[..4].iter().all(|(_, is_last)| !is_last), "{sizes:?}");
        assert_eq!(sizes[4], (0, true));
        let all = follow(&sandbox, "persons/").await;
        let mut truth = sandbox.truth("persons");
        truth.sort_by_key(|person| person["id"].as_str().unwrap().to_owned());
        let mut all = all;
        all.sort_by_key(|person| person["id"].as_str().unwrap().to_owned());
        assert_eq!(all, truth);
    }

    #[tokio::test]
    async fn updated_after_finds_who_was_changed() {
        let sandbox = started(small()).await;
        let before = sandbox.now();
        sandbox.advance(Duration::from_secs(10));
        sandbox.touch("persons", 4);
        sandbox.delete("persons", 5);

        let page = list(&sandbox, &format!("persons/?updated_after={before}")).await;

        assert_eq!(page["results"].as_array().unwrap().len(), 4);
        assert_eq!(page["results"][0]["properties"]["plan"], "touched-1");
        assert_eq!(sandbox.truth("persons").len(), 200 - 2 - 5);
    }
}
