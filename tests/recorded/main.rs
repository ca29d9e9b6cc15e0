//! The program against answers that a real PostHog of December 2023 gave.
//!
//! [`answers`] reads the recordings in `tests/fixtures/posthog-2023-12`. [`posthog`]
//! plays them: a question is answered by what was recorded for it, and rows are only
//! ever sliced, by `limit`, `offset` and bounds, inside the recorded envelope.
//! [`project`] runs the real binary against it and looks into the tables it leaves.
//! [`table`] walks over all 73 answers, so that none is forgotten; the other modules
//! tell what one kind of answer must become.

mod answers;
mod events;
mod lists;
mod persons;
mod posthog;
mod project;
mod refusals;
mod server;
mod sql;
mod table;
