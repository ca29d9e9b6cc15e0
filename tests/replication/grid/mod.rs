//! The grid of faults: everything that goes wrong in a year of cron, tried everywhere.
//!
//! A [`Fault`] is tried on every [`Ground`]: a target, a mode and a way of paging. After it,
//! whatever it did, [`Ground::settles`] runs to the end and holds the copy against every
//! promise. A plain test run tries a sample of the cells, the same in every run; with
//! `HOGLINE_GRID=cells` every cell is tried, with `HOGLINE_GRID=postgres` every cell of that
//! target, and with `HOGLINE_GRID=whole` also every moment within a cell. `tests/grid` prints
//! the table, and puts it into `docs/trust.md`.

mod calm;
mod crash;
mod disk;
mod environment;
mod ground;
mod source;
mod state;
mod target;

use std::fmt::Write;
use std::io::Write as _;
use std::path::Path;

pub(crate) use ground::Ground;

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

/// Tries every fault of a group on every ground, or on one of each `share` of them, and
/// leaves the group's table for those who print it.
pub(crate) fn try_all(group: &str, share: usize, faults: &[Fault]) {
    let tries_every_cell = is_whole() || is_wanted("cells");
    let is_of_a_target = Ground::all().iter().any(|ground| is_wanted(ground.target));
    let mut table = String::new();
    // One server for all cells.
    let mut server = None;
    for (n, fault) in faults.iter().enumerate() {
        for (m, ground) in Ground::all().iter().enumerate() {
            let is_tried = match is_of_a_target {
                true => is_wanted(ground.target),
                // Steps of another size than the rows: a sample meets every column.
                false => tries_every_cell || (n + m) % share == 0,
            };
            if !is_tried {
                continue;
            }
            if ground.target == "postgres" && server.is_none() {
                server = Some(crate::support::server());
            }
            let tried = match ground.why_empty() {
                Some(why) => Tried::Empty(why),
                None => told(group, fault, ground),
            };
            let result = match tried {
                Tried::Passed(times) => format!("pass\t{times}"),
                Tried::Empty(why) => format!("empty\t{why}"),
            };
            let line = format!("{group}\t{}\t{ground}\t{result}", fault.name);
            if tries_every_cell || is_of_a_target {
                // It takes long: tests keep what they print to themselves, this is seen at once.
                std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap_or_default();
            }
            writeln!(table, "{line}").unwrap();
        }
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("grid");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{group}.tsv")), table).unwrap();
}

/// Whether every moment, byte and write within a cell is to be tried.
pub(crate) fn is_whole() -> bool {
    is_wanted("whole")
}

fn is_wanted(much: &str) -> bool {
    std::env::var_os("HOGLINE_GRID").is_some_and(|value| value == much)
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
