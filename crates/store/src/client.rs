//! The HTTP client beneath the clouds: paced, watched, and every refusal an error that says what
//! the store said.
//!
//! Bodies go out and come in slice by slice, so that the bandwidth limit is even and progress can
//! be seen. A request may take as long as it makes progress at a rate that is acceptable; a stall
//! ends it. Time spent waiting for the bandwidth limit does not count. An answer of 300 and above
//! becomes an [`HttpFailure`] that keeps the status, the store's own code and `Retry-After`, which
//! `object_store` drops or buries in text.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use drover_types::path::escape;
use http_body::{Body, Frame, SizeHint};
use object_store::{
    ClientConfigKey, ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
        HttpResponse, HttpResponseBody, HttpService,
    },
};
use tokio::time::{Instant, Sleep};

use crate::{
    bandwidth::Bandwidth,
    usage::{self, Meter},
    validity::Shown,
};

/// How much of a body may sit in the kernel's send buffer (Linux lets it grow to 4 MiB) after it
/// was handed over, and so has still to be sent when the waiting for the answer begins.
const SEND_BUFFER: u64 = 4 << 20;
/// The longest answer to a refused request that is looked at, in bytes.
const REFUSAL: usize = 8 << 10;
/// The longest page of a listing, in bytes: 5,000 names of 1,024 bytes with all that is said of
/// them stay below.
const PAGE: u64 = 64 << 20;

