//! A list that comes in one answer.

use super::page::KeepAll;
use super::{FetchError, Reader};

impl Reader<'_> {
    /// Asks once. The answer's own end proves that it is all.
    pub(super) async fn walk_whole(&mut self) -> Result<(), FetchError> {
        let request = self.list_request(Vec::new());
        self.ask(&request, &mut KeepAll).await?;
        self.deliver(None).await
    }
}
