//! A small page, cut at every byte.

use super::{Answer, Scene, all_run_well, mangle};
use crate::grid::{Ground, is_whole};
use crate::support::Framing;

/// Places that a plain test run leaves out between two cuts.
const STEP: usize = 73;

#[test]
fn a_page_cut_at_any_byte_is_never_taken_for_whole() {
    let grounds = Ground::all();
    let of = |paging| {
        let is_it = |ground: &&Ground| ground.paging == paging && ground.why_empty().is_none();
        grounds.iter().find(is_it).unwrap()
    };
    std::thread::scope(|scope| {
        for paging in ["keyset", "offset"] {
            let ground = of(paging);
            scope.spawn(move || cut_everywhere(ground));
        }
    });
}

/// Pages of three rows, so that there are many: each of them is cut three times, and comes
/// whole the fourth time.
fn cut_everywhere(ground: &Ground) {
    let scene = Scene::with_pages_of(ground, 3);
    let step = if is_whole() { 1 } else { STEP };
    for framing in Framing::ALL {
        for (n, at) in (0..LONGEST).step_by(step).enumerate() {
            // Behind the end of a page there is nothing to cut: the last byte goes then.
            let cut = mangle(move |answer: Answer| {
                let whole = answer.clone().cut(framing, 0).1;
                answer.cut(framing, at.min(whole - 1)).0
            });
            scene.proxy.strikes_once(scene.records(), usize::from(n % 3 == 0), &cut);
        }
    }
    all_run_well(&scene);
}

/// As long as a page of three rows is, about.
const LONGEST: usize = 2000;
