//! What a file of syncs may say, and what is told where it is wrong.

use super::*;

/// The two ends of a file whose rows are in a database and whose target has every key.
const ENDS: Ends = Ends { source_is_files: false, target_reads: true };

/// What the file says with these syncs, or everything that is wrong with it.
fn read(syncs: &str, ends: Ends) -> Result<SyncFile, String> {
    let text = format!("source: sqlite://shop.db\ntarget: HOG\nsyncs:\n{syncs}");
    let written = Written { file: "sync.yaml".into(), text };
    let read = SyncFile::parse(&written, &Environment::new(), ends);
    read.map_err(|err| {
        // The places and what is said of them; the quoted lines are tested with complaints.
        let told = err.to_string();
        told.lines().filter(|line| line.starts_with("sync.yaml")).collect::<Vec<_>>().join("\n")
    })
}

fn one(sync: &str) -> Result<Sync, String> {
    one_of(sync, ENDS)
}

fn one_of(sync: &str, ends: Ends) -> Result<Sync, String> {
    read(&format!("  s: {{ {sync} }}\n"), ends).map(|mut file| file.syncs.remove(0))
}

fn column(name: &str) -> Term {
    Term::Column(name.into())
}

#[test]
fn a_file_says_what_each_row_becomes() {
    let file = read(
        "  orders:\n    table: orders\n    object: event\n    behavior: send\n    key: id\n    \
         mapping: { distinct_id: customer, event: 'const: order placed', timestamp: placed_at, properties: [total] }\n  \
         customers:\n    model: SELECT * FROM customers WHERE active\n    object: person\n    \
         behavior: update_or_create\n    key: id\n    mapping: { properties: { name: full_name, source: 'const:crm' } }\n    \
         set_once: [source]\n    nulls: unset\n    timestamp_column: changed_at\n    backfill: false\n",
        ENDS,
    )
    .unwrap();

    let [orders, customers] = file.syncs.as_slice() else { panic!("{file:?}") };
    assert_eq!(
        *orders,
        Sync {
            name: "orders".into(),
            at: At { line: 4, col: 3 },
            rows: Rows::Table("orders".into()),
            key: "id".into(),
            becomes: Becomes::Event {
                event: Term::Constant("order placed".into()),
                distinct_id: column("customer"),
                timestamp: Some("placed_at".into()),
            },
            properties: Properties::These(vec![("total".into(), column("total"))]),
            timestamp_column: None,
            backfill: true,
        }
    );
    assert_eq!(customers.rows, Rows::Query("SELECT * FROM customers WHERE active".into()));
    assert_eq!(
        customers.becomes,
        Becomes::Person(PersonSync {
            by: FoundBy::Id,
            behavior: PersonBehavior::UpdateOrCreate,
            set_once: vec!["source".into()],
            nulls: Nulls::Unset,
        })
    );
    assert_eq!(customers.timestamp_column.as_deref(), Some("changed_at"));
    assert!(!customers.backfill);
}

#[test]
fn a_persons_key_is_its_distinct_id_or_its_email() {
    let by = |sync: &str| one(sync).map(|sync| (sync.key, sync.becomes));
    let person = "table: t, object: person, behavior: update_only";
    let becomes = |by| {
        Becomes::Person(PersonSync {
            by,
            behavior: PersonBehavior::UpdateOnly,
            set_once: vec![],
            nulls: Nulls::Skip,
        })
    };
    let email = |ambiguous, new_id| becomes(FoundBy::Email { ambiguous, new_id });

    for (rest, expected) in [
        ("key: id, mapping: { properties: all }", ("id", becomes(FoundBy::Id))),
        ("mapping: { distinct_id: id, properties: all }", ("id", becomes(FoundBy::Id))),
        ("mapping: { email: mail, properties: all }", ("mail", email(Ambiguous::Reject, None))),
        (
            "key: mail, mapping: { email: mail, distinct_id: id, properties: all }, on_ambiguous_email: all",
            ("mail", email(Ambiguous::All, Some("id".into()))),
        ),
    ] {
        let (key, becomes) = expected;
        assert_eq!(by(&format!("{person}, {rest}")), Ok((key.to_owned(), becomes)), "{rest}");
    }
}

