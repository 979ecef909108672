//! A page that shows a cutover as it happens: states, the clock, throughput, gates, the log.
//!
//! It is read-only, on this machine's own address unless another is asked for, and behind a token in
//! its URL that nobody guesses: whoever has no token gets 404 for everything. Events go out as
//! server-sent events, each with its number, so that a browser that was cut off goes on where it was.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    str::FromStr,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{
        Html, IntoResponse,
        sse::{Event, Sse},
    },
    routing::get,
};
use data_encoding::BASE64;
use drover_report::CutoverGate;
use drover_types::lock;
use futures::stream::{self, Stream};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::{error::Error, progress::Progress};

const STYLE: &str = include_str!("live/live.css");
const SCRIPT: &str = include_str!("live/live.js");
const PAGE: &str = include_str!("live/live.html");

/// The most events that are kept for who comes later.
const KEPT: usize = 10_000;
/// How often throughput is told.
const TICK: Duration = Duration::from_secs(1);

/// Where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl FromStr for Address {
    type Err = String;

    /// A port of this machine's own address, or address and port.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse::<u16>() {
            return Ok(Self((IpAddr::V4(Ipv4Addr::LOCALHOST), port).into()));
        }
        let address = text.parse::<SocketAddr>();
        address
            .map(Self)
            .map_err(|_| "it is a port, or an address and a port: 127.0.0.1:8080".into())
    }
}

/// Tells all who look. Clones tell the same.
#[derive(Clone)]
pub struct Live(Arc<Shared>);

struct Shared {
    events: Mutex<Vec<Arc<str>>>,
    /// Throughput: only the newest counts.
    counts: Mutex<Arc<str>>,
    /// How many events there are, and how often throughput was told.
    changed: watch::Sender<(usize, u64)>,
    page: String,
    /// Dropped with the last of us, which ends the ticker.
    _ticking: Mutex<Option<mpsc::Sender<()>>>,
}

impl Live {
    /// Begins to listen. Returns the URL, which has the token in it.
    pub fn start(address: Address, progress: &Progress) -> Result<(Self, String), Error> {
        let failed = |source: io::Error| Error::Serve { address: address.0.to_string(), source };
        let listener = TcpListener::bind(address.0).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?;
        let token = drover_types::RepositoryId(drover_crypt::random::array()).to_hex();
        let (ticking, stop) = mpsc::channel();
        let live = Self(Arc::new(Shared {
            events: Mutex::default(),
            counts: Mutex::new(Arc::from("")),
            changed: watch::Sender::new((0, 0)),
            page: page(),
            _ticking: Mutex::new(Some(ticking)),
        }));
        let router = Router::new()
            .route(&format!("/{token}/"), get(show))
            .route(&format!("/{token}/events"), get(events))
            .with_state(live.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed)?;
        let serve = move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                // Ends with the process.
                let _ = axum::serve(listener, router).await;
            });
        };
        thread::Builder::new().name("live".to_owned()).spawn(serve).map_err(failed)?;
        let shared = Arc::downgrade(&live.0);
        let progress = progress.clone();
        let tick = move || {
            while stop.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                let Some(shared) = shared.upgrade() else { return };
                let text = progress.counts_json().to_string();
                *lock(&shared.counts) = Arc::from(text);
                shared.changed.send_modify(|(_, ticks)| *ticks += 1);
            }
        };
        thread::Builder::new().name("live counts".to_owned()).spawn(tick).map_err(failed)?;
        Ok((live, format!("http://{at}/{token}/")))
    }

    fn publish(&self, event: Value) {
        let mut events = lock(&self.0.events);
        if events.len() < KEPT {
            events.push(Arc::from(event.to_string()));
            let number = events.len();
            drop(events);
            self.0.changed.send_modify(|(events, _)| *events = number);
        }
    }

    /// A line of the log.
    pub fn note(&self, text: &str) {
        let text = drover_report::Text::from(text);
        let time = drover_report::format::time(drover_types::clock::now());
        self.publish(json!({"event": "note", "time": time, "text": text}));
    }

    /// Where the source stands.
    pub fn state(&self, state: &str, deadline: Option<i64>) {
        self.publish(json!({"event": "state", "state": state, "deadline": deadline}));
    }

    /// Something begins; `seconds` and `outcome` where it ended.
    pub fn step(&self, name: &str, ended: Option<(f64, &str)>) {
        let (seconds, outcome) = ended.unzip();
        self.publish(
            json!({"event": "step", "name": name, "seconds": seconds, "outcome": outcome}),
        );
    }

    /// The gates, and the freeze that is foretold.
    pub fn gates(&self, gates: &[CutoverGate], p50: Option<f64>, p90: Option<f64>) {
        self.publish(json!({"event": "gates", "gates": gates, "p50": p50, "p90": p90}));
    }

    /// How it ended.
    pub fn end(&self, outcome: &str) {
        let outcome = drover_report::Text::from(outcome);
        self.publish(json!({"event": "end", "outcome": outcome}));
    }
}

fn page() -> String {
    let hash = |text: &str| BASE64.encode(&Sha256::digest(text));
    PAGE.replace("{{style_hash}}", &hash(STYLE))
        .replace("{{script_hash}}", &hash(SCRIPT))
        .replace("{{style}}", STYLE)
        .replace("{{script}}", SCRIPT)
}

/// Headers of everything that is answered: nothing is kept, embedded or guessed.
fn guarded() -> [(HeaderName, HeaderValue); 4] {
    [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ]
}

async fn show(State(live): State<Live>) -> impl IntoResponse {
    (guarded(), Html(live.0.page.clone()))
}

async fn events(State(live): State<Live>, headers: HeaderMap) -> impl IntoResponse {
    let seen = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or(0);
    (guarded(), Sse::new(follow(live, seen)))
}

/// The events after `seen`, as they come, and throughput between them.
fn follow(live: Live, seen: usize) -> impl Stream<Item = Result<Event, Infallible>> {
    let changed = live.0.changed.subscribe();
    stream::unfold((live, changed, seen, 0), |(live, mut changed, seen, ticked)| async move {
        loop {
            let next = lock(&live.0.events).get(seen).cloned();
            if let Some(text) = next {
                let event = Event::default().id((seen + 1).to_string()).data(&*text);
                return Some((Ok(event), (live, changed, seen + 1, ticked)));
            }
            let ticks = changed.borrow_and_update().1;
            if ticks != ticked {
                let text = lock(&live.0.counts).clone();
                let event = Event::default().data(&*text);
                return Some((Ok(event), (live, changed, seen, ticks)));
            }
            changed.changed().await.ok()?;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_of_this_machine_alone() {
        assert_eq!("8080".parse(), Ok(Address("127.0.0.1:8080".parse().unwrap())));
        assert_eq!("[::1]:1".parse(), Ok(Address("[::1]:1".parse().unwrap())));
        assert!("somewhere".parse::<Address>().is_err());
    }

    #[test]
    fn the_page_allows_its_own_style_and_script_and_nothing_else() {
        let page = page();
        assert!(!page.contains("{{"), "{page}");
        assert_eq!(page.matches("<script").count(), 1);
        assert!(page.contains("default-src 'none'; connect-src 'self'; style-src 'sha256-"));
    }
}
