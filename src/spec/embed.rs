//! Build script: compiles every file of `specs/` into the program.
//!
//! A stream is a file there and nothing else, so nobody lists them by hand.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let specs = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("specs");
    let mut files = Vec::new();
    for entry in fs::read_dir(&specs)? {
        files.push(entry?.path());
    }
    files.sort();
    let entries: String =
        files.iter().filter(|file| is_yaml(file)).map(|file| entry(file)).collect();
    let out = PathBuf::from(variable("OUT_DIR")?).join("specs.rs");
    fs::write(out, format!("&[{entries}]"))?;
    // Cargo looks for new files here too.
    writeln!(io::stdout(), "cargo::rerun-if-changed={}", specs.display())
}

fn variable(name: &str) -> io::Result<String> {
    env::var_os(name)
        .and_then(|value| value.into_string().ok())
        .ok_or_else(|| io::Error::other(format!("cargo sets no {name}")))
}

fn is_yaml(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "yaml")
}

fn entry(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    format!("({name:?}, include_str!({:?})),\n", file.display().to_string())
}
