//! Nothing goes wrong: the ground itself holds.

use super::{Fault, Tried, try_all};

#[test]
fn without_a_fault_every_ground_holds() {
    let nothing = Fault::new("nothing", |ground| {
        let posthog = ground.posthog();
        let project = ground.project(&posthog);
        ground.settles(&posthog, &project);
        Tried::Passed(1)
    });
    try_all("calm", 7, &[nothing]);
}
