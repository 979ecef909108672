//! A proxy before a storage service that now and then does what networks and services do.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is answered.
    Pass,
    /// It is refused with this status before the service sees it.
    Refuse(u16),
    /// The connection ends before the service sees it.
    Reset,
    /// The service does what was asked, and the connection ends without its answer.
    LoseAnswer,
    /// The connection ends within the answer.
    CutAnswer,
    /// The service sees it twice and the second answer counts.
    Twice,
}

/// Runs until the process ends.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    seed: u64,
    /// Of a hundred requests, so many do not pass.
    faults: u64,
    is_clear: AtomicBool,
    requests: AtomicU64,
}

impl Proxy {
    /// Before the service at `upstream` (`http://host:port`), with faults that follow `seed`.
    pub fn start(upstream: &str, seed: u64, faults: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = upstream.trim_start_matches("http://").split('/').next().unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            seed,
            faults,
            is_clear: AtomicBool::new(false),
            requests: AtomicU64::new(0),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = serving.clone();
                // Whatever ends it, the client sees that it ended.
                thread::spawn(move || {
                    let _ = serve(&client, &shared);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, shared }
    }

    /// Where clients find it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// No more faults from here on.
    pub fn clear(&self) {
        self.shared.is_clear.store(true, Ordering::SeqCst);
    }

    /// How many requests came so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn fate(&self, number: u64) -> Fate {
        // splitmix64, Steele and others 2014.
        let mut z = self.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        if self.is_clear.load(Ordering::SeqCst) || z % 100 >= self.faults {
            return Fate::Pass;
        }
        match (z >> 32) % 9 {
            0 => Fate::Refuse(500),
            1 => Fate::Refuse(503),
            2 => Fate::Refuse(429),
            3 => Fate::Refuse(409),
            4 | 5 => Fate::LoseAnswer,
            6 => Fate::CutAnswer,
            7 => Fate::Twice,
            _ => Fate::Reset,
        }
    }
}

/// A request or an answer: its head as it stands, and its body.
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
    /// Its end is that of the connection.
    is_last: bool,
}

impl Message {
    /// The next message, or `None` at the end. `has_body` is false for the answer to a HEAD.
    fn read(from: &mut impl BufRead, has_body: bool) -> io::Result<Option<Self>> {
        let (mut head, mut length, mut chunked) = (Vec::new(), None, false);
        loop {
            let begin = head.len();
            if from.read_until(b'\n', &mut head)? == 0 {
                return Ok(None);
            }
            let line = String::from_utf8_lossy(&head[begin..]).to_ascii_lowercase();
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse::<u64>().ok();
            }
            chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
        }
        let mut body = Vec::new();
        if chunked && has_body {
            loop {
                let begin = body.len();
                from.read_until(b'\n', &mut body)?;
                let size = String::from_utf8_lossy(&body[begin..]).trim().to_owned();
                let size = u64::from_str_radix(size.split(';').next().unwrap_or(""), 16)
                    .map_err(io::Error::other)?;
                from.take(size + 2).read_to_end(&mut body)?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = length.filter(|_| has_body) {
            from.take(length).read_to_end(&mut body)?;
        }
        let is_answer = head.starts_with(b"HTTP/");
        let is_empty =
            [b" 204 ", b" 304 ", b" 100 "].iter().any(|&status| head[8..].starts_with(status));
        let is_last = is_answer && has_body && !is_empty && !chunked && length.is_none();
        if is_last {
            from.read_to_end(&mut body)?;
        }
        Ok(Some(Self { head, body, is_last }))
    }

    fn write(&self, mut to: &TcpStream) -> io::Result<()> {
        to.write_all(&self.head)?;
        to.write_all(&self.body)?;
        to.flush()
    }
}

/// One connection of a client.
fn serve(client: &TcpStream, shared: &Shared) -> io::Result<()> {
    let service = TcpStream::connect(&shared.upstream)?;
    let (mut requests, mut answers) = (BufReader::new(client), BufReader::new(&service));
    while let Some(request) = Message::read(&mut requests, true)? {
        let is_head = request.head.starts_with(b"HEAD ");
        let fate = shared.fate(shared.requests.fetch_add(1, Ordering::SeqCst));
        let mut ask = || -> io::Result<Message> {
            request.write(&service)?;
            loop {
                let answer =
                    Message::read(&mut answers, !is_head)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                // `100 Continue` is no answer yet.
                if !answer.head.starts_with(b"HTTP/1.1 1") {
                    return Ok(answer);
                }
            }
        };
        match fate {
            Fate::Pass | Fate::Twice => {
                if matches!(fate, Fate::Twice) {
                    let first = TcpStream::connect(&shared.upstream)?;
                    request.write(&first)?;
                    Message::read(&mut BufReader::new(&first), !is_head)?;
                }
                let answer = ask()?;
                answer.write(client)?;
                if answer.is_last {
                    return client.shutdown(Shutdown::Both);
                }
            }
            Fate::Refuse(status) => {
                let head = format!("HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\n\r\n");
                Message { head: head.into_bytes(), body: Vec::new(), is_last: false }
                    .write(client)?;
            }
            Fate::Reset => return client.shutdown(Shutdown::Both),
            Fate::LoseAnswer => {
                ask()?;
                return client.shutdown(Shutdown::Both);
            }
            Fate::CutAnswer => {
                let mut answer = ask()?;
                let all = answer.body.len();
                answer.body.truncate(all / 2);
                if all == 0 {
                    answer.head.truncate(answer.head.len() / 2);
                }
                answer.write(client)?;
                return client.shutdown(Shutdown::Both);
            }
        }
    }
    Ok(())
}
