//! What a plan wants people to know: it becomes an Event once the plan's commit has taken effect.

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// A CamelCase word.
    pub(crate) reason: &'static str,
    /// A sentence.
    pub(crate) note: String,
    /// Whether it is bad news.
    pub(crate) warning: bool,
}

impl Notice {
    /// Good news.
    pub(crate) fn normal(reason: &'static str, note: impl Into<String>) -> Self {
        Self { reason, note: note.into(), warning: false }
    }

    /// Bad news.
    pub(crate) fn warning(reason: &'static str, note: impl Into<String>) -> Self {
        Self { reason, note: note.into(), warning: true }
    }
}
