use super::support::*;
use std::time::Instant;
#[test]
#[ignore]
fn perf() {
    let site = Site::new();
    let tree = |changed: u64| {
        let mut t = Tree::new();
        for d in 0..2500u64 { t = t.directory(&format!("d{:02}", d / 50)); t = t.directory(&format!("d{:02}/e{d}", d / 50)); }
        for n in 0..50_000u64 {
            let seed = if n % 50 == 0 { n + changed * 1_000_000 } else { n };
            t = t.file(&format!("d{:02}/e{}/file-number-{n}.h", n / 20 / 50, n / 20), content(seed, 500 + (n * 7919 % 30_000) as usize));
        }
        t
    };
    let revs: Vec<_> = (1..=4).map(|n| tree(n).revision(n)).collect();
    println!("frames {} bytes {}", revs[0].content.len(), revs[0].index.totals().bytes);
    for r in &revs {
        let steps = std::sync::Mutex::new(Vec::new());
        let start = Instant::now();
        let done = site.run(MIRROR, r, &|s| { if s != package::tree::Step::File { steps.lock().unwrap().push((s.name(), start.elapsed().as_millis())); } Ok(()) }).unwrap();
        println!("{:?} total {} ms: {done:?} {:?}", r.at.number, start.elapsed().as_millis(), steps.into_inner().unwrap());
    }
    let start = Instant::now();
    site.mirror(&revs[3]).unwrap();
    println!("already {} ms", start.elapsed().as_millis());
    let start = Instant::now();
    assert!(site.verified(&revs[3]));
    println!("verify {} ms", start.elapsed().as_millis());
    let mut site = site; site.pin = true;
    let start = Instant::now();
    site.mirror(&revs[2]).unwrap();
    println!("rollback {} ms", start.elapsed().as_millis());
    let start = Instant::now();
    let held = package::tree::Held::open(&site.target(), &site.state_dir(), &revs[3].index).unwrap();
    let n = revs[3].index.chunks.iter().filter(|c| held.contains(&c.digest)).count();
    println!("held {n} {} ms", start.elapsed().as_millis());
    let start = Instant::now();
    package::tree::check(&revs[0].index, &site.policy).unwrap();
    println!("check {} ms", start.elapsed().as_millis());
    let start = Instant::now();
    let bytes = revs[0].index.encode();
    println!("encode {} ms {}", start.elapsed().as_millis(), bytes.len());
    let start = Instant::now();
    package::Index::decode(&bytes).unwrap();
    println!("decode {} ms", start.elapsed().as_millis());
}
