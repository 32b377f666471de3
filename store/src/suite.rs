//! What every backend over a store must do, as plain async functions; each begins with the promise it tests.
//!
//! They are for anyone's journal or backend: give each a [`Client`] of its own empty backend that serves
//! [`registry`]. The macro [`suite!`](crate::suite!) makes a test of every one:
//!
//! ```ignore
//! orion_store::suite!(async || orion_store::memory(orion_store::suite::registry()).await.expect("it opens").client());
//! ```

pub mod checks;
pub mod commits;
pub mod ids;
pub mod kinds;
pub mod leases;
pub mod lifecycle;
pub mod model;
pub mod reads;
pub mod rules;
pub mod watches;

use std::time::Duration;

use futures::StreamExt;
use orion_model::{
    Change, ChangeKind, Check, Client, ClientError, Commit, Committed, Object, Op, Part, Precondition, ResourceVersion,
    Selection, Watch, Watching, Whole, Write, backend::Event,
};
use serde_json::Value;

pub use kinds::{Widget, Zone, registry, widget, zone};

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// Makes a `#[tokio::test]` of each function of the suite. The argument is an async closure that gives the client of
/// an empty backend, or a pair of it and whatever must live as long.
#[macro_export]
macro_rules! suite {
    ($make:expr) => {
        $crate::suite!(@tests $make;
            checks: s10_unchanged_holds_only_at_that_version, s10_absent_holds_only_while_nothing_is_there,
                s10_a_failed_check_undoes_the_whole_commit, s10_of_two_commits_with_opposite_checks_one_wins;
            commits: s2_a_refused_write_undoes_the_whole_commit, s2_lists_never_see_half_a_commit,
                s3_each_write_has_its_own_version_and_a_commit_a_contiguous_range,
                s3_versions_rise_in_commit_order_under_concurrency,
                s4_of_concurrent_writes_at_one_version_exactly_one_wins,
                s4_a_stale_version_conflicts_also_across_delete_and_recreate,
                several_writes_of_one_object_make_one_version_and_one_event,
                preconditions_are_judged_before_the_commits_own_writes, what_is_not_there_is_not_found,
                what_is_there_already_exists, a_dry_run_answers_and_changes_nothing,
                an_object_made_and_deleted_in_one_commit_was_never_there, too_large_is_refused_by_name;
            ids: s6_a_repeated_commit_gives_its_first_outcome, s6_repeats_at_once_take_effect_once,
                s6_a_repeat_after_deletion_tells_what_was_made, s6_a_refused_commit_may_be_made_later,
                an_id_from_the_future_is_refused;
            leases: f1_the_epoch_is_the_version_of_the_acquiring_write, f1_an_older_epoch_is_refused_with_its_commit,
                f1_no_writer_sets_the_epoch;
            lifecycle: a_finalizer_holds_a_deleted_object, removing_the_last_finalizer_while_deleting_is_one_commit,
                k12_a_dying_object_gets_no_new_finalizer, deleting_twice_is_no_change,
                delete_and_recreate_gives_another_uid, owner_references_are_kept;
            model: random_commits_agree_with_a_naive_model;
            reads: lists_are_ordered_and_cut_by_a_limit, lists_select_by_namespace_labels_and_fields,
                a_list_of_several_selections_names_each_object_once, reads_wait_for_the_version_they_ask_for,
                a_field_that_is_not_selectable_is_refused, an_unknown_kind_is_refused_everywhere;
            rules: k7_a_write_that_changes_nothing_makes_no_version_and_no_event,
                k7_a_stale_version_conflicts_even_if_nothing_would_change,
                generation_and_spec_version_rise_with_the_spec_alone, a_status_is_written_apart,
                a_generated_name_is_made, a_new_object_goes_to_the_default_namespace,
                cluster_kinds_have_no_namespace, names_and_uids_do_not_change, all_that_is_wrong_is_told_at_once,
                a_kinds_check_sees_old_and_new, defaults_are_filled_and_unknown_fields_kept,
                derived_fields_follow_each_write, a_body_of_another_kind_or_name_is_refused;
            watches: s2_a_watch_delivers_a_commit_as_one_batch, s5_each_later_event_comes_once_and_in_order,
                s5_a_watch_may_begin_inside_a_commit, s5_a_watch_from_beyond_the_head_is_expired,
                s5_a_watch_from_before_the_history_is_expired, s5_a_watch_sees_no_event_of_others,
                leaving_a_selection_is_a_deletion_and_entering_an_addition,
                a_watch_of_several_selections_sees_each_change_once, an_initial_watch_begins_with_what_exists,
                a_quiet_watch_gets_bookmarks;
        );
    };
    (@tests $make:expr; $($module:ident: $($test:ident),+;)+) => {
        $($(
            #[tokio::test]
            async fn $test() {
                let made = ($make)().await;
                let client = $crate::suite::ClientOf::client_of(&made);
                $crate::suite::$module::$test(client).await;
            }
        )+)+
    };
}

