//! Rows of a table into PostHog: what is new and what has changed, and nothing twice.

use std::collections::BTreeSet;
use std::fs;

use hogline::cursor::Timestamp;
use hogline::sandbox::{Captured, KEY, PROJECT, PROJECT_TOKEN};
use serde_json::{Value, json};

use crate::support::{PostHog, Project, Told};

const SHOP: &str = "
CREATE TABLE customers (id TEXT, email TEXT, plan TEXT, seats INTEGER, changed TEXT);
INSERT INTO customers VALUES
  ('c1', 'Ada@Example.com', 'free', 1, '2026-03-01T10:00:00Z'),
  ('c2', 'bob@example.com', 'pro', NULL, '2026-03-02T10:00:00Z'),
  ('c3', 'eve@example.com', 'pro', 7, '2026-03-03T10:00:00Z');
CREATE TABLE orders (id INTEGER, customer TEXT, total REAL, placed TEXT);
INSERT INTO orders VALUES
  (1, 'c1', 9.5, '2026-03-01T11:00:00Z'),
  (2, 'c2', 20, '2026-03-02T11:00:00+02:00'),
  (3, 'c2', 30, '2026-03-02T12:00:00Z');";

const CUSTOMERS: &str = "customers: { table: customers, object: person, behavior: update_or_create, \
    key: id, mapping: { properties: { email: email, plan: plan, seats: seats } } }";

const ORDERS: &str = "orders: { table: orders, object: event, behavior: send, key: id, mapping: { \
    distinct_id: customer, event: 'const:order placed', timestamp: placed, properties: [total] } }";

/// The moments of remembering what was sent: a run may die at any of them.
pub(crate) const MOMENTS: [&str; 3] =
    ["rows are under way", "before rows are remembered", "after rows are remembered"];

/// A shop with a database, and a PostHog that hears of it.
struct Shop {
    posthog: PostHog,
    project: Project,
}

impl Shop {
    /// With these syncs, and a personal key beside the token.
    fn with(syncs: &[&str]) -> Self {
        // Its clock is this machine's: what happens now is not ahead of it.
        let posthog = PostHog::playing(|options| options.now = Timestamp::now());
        let project = Project::of(&posthog, "");
        let shop = Self { posthog, project };
        shop.connects(&format!(
            "project_api_key: {PROJECT_TOKEN}, api_key: {KEY}, project_id: \"{PROJECT}\""
        ));
        shop.changes(SHOP);
        shop.syncs_now(syncs);
        shop
    }

    fn connects(&self, secrets: &str) {
        fs::create_dir_all(self.project.path("home")).unwrap();
        let origin = self.posthog.origin();
        let yaml = format!(
            "connections:\n  HOG: {{ type: api, spec: posthog, secrets: {{ host: \"{origin}\", \
             {secrets} }}, inputs: {{ requests_per_second: 0 }} }}\n"
        );
        self.project.writes("home/env.yaml", &yaml);
    }

    fn syncs_now(&self, syncs: &[&str]) {
        let yaml =
            format!("source: sqlite://shop.db\ntarget: HOG\nsyncs:\n  {}\n", syncs.join("\n  "));
        self.project.writes("sync.yaml", &yaml);
    }

    fn changes(&self, sql: &str) {
        let database = rusqlite::Connection::open(self.project.path("shop.db")).unwrap();
        database.execute_batch(sql).unwrap();
    }

    /// Runs to an end with this code, and tells of the syncs.
    #[track_caller]
    fn syncs(&self, options: &[&str], code: i32) -> Vec<Value> {
        let command = ["sync", "-r", "sync.yaml", "--output", "json"];
        let told = self.project.hogline(&[&command, options].concat()).exits(code);
        let report: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|_| panic!("{told}"));
        report["syncs"].as_array().unwrap().clone()
    }

    #[track_caller]
    fn refuses(&self) -> Told {
        self.project.hogline(&["sync", "-r", "sync.yaml"]).exits(2)
    }

    /// What arrived after the first `seen` events.
    fn since(&self, seen: usize) -> Vec<Captured> {
        self.posthog.captured().split_off(seen)
    }

    fn person(&self, distinct_id: &str) -> Option<Value> {
        let has = |person: &Value| {
            person["distinct_ids"].as_array().unwrap().contains(&json!(distinct_id))
        };
        let mut person = self.posthog.truth("persons").into_iter().find(has)?;
        // Which event made the person is PostHog's own note.
        person["properties"].as_object_mut().unwrap().remove("$creator_event_uuid");
        Some(person["properties"].take())
    }
}

