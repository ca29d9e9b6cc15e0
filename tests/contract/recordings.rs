//! Session recordings whose cursor leads nowhere.

use crate::project::Project;
use crate::server::Server;

#[test]
fn a_cursor_that_leads_in_circles_is_no_endless_walk() {
    // Only a cursor that was the last one's was known for a circle; this one has two stops.
    let server = Server::answering(|asked| {
        let stop = asked.nth % 2;
        format!(
            r#"{{"has_next":true,"next_cursor":"{stop}","results":[{{"id":"{stop}","start_time":"2026-03-01T0{stop}:00:00Z"}}]}}"#
        )
    });
    let project = Project::replicating("session_recordings", "incremental", &server.origin());

    project.run().breaks_off("rows are not in the order of time");

    assert!(server.times_asked() <= 3, "asked {} times", server.times_asked());
}
