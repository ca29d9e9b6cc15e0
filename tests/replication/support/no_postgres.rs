//! Without the feature no project writes to PostgreSQL: what may be asked of its database, never is.

use hogline::sandbox::Sandbox;

use super::Project;

/// A database that there is none of.
pub(crate) enum Database {}

impl Database {
    pub(crate) fn sql(&self, _: &str) -> Vec<String> {
        match *self {}
    }

    pub(crate) fn try_sql(&self, _: &str) -> Result<Vec<String>, String> {
        match *self {}
    }

    pub(crate) fn holds_exactly(&self, _: &Sandbox, _: &str) {
        match *self {}
    }

    pub(crate) fn count(&self, _: &str) -> i64 {
        match *self {}
    }
}

/// There is no server either.
pub(crate) fn server() -> Option<Database> {
    None
}

impl Project {
    pub(crate) fn into_a_database(self) -> Self {
        self
    }
}