/// Created, updated, skipped, failed, invalid.
fn counts(synced: &Value) -> [u64; 5] {
    ["created", "updated", "skipped", "failed", "invalid"]
        .map(|count| synced[count].as_u64().unwrap())
}

#[test]
fn exactly_the_changed_rows_go_out() {
    let shop = Shop::with(&[CUSTOMERS, ORDERS]);

    let first = shop.syncs(&[], 0);
    let sent = shop.posthog.captured();
    let again = shop.syncs(&[], 0);

    assert_eq!(first.iter().map(counts).collect::<Vec<_>>(), [[3, 0, 0, 0, 0]; 2]);
    assert_eq!(again.iter().map(counts).collect::<Vec<_>>(), [[0, 0, 3, 0, 0]; 2]);
    assert_eq!(shop.posthog.captured().len(), sent.len(), "nothing changed, nothing was sent");
    assert_eq!(
        shop.person("c1"),
        Some(json!({ "email": "Ada@Example.com", "plan": "free", "seats": 1 }))
    );
    let order =
        sent.iter().find(|event| event.properties.get("total") == Some(&json!(20.0))).unwrap();
    assert_eq!((order.event.as_str(), order.distinct_id.as_str()), ("order placed", "c2"));
    assert_eq!(order.timestamp.to_string(), "2026-03-02T09:00:00.000000Z");

    shop.changes(
        "UPDATE customers SET plan = 'pro' WHERE id = 'c1'; INSERT INTO customers VALUES ('c4', NULL, 'free', 1, NULL);
         UPDATE orders SET total = 99 WHERE id = 1; INSERT INTO orders VALUES (4, 'c4', 1, '2026-03-05');",
    );
    let third = shop.syncs(&[], 0);

    assert_eq!(counts(&third[0]), [1, 1, 2, 0, 0]);
    assert_eq!(
        counts(&third[1]),
        [1, 0, 3, 0, 0],
        "an event is sent once, whatever its row says later"
    );
    let who: BTreeSet<String> = shop.since(6).into_iter().map(|event| event.distinct_id).collect();
    assert_eq!(who, ["c1", "c4"].map(str::to_owned).into());
    assert_eq!(shop.person("c1").unwrap()["plan"], "pro");
}

#[test]
fn a_page_is_viewed_once() {
    let shop = Shop::with(&[
        "visits: { model: 'SELECT * FROM orders WHERE id < 3', object: page, key: id, \
        mapping: { distinct_id: customer, url: 'const:https://shop.example/', timestamp: placed } }",
    ]);

    let both = [shop.syncs(&[], 0), shop.syncs(&[], 0)];

    assert_eq!(both.map(|told| counts(&told[0])), [[2, 0, 0, 0, 0], [0, 0, 2, 0, 0]]);
    let pages = shop.posthog.captured();
    assert_eq!(pages.len(), 2);
    assert!(pages.iter().all(|page| page.event == "$pageview"
        && page.properties["$current_url"] == "https://shop.example/"));
}

#[test]
fn update_only_makes_nobody() {
    let shop =
        Shop::with(&["customers: { table: customers, object: person, behavior: update_only, \
        key: id, mapping: { properties: [plan] } }"]);
    shop.changes("UPDATE customers SET id = 'user-7' WHERE id = 'c1'");

    let told = shop.syncs(&[], 0);
    let again = shop.syncs(&[], 0);

    assert_eq!((counts(&told[0]), &told[0]["not_found"]), ([1, 0, 2, 0, 0], &json!(2)));
    assert_eq!(counts(&again[0]), [0, 0, 3, 0, 0]);
    assert_eq!(shop.person("user-7").unwrap()["plan"], "free");
    assert_eq!(shop.person("c2"), None);
}

#[test]
fn persons_are_found_by_email_in_any_case() {
    let sync = |behavior: &str| {
        format!(
            "customers: {{ table: customers, object: person, behavior: {behavior}, \
        mapping: {{ email: email, properties: [plan] }} }}"
        )
    };
    let shop = Shop::with(&[&sync("update_only")]);
    shop.changes("UPDATE customers SET email = ' USER7@example.com' WHERE id = 'c1'");

    let only = shop.syncs(&[], 0);
    shop.syncs_now(&[&sync("update_or_create").replace("customers: {", "made: {")]);
    let made = shop.syncs(&[], 0);
    shop.changes("UPDATE customers SET plan = 'new'");
    let again = shop.syncs(&[], 0);

    assert_eq!((counts(&only[0]), &only[0]["not_found"]), ([1, 0, 2, 0, 0], &json!(2)));
    assert_eq!(shop.person("user-7").unwrap()["plan"], "new");
    assert_eq!(counts(&made[0]), [3, 0, 0, 0, 0]);
    assert_eq!(counts(&again[0]), [0, 3, 0, 0, 0]);
    let eve = shop.person("eve@example.com").unwrap();
    assert_eq!((&eve["email"], &eve["plan"]), (&json!("eve@example.com"), &json!("new")));
}