/// What a constructor may give: a client, or a client and what must live as long.
pub trait ClientOf {
    /// The client.
    fn client_of(&self) -> Client;
}

impl ClientOf for Client {
    fn client_of(&self) -> Client {
        self.clone()
    }
}

impl<Kept> ClientOf for (Client, Kept) {
    fn client_of(&self) -> Client {
        self.0.clone()
    }
}

/// A batch of writes and checks, as tests write one.
#[derive(Default)]
pub(crate) struct Batch(Commit);

impl Batch {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn create<K: Whole>(self, object: &K) -> Self {
        let body = object.encode().expect("it encodes");
        self.write(object, Op::Create(body), Precondition::NONE)
    }

    pub(crate) fn merge<K: Object>(self, object: &K, patch: Value) -> Self {
        self.write(object, Op::Merge(patch, Part::Main), Precondition::NONE)
    }

    pub(crate) fn merge_status<K: Object>(self, object: &K, patch: Value) -> Self {
        self.write(object, Op::Merge(patch, Part::Status), Precondition::NONE)
    }

    pub(crate) fn delete<K: Object>(self, object: &K) -> Self {
        self.write(object, Op::Delete, Precondition::NONE)
    }

    pub(crate) fn write<K: Object>(mut self, object: &K, op: Op, precondition: Precondition) -> Self {
        self.0.writes.push(Write { key: object.object_key(), op, precondition });
        self
    }

    pub(crate) fn check(mut self, check: Check) -> Self {
        self.0.checks.push(check);
        self
    }

    pub(crate) fn commit(self) -> Commit {
        self.0
    }

    pub(crate) async fn send(self, client: &Client) -> Result<Committed, ClientError> {
        client.commit(self.0).await
    }
}

/// A watch, read with a deadline.
pub(crate) struct Seen(Watching);

impl Seen {
    pub(crate) async fn after(client: &Client, selections: Vec<Selection>, version: ResourceVersion) -> Self {
        let watch = Watch { bookmarks: None, ..Watch::after(selections, version) };
        Self(client.watch(watch).await.expect("the watch begins"))
    }

    pub(crate) fn of(watching: Watching) -> Self {
        Self(watching)
    }

    pub(crate) async fn item(&mut self) -> Option<Result<Event, ClientError>> {
        tokio::time::timeout(DEADLINE, self.0.next()).await.expect("the watch goes on")
    }

    /// The next commit: its version and its changes.
    pub(crate) async fn commit(&mut self) -> (ResourceVersion, Vec<Change>) {
        match self.item().await {
            Some(Ok(Event::Commit { version, changes })) => (version, changes.to_vec()),
            other => panic!("a commit was expected, and this came: {other:?}"),
        }
    }

    /// The next commit's changes, in short.
    pub(crate) async fn changes(&mut self) -> Vec<(ChangeKind, String)> {
        let (_, changes) = self.commit().await;
        changes.iter().map(|change| (change.kind, change.object.metadata().name.clone())).collect()
    }

    /// That nothing stands before a marker which is created now.
    pub(crate) async fn nothing_before_a_marker(&mut self, client: &Client) {
        client.create(&widget("zz-marker")).await.expect("the marker is made");
        assert_eq!(self.changes().await, [(ChangeKind::Added, "zz-marker".to_owned())]);
    }
}

/// The version the store stands at.
pub(crate) async fn version(client: &Client) -> ResourceVersion {
    let list = orion_model::List::all(Selection::all(<Widget as orion_model::Resource>::KIND));
    client.list_raw(list).await.expect("it lists").version
}
