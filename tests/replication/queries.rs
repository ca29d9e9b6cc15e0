//! Queries as streams.

use crate::support::{MINUTE, PostHog, Project};

fn replication(streams: &str) -> String {
    format!(
        "source: POSTHOG\ntarget: sqlite://posthog.db\n\
         defaults: {{ object: \"posthog.{{stream_name}}\" }}\nstreams:\n{streams}"
    )
}

const PAGEVIEWS: &str = "  pageviews:
    mode: incremental
    sql: |
      SELECT uuid, timestamp, distinct_id, properties.$browser AS browser, properties
      FROM events WHERE event = '$pageview' AND {incremental_where_cond}
    primary_key: [uuid]
    update_key: timestamp
    columns: { properties: json }
";

const OF_EVENTS: &str = "SELECT json_array(id, timestamp, distinct_id, \
    properties ->> '$.$browser', json(properties)) FROM posthog_events WHERE event = '$pageview' \
    ORDER BY id";

const OF_PAGEVIEWS: &str = "SELECT json_array(uuid, timestamp, distinct_id, browser, json(properties)) \
    FROM posthog_pageviews ORDER BY uuid";

#[test]
fn a_query_is_read_page_by_page_and_then_what_is_new() {
    let posthog = PostHog::playing(|options| {
        options.events = 2_000;
        options.sql_cap = 150;
    });
    let whole = Project::incremental(&posthog, &["events"]);
    let project = Project::of(&posthog, &replication(PAGEVIEWS));

    for _ in 0..2 {
        whole.run().succeeds();
        project.run().succeeds();

        let rows = project.copy().lines(OF_PAGEVIEWS);
        assert!(rows.len() > 200, "{}", rows.len());
        assert_eq!(rows, whole.copy().lines(OF_EVENTS));
        posthog.receives_events(100, MINUTE);
        posthog.later(2 * MINUTE);
    }
    let told = project.run().succeeds();
    let [new, updated, _, _] = told.rows_of("pageviews");
    assert!(new > 0 && updated == 0, "{told}");
    project.verifies(&[]).succeeds();
}

#[test]
fn totals_are_read_whole_and_paged_by_numbers_too() {
    let posthog = PostHog::playing(|options| {
        options.events = 1_000;
        options.sql_cap = 7;
    });
    let totals = "  totals:
    sql: SELECT event, toYYYYMM(timestamp) AS month, uniqExact(uuid, event, distinct_id) AS n FROM events GROUP BY event, month
    primary_key: [month, event]
";
    let project = Project::of(&posthog, &replication(totals));
    let whole = Project::incremental(&posthog, &["events"]);
    whole.run().succeeds();

    let told = project.run().succeeds();

    let expected = "SELECT strftime('%Y%m', timestamp) || ' ' || event || ' ' || count(*) \
        FROM posthog_events GROUP BY strftime('%Y%m', timestamp), event ORDER BY 1";
    let rows = "SELECT month || ' ' || event || ' ' || n FROM posthog_totals ORDER BY 1";
    let rows = project.copy().lines(rows);
    assert_eq!(rows, whole.copy().lines(expected), "{told}");
    assert!(rows.len() > 7);
}

#[test]
fn a_query_that_cannot_be_a_stream_says_why() {
    let posthog = PostHog::start();
    for (streams, code, message) in [
        (
            "  a: { sql: SELECT 1 AS x }\n",
            2,
            "replication.yaml:5:13: streams.a.primary_key: is needed: the columns that tell the \
             query's rows apart",
        ),
        (
            "  a: { sql: SELECT event FROM events, primary_key: id }\n",
            2,
            "the query has no column \"id\"; it has: event",
        ),
        (
            "  a: { sql: SELECT event FROM events, primary_key: event, mode: incremental }\n",
            2,
            "streams.a.update_key: is needed for mode incremental",
        ),
        (
            "  a: { sql: SELECT FROM, primary_key: id }\n",
            2,
            "replication.yaml:5:13: streams.a.sql: PostHog does not take the query",
        ),
        (
            "  a: { sql: SELECT event FROM events, primary_key: event }\n",
            6,
            "two rows have the same primary_key: name all columns that tell them apart",
        ),
        (
            "  events: { sql: SELECT 1 AS x, primary_key: x }\n",
            2,
            "events is a stream of PostHog's: give the query another name",
        ),
    ] {
        Project::of(&posthog, &replication(streams)).run().exits(code).says(message);
    }
}
