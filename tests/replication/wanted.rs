//! Not everything, and not as it is: conditions, changed values, limits.

use crate::support::{MINUTE, PostHog, Project};

/// What both copies show of the events that fulfil a condition.
const IDENTITIES: &str = "SELECT event_date, id, event, distinct_id, json(properties) \
    FROM posthog_events WHERE ";

fn replication(source_options: &str, stream: &str) -> String {
    format!(
        "source: POSTHOG\ntarget: sqlite://posthog.db\n\
         defaults: {{ mode: incremental, object: posthog.{{stream_name}}, \
         source_options: {{ {source_options} }} }}\n\
         streams:\n  {stream}\n"
    )
}

/// A copy has the rows of the whole copy that fulfil a condition in SQLite, and no others.
#[track_caller]
fn has_of(project: &Project, whole: &Project, condition: &str) -> usize {
    let rows = project.copy().lines(&format!("{IDENTITIES} true"));
    assert_eq!(rows, whole.copy().lines(&format!("{IDENTITIES} {condition}")), "{condition}");
    rows.len()
}

#[test]
fn only_records_that_fulfil_the_condition_come_by_either_way() {
    let posthog = PostHog::playing(|options| options.events = 4_000);
    let whole = Project::incremental(&posthog, &["events"]);
    whole.run().succeeds();
    for (condition, in_sqlite, pushed) in [
        (
            "event in ('$pageview', 'signed_up')",
            "event IN ('$pageview', 'signed_up')",
            "event = '$pageview'",
        ),
        (
            "event != '$autocapture' and timestamp >= '2026-01-20' and not event like '$%'",
            "event <> '$autocapture' AND timestamp >= '2026-01-20' AND event NOT LIKE '$%'",
            "not(event LIKE '$%')",
        ),
        ("event_date = '2026-01-15'", "event_date = '2026-01-15'", "(event_date"),
        (
            "properties.amount >= 50 and properties.$browser = 'Chrome' or distinct_id = 'x'",
            "CAST(properties ->> '$.amount' AS REAL) >= 50",
            "amount",
        ),
    ] {
        for read in ["sql", "rest"] {
            let stream = format!("events: {{ where: \"{condition}\" }}");
            let yaml = replication(&format!("read: {read}"), &stream);
            let project = Project::of(&posthog, &yaml);
            let before = posthog.asked_about(pushed).len();

            project.run().succeeds();

            assert!(has_of(&project, &whole, in_sqlite) > 0, "{condition} by {read}");
            let is_asked = posthog.asked_about(pushed).len() > before;
            let is_known = pushed.starts_with("event =") || pushed.starts_with("not");
            assert_eq!(is_asked, is_known && read == "sql", "{condition} by {read}");
            project.verifies(&[]).succeeds();
        }
    }
}

#[test]
fn late_and_new_records_are_chosen_as_well() {
    let posthog = PostHog::playing(|options| options.events = 2_000);
    let whole = Project::incremental(&posthog, &["events"]);
    let stream = "events: { where: \"event = '$pageview'\" }";
    let project = Project::of(&posthog, &replication("", stream));
    for project in [&whole, &project] {
        project.run().succeeds();
    }
    posthog.receives_events(200, 2 * MINUTE);
    posthog.receives_events(200, 90 * MINUTE);

    let told = project.run().succeeds();
    whole.run().succeeds();

    let [new, _, _, late] = told.rows_of("events");
    assert!(new > 0 && late > 0 && new < 400, "{told}");
    has_of(&project, &whole, "event = '$pageview'");
}

#[test]
fn a_condition_is_told_what_it_lacks() {
    let posthog = PostHog::start();
    for (stream, message) in [
        (
            "events: { where: event = }",
            "replication.yaml:5:20: streams.events.where: expected a text in quotes, a number, \
             true or false, found the end at character 8",
        ),
        (
            "events: { where: \"evnt = 'x'\" }",
            "replication.yaml:5:20: streams.events.where: stream events has no column \"evnt\", \
             did you mean \"event\"?",
        ),
        (
            "events: { where: \"person_id = 'x'\" }",
            "\"person_id\" is not known where the stream is read by rest: add source_options: \
             { read: sql }",
        ),
        (
            "events: { select: [-properties], where: \"properties.plan = 'x'\" }",
            "needs \"properties\", which select leaves out",
        ),
        (
            "events: { columns: { plan: { from: properties.plan } }, where: \"plan = 'x'\" }",
            "\"plan\" is taken out of properties: write properties.plan",
        ),
        (
            "persons: { where: \"distinct_ids is null\" }",
            "\"distinct_ids\" is put together from another table",
        ),
    ] {
        Project::of(&posthog, &replication("", stream)).run().exits(2).says(message);
    }
    let project = Project::incremental(&posthog, &["events"]);
    project
        .run_with(&["--where", "event ~ 'x'"])
        .exits(2)
        .says("cause: `~` means nothing here at character 7");
    project.run_with(&["--where", "n = 1"]).exits(2).says("stream events has no column \"n\"");
    project.run_with(&["--where", "event = '$pageview'"]).succeeds();
    let others = "SELECT count(*) || '' FROM posthog_events WHERE event <> '$pageview'";
    assert_eq!(project.copy().lines(others), ["0"]);
}

