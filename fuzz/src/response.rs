//! What a chunk service answers: whoever listens at a relay's address may say anything.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use blobs::{Key, ReadBlobs, RelayBlobs, RelayConfig, SiteKey, TransferLimits};
use schemas::{Digest, StoreId};
use tokio::runtime::Runtime;

/// Nothing that is on its way on loopback takes longer.
const SILENCE: Duration = Duration::from_millis(500);
const BYTES_MAX: u64 = 64;

struct Liar {
    runtime: Runtime,
    relay: RelayBlobs,
    says: Arc<Mutex<Vec<u8>>>,
}

/// One for the process: its client is kept, as a site keeps it.
fn liar() -> &'static Mutex<Liar> {
    static LIAR: OnceLock<Mutex<Liar>> = OnceLock::new();
    LIAR.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let says = Arc::<Mutex<Vec<u8>>>::default();
        let relay = relay(listener.local_addr().expect("a bound port"));
        let answer = says.clone();
        std::thread::spawn(move || answer_all(&listener, &answer));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Mutex::new(Liar { runtime, relay, says })
    })
}

fn relay(at: SocketAddr) -> RelayBlobs {
    let limits = TransferLimits { connect: SILENCE, silence: SILENCE, ..TransferLimits::default() };
    RelayBlobs::new(RelayConfig {
        url: format!("http://{at}"),
        relay: "region".try_into().expect("a name"),
        subscriber: "paris".try_into().expect("a name"),
        key: SiteKey::generate().expect("chance"),
        limits,
    })
    .expect("an address")
}

fn answer_all(listener: &TcpListener, says: &Mutex<Vec<u8>>) {
    for socket in listener.incoming() {
        let Ok(mut socket) = socket else { continue };
        let mut head = [0; 4096];
        // A request is small: it comes in one piece on loopback, and its end is of no interest.
        if socket.read(&mut head).is_ok_and(|bytes| bytes > 0) {
            let answer = says.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let _ = socket.write_all(&answer);
        }
    }
}

/// The first byte says what is asked for, the rest is the whole answer, as it comes over the socket.
pub fn response(bytes: &[u8]) {
    let Some((kind, answer)) = bytes.split_first() else { return };
    let liar = liar().lock().unwrap_or_else(PoisonError::into_inner);
    *liar.says.lock().unwrap_or_else(PoisonError::into_inner) = answer.to_vec();
    let key = Key::pack(StoreId(Default::default()), Digest([7; 32]));
    let lengths = |parts: Vec<bytes::Bytes>| parts.iter().map(|part| part.len()).collect::<Vec<_>>();
    liar.runtime.block_on(async {
        match kind % 4 {
            0 => drop(liar.relay.size(&key).await),
            1 => {
                if let Ok(whole) = liar.relay.get(&key, BYTES_MAX).await {
                    assert!(whole.len() as u64 <= BYTES_MAX, "{} bytes", whole.len());
                }
            }
            2 => {
                let range = 2..6;
                if let Ok(parts) = liar.relay.get_ranges(&key, std::slice::from_ref(&range)).await {
                    assert_eq!(lengths(parts), [4]);
                }
            }
            _ => {
                if let Ok(parts) = liar.relay.get_ranges(&key, &[0..4, 10..20]).await {
                    assert_eq!(lengths(parts), [4, 10]);
                }
            }
        }
    });
}
