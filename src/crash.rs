//! Moments at which a run may end, named so that tests can end it there.
//!
//! `crash_point!("before COMMIT")` stands wherever dying matters. A release build has
//! nothing of it, not even the function it would call. In a debug build the environment
//! says what happens:
//!
//! | `HOGLINE_CRASH` | |
//! | --- | --- |
//! | `KILL:17` | the process is killed at the 17th point that it passes |
//! | `KILL:3:before COMMIT` | … when it passes the point of this name for the 3rd time |
//! | `TERM:17`, `INT:17` | it gets the signal there, and goes on |
//!
//! `HOGLINE_CRASH_LOG` names a file that gets the name of every point that is passed.
//!
//! A killed process flushes nothing and drops nothing; what the operating system was told
//! before stays, so it cannot show what a power cut would take.

/// Names a moment at which a run may die. `crash_point!("a row", n)` is passed for few `n`.
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(debug_assertions)]
        $crate::crash::pass($name);
    };
    ($name:literal, $n:expr) => {
        #[cfg(debug_assertions)]
        if $crate::crash::is_one_of_few($n) {
            $crate::crash::pass($name);
        }
    };
}

// No constant could be made of a call.
#[cfg(not(debug_assertions))]
const _NOTHING_IS_LEFT: () = {
    crash_point!("in a release build");
};

#[cfg(debug_assertions)]
pub(crate) use steered::{is_one_of_few, pass};

#[cfg(debug_assertions)]
mod steered {
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::sync::{LazyLock, Mutex, PoisonError};

    /// What the environment asks for; nothing in any ordinary run.
    static STEERING: LazyLock<Option<Mutex<Steering>>> =
        LazyLock::new(|| Steering::of_environment().map(Mutex::new));

    /// Passes a point, or ends there.
    pub(crate) fn pass(name: &str) {
        if let Some(steering) = &*STEERING {
            // Others wait meanwhile: when a signal comes they have gone no further.
            steering.lock().unwrap_or_else(PoisonError::into_inner).pass(name);
        }
    }

    /// The first, the second, the tenth, the hundredth, …: every row would be too many.
    pub(crate) fn is_one_of_few(n: usize) -> bool {
        n == 1 || 10_usize.pow(n.checked_ilog10().unwrap_or(0)) == n - 1
    }

    /// What happens where.
    struct Steering {
        plan: Option<Plan>,
        log: Option<File>,
    }

    /// A signal, and how many points that count are still before it.
    struct Plan {
        signal: String,
        left: u64,
        name: Option<String>,
    }

    impl Steering {
        #[expect(clippy::disallowed_methods, reason = "not the user's: only tests set these")]
        fn of_environment() -> Option<Self> {
            let plan = std::env::var("HOGLINE_CRASH").ok();
            let log = std::env::var("HOGLINE_CRASH_LOG").ok();
            if plan.is_none() && log.is_none() {
                return None;
            }
            let open = |path| OpenOptions::new().create(true).append(true).open(path);
            Some(Self {
                plan: plan.map(|text| Plan::parse(&text).expect("HOGLINE_CRASH is KILL:17")),
                log: log.map(|path| open(path).expect("HOGLINE_CRASH_LOG can be written")),
            })
        }

        fn pass(&mut self, name: &str) {
            if let Some(log) = &mut self.log {
                log.write_all(format!("{name}\n").as_bytes()).expect("the log can be written");
            }
            if let Some(plan) = &mut self.plan {
                plan.pass(name);
            }
        }
    }

    impl Plan {
        fn parse(text: &str) -> Option<Self> {
            let mut parts = text.splitn(3, ':');
            let signal = parts.next()?.to_owned();
            let left = parts.next()?.parse().ok()?;
            Some(Self { signal, left, name: parts.next().map(str::to_owned) })
        }

        fn pass(&mut self, name: &str) {
            if self.left == 0 || self.name.as_ref().is_some_and(|wanted| wanted != name) {
                return;
            }
            self.left -= 1;
            if self.left == 0 {
                self.send();
            }
        }

        /// Sends the signal to this process. Every system's shell can do that; Rust's own
        /// library cannot.
        fn send(&self) {
            let script = format!("kill -s {} $PPID", self.signal);
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null());
            let sent = shell.stderr(Stdio::null()).status().expect("there is a shell");
            assert!(sent.success(), "{script} failed");
            if self.signal == "KILL" {
                // It is on its way.
                loop {
                    std::thread::park();
                }
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_plan_counts_all_points_or_those_of_one_name() {
            for (text, points, left) in [
                ("KILL:3", ["a", "b"].as_slice(), 1),
                ("KILL:3:b", &["a", "b", "a"], 2),
                ("TERM:9:before COMMIT", &["before COMMIT"], 8),
            ] {
                let mut plan = Plan::parse(text).unwrap();

                points.iter().for_each(|name| plan.pass(name));

                assert_eq!(plan.left, left, "{text}");
            }
        }

        #[test]
        fn of_many_rows_few_are_points() {
            let points: Vec<usize> = (1..2000).filter(|n| is_one_of_few(*n)).collect();

            assert_eq!(points, [1, 2, 11, 101, 1001]);
        }
    }
}
