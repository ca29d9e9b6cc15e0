//! From a file's lines to events that keep the rules.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::rejects::Rejects;
use super::single::sign;
use crate::cli::LineFormat;
use crate::cursor::Timestamp;
use crate::error::Failure;
use crate::send::batch::Item;
use crate::send::deliver::{Receipts, Settled, Unkept};
use crate::send::draft::Draft;
use crate::send::lines::{Lines, draft, identity, object};
use crate::send::mapping::{Arrival, Mapping, Outcome, Profile};
use crate::send::rules::{Admitted, Code, Doubt, Rejection, admit, seal};

/// So many events are handed on at once, or so many bytes of them: a little memory.
const HANDFUL: usize = 256;
const HANDFUL_BYTES: usize = 256 << 10;

/// What a call may say of when it was made.
const TIMES: [&str; 4] = ["timestamp", "originalTimestamp", "sentAt", "receivedAt"];

/// What a line is.
pub(super) enum Form {
    /// An event.
    Events,
    /// A tracking call.
    Calls(Mapping),
}

impl Form {
    /// As it was named.
    pub(super) fn of(format: LineFormat) -> Self {
        match format {
            LineFormat::Events => Self::Events,
            LineFormat::Calls => Self::Calls(Mapping::of(Profile::Hogline)),
            LineFormat::Segment => Self::Calls(Mapping::of(Profile::Segment)),
            LineFormat::Rudderstack => Self::Calls(Mapping::of(Profile::Rudderstack)),
        }
    }
}

/// What became of the lines of a file, so far.
pub(super) struct Account {
    /// Lines read, blank ones included.
    pub(super) lines: i64,
    /// What PostHog will not do as asked, and of how many events.
    pub(super) doubts: BTreeMap<Doubt, u64>,
    /// Events that will be others if the file is sent again: with neither uuid nor time.
    pub(super) fresh: u64,
    /// Calls that their sender kept from PostHog.
    pub(super) skipped: u64,
    /// What was not sent.
    pub(super) rejects: Rejects,
}

/// The account of a file, which is kept where it is read and where it is delivered.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Account>>);

impl Shared {
    /// Nothing was read.
    pub(super) fn new(rejects: PathBuf) -> Self {
        let rejects = Rejects::at(rejects);
        let account = Account { lines: 0, doubts: BTreeMap::new(), fresh: 0, skipped: 0, rejects };
        Self(Arc::new(Mutex::new(account)))
    }

    /// The account itself.
    pub(super) fn held(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receipts for Shared {
    /// Writes down what PostHog refused; of what it took nothing need be kept.
    fn settle(&mut self, settled: Settled) -> Result<(), Unkept> {
        let mut account = self.held();
        for (item, rejection) in settled.refused {
            let text = item.event.json.as_bytes();
            account.rejects.add(item.number, &rejection, text).map_err(Unkept)?;
        }
        Ok(())
    }
}

/// Opens a file of events, or stdin.
pub(super) fn open(file: &Path) -> Result<Lines, Failure> {
    let input: Result<Box<dyn Read + Send>, _> = match file == Path::new("-") {
        true => Ok(Box::new(std::io::stdin())),
        false => File::open(file).map(|file| Box::new(file) as _),
    };
    input.and_then(Lines::of).map_err(|err| {
        let what = format!("{} cannot be read", file.display());
        Failure::usage(what, err.to_string(), "check the path, and that you may read it")
    })
}

/// Reads events to the end, and hands them on; `hand` says when it takes no more.
///
/// # Errors
///
/// Nothing more can be read, or what is rejected cannot be written.
pub(super) fn read(
    lines: &mut Lines,
    form: &Form,
    account: &Shared,
    mut hand: impl FnMut(Vec<Item>) -> bool,
) -> Result<(), String> {
    let (mut handful, mut bytes) = (Vec::new(), 0);
    loop {
        // Whoever writes into a pipe may pause now: what is here goes on.
        let is_enough = lines.may_wait() || handful.len() >= HANDFUL || bytes >= HANDFUL_BYTES;
        if is_enough && !handful.is_empty() {
            bytes = 0;
            if !hand(std::mem::take(&mut handful)) {
                return Ok(());
            }
        }
        let next = lines.number() + 1;
        let line = lines.next().map_err(|err| format!("line {next}: {err}"))?;
        let Some((number, line)) = line else { break };
        let mut account = account.held();
        account.lines = number;
        let judged = line.and_then(|line| {
            judge(number, line, form, &mut account).map_err(|rejection| (rejection, line))
        });
        match judged {
            Ok(Some(item)) => {
                bytes += item.event.json.len();
                handful.push(item);
            }
            Ok(None) => account.skipped += 1,
            Err((rejection, text)) => account.rejects.add(number, &rejection, text)?,
        }
    }
    if !handful.is_empty() {
        hand(handful);
    }
    Ok(())
}

/// Makes a line an event; nothing of a call that is not for PostHog.
fn judge(
    number: i64,
    line: &[u8],
    form: &Form,
    account: &mut Account,
) -> Result<Option<Item>, Rejection> {
    let draft = match form {
        Form::Events => Some(draft(number, line)?),
        Form::Calls(mapping) => mapped(number, line, mapping)?,
    };
    let Some(mut draft) = draft else { return Ok(None) };
    let is_fresh = draft.id.is_none();
    sign(&mut draft.properties);
    let Admitted { event, doubts } = admit(draft, Timestamp::now())?;
    let event = seal(event)?;
    for doubt in doubts {
        *account.doubts.entry(doubt).or_default() += 1;
    }
    account.fresh += u64::from(is_fresh);
    Ok(Some(Item { number, event }))
}

fn mapped(number: i64, line: &[u8], mapping: &Mapping) -> Result<Option<Draft>, Rejection> {
    let message = object(line)?;
    let is_timed = TIMES.iter().any(|time| message.get(*time).is_some_and(|at| !at.is_null()));
    // Without a time it is another call each time it is read.
    let random = || Uuid::now_v7().to_string();
    let fallback_id = if is_timed { identity(number, line) } else { random() };
    let arrival = Arrival { received_at: Timestamp::now(), ip: None, fallback_id };
    match mapping.map(message, &arrival) {
        Ok(Outcome::Draft(draft)) => Ok(Some(draft)),
        Ok(Outcome::NotForPostHog(_)) => Ok(None),
        Err(rejection) => Err(Rejection::new(Code::CallInvalid, rejection.to_string())),
    }
}
