//! One event from the command line.

use serde_json::{Map, Value, json};

use super::kept::{self, Kept};
use super::{Options, Rest, Way, way};
use crate::cli::{
    AliasArgs, EventArgs, GroupArgs, IdentifyArgs, Occurrence, Output, PageArgs, Receiver,
    ScreenArgs, SendArgs,
};
use crate::command::run::working_folder;
use crate::config::Connections;
use crate::cursor::Timestamp;
use crate::error::{Exit, Failure};
use crate::http::{Answered, AskError, Meter};
use crate::report;
use crate::send::batch::Item;
use crate::send::deliver::{BATCH, Halt};
use crate::send::draft::Draft;
use crate::send::event::Event;
use crate::send::rules::{Doubt, Rejection, admit, seal};

/// An event as it was named.
pub(super) fn event(args: &EventArgs) -> Result<Draft, Failure> {
    draft(&args.event, &args.distinct_id, &args.of, |properties| properties)
}

/// A page that was viewed.
pub(super) fn page(args: &PageArgs) -> Result<Draft, Failure> {
    draft("$pageview", &args.distinct_id, &args.of, |mut properties| {
        lay(&mut properties, "name", Some(&args.name));
        lay(&mut properties, "title", Some(&args.name));
        lay(&mut properties, "$current_url", args.url.as_ref());
        properties
    })
}

/// A screen that was viewed.
pub(super) fn screen(args: &ScreenArgs) -> Result<Draft, Failure> {
    draft("$screen", &args.distinct_id, &args.of, |mut properties| {
        lay(&mut properties, "$screen_name", Some(&args.name));
        properties
    })
}

/// What is known of a person.
pub(super) fn identify(args: &IdentifyArgs) -> Result<Draft, Failure> {
    draft("$identify", &args.distinct_id, &args.of, |known| {
        let mut properties = Map::from_iter([("$set".to_owned(), Value::Object(known))]);
        lay(&mut properties, "$anon_distinct_id", args.anon_distinct_id.as_ref());
        properties
    })
}

/// Two ids of one person: the person of `alias` goes into that of the distinct id
/// (posthog-api.md §8.6).
pub(super) fn alias(args: &AliasArgs) -> Result<Draft, Failure> {
    draft("$create_alias", &args.distinct_id, &args.of, |mut properties| {
        lay(&mut properties, "alias", Some(&args.alias));
        properties
    })
}

/// What is known of a group.
pub(super) fn group(args: &GroupArgs) -> Result<Draft, Failure> {
    let GroupArgs { kind, key, .. } = args;
    let own = format!("${kind}_{key}");
    draft("$groupidentify", args.distinct_id.as_ref().unwrap_or(&own), &args.of, |known| {
        let mut properties = json!({ "$group_type": kind, "$group_key": key, "$group_set": known });
        if args.distinct_id.is_some() {
            properties["$groups"] = json!({ kind: key });
        }
        properties.as_object().cloned().unwrap_or_default()
    })
}

/// What is said beside the properties wins over them.
fn lay(properties: &mut Map<String, Value>, name: &str, value: Option<&String>) {
    if let Some(value) = value {
        properties.insert(name.to_owned(), Value::String(value.clone()));
    }
}

fn draft(
    event: &str,
    distinct_id: &str,
    of: &Occurrence,
    make: impl FnOnce(Map<String, Value>) -> Map<String, Value>,
) -> Result<Draft, Failure> {
    let mut properties = make(properties(of.properties.as_deref())?);
    sign(&mut properties);
    // PostHog takes the sender's address for the person's (posthog-api.md §8.6): here it is a server's.
    if !properties.contains_key("$ip") {
        properties.entry("$geoip_disable").or_insert(Value::Bool(true));
    }
    Ok(Draft {
        id: of.uuid.clone(),
        event: Some(event.to_owned()),
        distinct_id: Some(distinct_id.to_owned()),
        timestamp: of.timestamp.clone(),
        properties,
    })
}

/// Says who sent an event that does not say it itself.
pub(in crate::command) fn sign(properties: &mut Map<String, Value>) {
    if !properties.contains_key("$lib") {
        properties.insert("$lib".into(), env!("CARGO_PKG_NAME").into());
        properties.insert("$lib_version".into(), env!("CARGO_PKG_VERSION").into());
    }
}

