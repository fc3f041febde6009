//! The suite on the in-process queue and on RabbitMQ.

mod acts;
mod suite;

macro_rules! on_every_queue {
    ($($check:ident),+ $(,)?) => {
        mod local {
            $(
                #[tokio::test]
                async fn $check() {
                    let queue = queue::local::LocalQueue::new();
                    crate::suite::$check(queue.as_ref()).await;
                }
            )+
        }

        mod rabbitmq {
            use queue::Queue;

            $(
                #[tokio::test]
                async fn $check() {
                    let Some(vhost) = testkit::Vhost::fresh() else { return };
                    let queue = vhost.open();
                    crate::suite::$check(queue.as_ref()).await;
                    queue.close().await;
                }
            )+
        }
    };
}

on_every_queue!(
    messages_come_in_order,
    properties_and_headers_come_through,
    a_reply_finds_the_askers_queue,
    a_dropped_delivery_comes_again_before_the_next,
    no_more_than_the_prefetch_is_in_hand,
    a_dropped_consumer_gives_back_what_it_holds_but_not_what_was_taken,
    a_stopped_consumer_takes_nothing_more,
    consumers_share_the_work,
    an_unroutable_message_is_an_error_and_its_neighbours_arrive,
    a_large_batch_arrives_whole,
    many_publish_at_once,
    a_transient_queue_drops_its_oldest_when_full,
    builder_control_reaches_every_builder_and_waits_for_none,
    a_queue_deleted_underneath_its_consumer_is_there_again,
    close_ends_consumers_and_refuses_publishers,
);
