//! A process, and what the kernel says that it took.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a process took.
pub(crate) struct Took {
    /// From its start to its end, in seconds.
    pub(crate) wall: f64,
    /// In the program and in the kernel for it, in seconds.
    pub(crate) cpu: f64,
    /// The most memory it held, in bytes.
    pub(crate) peak: u64,
}

/// Runs a command to its good end.
pub(crate) fn measured(command: &mut Command) -> Took {
    let begun = Instant::now();
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let mut peak = 0;
    // What it took stays readable until somebody asks how it ended.
    let cpu = loop {
        peak = peak.max(peak_of(pid).unwrap_or(0));
        match times_of(pid) {
            ('Z', cpu) => break cpu,
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let wall = begun.elapsed().as_secs_f64();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Took { wall, cpu, peak }
}

/// The most memory that a process held so far.
fn peak_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes << 10)
}

/// Whether a process still runs, and the CPU seconds it took; the kernel counts them in hundredths.
fn times_of(pid: u32) -> (char, f64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in brackets, may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let hundredths = |at: usize| fields[at].parse::<f64>().unwrap();
    (fields[0].chars().next().unwrap(), (hundredths(11) + hundredths(12)) / 100.0)
}
