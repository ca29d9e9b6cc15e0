//! What the README and the pages below `docs` show runs as it stands.

use std::iter::Peekable;

use clap::{Command, CommandFactory};
use hogline::cli::Cli;
use hogline::sandbox::{KEY, PROJECT_TOKEN};

use crate::support::{EVERYTHING, MINUTE, Page, PostHog, Project, Shown, pages};

const EXAMPLE: &str = include_str!("../../replication.example.yaml");

/// What is not run here, by how it begins, and why.
const NOT_RUN: [(&str, &str); 11] = [
    ("cargo run --release -- demo", "`hogline demo` has a test of its own"),
    ("tests/run", "runs this"),
    ("tests/readers", "takes readers from PyPI, for minutes"),
    ("tests/browser", "takes a browser"),
    ("tests/schema", "takes a validator from PyPI"),
    ("tests/sdks", "takes SDKs from PyPI and npm"),
    ("hogline serve", "goes on until it is stopped: it has stories of its own"),
    ("cargo bench", "takes minutes"),
    ("HOGLINE_BENCH_", "takes minutes"),
    ("docker build", "takes Docker"),
    ("docker run", "takes Docker"),
];

#[test]
fn the_demo_replicates_everything_twice() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog);

    let demo = project.hogline(&["demo", "--dir", "demo", "--events", "2000"]).succeeds();

    let complete = demo.stdout.lines().filter(|line| line.trim_end().ends_with("complete")).count();
    assert_eq!(complete, EVERYTHING.len(), "{demo}");
    assert!(!demo.stdout.contains("DIFFERS"), "{demo}");
    assert_eq!(posthog.log(), [], "the demo asked somebody else's PostHog");
    project.hogline(&["demo", "--dir", "demo", "--events", "2000"]).succeeds();
}

#[test]
fn the_sandbox_lives_on_when_it_is_told_to() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog);
    let sandbox = ["sandbox", "--listen", "127.0.0.1:0", "--events", "500"];
    let mut running = project.starts_command(&sandbox);
    running.prints("export POSTHOG=");

    running.receives("USR1");
    running.prints("50 events happened and 50 arrived that are two days old");
    running.receives("TERM");

    running.ends().succeeds();
}

#[test]
fn the_example_replicates_everything() {
    let posthog = PostHog::start();
    let project = Project::of(&posthog, EXAMPLE);

    project.run().succeeds();

    for stream in EVERYTHING {
        project.holds_exactly(&posthog, stream);
    }
}

#[test]
fn parts_of_the_example_run_on_their_own() {
    let posthog = PostHog::start();
    let project = Project::of(&posthog, EXAMPLE);

    let ran = project.run_with(&["--streams", "cohorts,actions"]).succeeds();

    assert_eq!(ran.report.as_ref().unwrap()["streams"].as_array().unwrap().len(), 2, "{ran}");
    project.holds_exactly(&posthog, "cohorts");
    project.holds_exactly(&posthog, "actions");
}

#[test]
fn what_the_readme_says_of_verifying_and_of_the_state_runs() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events", "cohorts"]);
    project.run().succeeds();

    for command in [
        "verify -r replication.yaml",
        "verify -r replication.yaml --streams cohorts --sample all --repair --format json",
        "state list",
        "state show --stream events --format json",
        "state runs --format json",
        "state set --stream events --complete-to 2026-02-01 --from 2025-01-01",
        "state rewind --stream events --to 2026-02-01",
        "run -r replication.yaml --only-failed",
        "run -r replication.yaml --max-wait 30s",
    ] {
        project.hogline(&command.split(' ').collect::<Vec<_>>()).succeeds();
    }
    let state = project.hogline(&["state", "export"]).succeeds().stdout;
    project.writes("state.json", &state);
    project.hogline(&["state", "import", "state.json", "--force"]).succeeds();
    project.run().succeeds();

    project.holds_exactly(&posthog, "events");
    project.holds_exactly(&posthog, "cohorts");
}

#[test]
fn every_exit_code_means_what_the_readme_says() {
    let readme = include_str!("../../README.md");
    for (code, meaning, _) in hogline::error::EXPLAINED {
        let code = if code > 128 { "130, 143".to_owned() } else { code.to_string() };
        assert!(readme.contains(&format!("| {code} | {meaning} |")), "{code}: {meaning}");
    }
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog);
    project.hogline(&["explain"]).succeeds().says("state and target disagree");
    project.hogline(&["explain", "9"]).succeeds().says("hogline state reset");
    project.hogline(&["explain", "10"]).exits(2).says("0, 2, 3, 4, 5, 6, 7, 8, 9, 75, 130, 143");
}

#[test]
fn shells_and_manuals_know_every_command() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog);
    for shell in ["bash", "zsh", "fish"] {
        let script = project.hogline(&["completions", shell]).succeeds();
        script.says("only-failed").says("doctor");
    }
    project.hogline(&["man"]).succeeds().says(".TH");
    project.hogline(&["man", "--dir", "man"]).succeeds();
    assert!(project.path("man/hogline-conns-set.1").exists());
}