#[test]
fn a_page_is_told_from_others_by_who_viewed_it() {
    let page = one("table: t, object: page, mapping: { distinct_id: who, url: address }").unwrap();

    assert_eq!(page.key, "who");
    assert_eq!(
        page.becomes,
        Becomes::Page { url: Some(column("address")), distinct_id: column("who"), timestamp: None }
    );
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let event = "table: t, object: event, key: id, mapping: { distinct_id: u, event: e }";
    let person = "table: t, object: person, key: id, mapping: { properties: all }";
    for (sync, expected) in [
        (format!("{event}, behavior: mirror"), "behavior: an event is sent, once: behavior: send"),
        (format!("{event}, set_once: [a]"), "set_once: is about persons, and an event is none"),
        (format!("{event}, on_ambiguous_email: all"), "on_ambiguous_email: is about persons, and an event is none"),
        (format!("{person}, behavior: send"), "behavior: a person is not sent but written: update_or_create, update_only or mirror"),
        (person.to_owned(), "behavior: missing: update_or_create, update_only or mirror"),
        (
            format!("{person}, behavior: mirror, timestamp_column: t"),
            "timestamp_column: mirror reads all rows: only so is it seen which are gone",
        ),
        (
            format!("{person}, behavior: mirror, backfill: false"),
            "backfill: mirror unsets what it has set: it begins with all rows",
        ),
        (
            "table: t, object: person, behavior: mirror, mapping: { email: m, properties: all }".into(),
            "behavior: mirror needs the distinct id as key: an email that is gone may be somebody else's by now",
        ),
        (
            format!("{person}, behavior: update_only, on_ambiguous_email: all"),
            "on_ambiguous_email: persons are found by distinct id here: map email to find them by that",
        ),
        (
            "table: t, object: person, behavior: mirror, key: a, mapping: { distinct_id: b, properties: all }".into(),
            "key: a person's key is the column of mapping.distinct_id, b",
        ),
        (
            "table: t, object: person, behavior: mirror, key: a, mapping: { properties: [x] }, set_once: [y]".into(),
            "set_once: \"y\" is no property of this sync",
        ),
        (
            "table: t, object: person, behavior: mirror, key: a, mapping: { event: e, properties: all }".into(),
            "mapping.event: a person is no event: its properties are set by $set",
        ),
        (
            "table: t, object: page, mapping: { distinct_id: u, event: e }".into(),
            "mapping.event: a page has the name $pageview",
        ),
        (
            "table: t, object: event, mapping: { distinct_id: u, event: e }".into(),
            "key: missing: the column that tells one row from all others",
        ),
        (
            "table: t, object: event, key: id, mapping: { distinct_id: u, event: e, timestamp: 'const:now' }".into(),
            "mapping.timestamp: expected a column: it is not the same for every row",
        ),
        ("file: a.csv, object: event, key: id, mapping: { distinct_id: u, event: e }".into(),
            "file: the source is a database: say model: SQL, or table: name"),
        ("model: SELECT 1, table: t, object: event, key: id, mapping: { distinct_id: u, event: e }".into(),
            "table: one of model, table and file is enough"),
    ] {
        let told = one(&sync).unwrap_err();
        let told: Vec<&str> = told.lines().filter_map(|line| line.split_once("syncs.s.")).map(|(_, said)| said).collect();
        assert_eq!(told, [expected], "{sync}");
    }
}

#[test]
fn what_reads_persons_is_refused_without_a_personal_key() {
    let ends = Ends { target_reads: false, ..ENDS };
    let only =
        "table: t, object: person, behavior: update_only, key: id, mapping: { properties: all }";
    let email = "table: t, object: person, behavior: update_or_create, mapping: { email: m, properties: all }";

    let told = [one_of(only, ends).unwrap_err(), one_of(email, ends).unwrap_err()];

    assert!(told[0].starts_with("sync.yaml:4:44: syncs.s.behavior: update_only needs a personal API key: PostHog makes a person"), "{}", told[0]);
    assert!(
        told[1].contains("syncs.s.mapping: finding persons by email needs a personal API key"),
        "{}",
        told[1]
    );
    assert!(one_of(&only.replace("update_only", "mirror"), ends).is_ok());
}

#[test]
fn everything_wrong_is_told_at_once_with_its_place() {
    let told = read(
        "  a: { tabel: t, object: person, behaviour: mirror }\n  \
         b c: { table: t, object: evnt, key: id }\n",
        ENDS,
    );

    assert_eq!(
        told.unwrap_err(),
        "sync.yaml:4:6: syncs.a.table: missing: say which rows, with table: name, or model: SQL\n\
         sync.yaml:4:6: syncs.a.mapping.properties: missing: all, a list, or a map of names and columns\n\
         sync.yaml:4:6: syncs.a.behavior: missing: update_or_create, update_only or mirror\n\
         sync.yaml:4:6: syncs.a.key: missing: the column that tells one row from all others\n\
         sync.yaml:4:8: syncs.a: unknown key \"tabel\", did you mean \"table\"?\n\
         sync.yaml:4:34: syncs.a: unknown key \"behaviour\", did you mean \"behavior\"?\n\
         sync.yaml:5:3: syncs.b c: a name has letters, digits, _ and - only: it names a file\n\
         sync.yaml:5:28: syncs.b c.object: unknown object \"evnt\", did you mean \"event\"?"
    );
}