fn properties(text: Option<&str>) -> Result<Map<String, Value>, Failure> {
    let Some(text) = text else { return Ok(Map::new()) };
    let cause = match serde_json::from_str(text) {
        Ok(Value::Object(properties)) => return Ok(properties),
        Ok(_) => "it is JSON, but no object".to_owned(),
        Err(err) => err.to_string(),
    };
    let fix = "write --properties '{\"plan\": \"pro\"}'";
    Err(Failure::usage("--properties is not right", cause, fix))
}

/// Judges an event and sends it.
pub(super) async fn send(draft: Draft, to: &Receiver, how: &SendArgs) -> Result<Exit, Failure> {
    let now = Timestamp::now();
    let admitted = admit(draft, now).map_err(|rejection| rejected(&rejection))?;
    let (event, doubts) = (admitted.event, admitted.doubts);
    for doubt in &doubts {
        tracing::warn!("{}", doubt.reason());
    }
    let sealed = seal(event.clone()).map_err(|rejection| rejected(&rejection))?;
    if how.dry_run {
        report::print(&sealed.json);
        return Ok(Exit::Complete);
    }
    let way = way(to, &Options::of(how)?, &Connections::load(&working_folder()?)?)?;
    let item = Item { number: 0, event: sealed };
    if how.outbox {
        let path = kept::outbox_file(&how.state);
        kept::accept(&path, &way.destination(how.historical), vec![item.event], now)?;
        let kept = kept::deliver_kept(&path, &way, how.historical).await?;
        return tell_kept(&way, &event, &kept, how.output);
    }
    let answered = post(&way, item, how.historical).await?;
    tell(&event, &doubts, &answered, how.output);
    Ok(Exit::Complete)
}

fn rejected(rejection: &Rejection) -> Failure {
    Failure::usage("the event was not sent", rejection.to_string(), "mend what the cause names")
}

async fn post(way: &Way, item: Item, historical: bool) -> Result<Answered, Failure> {
    let body = way.terms(historical, 1, 1).envelope.around(&[item]);
    let mut stop = way.stop.clone();
    let meter = Meter::default();
    let answered = tokio::select! {
        biased;
        // A stop is heard at once; whether the event arrived is then not known, and said so.
        answered = way.client.post(BATCH, &body, &meter) => answered.map_err(Halt::from),
        signal = crate::runner::stopped(&mut stop) => Err(Halt::Stopped(signal)),
    };
    answered.map_err(|halt| match &halt {
        Halt::Ask(AskError::Refused { status: 400 | 413, .. }) => Failure {
            what: "PostHog refused the event".into(),
            cause: halt.to_string(),
            fix: "mend what the cause names".into(),
            exit: Exit::Partly,
        },
        _ => way.halted(&halt, &Rest::Nowhere),
    })
}

fn tell(event: &Event, doubts: &[Doubt], answered: &Answered, output: Output) {
    let Answered { status, text } = answered;
    let told = match output {
        Output::Text => format!(
            "PostHog answered {status}: it has taken `{}` of {} ({})",
            event.event, event.distinct_id, event.uuid
        ),
        Output::Json => json!({
            "status": status,
            "answer": text,
            "uuid": event.uuid.to_string(),
            "event": event.event,
            "distinct_id": event.distinct_id,
            "timestamp": event.timestamp,
            "warnings": doubts,
        })
        .to_string(),
    };
    report::print(&told);
}

fn tell_kept(way: &Way, event: &Event, kept: &Kept, output: Output) -> Result<Exit, Failure> {
    let status = kept.answered.as_ref().map(|answered| answered.status);
    let named = format!("`{}` of {} ({})", event.event, event.distinct_id, event.uuid);
    let told = match (output, status) {
        (Output::Text, Some(status)) if !kept.is_stuck() => format!(
            "PostHog answered {status}: {named} was accepted, and what the outbox held is delivered: {}",
            kept.delivered
        ),
        (Output::Text, _) => format!("{named} is in the outbox"),
        (Output::Json, _) => json!({
            "status": status,
            "uuid": event.uuid.to_string(),
            "event": event.event,
            "distinct_id": event.distinct_id,
            "timestamp": event.timestamp,
            "delivered": kept.delivered,
            "refused": kept.refused,
        })
        .to_string(),
    };
    report::print(&told);
    kept.exit(way)
}
