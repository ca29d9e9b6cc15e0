//! The least that reading can cost: the same questions asked, the answers forgotten.

use std::path::Path;
use std::process::Command;

use hogline::sandbox::{Asked, KEY, Sandbox};
use serde_json::{Value, json};

use crate::process::{self, Took};

/// Names the file of the questions; a process that has it is the floor.
pub(crate) const QUESTIONS: &str = "HOGLINE_BENCH_QUESTIONS";

/// What reading took, and how much was read.
pub(crate) struct Floor {
    pub(crate) took: Took,
    /// Of the answers, unpacked.
    pub(crate) bytes: u64,
}

/// Asks the questions in a process of its own.
pub(crate) fn measured(sandbox: &Sandbox, folder: &Path, questions: &[Asked]) -> Floor {
    let question = |asked: &Asked| {
        json!([asked.method, format!("{}{}", sandbox.origin(), asked.path_and_query), asked.body])
    };
    let file = folder.join("questions.json");
    let questions: Vec<Value> = questions.iter().map(question).collect();
    std::fs::write(&file, json!(questions).to_string()).unwrap();
    let took =
        process::measured(Command::new(std::env::current_exe().unwrap()).env(QUESTIONS, &file));
    let read = std::fs::read_to_string(file.with_extension("read")).unwrap();
    Floor { took, bytes: read.parse().unwrap() }
}

/// What the process does.
pub(crate) fn ask_all(file: &Path) {
    let questions: Vec<[String; 3]> =
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = reqwest::Client::builder().build().unwrap();
    let mut bytes = 0;
    runtime.block_on(async {
        for [method, url, body] in &questions {
            let request = client.request(method.parse().unwrap(), url).bearer_auth(KEY);
            let request = request.header("content-type", "application/json").body(body.clone());
            let mut answer = request.send().await.unwrap();
            while let Some(piece) = answer.chunk().await.unwrap() {
                bytes += piece.len();
            }
        }
    });
    std::fs::write(file.with_extension("read"), bytes.to_string()).unwrap();
}
