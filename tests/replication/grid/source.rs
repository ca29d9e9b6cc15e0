//! Source faults: what PostHog, or what stands before it, does wrong.
//!
//! A fault that passes costs a moment and nothing else: the run ends well, and the copy is
//! what PostHog holds. A fault that lasts ends the run with its code and a message, loses
//! nothing, and the next run after it makes the copy whole. A proxy before the sandbox
//! makes them happen; the sandbox's own rows stay the truth.

mod bytes;
mod paging;
mod refusals;
mod size;
mod values;
mod wire;

use std::sync::Arc;

use super::{Ground, Tried, try_all};
use crate::support::{Answer, Asked, Mangle, PostHog, Project, Proxy, Sent};

/// One fault of a group is tried on one ground of so many; the whole grid on all.
const SHARE: usize = 47;

/// A question is asked again so often before it is given up.
const RETRIES: usize = 3;

/// A ground with a proxy on it.
struct Scene {
    ground: Ground,
    posthog: PostHog,
    proxy: Proxy,
    /// Another input of the connection.
    input: Option<&'static str>,
    has_little_memory: bool,
}

impl Scene {
    fn on(ground: &Ground) -> Self {
        // Lists of events have their own small pages, and ties that need them.
        match ground.stream {
            "events" => Self::behind(ground, Proxy::before),
            "insights" => Self::with_pages_of(ground, 100),
            _ => Self::with_pages_of(ground, 25),
        }
    }

    /// With pages of at most so many rows.
    fn with_pages_of(ground: &Ground, rows: usize) -> Self {
        Self::behind(ground, |posthog| Proxy::clamping(posthog, rows))
    }

    fn behind(ground: &Ground, proxy: impl FnOnce(&PostHog) -> Proxy) -> Self {
        let posthog = ground.posthog();
        let proxy = proxy(&posthog);
        Self { ground: *ground, posthog, proxy, input: None, has_little_memory: false }
    }

    /// The same with an input of the connection set.
    fn impatiently(self, input: &'static str) -> Self {
        Self { input: Some(input), ..self }
    }

    /// A new folder that replicates through the proxy, and does not wait long.
    fn project(&self) -> Project {
        let project = self.ground.project(&self.posthog).through(&self.proxy);
        let project = project.with_input("retry_wait: 20ms").with_input("max_wait: 30s");
        let project = self.input.into_iter().fold(project, Project::with_input);
        if self.has_little_memory { project.with_little_memory() } else { project }
    }

    /// Which questions are for the stream's own records.
    fn records(&self) -> fn(&Asked) -> bool {
        match self.ground.paging {
            "keyset" => |asked| asked.body.contains("FROM events "),
            "keyset and join" => |asked| asked.body.contains("FROM persons "),
            _ => |asked| asked.line.starts_with("GET ") && is_of_stream(asked),
        }
    }

    /// How many questions pass before the one in the middle.
    fn before_the_middle(&self) -> usize {
        usize::from(self.ground.paging != "whole")
    }
}

/// Not the first word with the project.
fn is_of_stream(asked: &Asked) -> bool {
    !asked.line.ends_with("/12345/")
}

/// A mangle that looks at the answer alone.
fn mangle(spoil: impl Fn(Answer) -> Sent + Send + Sync + 'static) -> Mangle {
    Arc::new(move |_, answer| spoil(answer))
}

/// An answer in place of PostHog's.
fn instead(answer: Answer) -> Mangle {
    mangle(move |_| answer.clone().sent())
}

/// Each mangle strikes once; runs go on until all have, and each run ends well.
fn pass(ground: &Ground, mangles: &[Mangle]) -> Tried {
    pass_in_rows_of(RETRIES, ground, mangles)
}

/// The same; after so many strikes in a row one question passes.
fn pass_in_rows_of(most: usize, ground: &Ground, mangles: &[Mangle]) -> Tried {
    let scene = Scene::on(ground);
    for (n, mangle) in mangles.iter().enumerate() {
        let spared = usize::from(n > 0 && n % most == 0);
        scene.proxy.strikes_once(is_of_stream, spared, mangle);
    }
    all_run_well(&scene);
    Tried::Passed(mangles.len())
}

/// Runs anew until nothing is left to strike, and once more. A run whose only question is
/// spared strikes nothing; two in a row mean that nothing ever will.
#[track_caller]
fn all_run_well(scene: &Scene) {
    let mut was_struck = true;
    loop {
        let (project, left) = (scene.project(), scene.proxy.left());
        scene.proxy.meets_a_run();
        project.run_with(scene.ground.options()).succeeds();
        scene.ground.holds(&scene.posthog, &project);
        let is_struck = scene.proxy.left() < left;
        assert!(is_struck || was_struck, "{left} faults had no question to strike");
        was_struck = is_struck;
        if scene.proxy.left() == 0 {
            project.run_with(scene.ground.options()).succeeds();
            return scene.ground.holds(&scene.posthog, &project);
        }
    }
}

/// A fault that stays: what it does, the code that a run ends with, and what it says.
#[derive(Clone)]
struct Lasting {
    mangle: Mangle,
    code: i32,
    says: &'static str,
}

impl Lasting {
    fn new(code: i32, says: &'static str, mangle: Mangle) -> Self {
        Self { mangle, code, says }
    }
}

/// Each fault stays for a run, the first from its middle on; afterwards all is made good.
fn last(ground: &Ground, faults: &[Lasting]) -> Tried {
    last_on(&Scene::on(ground), is_of_stream, faults)
}

fn last_on(scene: &Scene, is_meant: fn(&Asked) -> bool, faults: &[Lasting]) -> Tried {
    let project = scene.project();
    let stopped = format!("stream `{}` stopped at ", scene.ground.stream);
    for (n, Lasting { mangle, code, says }) in faults.iter().enumerate() {
        let spared = if n == 0 { scene.before_the_middle() } else { 0 };
        let struck = scene.proxy.struck();
        scene.proxy.strikes_on(is_meant, spared, mangle);
        project.run_with(scene.ground.options()).exits(*code).says(&stopped).says(says);
        assert!(scene.proxy.struck() > struck, "nothing was struck for {says:?}");
        scene.ground.state_is_not_ahead(&project);
        scene.proxy.relents();
    }
    scene.ground.settles(&scene.posthog, &project);
    Tried::Passed(faults.len())
}
