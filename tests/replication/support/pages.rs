//! The README and the pages below `docs`, and the commands that they show.
//!
//! Lines with a `$` in front are typed, and what stands in fences of `sh`; the lines below show what
//! is printed. In the middle of a sentence commands are named, with words to be filled in.

use std::fs;
use std::path::{Path, PathBuf};

/// A page by its name.
pub(crate) struct Page {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A command that a page shows.
pub(crate) struct Shown {
    /// As it is typed.
    pub(crate) command: String,
    /// The commands before it in its fence that set something in the shell.
    pub(crate) exports: String,
    /// What the page shows of its output.
    pub(crate) output: Vec<String>,
}

/// The README, and the pages below `docs`.
pub(crate) fn pages() -> Vec<Page> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = docs.chain([root.join("README.md")]).collect();
    paths.sort();
    let page = |path: PathBuf| Page {
        name: path.file_name().unwrap().to_str().unwrap().to_owned(),
        text: fs::read_to_string(path).unwrap(),
    };
    paths.into_iter().map(page).collect()
}

impl Page {
    /// The fences, each with its language.
    fn fences(&self) -> Vec<(&str, Vec<&str>)> {
        let mut fences = Vec::new();
        let mut open: Option<(&str, Vec<&str>)> = None;
        for line in self.text.lines().map(str::trim_start) {
            match (line.strip_prefix("```"), open.take()) {
                (Some(language), None) => open = Some((language, Vec::new())),
                (Some(_), Some(fence)) => fences.push(fence),
                (None, Some((language, mut lines))) => {
                    lines.push(line);
                    open = Some((language, lines));
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a fence is not closed", self.name);
        fences
    }

    /// The commands that it shows to be typed.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let mut all: Vec<Shown> = Vec::new();
        for (language, lines) in self.fences() {
            let mut exports = String::new();
            for line in lines {
                let command = match language {
                    "console" => line.strip_prefix("$ "),
                    "sh" => Some(line).filter(|line| !line.is_empty()),
                    _ => None,
                };
                match command {
                    Some(export) if export.starts_with("export ") => {
                        exports += &format!("{export}\n");
                    }
                    Some(command) => all.push(Shown {
                        command: command.to_owned(),
                        exports: exports.clone(),
                        output: Vec::new(),
                    }),
                    None if language == "console" => {
                        all.last_mut().unwrap().output.push(line.to_owned());
                    }
                    None => {}
                }
            }
        }
        all
    }

    /// What it calls `hogline …` in the middle of a sentence or of another program's file.
    pub(crate) fn mentioned(&self) -> Vec<String> {
        let prose: String = self.text.split("```").step_by(2).collect();
        let spans = prose.split('`').skip(1).step_by(2);
        let spans = spans.filter(|span| span.starts_with("hogline ")).map(str::to_owned);
        let fences = self.fences().into_iter().filter(|(language, _)| *language != "console");
        let lines = fences.flat_map(|(_, lines)| lines);
        let starts = ["&& hogline ", "/bin/hogline "];
        let lines = lines.filter_map(|line| {
            let (_, rest) = starts.iter().find_map(|start| line.split_once(start))?;
            Some(format!("hogline {rest}"))
        });
        spans.chain(lines).collect()
    }
}