/// Why a request brought no useful answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpFailure {
    #[error("the store answered {status} {code}{}{message}", if message.is_empty() { "" } else { ": " })]
    Refused {
        status: u16,
        code: String,
        message: String,
        retry_after: Option<Duration>,
        /// How many seconds this machine's clock is ahead of the store's.
        ahead: Option<i64>,
    },
    #[error("no progress for {0:?}")]
    Stalled(Duration),
    #[error("slower than is acceptable: not done after {0:?}")]
    TooSlow(Duration),
    #[error("no connection")]
    Unreachable(#[source] reqwest::Error),
    #[error("the certificate is refused")]
    Untrusted(#[source] rustls::Error),
    #[error("the connection broke")]
    Broken(#[source] reqwest::Error),
    #[error("a page of a listing is too long")]
    LongPage,
    #[error("the request cannot be sent")]
    Invalid(#[source] reqwest::Error),
    #[error("plain http to {0}")]
    Insecure(String),
    #[error("no credentials are set, and this machine's own metadata service has none to give")]
    NoCredentials(#[source] Option<reqwest::Error>),
}

impl HttpFailure {
    fn from_reqwest(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if let Some(tls) = crate::classify::find::<rustls::Error>(&error) {
            return match tls {
                // A broken handshake is a network's doing, a refused certificate is not.
                rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                    Self::Untrusted(tls.clone())
                }
                _ => Self::Unreachable(error),
            };
        }
        if error.is_builder() {
            Self::Invalid(error)
        } else if error.is_connect() {
            Self::Unreachable(error)
        } else {
            Self::Broken(error)
        }
    }

    fn into_http_error(self) -> HttpError {
        // Kind `Unknown` is never retried below: retrying is the store's.
        HttpError::new(HttpErrorKind::Unknown, self)
    }
}

/// What passes between this machine and a store: counts, a limit for each direction, and the
/// certificates that were shown.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub meter: Meter,
    pub upload: Bandwidth,
    pub download: Bandwidth,
    pub shown: Arc<Shown>,
}

/// What all connections of one store share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub traffic: Arc<Traffic>,
    /// How long nothing may happen.
    pub stall: Duration,
    /// Bytes per second below which a transfer is given up.
    pub slowest: u64,
    pub proxy: Option<reqwest::Proxy>,
    pub tls: rustls::ClientConfig,
}

impl Shared {
    /// How long `len` bytes may take.
    fn allowance(&self, len: u64) -> Duration {
        self.stall + Duration::from_secs_f64(len as f64 / self.slowest.max(1) as f64)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Connector(pub Arc<Shared>);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allow_http =
            options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        // A machine's metadata service is given one second: most machines have none.
        let connect_timeout = match options.get_config_value(&ClientConfigKey::ConnectTimeout) {
            Some(text) if text == "1s" => Duration::from_secs(1),
            _ => self.0.stall.min(Duration::from_secs(15)),
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("drover/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(self.0.tls.clone())
            // Followed redirects would carry a signature to where it does not belong.
            .redirect(reqwest::redirect::Policy::none())
            // Only what the options name: a library does not read the environment.
            .no_proxy()
            .http1_only()
            .connect_timeout(connect_timeout)
            .tcp_nodelay(true);
        if let Some(proxy) = &self.0.proxy {
            builder = builder.proxy(proxy.clone());
        }
        let client = builder.build().map_err(|error| object_store::Error::Generic {
            store: "HTTP client",
            source: Box::new(error),
        })?;
        Ok(HttpClient::new(Service { client, allow_http, shared: self.0.clone() }))
    }
}

#[derive(Debug)]
struct Service {
    client: reqwest::Client,
    allow_http: bool,
    shared: Arc<Shared>,
}

// Written out, because the trait is an `async_trait` and this is its only implementation.
impl HttpService for Service {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move { self.exchange(request).await.map_err(HttpFailure::into_http_error) })
    }
}

impl Service {
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let (parts, body) = request.into_parts();
        let is_listing = parts
            .uri
            .query()
            .is_some_and(|query| query.contains("list-type=") || query.contains("comp=list"));
        let host = parts.uri.host().unwrap_or_default();
        if parts.uri.scheme_str() == Some("http") && !self.allow_http && !is_loopback(host) {
            return Err(HttpFailure::Insecure(format!("http://{host}")));
        }
        // Cloud machines' own credential services: what they refuse, `object_store` handles.
        let is_metadata = host.starts_with("169.254.") || host == "metadata.google.internal";
        let outgoing = body.content_length() as u64;
        let progress = Arc::new(Progress::default());
        let request = http::Request::from_parts(
            parts,
            reqwest::Body::wrap(SlicedBody {
                inner: body,
                piece: Bytes::new(),
                left: outgoing,
                pause: None,
                shared: self.shared.clone(),
                beside: usage::beside(),
                progress: progress.clone(),
            }),
        );
        let request = reqwest::Request::try_from(request).map_err(HttpFailure::from_reqwest)?;

        let response = match self.watch(self.client.execute(request), outgoing, &progress).await {
            Err(HttpFailure::Unreachable(error)) if is_metadata => {
                return Err(HttpFailure::NoCredentials(Some(error)));
            }
            Err(HttpFailure::Stalled(_)) if is_metadata => {
                return Err(HttpFailure::NoCredentials(None));
            }
            result => result?,
        };
        let (parts, body) = http::Response::from(response).into_parts();
        let status = parts.status.as_u16();
        if status >= 300 && !is_metadata {
            let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
            let retry_after = header("retry-after").and_then(retry_after);
            let ahead = header("date").and_then(until).map(|seconds| -seconds);
            let text =
                tokio::time::timeout(self.shared.stall, head_of(body)).await.unwrap_or_default();
            return Err(HttpFailure::Refused {
                status,
                code: element(&text, "Code"),
                message: element(&text, "Message"),
                retry_after,
                ahead,
            });
        }
        let expected = body.size_hint().exact();
        if is_listing && expected.is_some_and(|len| len > PAGE) {
            return Err(HttpFailure::LongPage);
        }
        let body = ReceivedBody {
            inner: body,
            stall: Box::pin(tokio::time::sleep(self.shared.stall)),
            pause: None,
            deadline: Instant::now() + self.shared.allowance(expected.unwrap_or(PAGE)),
            received: 0,
            is_listing,
            shared: self.shared.clone(),
        };
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }

    /// Waits for the head of the answer as long as the body makes progress.
    async fn watch(
        &self,
        exchange: impl Future<Output = reqwest::Result<reqwest::Response>>,
        outgoing: u64,
        progress: &Progress,
    ) -> Result<reqwest::Response, HttpFailure> {
        let start = Instant::now();
        let total = self.shared.allowance(outgoing);
        let mut seen = 0;
        let mut patience = self.shared.stall;
        let mut deadline = start + patience;
        tokio::pin!(exchange);
        loop {
            tokio::select! {
                answer = &mut exchange => return answer.map_err(HttpFailure::from_reqwest),
                () = tokio::time::sleep_until(deadline) => {}
            }
            let sent = progress.sent.load(Ordering::Acquire);
            // What waits for our own limit is neither stalled nor slow.
            if !progress.is_paced.load(Ordering::Acquire) {
                if sent == seen {
                    return Err(HttpFailure::Stalled(patience));
                }
                let waited = Duration::from_nanos(progress.waited_nanos.load(Ordering::Acquire));
                if start.elapsed().saturating_sub(waited) > total {
                    return Err(HttpFailure::TooSlow(total));
                }
            }
            seen = sent;
            patience = match sent == outgoing {
                true => self.shared.allowance(outgoing.min(SEND_BUFFER)),
                false => self.shared.stall,
            };
            deadline = Instant::now() + patience;
        }
    }
}

/// How far a body has been sent, for the one who watches.
#[derive(Debug, Default)]
struct Progress {
    sent: AtomicU64,
    /// Whether it is the bandwidth limit that it waits for.
    is_paced: AtomicBool,
    waited_nanos: AtomicU64,
}

/// A body handed over in slices, each when the bandwidth limit lets it go.
struct SlicedBody {
    inner: HttpRequestBody,
    piece: Bytes,
    left: u64,
    pause: Option<(Pin<Box<Sleep>>, Instant, Bytes)>,
    shared: Arc<Shared>,
    /// Whose it is: the body is sent by a task of the connection's own.
    beside: Option<Arc<Meter>>,
    progress: Arc<Progress>,
}

