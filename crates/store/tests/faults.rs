//! What a store does wrong, and what becomes of it: a small server in this process speaks as much
//! of S3's protocol as is needed and misbehaves by script. Every scripted fault must be used up.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    num::NonZeroU64,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use drover_store::{CreateOnly, PutOutcome, Store, StoreError, StoreOptions};
use futures::{TryStreamExt, future::join_all};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// What the server does with one request.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// As it should.
    None,
    /// This status, without doing anything; with this `Retry-After`.
    Status(u16, &'static str),
    /// This status and code, without doing anything, from a clock that is this many seconds ahead.
    Refuse(u16, &'static str, i64),
    /// Does what was asked and closes the connection without an answer.
    LoseAnswer,
    /// Does what was asked and never answers.
    HangAfter,
    /// Closes the connection before it reads the body.
    Reset,
    /// Sends this many bytes of the body it announced and closes.
    Truncate(usize),
    /// Sends this many bytes of the body it announced and nothing more.
    StallBody(usize),
    /// Answers a range with this many bytes fewer than asked for, and says so.
    ShortRange(u64),
    /// Answers a range with everything.
    IgnoreRange,
    /// Overwrites in spite of the condition.
    IgnoreCondition,
    /// Announces this length.
    ClaimLength(u64),
    /// Answers in a way that is not HTTP.
    Garbage,
    /// A redirect to elsewhere.
    Redirect,
}

/// Long for this machine's own network, also when it is busy; short enough to wait for.
const STALL: Duration = Duration::from_secs(1);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    script: VecDeque<Fault>,
    /// What happens when the script is over.
    then: Option<Fault>,
    requests: Vec<String>,
}

struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Server {
    async fn start(script: &[Fault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            script: script.iter().copied().collect(),
            ..State::default()
        }));
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self { address, state }
    }

    /// A store on this server, quick to give up.
    async fn store(&self) -> Store {
        self.store_with(|_| {}).await
    }

    async fn store_with(&self, change: impl FnOnce(&mut StoreOptions)) -> Store {
        let endpoint = format!("http://{}", self.address);
        let mut options = StoreOptions::from_env(
            [
                ("AWS_ENDPOINT_URL", endpoint.as_str()),
                ("AWS_ACCESS_KEY_ID", "key-canary"),
                ("AWS_SECRET_ACCESS_KEY", "secret-canary"),
            ]
            .map(|(n, v)| (n.to_owned(), v.to_owned())),
        );
        options.stall = STALL;
        options.slowest = 100 << 20;
        options.retry = Duration::from_secs(20);
        change(&mut options);
        Store::connect(&"s3://b/p".parse().unwrap(), &options).await.unwrap()
    }

    fn put(&self, name: &str, body: &[u8]) {
        self.state.lock().unwrap().objects.insert(format!("/b/p/{name}"), body.to_vec());
    }

    fn stored(&self, name: &str) -> Option<Vec<u8>> {
        self.state.lock().unwrap().objects.get(&format!("/b/p/{name}")).cloned()
    }

    fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let left = &self.state.lock().unwrap().script;
        assert!(left.is_empty() || std::thread::panicking(), "faults that did not fire: {left:?}");
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    while exchange(&mut stream, &state).await.is_some() {}
}

