//! A file of events, or a pipe.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::kept::{self, Kept};
use super::read::{Form, Shared, open, read};
use super::{Options, Rest, Way, rejects_of, way};
use crate::cli::{BatchArgs, Output, SendArgs};
use crate::command::run::working_folder;
use crate::config::Connections;
use crate::cursor::Timestamp;
use crate::error::{Exit, Failure};
use crate::report::{self, Sent};
use crate::send::batch::Item;
use crate::send::deliver::{Delivery, Halt, Terms, deliver};
use crate::send::event::Sealed;
use crate::send::lines::Lines;
use crate::send::outbox::{MOST_BYTES, Outbox, OutboxError};

/// Handfuls of events between the reader and the lanes.
const AHEAD: usize = 2;

/// How long after a delivery that failed the next one is tried, while a pipe goes on.
const AGAIN: Duration = Duration::from_secs(30);

/// A file on its way.
struct Load {
    lines: Lines,
    form: Form,
    account: Shared,
    begun: Instant,
    output: Output,
}

/// How it ended, and what is to be told of it.
struct Ending {
    sent: Sent,
    failure: Option<Failure>,
}

/// Sends the events of a file.
pub(super) async fn batch(args: &BatchArgs, how: &SendArgs) -> Result<Exit, Failure> {
    let rejects = args.rejects.clone().unwrap_or_else(|| rejects_of(&args.file));
    let load = Load {
        lines: open(&args.file)?,
        form: Form::of(args.format),
        account: Shared::new(rejects),
        begun: Instant::now(),
        output: how.output,
    };
    if how.dry_run || args.map_only {
        return load.judge_all(args.map_only);
    }
    let way = way(&args.to, &Options::of(how)?, &Connections::load(&working_folder()?)?)?;
    if !args.skip_token_check {
        way.check_token().await?;
    }
    let terms = way.terms(how.historical, args.batch_size, args.concurrency);
    match how.outbox {
        true => load.goes_by_outbox(&way, &terms, kept::outbox_file(&how.state)).await,
        false => load.goes(&way, &terms).await,
    }
}

impl Load {
    /// Judges all, and sends nothing; prints what would be sent where that is wanted.
    fn judge_all(mut self, is_shown: bool) -> Result<Exit, Failure> {
        let mut count = 0;
        let judged = read(&mut self.lines, &self.form, &self.account, |items| {
            count += items.len() as u64;
            if is_shown {
                let lines: Vec<&str> = items.iter().map(|item| &*item.event.json).collect();
                report::print(&lines.join("\n"));
            }
            true
        });
        let sent = Sent { delivered: count, is_dry: true, is_shown, ..Sent::default() };
        let failure = judged.err().map(|cause| unreadable(cause, "nothing was sent"));
        tell(&self.account, self.begun, self.output, Ending { sent, failure })
    }

    /// Sends what is read while it is read.
    async fn goes(self, way: &Way, terms: &Terms) -> Result<Exit, Failure> {
        let Self { mut lines, form, account, begun, output } = self;
        let (hand, source) = mpsc::channel(AHEAD);
        let kept = account.clone();
        let reading = tokio::task::spawn_blocking(move || {
            read(&mut lines, &form, &kept, |items| hand.blocking_send(items).is_ok())
        });
        let mut receipts = account.clone();
        let delivery = deliver(&way.client, terms, source, &mut receipts, way.stop.clone()).await;
        let failure = match &delivery.halt {
            // The reader may wait for a pipe: nobody waits for it.
            Some(halt) => Some(way.halted(halt, &rest(&delivery, &account))),
            None => joined(reading).await.err().map(|cause| {
                unreadable(
                    cause,
                    "what was read before is delivered: mend the file, and send it again",
                )
            }),
        };
        let sent = Sent {
            delivered: delivery.delivered,
            status: delivery.answered.as_ref().map(|answered| answered.status),
            requests: delivery.meter.requests(),
            retries: delivery.meter.retries(),
            ..Sent::default()
        };
        tell(&account, begun, output, Ending { sent, failure })
    }

    /// Accepts what is read into the outbox, and delivers from there whenever nothing more comes.
    async fn goes_by_outbox(
        self,
        way: &Way,
        terms: &Terms,
        path: PathBuf,
    ) -> Result<Exit, Failure> {
        let Self { mut lines, form, account, begun, output } = self;
        let outbox = tokio::task::block_in_place(|| Outbox::open(&path, MOST_BYTES));
        let outbox = outbox.map_err(|err| kept::outbox_unusable(&err))?;
        let (hand, source) = mpsc::channel(AHEAD);
        let shared = account.clone();
        let reading = tokio::task::spawn_blocking(move || {
            read(&mut lines, &form, &shared, |items| hand.blocking_send(items).is_ok())
        });
        let mut keeping = Keeping { way, terms, path, outbox, accepted: 0, kept: Kept::default() };
        let mut ended = keeping.take_all(source).await;
        if ended.is_ok() {
            ended = joined(reading).await.map_err(|cause| {
                let fix = "what was read before is accepted: mend the file, and send it again";
                unreadable(cause, fix)
            });
        }
        let Keeping { accepted, kept, .. } = keeping;
        let sent = Sent {
            delivered: kept.delivered,
            accepted: Some(accepted),
            status: kept.answered.as_ref().map(|answered| answered.status),
            requests: kept.requests,
            retries: kept.retries,
            ..Sent::default()
        };
        let failure = ended.err().or_else(|| kept.exit(way).err());
        tell(&account, begun, output, Ending { sent, failure })
    }
}

