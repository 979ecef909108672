//! A proxy before a storage service, which does what networks and services do now and then.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

/// A request as it came.
pub struct Request {
    /// Its first line and its headers, each with its line end.
    pub head: Vec<String>,
    body: Vec<u8>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is answered.
    Pass,
    /// It is refused with this status and code before the service sees it.
    Refuse(u16, &'static str),
    /// The connection ends before the service sees it.
    Reset,
    /// The service does what was asked, and the connection ends without its answer.
    LoseAnswer,
    /// The connection ends within the answer.
    CutAnswer,
    /// The service sees it twice and the second answer counts.
    Twice,
}

/// A proxy before the service at `endpoint`, for as long as the process lives. `fate` sees each
/// request and may change it. Returns the proxy's URL.
pub fn proxy(
    endpoint: &str,
    fate: impl Fn(&mut Request) -> Fate + Send + Sync + 'static,
) -> String {
    let service = endpoint.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let fate = Arc::new(fate);
    thread::spawn(move || {
        for client in listener.incoming() {
            let (service, fate) = (service.clone(), fate.clone());
            thread::spawn(move || relay(client.ok()?, &service, &*fate));
        }
    });
    url
}

/// The service at `endpoint` over https, at `localhost`, with a certificate that ends after so many
/// seconds. Returns its URL and the certificate, which is its own authority.
pub fn over_tls(endpoint: &str, seconds: u64) -> (String, String) {
    let service = endpoint.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let end = drover_types::clock::now().seconds.unsigned_abs() + seconds;
    parameters.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(end);
    let certificate = parameters.self_signed(&key).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into());
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for client in listener.incoming() {
            let (service, config) = (service.clone(), config.clone());
            thread::spawn(move || {
                let connection = rustls::ServerConnection::new(config).ok()?;
                let client = rustls::StreamOwned::new(connection, client.ok()?);
                relay(client, &service, &|_: &mut Request| Fate::Pass)
            });
        }
    });
    (url, certificate.pem())
}

/// One request and its answer; `None` where a side hangs up. The connection ends either way.
fn relay(
    mut client: impl Read + Write,
    service: &str,
    fate: &impl Fn(&mut Request) -> Fate,
) -> Option<()> {
    let mut request = Request::read(&mut client)?;
    let fate = fate(&mut request);
    match fate {
        Fate::Reset => return None,
        Fate::Refuse(status, code) => {
            let text = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
            let length = text.len();
            return write!(
                client,
                "HTTP/1.1 {status} Refused\r\nContent-Type: application/xml\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{text}"
            )
            .ok();
        }
        Fate::Twice => drop(request.ask(service)?),
        Fate::Pass | Fate::LoseAnswer | Fate::CutAnswer => {}
    }
    let mut answer = request.ask(service)?;
    match fate {
        Fate::LoseAnswer => return None,
        Fate::CutAnswer => answer.truncate(answer.len() / 2),
        _ => {}
    }
    client.write_all(&answer).ok()
}

impl Request {
    fn read(client: &mut impl Read) -> Option<Self> {
        let mut client = BufReader::new(client);
        let mut head: Vec<String> = Vec::new();
        loop {
            let mut line = String::new();
            client.read_line(&mut line).ok().filter(|&read| read > 0)?;
            if line == "\r\n" {
                break;
            }
            head.push(line);
        }
        let length = head.iter().find(|line| is_named(line, "content-length:"));
        let length = length.map_or(0, |line| line[15..].trim().parse().unwrap());
        let mut body = vec![0; length];
        client.read_exact(&mut body).ok()?;
        let mut request = Self { head, body };
        request.drop_header("connection:");
        Some(request)
    }

    /// Takes a header off. `name` is in small letters, with its colon.
    pub fn drop_header(&mut self, name: &str) {
        self.head.retain(|line| !is_named(line, name));
    }

    /// The service's whole answer, up to the end of the connection.
    fn ask(&self, service: &str) -> Option<Vec<u8>> {
        let mut server = TcpStream::connect(service).ok()?;
        let head = format!("{}Connection: close\r\n\r\n", self.head.concat());
        server.write_all(head.as_bytes()).ok()?;
        server.write_all(&self.body).ok()?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).ok()?;
        Some(answer)
    }
}

fn is_named(line: &str, name: &str) -> bool {
    line.to_ascii_lowercase().starts_with(name)
}