/// One request and its answer; `None` where the connection is to be closed.
async fn exchange(stream: &mut BufReader<TcpStream>, state: &Mutex<State>) -> Option<()> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|&n| n > 0)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        match line.trim().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let fault = {
        let mut state = state.lock().unwrap();
        state.requests.push(method.clone());
        state.script.pop_front().or(state.then).unwrap_or(Fault::None)
    };
    if let Fault::Reset = fault {
        return None;
    }
    let len = headers.get("content-length").map_or(0, |v| v.parse().unwrap());
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await.ok()?;

    match fault {
        Fault::Status(status, after) => {
            let extra =
                if after.is_empty() { String::new() } else { format!("Retry-After: {after}\r\n") };
            let text =
                "<Error><Code>Scripted</Code><Message>so it is \u{202e}written</Message></Error>";
            return answer(stream, status, &extra, text.as_bytes(), &method).await;
        }
        Fault::Refuse(status, code, ahead) => {
            let now = drover_types::clock::now().seconds + ahead;
            let date = jiff::Timestamp::from_second(now).unwrap();
            let date = jiff::fmt::rfc2822::DateTimePrinter::new()
                .timestamp_to_rfc9110_string(&date)
                .unwrap();
            let text = format!("<Error><Code>{code}</Code></Error>");
            let date = format!("Date: {date}\r\n");
            return answer(stream, status, &date, text.as_bytes(), &method).await;
        }
        Fault::Garbage => {
            stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.ok()?;
            return None;
        }
        Fault::Redirect => {
            return answer(stream, 301, "Location: http://192.0.2.1/\r\n", b"", &method).await;
        }
        _ => {}
    }
    let (status, extra, content) = act(state, fault, &method, path, query, &headers, body);
    match fault {
        Fault::LoseAnswer => None,
        Fault::HangAfter => std::future::pending().await,
        Fault::Truncate(at) | Fault::StallBody(at) => {
            let head =
                format!("HTTP/1.1 {status} X\r\n{extra}Content-Length: {}\r\n\r\n", content.len());
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&content[..at]).await.ok()?;
            stream.flush().await.ok()?;
            if let Fault::StallBody(_) = fault {
                std::future::pending::<()>().await;
            }
            None
        }
        Fault::ClaimLength(len) => {
            let head = format!("HTTP/1.1 {status} X\r\n{extra}Content-Length: {len}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&content).await.ok()?;
            None
        }
        _ => answer(stream, status, &extra, &content, &method).await,
    }
}

async fn answer(
    stream: &mut BufReader<TcpStream>,
    status: u16,
    extra: &str,
    content: &[u8],
    method: &str,
) -> Option<()> {
    let head = format!("HTTP/1.1 {status} X\r\n{extra}Content-Length: {}\r\n\r\n", content.len());
    stream.write_all(head.as_bytes()).await.ok()?;
    if method != "HEAD" {
        stream.write_all(content).await.ok()?;
    }
    stream.flush().await.ok()
}

/// What an honest store does, but for the faults that are in what it does.
fn act(
    state: &Mutex<State>,
    fault: Fault,
    method: &str,
    path: &str,
    query: &str,
    headers: &BTreeMap<String, String>,
    body: Vec<u8>,
) -> (u16, String, Vec<u8>) {
    const META: &str = "ETag: \"x\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n";
    let objects = &mut state.lock().unwrap().objects;
    let found = objects.get(path).cloned();
    match method {
        "PUT" => {
            let is_conditional = headers.contains_key("if-none-match");
            if is_conditional && found.is_some() && !matches!(fault, Fault::IgnoreCondition) {
                return (412, String::new(), Vec::new());
            }
            objects.insert(path.to_owned(), body);
            (200, META.to_owned(), Vec::new())
        }
        "DELETE" => {
            objects.remove(path);
            (204, String::new(), Vec::new())
        }
        "GET" if query.contains("list-type=2") => {
            let mut page = "<ListBucketResult>".to_owned();
            for (path, body) in objects.iter() {
                let key = path.trim_start_matches("/b/");
                page += &format!(
                    "<Contents><Key>{key}</Key><Size>{}</Size><ETag>x</ETag><LastModified>2020-01-01T00:00:00Z</LastModified></Contents>",
                    body.len()
                );
            }
            (200, String::new(), (page + "</ListBucketResult>").into_bytes())
        }
        _ => match (found, headers.get("range")) {
            (None, _) => (404, String::new(), Vec::new()),
            (Some(body), Some(range)) if !matches!(fault, Fault::IgnoreRange) => {
                let (start, end) = range.trim_start_matches("bytes=").split_once('-').unwrap();
                let (start, mut end): (u64, u64) = (start.parse().unwrap(), end.parse().unwrap());
                if let Fault::ShortRange(by) = fault {
                    end -= by;
                }
                let extra = format!("{META}Content-Range: bytes {start}-{end}/{}\r\n", body.len());
                (206, extra, body[start as usize..=end as usize].to_vec())
            }
            (Some(body), _) => (200, META.to_owned(), body),
        },
    }
}