/// Events on their way through the outbox.
struct Keeping<'a> {
    way: &'a Way,
    terms: &'a Terms,
    path: PathBuf,
    outbox: Outbox,
    accepted: u64,
    kept: Kept,
}

impl Keeping<'_> {
    /// Accepts all that comes, and delivers what can be delivered.
    async fn take_all(&mut self, mut source: mpsc::Receiver<Vec<Item>>) -> Result<(), Failure> {
        let mut stop = self.way.stop.clone();
        let mut waits = false;
        loop {
            let pause = if self.kept.is_stuck() { AGAIN } else { self.terms.age };
            tokio::select! {
                // What was accepted is safe: a stop need not wait for the rest of a pipe.
                biased;
                signal = crate::runner::stopped(&mut stop) => {
                    let told = format!(
                        "{} events are safe in the outbox (run hogline outbox retry), the rest is \
                         in the file",
                        self.accepted
                    );
                    return Err(self.way.halted(&Halt::Stopped(signal), &Rest::InFile(told)));
                }
                items = source.recv() => match items {
                    Some(items) => self.take(items).await?,
                    None => return self.deliver().await,
                },
                () = tokio::time::sleep(pause), if waits => {
                    self.deliver().await?;
                    waits = self.kept.is_stuck();
                    continue;
                }
            }
            waits = true;
        }
    }

    /// Accepts events; where there is no room, makes some.
    async fn take(&mut self, items: Vec<Item>) -> Result<(), Failure> {
        let events: Vec<Sealed> = items.into_iter().map(|item| item.event).collect();
        let mut accepted = self.accept(&events);
        if matches!(accepted, Err(OutboxError::Full { .. })) {
            self.deliver().await?;
            accepted = self.accept(&events);
        }
        accepted.map_err(|err| kept::outbox_unusable(&err))
    }

    fn accept(&mut self, events: &[Sealed]) -> Result<(), OutboxError> {
        let to = self.way.destination(self.terms.envelope.historical);
        // SQLite may wait for the disk.
        tokio::task::block_in_place(|| self.outbox.accept(&to, events, Timestamp::now()))?;
        self.accepted += events.len() as u64;
        Ok(())
    }

    async fn deliver(&mut self) -> Result<(), Failure> {
        self.kept.add(kept::deliver_waiting(&self.path, self.way, self.terms).await?);
        Ok(())
    }
}

async fn joined(reading: JoinHandle<Result<(), String>>) -> Result<(), String> {
    reading.await.expect("reading lines does not panic")
}

/// Tells what became of a file, and how the command ends.
fn tell(account: &Shared, begun: Instant, output: Output, ending: Ending) -> Result<Exit, Failure> {
    let Ending { mut sent, mut failure } = ending;
    let mut account = account.held();
    if let Err(cause) = account.rejects.finish() {
        failure.get_or_insert(unwritten(cause));
    }
    sent.lines = account.lines;
    sent.rejected = account.rejects.count;
    sent.skipped = account.skipped;
    sent.rejects = account.rejects.path().map(Into::into);
    sent.doubts.clone_from(&account.doubts);
    sent.took = begun.elapsed();
    let exit = match (&failure, sent.rejected) {
        (Some(failure), _) => failure.exit,
        (None, 0) => Exit::Complete,
        (None, _) => Exit::Partly,
    };
    sent.exit_code = exit.code();
    let told = match output {
        Output::Text => report::sending(&sent),
        Output::Json => report::sending_as_json(&sent),
    };
    match sent.is_shown {
        true => report::tell(&told),
        false => report::print(&told),
    }
    failure.map_or(Ok(exit), Err)
}

/// Where what is not delivered stands, for whoever sends the file again.
fn rest(delivery: &Delivery, account: &Shared) -> Rest {
    let account = account.held();
    let from = delivery.open_from;
    let mut told = format!("everything before line {from} is delivered or rejected");
    if account.fresh > 0 {
        told = format!(
            "{told}, and {} events had neither uuid nor timestamp: sent again, they are others \
             (take them out, or use --outbox)",
            account.fresh
        );
    }
    Rest::InFile(told)
}

fn unreadable(cause: String, fix: &str) -> Failure {
    Failure {
        what: "the file could not be read to its end".into(),
        cause,
        fix: fix.into(),
        exit: Exit::Partly,
    }
}

fn unwritten(cause: String) -> Failure {
    Failure {
        what: "not all that was rejected is written down".into(),
        cause,
        fix:
            "free space on the disk, or name another file with --rejects; then send the file again"
                .into(),
        exit: Exit::Target,
    }
}
