//! `hogline explain`: what an exit code means.

use crate::error::{EXPLAINED, Exit, Failure, words};
use crate::report::{self, Table};

/// Says what a code means, or all of them.
pub(super) fn explain(code: Option<u8>) -> Result<Exit, Failure> {
    let Some(code) = code else {
        let mut table = Table::new(&["code", "means"]);
        for (code, _, _) in EXPLAINED {
            table.row(vec![code.to_string(), words(code).into()]);
        }
        report::print(&table.to_string());
        return Ok(Exit::Complete);
    };
    let found = EXPLAINED.into_iter().find(|(known, ..)| *known == code);
    let Some((_, meaning, todo)) = found else {
        let known: Vec<String> = EXPLAINED.iter().map(|(code, ..)| code.to_string()).collect();
        return Err(Failure::usage(
            format!("{code} is no exit code of hogline"),
            format!("its codes: {}", known.join(", ")),
            "a code above 128 is a signal's number more than that",
        ));
    };
    report::print(&format!("{code}: {meaning}\n\n{todo}"));
    Ok(Exit::Complete)
}