/// A folder with what a page takes for granted. Where the page says how the connection is
/// defined, it is not in the environment.
fn prepared(page: &Page, posthog: &PostHog) -> (Project, &'static str) {
    let project = match page.name.as_str() {
        "README.md" => Project::of(posthog, EXAMPLE),
        _ => Project::incremental(posthog, &["cohorts", "events"]),
    };
    project.writes("replication.example.yaml", EXAMPLE);
    project.writes(".env.sling", "MY_POSTGRES=sqlite://posthog.db\n");
    if page.name == "running.md" {
        // It looks at what was replicated before.
        project.run().succeeds();
    }
    let defines = page.text.contains("$ hogline conns set POSTHOG");
    (project, if defines { "unset POSTHOG\n" } else { "" })
}

/// The words of a line that are the same in every run.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit())).collect()
}

#[test]
fn every_command_of_the_pages_runs_as_it_is_shown() {
    let mut unused: Vec<&str> = NOT_RUN.iter().map(|(start, _)| *start).collect();
    let mut typed = 0;
    for page in pages() {
        let mut is_left_out = |shown: &Shown| {
            let found = NOT_RUN.iter().find(|(start, _)| shown.command.starts_with(start));
            unused.retain(|start| found.is_none_or(|(found, _)| found != start));
            found.is_some()
        };
        let mut all = page.shown();
        all.retain(|shown| !is_left_out(shown));
        if all.is_empty() {
            continue;
        }
        let posthog = PostHog::playing(|options| {
            options.events = 300;
            options.persons = 60;
            options.recordings = 40;
        });
        posthog.later(10 * MINUTE);
        let (project, before) = prepared(&page, &posthog);
        // The reader's own key, and a PostHog that is no cloud.
        let host = format!("project_id: \"12345\", host: \"{}\" }}", posthog.origin());
        let own = |text: &str| {
            let text = text.replace("phx_…", KEY).replace("phc_…", PROJECT_TOKEN);
            text.replace("project_id: \"12345\" }", &host)
        };
        for Shown { command, exports, output } in all {
            let told = project.types(&own(&format!("{before}{exports}{command}"))).succeeds();

            let printed: Vec<Vec<&str>> = told.stdout.lines().map(words).collect();
            for line in output.iter().filter(|line| line.as_str() != "…") {
                let is_there = printed.contains(&words(line));
                assert!(is_there, "{}: `{command}` does not print {line:?}:\n{told}", page.name);
            }
            typed += 1;
        }
    }
    assert!(typed >= 11, "only {typed} commands were found");
    assert!(unused.is_empty(), "no page shows {unused:?} any more");
}

/// The command that words name, with what is left of them: `state show` of `state show --stream a`.
fn named<'w>(words: &mut Peekable<impl Iterator<Item = &'w str>>) -> Command {
    let mut command = Cli::command();
    while let Some(inner) = words.peek().and_then(|word| command.find_subcommand(word)) {
        command = inner.clone();
        words.next();
    }
    command
}

/// Whether a command, or one below it, has an option.
fn has(command: &Command, option: &str) -> bool {
    let own = command.get_arguments().any(|argument| match option.strip_prefix("--") {
        Some(long) => argument.get_long() == Some(long),
        None => argument.get_short().map(String::from).as_deref() == option.strip_prefix('-'),
    });
    own || command.get_subcommands().any(|inner| has(inner, option))
}

/// The options among words, without their values.
fn options<'w>(words: impl Iterator<Item = &'w str>) -> Vec<&'w str> {
    let options = words.filter(|word| word.starts_with('-') && word.len() > 1);
    options.map(|word| word.split('=').next().unwrap()).collect()
}

#[test]
fn every_command_and_option_that_the_pages_name_is_there() {
    let mut found = 0;
    for page in pages() {
        for mention in page.mentioned() {
            let mut words = mention.split_whitespace().skip(1).peekable();
            let command = named(&mut words);
            assert_ne!(command.get_name(), "hogline", "{}: `{mention}` is none", page.name);
            for option in options(words) {
                assert!(has(&command, option), "{}: `{mention}`: {option}", page.name);
            }
            found += 1;
        }
    }
    assert!(found > 40, "only {found} were found");
}

#[test]
fn every_command_is_in_the_readmes_table_and_has_the_options_that_it_names() {
    let readme = pages().into_iter().find(|page| page.name == "README.md").unwrap().text;
    let table = readme.split("| command | does |").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut commands: Vec<String> =
        Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for row in table.lines().filter(|row| row.starts_with("| `")) {
        let spans: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let first = spans[0].split_whitespace().nth(1).unwrap().to_owned();
        let tree = Cli::command().find_subcommand(&first).unwrap().clone();
        for span in &spans {
            if let Some(named) = span.strip_prefix("hogline ") {
                let name = named.split_whitespace().next().unwrap();
                commands.retain(|command| command != name);
            }
            if span.starts_with("--") {
                let option = options(span.split_whitespace())[0];
                assert!(has(&tree, option), "{first} has no {option}");
            }
        }
    }
    assert!(commands.is_empty(), "the README's table lacks {commands:?}");
}