#[test]
fn whose_email_it_is_must_be_certain() {
    let by_email = |rest: &str| {
        format!(
            "customers: {{ table: customers, object: person, behavior: update_only, \
        mapping: {{ email: email, properties: [plan] }}{rest} }}"
        )
    };
    let shop = Shop::with(&[
        "twins: { table: twins, object: person, behavior: update_or_create, key: id, \
        mapping: { properties: [email] } }",
    ]);
    shop.changes("CREATE TABLE twins (id, email); INSERT INTO twins VALUES ('t1', 'eve@example.com'), ('t2', 'EVE@example.com');");
    let _ = shop.syncs(&[], 0);

    shop.syncs_now(&[&by_email("")]);
    let rejected = shop.syncs(&[], 3);
    let file = fs::read_to_string(shop.project.path("state/customers.rejects.jsonl")).unwrap();
    shop.syncs_now(&[&by_email(", on_ambiguous_email: all").replace("customers: {", "all: {")]);
    let all = shop.syncs(&[], 0);

    assert_eq!((counts(&rejected[0]), &rejected[0]["not_found"]), ([0, 0, 2, 1, 0], &json!(2)));
    assert!(file.contains("email_ambiguous") && file.contains("t1, t2"), "{file}");
    assert_eq!(counts(&all[0]), [1, 0, 2, 0, 0]);
    assert_eq!(
        ["t1", "t2"].map(|id| shop.person(id).unwrap()["plan"].clone()),
        [json!("pro"), json!("pro")]
    );
}

#[test]
fn what_is_gone_is_unset_in_a_mirror() {
    let shop =
        Shop::with(&["customers: { table: customers, object: person, behavior: mirror, key: id, \
        mapping: { properties: [plan, seats] } }"]);
    let _ = shop.syncs(&[], 0);
    shop.changes("DELETE FROM customers WHERE id = 'c3'");

    let told = shop.syncs(&[], 0);
    let again = shop.syncs(&[], 0);
    let gone = shop.person("c3").unwrap();
    shop.changes("INSERT INTO customers VALUES ('c3', NULL, 'free', 2, NULL)");
    let back = shop.syncs(&[], 0);
    shop.changes("DELETE FROM customers");
    let emptied = shop.syncs(&[], 2);

    assert_eq!((counts(&told[0]), &told[0]["unset"]), ([0, 0, 2, 0, 0], &json!(1)));
    assert_eq!((counts(&again[0]), &again[0]["unset"]), ([0, 0, 2, 0, 0], &json!(0)));
    assert_eq!(gone, json!({}));
    assert_eq!(counts(&back[0]), [1, 0, 2, 0, 0]);
    assert!(emptied[0]["error"].as_str().unwrap().contains("its table is empty"));
    assert_eq!(shop.person("c1").unwrap()["plan"], "free");
}

#[test]
fn a_null_is_skipped_or_unset_as_it_is_said() {
    let sync = |nulls: &str| {
        CUSTOMERS.replace("mapping:", &format!("nulls: {nulls}, set_once: [email], mapping:"))
    };
    for (nulls, seats) in [("skip", json!(7)), ("unset", Value::Null)] {
        let shop = Shop::with(&[&sync(nulls)]);
        let _ = shop.syncs(&[], 0);
        shop.changes("UPDATE customers SET seats = NULL, email = 'other' WHERE id = 'c3'");

        let _ = shop.syncs(&[], 0);

        let eve = shop.person("c3").unwrap();
        assert_eq!((&eve["seats"], &eve["email"]), (&seats, &json!("eve@example.com")), "{nulls}");
    }
}

