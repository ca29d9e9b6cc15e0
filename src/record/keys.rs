//! Keys of records: how they are spelt, and sets of them larger than memory.
//!
//! A [`KeySet`] is a private database of SQLite's that spills to a temporary file and
//! is gone with its owner. It follows its owner's pages: what the open page added is
//! taken back when the page is.

use rusqlite::{Connection, Result};

/// Spells a key: the texts of its columns as a JSON array. Targets keep no null in a key, so
/// here it is an empty text.
pub fn spell<'a>(parts: impl Iterator<Item = Option<&'a str>>) -> String {
    let parts: Vec<&str> = parts.map(Option::unwrap_or_default).collect();
    serde_json::to_string(&parts).unwrap_or_default()
}

/// The parts of a key, also of one that holds nulls.
pub fn parts(key: &str) -> Vec<String> {
    let parts: Vec<Option<String>> = serde_json::from_str(key).unwrap_or_default();
    parts.into_iter().map(Option::unwrap_or_default).collect()
}

/// Some keys.
#[derive(Debug)]
pub struct KeySet(Connection);

impl KeySet {
    /// Makes an empty set.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn new() -> Result<Self> {
        let db = Connection::open("")?;
        db.execute_batch(
            "PRAGMA synchronous = OFF;
             CREATE TABLE keys (key TEXT PRIMARY KEY) WITHOUT ROWID; BEGIN",
        )?;
        Ok(Self(db))
    }

    /// Adds a key; true where it is new.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn insert(&self, key: &str) -> Result<bool> {
        let sql = "INSERT INTO keys VALUES (?) ON CONFLICT DO NOTHING";
        Ok(self.0.prepare_cached(sql)?.execute([key])? > 0)
    }

    /// Whether it holds a key.
    ///
    /// # Errors
    /// When the set cannot be read.
    pub fn contains(&self, key: &str) -> Result<bool> {
        self.0.prepare_cached("SELECT 1 FROM keys WHERE key = ?")?.exists([key])
    }

    /// How many it holds.
    ///
    /// # Errors
    /// When the set cannot be read.
    pub fn len(&self) -> Result<u64> {
        let count = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        Ok(self.0.query_row("SELECT count(*) FROM keys", [], count)?.unsigned_abs())
    }

    /// Whether it holds none.
    ///
    /// # Errors
    /// When the set cannot be read.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Some keys that come after `key`, in order.
    ///
    /// # Errors
    /// When the set cannot be read.
    pub fn after(&self, key: &str, most: usize) -> Result<Vec<String>> {
        let sql = "SELECT key FROM keys WHERE key > ? ORDER BY key LIMIT ?";
        let mut statement = self.0.prepare_cached(sql)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = statement.query_map(rusqlite::params![key, most], |row| row.get(0))?;
        rows.collect()
    }

    /// What was added stays, whatever becomes of the next page.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn keep_page(&self) -> Result<()> {
        self.0.execute_batch("COMMIT; BEGIN")
    }

    /// Takes back what was added since the last page that was kept.
    ///
    /// # Errors
    /// When the set cannot be brought back.
    pub fn forget_page(&self) -> Result<()> {
        self.0.execute_batch("ROLLBACK; BEGIN")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_follows_its_owners_pages() {
        let set = KeySet::new().unwrap();
        assert!(set.is_empty().unwrap());
        assert!(set.insert("a").unwrap());
        set.keep_page().unwrap();
        assert!(!set.insert("a").unwrap());
        assert!(set.insert("b").unwrap());
        set.forget_page().unwrap();

        assert!(set.insert("c").unwrap());
        assert!(!set.contains("b").unwrap());
        assert_eq!(set.after("", 9).unwrap(), ["a", "c"]);
        assert_eq!(set.after("a", 9).unwrap(), ["c"]);
    }

    #[test]
    fn a_null_in_a_key_is_an_empty_text() {
        assert_eq!(spell([Some("1"), None].into_iter()), r#"["1",""]"#);
        assert_eq!(parts(r#"["1",null]"#), ["1", ""]);
    }
}
