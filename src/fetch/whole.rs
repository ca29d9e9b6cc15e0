//! A list that comes in one answer.

use super::page::KeepAll;
use super::{FetchError, Reader};

impl Reader<'_> {
    /// Asks once. The answer's own end proves that it is all, unless it says that there is more.
    pub(super) async fn walk_whole(&mut self) -> Result<(), FetchError> {
        let request = self.list_request(Vec::new());
        let answer = self.ask(&request, &mut KeepAll).await?;
        let has_more = answer.envelope.number("count").is_some_and(|count| count > answer.rows);
        if has_more || answer.envelope.raw("next").is_some() {
            let detail = "the list says that there is more of it, but is known to come whole";
            return Err(self.contract(&request, detail));
        }
        self.deliver(None).await
    }
}
