//! The grid of faults: everything that goes wrong in a year of cron, tried everywhere.
//!
//! A [`Fault`] is tried on every [`Ground`]: a target, a mode and a way of paging. After it,
//! whatever it did, [`Ground::settles`] runs to the end and holds the copy against every
//! promise. A plain test run tries a sample of the cells, the same in every run, in which every
//! group meets every target. With `HOGLINE_GRID=cells` every cell is tried, with the names of
//! targets, `HOGLINE_GRID=csv,parquet`, every cell of these, and with `HOGLINE_GRID=whole` also
//! every moment within a cell. `tests/grid` prints the table, and puts it into `docs/trust.md`.
//!
//! A target is a line in `ground`, and says there what those who look into it have to know.

mod calm;
mod crash;
mod disk;
mod environment;
mod ground;
mod source;
mod state;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

pub(crate) use ground::{Ground, Kind, TARGETS};

/// What became of a fault on a ground.
pub(crate) enum Tried {
    /// All promises held, so many times.
    Passed(usize),
    /// It cannot happen here: says why.
    Empty(&'static str),
}

/// Something that goes wrong.
pub(crate) struct Fault {
    name: String,
    strike: Box<dyn Fn(&Ground) -> Tried>,
}

impl Fault {
    /// A fault and how it is made to happen; `strike` panics where a promise is broken.
    pub(crate) fn new(
        name: impl Into<String>,
        strike: impl Fn(&Ground) -> Tried + 'static,
    ) -> Self {
        Self { name: name.into(), strike: Box::new(strike) }
    }
}

/// What `HOGLINE_GRID` asks for.
struct Wanted(Vec<String>);

impl Wanted {
    fn told() -> Self {
        let told = std::env::var_os("HOGLINE_GRID").unwrap_or_default().into_string().unwrap();
        let words: Vec<String> =
            told.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        for word in &words {
            let is_known = |known: &str| known == word;
            let is_target = Ground::targets().into_iter().any(is_known);
            assert!(is_target || ["cells", "whole"].into_iter().any(is_known), "{word} in {told}");
        }
        Self(words)
    }

    fn has(&self, word: &str) -> bool {
        self.0.iter().any(|other| other == word)
    }

    /// Whether no more than a sample of the cells is.
    fn is_sample(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every cell of a target is.
    fn every_cell_of(&self, target: &str) -> bool {
        let names_targets = Ground::targets().into_iter().any(|target| self.has(target));
        self.has(target) || !(names_targets || self.is_sample())
    }
}

/// Tries every fault of a group on every ground, or on one of each `share` of them. Where every
/// cell was tried, it leaves the group's tables, one for each target, for those who print them.
pub(crate) fn try_all(group: &str, share: usize, faults: &[Fault]) {
    let wanted = Wanted::told();
    let grounds = Ground::all();
    let mut tables: BTreeMap<&str, String> = BTreeMap::new();
    let mut met = BTreeSet::new();
    // One server for all cells.
    let mut server = None;
    for (n, fault) in faults.iter().enumerate() {
        for (m, ground) in grounds.iter().enumerate() {
            // Steps of another size than the rows: a sample meets every column.
            let is_in_sample = wanted.is_sample() && (n + m) % share == 0;
            if !is_in_sample && !wanted.every_cell_of(ground.target) {
                continue;
            }
            if ground.kind == Kind::Postgres && server.is_none() {
                server = Some(crate::support::server());
            }
            let tried = match ground.why_empty() {
                Some(why) => Tried::Empty(why),
                None => {
                    met.insert(ground.target);
                    told(group, fault, ground)
                }
            };
            let result = match tried {
                Tried::Passed(times) => format!("pass\t{times}"),
                Tried::Empty(why) => format!("empty\t{why}"),
            };
            let line = format!("{group}\t{}\t{ground}\t{result}\n", fault.name);
            if !wanted.is_sample() {
                // It takes long: tests keep what they print to themselves, this is seen at once.
                std::io::stderr().write_all(line.as_bytes()).unwrap_or_default();
            }
            tables.entry(ground.target).or_default().push_str(&line);
        }
    }
    if wanted.is_sample() {
        return assert_eq!(
            met,
            Ground::targets().into_iter().collect(),
            "{group}: another share meets all"
        );
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("grid");
    std::fs::create_dir_all(&folder).unwrap();
    for (target, table) in tables {
        std::fs::write(folder.join(format!("{group}.{target}.tsv")), table).unwrap();
    }
    // Who joins the tables has to know what a whole one has.
    let all: String = grounds.iter().map(|ground| format!("{ground}\n")).collect();
    std::fs::write(folder.join("grounds"), all).unwrap();
}

/// Whether every moment, byte and write within a cell is to be tried.
pub(crate) fn is_whole() -> bool {
    Wanted::told().has("whole")
}

/// Tries one cell; a panic in it is told with the cell's name.
fn told(group: &str, fault: &Fault, ground: &Ground) -> Tried {
    struct Named<'a>(&'a str, &'a str, &'a Ground);
    impl Drop for Named<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let cell = format!("in the cell: {}, {}, {}\n", self.0, self.1, self.2);
                std::io::stderr().write_all(cell.as_bytes()).unwrap_or_default();
            }
        }
    }
    let _named = Named(group, &fault.name, ground);
    (fault.strike)(ground)
}