#[test]
fn rows_without_a_key_or_with_one_that_others_have_are_not_sent() {
    let shop = Shop::with(&[CUSTOMERS, ORDERS]);
    shop.changes(
        "INSERT INTO customers VALUES (NULL, 'x', 'y', 1, NULL), ('c2', 'x', 'y', 1, NULL);
         UPDATE orders SET placed = 'yesterday' WHERE id = 3;",
    );

    let told = shop.syncs(&[], 3);

    assert_eq!(told.iter().map(counts).collect::<Vec<_>>(), [[2, 0, 0, 0, 3], [2, 0, 0, 0, 1]]);
    assert!(shop.person("c2").is_some(), "its orders made it");
    let file = fs::read_to_string(shop.project.path("state/customers.rejects.jsonl")).unwrap();
    let codes: Vec<Value> = file
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["code"].take())
        .collect();
    assert_eq!(codes, ["key_missing", "key_twice"]);

    shop.changes("DELETE FROM customers WHERE email = 'x'; UPDATE orders SET placed = '2026-03-04' WHERE id = 3;");
    let mended = shop.syncs(&[], 0);

    assert_eq!(mended.iter().map(counts).collect::<Vec<_>>(), [[1, 0, 2, 0, 0], [1, 0, 2, 0, 0]]);
    assert!(!shop.project.path("state/customers.rejects.jsonl").exists());
}

#[test]
fn a_sync_may_begin_with_what_comes_later() {
    let shop = Shop::with(&[&ORDERS.replace("key: id", "backfill: false, key: id")]);

    let first = shop.syncs(&[], 0);
    shop.changes("INSERT INTO orders VALUES (4, 'c1', 1, '2026-03-05')");
    let second = shop.syncs(&[], 0);

    assert_eq!([counts(&first[0]), counts(&second[0])], [[0, 0, 3, 0, 0], [1, 0, 3, 0, 0]]);
    assert_eq!(shop.posthog.captured().len(), 1);
}

#[test]
fn rows_at_the_newest_time_wait_for_what_may_come_beside_them() {
    let shop = Shop::with(&[&ORDERS.replace("key: id", "timestamp_column: placed, key: id")]);
    shop.changes("UPDATE orders SET placed = replace(placed, '+02:00', 'Z')");

    let first = shop.syncs(&[], 0);
    shop.changes("INSERT INTO orders VALUES (4, 'c1', 1, '2026-03-02T12:00:00Z'), (5, 'c1', 1, '2026-03-05')");
    let second = shop.syncs(&[], 0);

    assert_eq!((&first[0]["processed"], counts(&first[0])), (&json!(2), [2, 0, 0, 0, 0]));
    assert_eq!((&second[0]["processed"], counts(&second[0])), (&json!(2), [2, 0, 0, 0, 0]));
}

#[test]
fn a_dry_run_sends_nothing_and_moves_nothing() {
    let shop = Shop::with(&[CUSTOMERS, ORDERS]);

    let dry = shop.syncs(&["--dry-run"], 0);
    let is_made = shop.project.path("state").exists();
    let real = shop.syncs(&[], 0);
    shop.changes("UPDATE customers SET plan = 'new'");
    let again = [shop.syncs(&["--dry-run"], 0), shop.syncs(&["--dry-run"], 0)];

    assert_eq!(dry.iter().map(counts).collect::<Vec<_>>(), [[3, 0, 0, 0, 0]; 2]);
    assert_eq!(dry[1]["samples"].as_array().unwrap().len(), 3);
    assert_eq!(dry[1]["samples"][0]["event"], "order placed");
    assert!(!is_made, "it left something behind");
    assert_eq!(counts(&real[0]), [3, 0, 0, 0, 0]);
    assert_eq!(again.map(|told| counts(&told[0])), [[0, 3, 0, 0, 0]; 2]);
    assert_eq!(shop.posthog.captured().len(), 6);
}

#[test]
fn a_changed_mapping_is_not_sent_unasked() {
    let shop = Shop::with(&[CUSTOMERS]);
    let _ = shop.syncs(&[], 0);
    shop.syncs_now(&[&CUSTOMERS.replace(", seats: seats", "")]);

    let refused = shop.syncs(&[], 2);
    let full = shop.syncs(&["--full"], 0);
    let after = shop.syncs(&[], 0);

    assert!(refused[0]["error"].as_str().unwrap().contains("--full"), "{refused:?}");
    assert_eq!([counts(&full[0]), counts(&after[0])], [[0, 3, 0, 0, 0], [0, 0, 3, 0, 0]]);
}

#[test]
fn a_column_that_is_not_there_is_named_before_anything_is_sent() {
    let shop = Shop::with(&[&CUSTOMERS.replace("plan: plan", "plan: plna")]);

    let told = shop.syncs(&[], 2);

    let error = told[0]["error"].as_str().unwrap();
    assert!(error.contains("there is no column \"plna\", did you mean \"plan\"?"), "{error}");
    assert_eq!(shop.posthog.captured(), []);
}