impl SlicedBody {
    fn hand_over(&mut self, slice: Bytes) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let len = slice.len() as u64;
        self.left -= len;
        self.progress.sent.fetch_add(len, Ordering::AcqRel);
        self.shared.traffic.meter.sent.add(len);
        if let Some(beside) = &self.beside {
            beside.sent.add(len);
        }
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }
}

impl Body for SlicedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Some((sleep, _, _)) = &mut self.pause {
            ready!(sleep.as_mut().poll(cx));
        }
        if let Some((_, since, slice)) = self.pause.take() {
            self.progress
                .waited_nanos
                .fetch_add(since.elapsed().as_nanos() as u64, Ordering::AcqRel);
            self.progress.is_paced.store(false, Ordering::Release);
            return self.hand_over(slice);
        }
        while self.piece.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(frame) => self.piece = frame?.into_data().unwrap_or_default(),
                None => return Poll::Ready(None),
            }
        }
        let len = self.shared.traffic.upload.slice().min(self.piece.len());
        let slice = self.piece.split_to(len);
        match self.shared.traffic.upload.reserve(len) {
            None => self.hand_over(slice),
            Some(at) => {
                self.progress.is_paced.store(true, Ordering::Release);
                self.pause = Some((Box::pin(tokio::time::sleep_until(at)), Instant::now(), slice));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// An answer's body, which must not stall, nor take longer than its length allows.
struct ReceivedBody {
    inner: reqwest::Body,
    stall: Pin<Box<Sleep>>,
    pause: Option<(Pin<Box<Sleep>>, Instant)>,
    deadline: Instant,
    received: u64,
    is_listing: bool,
    shared: Arc<Shared>,
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Some((sleep, _)) = &mut self.pause {
            ready!(sleep.as_mut().poll(cx));
        }
        if let Some((_, since)) = self.pause.take() {
            self.deadline += since.elapsed();
            let stall = Instant::now() + self.shared.stall;
            self.stall.as_mut().reset(stall);
        }
        let fail = |failure: HttpFailure| Poll::Ready(Some(Err(failure.into_http_error())));
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Pending => {
                ready!(self.stall.as_mut().poll(cx));
                fail(HttpFailure::Stalled(self.shared.stall))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => fail(HttpFailure::from_reqwest(error)),
            Poll::Ready(Some(Ok(frame))) => {
                let now = Instant::now();
                let stall = now + self.shared.stall;
                self.stall.as_mut().reset(stall);
                let len = frame.data_ref().map_or(0, Bytes::len);
                self.received += len as u64;
                if self.is_listing {
                    if self.received > PAGE {
                        return fail(HttpFailure::LongPage);
                    }
                } else {
                    self.shared.traffic.meter.add(|m| &m.received, len as u64);
                }
                if now > self.deadline {
                    return fail(HttpFailure::TooSlow(self.shared.allowance(self.received)));
                }
                self.pause = self
                    .shared
                    .traffic
                    .download
                    .reserve(len)
                    .map(|at| (Box::pin(tokio::time::sleep_until(at)), now));
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for ReceivedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedBody").field("received", &self.received).finish_non_exhaustive()
    }
}

/// Whether a host is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The beginning of a body as text; empty where it cannot be read.
async fn head_of(mut body: reqwest::Body) -> String {
    let mut head = BytesMut::new();
    while head.len() < REFUSAL {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let Some(Ok(frame)) = frame else { break };
        if let Some(data) = frame.data_ref() {
            head.extend_from_slice(&data[..data.len().min(REFUSAL - head.len())]);
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// The text of an element of the error documents that all three clouds send, made safe to show.
pub(crate) fn element(text: &str, name: &str) -> String {
    let inner = || {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (inner, _) = rest.split_once(&format!("</{name}>"))?;
        Some(escape(inner.chars().take(300).collect::<String>().as_bytes()))
    };
    inner().unwrap_or_default()
}

/// The seconds, or the date, that a store asks to wait for; at most an hour.
fn retry_after(value: &str) -> Option<Duration> {
    const MOST: i64 = 3600;
    let seconds = match value.trim().parse::<i64>() {
        Ok(seconds) => seconds,
        Err(_) => until(value)?,
    };
    Some(Duration::from_secs(seconds.clamp(0, MOST) as u64))
}

/// The seconds from now to a date in a header.
fn until(date: &str) -> Option<i64> {
    let date = jiff::fmt::rfc2822::parse(date).ok()?;
    Some(date.timestamp().as_second() - drover_types::clock::now().seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_say_how_long_to_wait_in_two_ways() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("-7"), Some(Duration::ZERO));
        assert_eq!(retry_after("99999999"), Some(Duration::from_secs(3600)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
    }

    #[test]
    fn a_refusal_is_shown_without_what_could_deceive() {
        let text = "<Error><Code>Slow\x1b[2JDown</Code><Message>a</Message>";
        assert_eq!(element(text, "Code"), "Slow\\x1b[2JDown");
        assert_eq!(element(text, "RequestId"), "");
        assert_eq!(element("<Code>", "Code"), "");
    }
}
