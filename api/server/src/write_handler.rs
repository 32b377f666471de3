//! What becomes of a write: the commit itself, or what a kind does instead.

use futures::future::BoxFuture;
use orion_model::{Client, ClientError, Commit, CommitId, Write, Written};

use crate::Caller;

/// What a server does about fields that a kind's schema does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Nothing.
    Ignore,
    /// Says so in a `Warning` header.
    #[default]
    Warn,
    /// Refuses the write.
    Strict,
}

/// What a writer says beside the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Judge and answer, but change nothing.
    pub dry_run: bool,
    /// Who manages the fields this write sets.
    pub field_manager: Option<String>,
    /// About unknown fields; already acted on for the object's own schema.
    pub field_validation: FieldValidation,
}

/// A write that is to be made.
#[derive(Clone, Debug)]
pub struct WriteRequest {
    /// Who asks.
    pub caller: Caller,
    /// The identity of the commit it becomes, so that an unknown outcome can be told and settled.
    pub id: CommitId,
    /// The write.
    pub write: Write,
    /// What the writer says beside it.
    pub options: WriteOptions,
}

impl WriteRequest {
    /// The commit that is this one write.
    pub fn into_commit(self) -> Commit {
        Commit { id: Some(self.id), checks: Vec::new(), writes: vec![self.write], dry_run: self.options.dry_run }
    }
}

/// What a write came to.
#[derive(Clone, Debug)]
pub struct WriteAnswer {
    /// The object after it.
    pub written: Written,
    /// What the writer should know; sent as `Warning` headers.
    pub warnings: Vec<String>,
}

/// Makes the writes of a kind. Without one they are plain commits; Orion's Configs go through Apply instead.
pub trait WriteHandler: Send + Sync + 'static {
    /// Makes a write.
    ///
    /// The future may be dropped when the writer has waited too long; the writer is then told that the outcome of
    /// `request.id` is unknown.
    fn write(&self, request: WriteRequest) -> BoxFuture<'static, Result<WriteAnswer, ClientError>>;
}

/// Makes each write a commit of its own.
pub(crate) struct Commits(pub(crate) Client);

impl WriteHandler for Commits {
    fn write(&self, request: WriteRequest) -> BoxFuture<'static, Result<WriteAnswer, ClientError>> {
        let client = self.0.clone();
        Box::pin(async move {
            let committed = client.commit(request.into_commit()).await?;
            let written = committed.into_single().ok_or_else(|| {
                ClientError::Unavailable("the backend answered a write without its result".to_owned())
            })?;
            Ok(WriteAnswer { written, warnings: Vec::new() })
        })
    }
}