#[test]
fn reading_persons_needs_a_key_that_may() {
    let shop =
        Shop::with(&["customers: { table: customers, object: person, behavior: update_only, \
        key: id, mapping: { properties: [plan] } }"]);
    shop.connects(&format!("project_api_key: {PROJECT_TOKEN}"));

    let told = shop
        .refuses()
        .says("sync.yaml:4:60: syncs.customers.behavior: update_only needs a personal API key");

    assert!(told.stderr.contains("add api_key"), "{told}");
    assert_eq!(shop.posthog.captured(), []);
}

#[test]
fn files_are_tables_too() {
    let shop = Shop::with(&[]);
    shop.project.writes("people.csv", "id,plan\nc1,free\nc2,\nc3,\"\"\n");
    shop.project.writes(
        "orders.jsonl",
        "{\"id\":1,\"who\":\"c1\",\"total\":9}\nnonsense\n{\"id\":2,\"who\":\"c2\"}\n",
    );
    shop.project.writes(
        "sync.yaml",
        "source: file://.\ntarget: HOG\nsyncs:\n  \
         people: { file: people.csv, object: person, behavior: update_or_create, key: id, mapping: { properties: all } }\n  \
         orders: { file: orders.jsonl, object: event, key: id, mapping: { distinct_id: who, event: 'const:order', properties: [total] } }\n",
    );

    let told = shop.syncs(&[], 3);
    let again = shop.syncs(&[], 3);

    assert_eq!(told.iter().map(counts).collect::<Vec<_>>(), [[3, 0, 0, 0, 0], [2, 0, 0, 0, 1]]);
    assert_eq!(again.iter().map(counts).collect::<Vec<_>>(), [[0, 0, 3, 0, 0], [0, 0, 2, 0, 1]]);
    assert_eq!(
        ["c1", "c2", "c3"].map(|id| shop.person(id).unwrap()),
        [json!({"plan": "free"}), json!({}), json!({"plan": ""})]
    );
}

#[test]
fn wherever_a_run_is_killed_no_row_is_lost_and_none_is_doubled() {
    let command = ["sync", "-r", "sync.yaml", "--output", "json"];
    let untimed = ORDERS.replace("timestamp: placed, ", "");
    let mut points = 0;
    for n in 1.. {
        let shop = Shop::with(&[CUSTOMERS, &untimed]);

        let ran = shop.project.hogline_steered(&format!("KILL:{n}"), &command);
        if !ran.was_killed() {
            drop(ran.succeeds());
            break;
        }
        points = n;
        let _ = shop.syncs(&[], 0);
        let last = shop.syncs(&[], 0);

        let captured = shop.posthog.captured();
        let identity = |event: &Captured| {
            (event.uuid, event.event.clone(), event.distinct_id.clone(), event.timestamp)
        };
        let identities: BTreeSet<_> = captured.iter().map(identity).collect();
        assert_eq!(identities.len(), 6, "killed at point {n}: {captured:#?}");
        assert_eq!(last.iter().map(counts).collect::<Vec<_>>(), [[0, 0, 3, 0, 0]; 2], "{n}");
    }
    assert!(points > 10, "only {points} points were passed");
}

#[test]
fn the_example_of_the_page_runs() {
    let page = include_str!("../../docs/sync.md");
    let example = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let shop = Shop::with(&[]);
    shop.project.writes("sync.yaml", example);

    let told = shop.syncs(&[], 0);

    assert_eq!(told.iter().map(counts).collect::<Vec<_>>(), [[3, 0, 0, 0, 0]; 2]);
    assert_eq!(shop.person("c1").unwrap()["source"], "shop");
}

#[test]
fn a_row_that_goes_before_its_answer_was_heard_is_unset_as_well() {
    let shop = Shop::with(&["customers: { table: customers, object: person, behavior: mirror, \
        key: id, mapping: { properties: [plan] } }"]);
    let killed = shop
        .project
        .hogline_steered("KILL:1:before rows are remembered", &["sync", "-r", "sync.yaml"]);
    assert!(killed.was_killed());
    let arrived: Vec<String> =
        shop.posthog.captured().into_iter().map(|event| event.distinct_id).collect();
    assert!(!arrived.is_empty());
    shop.changes(
        "DELETE FROM customers WHERE id <> 'c0'; INSERT INTO customers (id) VALUES ('c0')",
    );

    let told = shop.syncs(&[], 0);

    assert_eq!(told[0]["unset"], 3);
    for id in arrived {
        assert_eq!(shop.person(&id), Some(json!({})), "{id}");
    }
}
