//! Projects that write into a bucket.

use super::{KEY_ID, Oddity, Project, S3, SECRET};

impl Project {
    /// Into JSON lines in a bucket of its own, whose objects are files below the folder `out`.
    pub(crate) fn into_a_bucket(self) -> Self {
        self.into_a_bucket_with(Oddity::None)
    }

    /// The same, of a server that does something else than it should.
    pub(crate) fn into_a_bucket_with(mut self, oddity: Oddity) -> Self {
        let server = S3::serving(self.folder(), oddity);
        self.names_bucket(&server, SECRET);
        self.now_writes_to("LAKE");
        self.bucket = Some(server);
        self
    }

    /// Defines the connection `LAKE`: the bucket of a server, and the key for it.
    pub(crate) fn names_bucket(&self, server: &S3, secret: &str) {
        let connection = format!(
            "{{ type: s3, bucket: out, access_key_id: {KEY_ID}, secret_access_key: {secret}, \
             endpoint: {} }}",
            server.endpoint()
        );
        self.writes(".env.hogline", &format!("LAKE='{connection}'\n"));
    }

    /// The server of its bucket, where it writes to one.
    pub(crate) fn bucket(&self) -> &S3 {
        self.bucket.as_ref().unwrap()
    }
}
