mod acts;
use acts::*;
use queue::Queue;
use schemas::QueueName;
use std::time::Instant;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speed() {
    let vhost = testkit::Vhost::fresh().unwrap();
    let queue = vhost.open();
    for name in [QueueName::Reports, scratch()] {
        queue.declare(&name).await.unwrap();
        let mut t: Vec<_> = vec![];
        for _ in 0..500 { let s = Instant::now(); post(queue.as_ref(), &name, ["x".repeat(500)]).await; t.push(s.elapsed()); }
        t.sort();
        println!("{name} single p50 {:?} p99 {:?}", t[250], t[495]);
        let s = Instant::now();
        post(queue.as_ref(), &name, (0..20_000).map(|_| "x".repeat(500))).await;
        println!("{name} batch {:.0}/s", 20_000.0 / s.elapsed().as_secs_f64());
        let s = Instant::now();
        let all = (0..8).map(|_| post(queue.as_ref(), &name, (0..5_000).map(|_| "x".repeat(500))));
        futures::future::join_all(all).await;
        println!("{name} 8 batches {:.0}/s", 40_000.0 / s.elapsed().as_secs_f64());
        let mut c = queue.consume(&name, 256).await.unwrap();
        let s = Instant::now();
        for _ in 0..60_500 { c.next().await.unwrap().ack().await.unwrap(); }
        println!("{name} consume {:.0}/s", 60_500.0 / s.elapsed().as_secs_f64());
    }
    queue.close().await;
}
