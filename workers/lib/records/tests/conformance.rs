//! One suite for both databases: every rule about jobs, lanes, requests and leases, on SQLite and on PostgreSQL.

mod suite;

use suite::Scene;

macro_rules! both {
    ($($module:ident :: $test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let scene = super::Scene::sqlite().await;
                super::suite::$module::$test(&scene).await;
                scene.end().await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let Some(scene) = super::Scene::postgres().await else { return };
                super::suite::$module::$test(&scene).await;
                scene.end().await;
            })+
        }
    };
}

both!(
    definitions::apply_creates_changes_and_leaves_alone,
    definitions::an_apply_against_an_older_version_changes_nothing,
    definitions::a_renamed_distribution_keeps_its_store_and_history,
    definitions::deleting_an_object_cancels_its_open_jobs,
    definitions::targets_that_never_tried_are_rows,
    requests::the_same_request_twice_is_one_and_another_body_is_a_conflict,
    requests::a_request_without_jobs_succeeds_at_once,
    requests::a_request_fails_if_any_job_failed,
    requests::a_job_that_ends_just_as_its_request_is_planned_ends_the_request,
    requests::two_planners_never_claim_one_request,
    lanes::a_lane_gives_out_its_depth_and_the_rest_wait,
    lanes::priority_goes_before_age,
    lanes::a_job_that_backs_off_does_not_hold_its_lane,
    lanes::revisions_of_one_distribution_keep_their_order,
    lanes::planning_twice_makes_no_second_job,
    lanes::a_second_request_attaches_to_the_open_job,
    lanes::a_build_that_reads_everything_attaches_to_none_that_does_not,
    lanes::a_newer_revision_supersedes_what_has_not_begun,
    lanes::sends_that_give_way_leave_no_extract_in_the_others_way,
    lanes::a_paused_lane_gives_nothing_out_until_resumed,
    lanes::two_insertions_at_once_never_overfill_a_lane,
    limits::a_distributor_has_no_more_builds_out_than_it_may,
    limits::two_promoters_at_once_never_exceed_a_limit,
    limits::sends_are_counted_over_all_lanes_but_those_of_absent_sites,
    limits::a_full_distributor_holds_up_no_other_in_a_lane,
    limits::a_raised_limit_is_found_by_the_sweeper,
    limits::a_send_says_how_fast_it_may_leave_the_origin,
    refresh::a_change_waits_for_its_distributors_refresh,
    refresh::what_a_refresh_puts_in_effect_is_built_again,
    refresh::an_apply_may_put_everything_in_effect_itself,
    refresh::a_change_that_is_taken_back_waits_no_more,
    refresh::refreshing_at_once_puts_earlier_changes_in_effect_too,
    refresh::a_sites_settings_wait_for_those_that_serve_it,
    results::success_records_what_the_site_holds,
    results::a_rollbacks_send_takes_nothing_newer_from_what_is_stored,
    results::reports_in_any_order_end_in_the_same_rows,
    results::a_late_report_of_an_ended_job_changes_nothing,
    results::failure_of_an_older_attempt_is_ignored,
    results::a_failed_send_takes_its_extract_with_it,
    results::a_sync_beside_a_send_of_the_same_revision_ends_with_it,
    results::a_child_proceeds_when_its_parents_send_fails,
    results::a_second_start_in_a_lane_waits_on_record,
    results::a_new_revision_asks_for_its_sends_in_the_same_transaction,
    results::the_last_two_jobs_of_a_request_ending_at_once_complete_it,
    publishing::a_publisher_that_wakes_late_changes_nothing,
    publishing::what_was_never_confirmed_is_claimed_again_under_a_new_number,
    publishing::a_new_epoch_publishes_what_waited_again,
    publishing::an_extract_travels_in_its_sends_message,
    publishing::a_build_knows_the_revisions_that_get_a_patch_to_its_own,
    sweeping::a_lost_wake_up_is_found_by_query,
    sweeping::a_builder_past_its_lease_loses_the_job,
    sweeping::an_outage_of_the_recorder_longer_than_every_lease_kills_no_healthy_work,
    sweeping::a_job_that_its_site_does_not_list_is_published_again,
    sweeping::a_job_that_waits_behind_a_download_in_progress_is_left_alone,
    sweeping::a_site_that_lost_its_settings_is_told_them_again,
    sweeping::a_silent_parent_is_passed_by,
    sweeping::a_stale_leader_changes_nothing,
    sweeping::a_lease_is_taken_over_only_after_its_end,
    cancelling::what_nobody_has_is_cancelled_at_once,
    cancelling::what_a_site_has_is_asked_and_success_wins,
    cancelling::a_retry_is_a_new_job,
    retention::revisions_beyond_the_maximum_retire_and_what_only_they_named_is_condemned,
    retention::the_origin_must_have_the_headers_of_what_is_kept,
    retention::a_revision_past_its_age_retires_but_the_newest_never_does,
    retention::what_a_job_or_a_site_needs_is_not_retired,
    retention::of_two_reports_of_what_a_site_holds_the_later_look_counts,
    retention::nobody_plans_work_for_a_retired_revision,
    retention::what_is_due_is_ordered_once_and_what_is_not_due_waits,
    retention::a_revision_takes_back_what_is_merely_condemned,
    retention::a_revision_that_names_what_may_have_been_deleted_is_refused_and_built_again,
    retention::a_deletion_never_names_what_a_live_revision_names,
    retention::orphans_wait_for_their_grace_too,
    retention::what_a_collector_left_is_ordered_again,
    retention::a_collection_that_backs_off_holds_up_no_build,
    retention::a_deleted_distribution_makes_room_for_another_of_its_name,
    retention::a_collection_is_asked_for_when_something_is_due,
    events::a_posted_event_makes_what_waits_for_it_due_once,
    events::events_in_one_millisecond_are_occurrences_of_their_own,
    events::what_waits_for_something_else_by_now_is_due_no_more,
    events::a_sites_start_and_stop_are_events_of_its_extractions,
    events::the_control_sides_start_and_stop_are_events_of_what_belongs_to_it,
    events::an_extraction_is_due_when_anothers_has_succeeded_and_both_hold_it,
    events::an_extraction_after_another_waits_for_its_delay_and_leaves_a_rollback_alone,
    events::occurrences_run_beside_each_other_up_to_a_bound,
    events::what_its_windows_end_stopped_goes_on_in_the_next_and_no_try_is_counted,
    events::what_waits_for_its_window_begins_now_if_a_person_asks_for_it,
    events::a_stopped_job_goes_on_at_once_when_its_schedule_stops_nothing_any_more,
    schedules::an_occurrence_fires_once,
    schedules::missed_occurrences_fire_once_under_the_latest_instant,
    schedules::every_kind_that_time_makes_due_is_fired_and_planned_again,
    schedules::what_is_not_timed_is_never_due,
    schedules::without_catch_up_the_missed_are_told_and_nothing_starts,
    schedules::all_the_missed_start_one_after_the_other,
    schedules::one_occurrence_waits_behind_the_work_and_the_next_joins_it,
    schedules::an_occurrence_is_skipped_while_the_work_runs_if_so_declared,
    schedules::a_dead_site_delays_nobody,
    schedules::a_stale_leader_fires_nothing,
    schedules::once_in_the_past_is_refused_and_once_that_ran_is_kept,
    schedules::a_rule_that_cannot_be_read_holds_up_no_other,
    schedules::an_unchanged_schedule_keeps_its_place_and_a_changed_one_counts_from_now,
    schedules::a_renamed_objects_schedule_goes_on_under_its_new_name,
    schedules::other_time_zone_data_compute_next_due_again,
    schedules::a_tick_reads_what_is_due_by_its_index,
    schedules::what_had_not_begun_when_its_window_closed_begins_no_more,
    schedules::leaders_in_turn_and_at_once_fire_each_occurrence_once,
    schedules::the_example_of_schedules_is_applied,
    fencing::a_leader_whose_term_is_over_changes_no_row,
    fencing::what_an_earlier_leader_sends_late_is_older,
    growth::what_a_leader_asks_again_and_again_does_not_read_what_is_over,
    piling::a_dead_site_has_one_request_at_work_and_one_that_waits,
    piling::what_is_new_takes_the_place_of_what_waits,
    piling::sends_that_wait_for_their_revision_do_not_pile_up,
    piling::where_no_other_site_is_asked_further_occurrences_join,
    query::a_query_cannot_write,
    query::every_view_can_be_read,
    query::migrations_run_down_and_up_again,
    query::several_that_migrate_at_once_follow_each_other,
    query::the_documented_queries_run,
    query::every_column_is_documented,
);