const BODY: Bytes = Bytes::from_static(&[7; 300_000]);

#[tokio::test]
async fn what_passes_is_tried_again() {
    let faults = [
        Fault::Status(500, ""),
        Fault::Status(502, ""),
        Fault::Status(503, ""),
        Fault::Status(504, ""),
        Fault::Status(429, ""),
        Fault::Status(408, ""),
        Fault::Reset,
        Fault::LoseAnswer,
    ];
    join_all(faults.map(async |fault| {
        let server =
            Server::start(&[fault, Fault::None, fault, Fault::None, fault, fault, fault]).await;
        let store = server.store().await;
        server.put("config", &BODY);
        assert_eq!(store.get("config", BODY.len()).await.unwrap(), BODY, "{fault:?}");
        assert_eq!(store.head("config").await.unwrap(), Some(300_000), "{fault:?}");
        let listed: Vec<_> = store.list("").try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(store.usage().get, 2);
        assert_eq!(store.usage().head, 2);
        assert_eq!(store.usage().list, 4);
    }))
    .await;
}

#[tokio::test]
async fn a_put_survives_each_fault_at_each_attempt() {
    let faults = [
        Fault::Status(500, ""),
        Fault::Status(503, ""),
        Fault::Status(409, ""),
        Fault::Refuse(409, "ConditionalRequestConflict", 0),
        Fault::Status(412, ""),
        Fault::Reset,
        Fault::LoseAnswer,
        Fault::HangAfter,
    ];
    join_all(faults.map(async |fault| {
        for before in 0..2 {
            let mut script = vec![Fault::Status(503, ""); before];
            script.push(fault);
            let server = Server::start(&script).await;
            let store = server.store().await;
            let outcome = store.put_new("packs/aa", BODY).await;
            assert!(
                matches!(outcome, Ok(PutOutcome::Created | PutOutcome::AlreadyThere)),
                "{fault:?} after {before}: {outcome:?}"
            );
            assert_eq!(server.stored("packs/aa").unwrap(), BODY);
        }
    }))
    .await;
}

#[tokio::test]
async fn a_lost_answer_is_not_taken_for_someone_else_and_nothing_is_sent_twice() {
    for fault in [Fault::LoseAnswer, Fault::HangAfter] {
        let server = Server::start(&[fault]).await;
        let store = server.store().await;
        assert_eq!(store.put_new("packs/aa", BODY).await.unwrap(), PutOutcome::AlreadyThere);
        assert_eq!(server.requests(), ["PUT", "GET"], "{fault:?}");
        assert_eq!(store.usage().bytes_sent, BODY.len() as u64);
    }
}

#[tokio::test]
async fn after_a_lost_answer_different_content_is_a_conflict() {
    let server = Server::start(&[Fault::Reset]).await;
    server.put("packs/aa", b"someone else's");
    let store = server.store().await;
    let error = store.put_new("packs/aa", BODY).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    assert_eq!(server.stored("packs/aa").unwrap(), b"someone else's");
}

#[tokio::test]
async fn a_writer_that_may_not_read_still_writes_and_says_what_it_does_not_know() {
    let denied = Fault::Status(403, "");
    // After a lost answer the look is denied, so the same bytes are offered again.
    let server = Server::start(&[Fault::LoseAnswer, denied, Fault::None, denied]).await;
    let store = server.store().await;
    assert_eq!(store.put_new("packs/aa", BODY).await.unwrap(), PutOutcome::Unread);
    assert_eq!(server.requests(), ["PUT", "GET", "PUT", "GET"]);
}

#[tokio::test]
async fn a_store_that_does_not_know_conditions_is_asked_once() {
    let server = Server::start(&[Fault::Status(501, "")]).await;
    let store = server.store().await;
    assert_eq!(store.put_new("packs/aa", BODY).await.unwrap(), PutOutcome::Created);
    assert_eq!(store.put_new("packs/ab", BODY).await.unwrap(), PutOutcome::Created);
    assert_eq!(server.requests(), ["PUT", "GET", "PUT", "GET", "PUT"]);
}