#[test]
fn what_is_to_be_hidden_is_nowhere_in_the_copy() {
    let posthog = PostHog::playing(|options| {
        options.persons = 300;
        options.events = 500;
    });
    let hidden = "persons: { flatten: true, transforms: { name: [trim, lower, hash], \
        properties.email: [trim, lower, hash], properties.name: mask } }";
    let ip = "events: { columns: { ip: { from: properties.$ip, type: text } }, \
        transforms: { properties.$ip: hash } }";
    for read in ["sql", "rest"] {
        let yaml = replication(&format!("read: {read}"), &format!("{hidden}\n  {ip}"));
        let project = Project::of(&posthog, &yaml);

        project.run().succeeds();

        let database = std::fs::read(project.path("posthog.db")).unwrap();
        let text = String::from_utf8_lossy(&database);
        assert!(!text.contains("@example.com"), "an address is in the copy by {read}");
        assert!(!text.contains("\"$ip\":\"10."), "an IP is in the copy by {read}");
        let copy = project.copy();
        let is_hashed = "length({}) = 64 AND {} NOT GLOB '*[^0-9a-f]*'";
        for (table, column) in [
            ("persons", "properties__email"),
            ("persons", "properties ->> '$.email'"),
            ("events", "ip"),
            ("events", "properties ->> '$.$ip'"),
        ] {
            let not_hashed = format!(
                "SELECT count(*) || '' FROM posthog_{table} WHERE NOT ({})",
                is_hashed.replace("{}", &format!("({column})"))
            );
            assert_eq!(copy.lines(&not_hashed), ["0"], "{table}.{column} by {read}");
        }
        let masked = "SELECT DISTINCT properties__name FROM posthog_persons ORDER BY 1";
        assert_eq!(copy.lines(masked).last().unwrap(), "***");
        // A second run finds what it wrote, and PostHog still agrees with it.
        let told = project.run().succeeds();
        assert_eq!(told.rows_of("events")[..2], [0, 0], "{told}");
        project.verifies(&["--sample", "all"]).succeeds();
    }
}

#[test]
fn what_cannot_be_changed_says_why() {
    let posthog = PostHog::start();
    for (transforms, message) in [
        (
            "{ id: hash }",
            "streams.events.transforms.id: \"id\" of stream events stays as it is: rows are read \
             or kept apart by it",
        ),
        ("{ properties: hash }", "\"properties\" is JSON: name a value inside of it"),
        ("{ proprties.x: hash }", "did you mean \"properties\"?"),
        ("{ event_date: mask }", "\"event_date\" of stream events stays as it is"),
        ("{ person_id: mask }", "\"person_id\" is uuid: only texts can be changed"),
        ("{ elements_chain: hsh }", "unknown step \"hsh\", did you mean \"hash\"?"),
        ("{ elements_chain: { a: b } }", "expected the name of a step, as hash, found a map"),
    ] {
        let stream = format!("events: {{ transforms: {transforms} }}");
        Project::of(&posthog, &replication("", &stream)).run().exits(2).says(message);
    }
    let all = Project::of(&posthog, &replication("", "cohorts: { transforms: [upper] }"));
    all.run().succeeds();
    assert_eq!(all.copy().lines("SELECT name FROM posthog_cohorts WHERE id = 1"), ["COHORT 0"]);
}

#[test]
fn a_limit_is_exact_and_the_next_run_goes_on_behind_it() {
    for (read, sql_cap) in [("sql", 50), ("sql", 7_000), ("rest", 7_000)] {
        let posthog = PostHog::playing(|options| {
            options.events = 1_000;
            options.sql_cap = sql_cap;
        });
        let all = usize::try_from(posthog.count("events")).unwrap();
        let yaml = replication(&format!("read: {read}, limit: 120"), "events:");
        let project = Project::of(&posthog, &yaml);

        let told = project.run().succeeds().says("ended at the limit");

        // Copies that PostHog has not merged yet are read, but make one row.
        let [new, updated, unchanged, _] = told.rows_of("events");
        assert_eq!(new + updated + unchanged, 120, "by {read}: {told}");
        let mut runs = 1;
        while !project.run().succeeds().stdout.contains("complete to") {
            runs += 1;
            assert!(runs < 40, "by {read}, of {all}");
        }
        assert!(runs >= all / 120, "{runs} runs by {read}");
        project.holds_exactly(&posthog, "events");
    }
}

#[test]
fn a_limited_full_copy_is_a_sample_that_vouches_for_nothing() {
    let posthog = PostHog::start();
    let project = Project::full_refresh(&posthog, &["events", "cohorts", "persons"]);

    project.run_with(&["--limit", "3"]).succeeds().says("ended at the limit");

    for table in ["events", "cohorts", "persons"] {
        let count = format!("SELECT count(*) || '' FROM posthog_{table}");
        assert_eq!(project.copy().lines(&count), ["3"], "{table}");
    }
    project.now_replicates("incremental", &["events", "cohorts", "persons"]);
    project.run().succeeds();
    for stream in ["events", "cohorts", "persons"] {
        project.holds_exactly(&posthog, stream);
    }
    project.run_with(&["--limit", "0"]).exits(2);
    // Nor does it take the place of a whole copy.
    for mode in ["full-refresh", "truncate"] {
        let limited = project.run_with(&["--limit", "3", "--mode", mode]).exits(2);
        limited.says("a limit would put a sample in the place of a whole copy");
    }
    project.holds_exactly(&posthog, "persons");
}

#[test]
fn rows_chosen_in_one_way_are_not_gone_on_with_in_another() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events"]);
    let pageviews = ["--where", "event = '$pageview'"];
    project.run_with(&pageviews).succeeds();
    project.run_with(&pageviews).succeeds();

    let told = project.run().exits(2).says("stream `events` was loaded with another condition");

    assert!(told.stderr.contains("`where event = '$pageview'`, and now there is no condition"));
    project.verifies(&[]).exits(2).says("was loaded with another condition");
    project.run_with(&["--mode", "full-refresh"]).succeeds();
    project.run().succeeds();
    project.holds_exactly(&posthog, "events");
    project.run_with(&pageviews).exits(2).says("loaded with no condition");
}
