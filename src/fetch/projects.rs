//! Which projects a key may see.

use serde::Deserialize;

use crate::http::{AskError, Client, Meter, Request};
use crate::spec::counters;

/// More than an organization can have: one page is enough for most keys.
const PAGE: usize = 2000;

/// The ids of all projects that the key may see, in the order of their numbers.
///
/// The list has no order, so its end is where a page brings nothing new.
///
/// # Errors
/// The question that was not answered, and why.
pub async fn all_projects(client: &Client) -> Result<Vec<String>, (String, AskError)> {
    let mut ids: Vec<u64> = Vec::new();
    let mut seen = 0;
    loop {
        let request = Request::get("/api/projects/".to_owned(), &counters(&["crud"]))
            .with("limit", PAGE.to_string())
            .with("offset", seen.to_string());
        let page = client.ask_json::<Page>(&request, &Meter::default()).await;
        let page = page.map_err(|err| (client.describe(&request), err))?.results;
        seen += page.len();
        let known = ids.len();
        ids.extend(page.into_iter().map(|project| project.id));
        ids.sort_unstable();
        ids.dedup();
        if ids.len() == known {
            return Ok(ids.iter().map(u64::to_string).collect());
        }
    }
}

#[derive(Deserialize)]
struct Page {
    results: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: u64,
}