#[tokio::test]
async fn the_probe_tells_a_store_that_ignores_conditions() {
    let server = Server::start(&[Fault::None, Fault::IgnoreCondition]).await;
    let store = server.store().await;
    assert_eq!(store.probe().await.unwrap().create_only, CreateOnly::Ignored);
    // From now on a name is looked up before it is written.
    server.put("packs/aa", b"someone else's");
    assert!(matches!(store.put_new("packs/aa", BODY).await, Err(StoreError::Conflict { .. })));
    assert_eq!(server.stored("packs/aa").unwrap(), b"someone else's");
}

#[tokio::test]
async fn the_probe_takes_writes_that_meet_for_nothing_else() {
    let meet = Fault::Refuse(409, "OperationAborted", 0);
    for script in [&[meet][..], &[Fault::None, meet], &[meet, meet, meet]] {
        let server = Server::start(script).await;
        let found = server.store().await.probe().await.unwrap();
        assert_eq!(found.create_only, CreateOnly::Honoured, "{script:?}");
    }
    let server = Server::start(&[Fault::None, meet, Fault::IgnoreCondition]).await;
    assert_eq!(server.store().await.probe().await.unwrap().create_only, CreateOnly::Ignored);
}

#[tokio::test]
async fn the_probe_tells_what_is_denied() {
    let denied = Fault::Status(403, "");
    let server = Server::start(&[Fault::None, Fault::None, denied, denied, denied]).await;
    let found = server.store().await.probe().await.unwrap();
    assert_eq!(found.create_only, CreateOnly::Honoured);
    assert!(!found.read && !found.list && !found.delete && found.checksums);

    let server = Server::start(&[denied]).await;
    assert!(matches!(server.store().await.probe().await, Err(StoreError::Denied { .. })));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_read_again() {
    for fault in [Fault::Truncate(1000), Fault::StallBody(1000), Fault::ClaimLength(300_001)] {
        let server = Server::start(&[fault]).await;
        server.put("config", &BODY);
        let store = server.store().await;
        assert_eq!(store.get("config", 400_000).await.unwrap(), BODY, "{fault:?}");
        assert_eq!(store.usage().get, 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_length_over_the_limit_is_refused_before_the_body() {
    let server = Server::start(&[Fault::ClaimLength(1 << 60)]).await;
    server.put("config", &BODY);
    let error = server.store().await.get("config", BODY.len()).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { len, .. } if len == 1 << 60), "{error:?}");
}

#[tokio::test]
async fn a_range_is_what_was_asked_for_or_an_error() {
    for fault in [Fault::ShortRange(10), Fault::IgnoreRange] {
        let server = Server::start(&[fault]).await;
        server.put("packs/aa", &BODY);
        let error = server.store().await.get_range("packs/aa", 1..100).await.unwrap_err();
        assert!(matches!(error, StoreError::Protocol { .. }), "{fault:?}: {error:?}");
    }
}

#[tokio::test]
async fn what_does_not_pass_is_not_tried_again() {
    for (fault, is_right) in [
        (
            Fault::Status(403, ""),
            (|e| matches!(e, StoreError::Denied { .. })) as fn(&StoreError) -> bool,
        ),
        (Fault::Status(401, ""), |e| matches!(e, StoreError::Unauthenticated { .. })),
        (Fault::Status(507, ""), |e| matches!(e, StoreError::NoSpace { .. })),
        (Fault::Status(400, ""), |e| matches!(e, StoreError::Protocol { .. })),
        (Fault::Redirect, |e| matches!(e, StoreError::Protocol { .. })),
    ] {
        let server = Server::start(&[fault, fault]).await;
        let store = server.store().await;
        let errors = [
            store.put_new("config", BODY).await.unwrap_err(),
            store.get("config", 10).await.unwrap_err(),
        ];
        for error in errors {
            assert!(is_right(&error), "{fault:?}: {error:?}");
            let mut shown = format!("{error} {error:?}");
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                shown += &format!(" {error}");
                cause = error.source();
            }
            assert!(!shown.contains("canary") && !shown.contains('\u{202e}'), "{shown}");
            assert!(!error.remedy().is_empty());
        }
        assert_eq!(server.requests(), ["PUT", "GET"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_wrong_clock_is_told_from_wrong_credentials() {
    const YEAR: i64 = 365 * 86_400;
    for (code, ahead, expected) in [
        // As S3 says it; the date alone, where nothing is said; and what the date does not explain.
        ("RequestTimeTooSkewed", -YEAR, "365 days ahead of"),
        ("RequestTimeTooSkewed", 1000, "16 minutes behind"),
        ("AuthenticationFailed", 5 * 3600 + 10, "5 hours behind"),
        ("AccessDenied", YEAR, "denies"),
        ("SignatureDoesNotMatch", 100, "credentials"),
    ] {
        let server = Server::start(&[Fault::Refuse(403, code, ahead); 2]).await;
        let store = server.store().await;
        let read = store.get("config", 10).await.unwrap_err();
        assert!(read.to_string().contains(expected), "{code}: {read}");
        // Without a body there is no code.
        let looked_up = store.head("config").await.unwrap_err();
        match ahead.unsigned_abs() > 900 {
            true => assert!(matches!(looked_up, StoreError::WrongClock { .. }), "{looked_up:?}"),
            false => assert!(matches!(looked_up, StoreError::Denied { .. }), "{looked_up:?}"),
        }
        assert_eq!(server.requests(), ["GET", "HEAD"]);
    }
}

#[tokio::test]
async fn retrying_ends() {
    let server = Server::start(&[]).await;
    server.state.lock().unwrap().then = Some(Fault::Status(503, ""));
    let store = server.store_with(|o| o.retry = Duration::from_millis(500)).await;
    let error = store.get("config", 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Throttled { .. }), "{error:?}");
    // Pauses of at least 100, 200 and 400 ms do not fit.
    let attempts = server.requests().len();
    assert!((1..=3).contains(&attempts), "{attempts}");

    // Asked to come back later than the time left allows, it gives up at once.
    let server = Server::start(&[Fault::Status(503, "3000")]).await;
    let error = server.store().await.get("config", 10).await.unwrap_err();
    let asked = Some(Duration::from_secs(3000));
    assert!(
        matches!(error, StoreError::Throttled { retry_after, .. } if retry_after == asked),
        "{error:?}"
    );
    assert_eq!(server.requests(), ["GET"]);
}

#[tokio::test]
async fn throttling_lowers_the_concurrency() {
    let server = Server::start(&[Fault::Status(503, ""), Fault::Status(503, "")]).await;
    let store = server.store().await;
    let before = store.concurrency_limit();
    store.put_new("packs/aa", BODY).await.unwrap();
    assert!(store.concurrency_limit() < before);
}

#[tokio::test]
async fn a_hang_ends_and_nobody_there_is_unreachable() {
    let server = Server::start(&[Fault::HangAfter]).await;
    let store = server.store_with(|o| o.retry = Duration::ZERO).await;
    let error = store.get("config", 10).await.unwrap_err();
    assert!(matches!(error, StoreError::TimedOut { .. }), "{error:?}");

    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = Server { address, state: Arc::default() };
    let store = server.store_with(|o| o.retry = Duration::from_millis(300)).await;
    let error = store.get("config", 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_no_store_makes_an_error() {
    let server = Server::start(&[Fault::Garbage]).await;
    let store = server.store_with(|o| o.retry = Duration::ZERO).await;
    assert!(store.get("config", 10).await.is_err());
}

#[tokio::test]
async fn slow_by_our_own_limit_is_no_stall() {
    let server = Server::start(&[]).await;
    let store = server.store_with(|o| o.bandwidth = NonZeroU64::new(200_000)).await;
    // Twelve transfers share the rate: each waits longer for its turn than a stall may last.
    let body = BODY.slice(..50_000);
    let names: Vec<_> = (0..12).map(|n| format!("packs/{n}")).collect();
    let start = Instant::now();
    let puts = names.iter().map(|name| store.put_new(name, body.clone()));
    for outcome in join_all(puts).await {
        assert_eq!(outcome.unwrap(), PutOutcome::Created);
    }
    assert!(start.elapsed() > 2 * STALL);
    assert_eq!(store.usage().put, 12);
    store.set_bandwidth(None);
    assert_eq!(store.get("packs/0", 50_000).await.unwrap(), body);
}
