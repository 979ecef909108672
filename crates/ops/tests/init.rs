//! Two `init`s in one place at a time, step by step in every order that matters, on a store that
//! lets one write replace another and on one that does not: never do both believe to have made the
//! repository, and whoever does can open it.
//!
//! The store is a small server in this process that speaks as much of S3's protocol as is needed,
//! and answers requests one at a time, in the order that a schedule says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use drover_crypt::hierarchy::{self, KdfParameters, Object, UnlockSecret};
use drover_ops::{Error, init, keys::KeySession};
use drover_repo::{RepositoryError, objects::Objects};
use drover_store::{Store, StoreOptions};
use zeroize::Zeroizing;

/// The prefix of the store below its server.
const PREFIX: &str = "/b/p/";
/// More requests than an init makes.
const REST: usize = usize::MAX;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    honours_conditions: bool,
    /// Whose turn it is, and for how many requests.
    turns: VecDeque<(usize, usize)>,
    requests: usize,
}

/// A server with one address for each of two clients, by which it tells them apart.
struct Server {
    addresses: [SocketAddr; 2],
    shared: Arc<(Mutex<State>, Condvar)>,
    runtime: Arc<tokio::runtime::Runtime>,
}

impl Server {
    fn start() -> Self {
        let shared = Arc::new((Mutex::default(), Condvar::new()));
        let addresses = [0, 1].map(|client| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let shared = shared.clone();
            // Ends with the process.
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let (stream, shared) = (stream.unwrap(), shared.clone());
                    thread::spawn(move || serve(stream, client, &shared));
                }
            });
            address
        });
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = Arc::new(runtime.worker_threads(2).enable_all().build().unwrap());
        Self { addresses, shared, runtime }
    }

    fn objects(&self, client: usize) -> Objects {
        let endpoint = format!("http://{}", self.addresses[client]);
        let settings = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        let options = StoreOptions::from_env(settings.map(|(n, v)| (n.into(), v.into())));
        let url = "s3://b/p".parse().unwrap();
        let store = self.runtime.block_on(Store::connect(&url, &options)).unwrap();
        Objects::new(store, self.runtime.clone())
    }

    /// Runs an init for each client, on an empty store, in this order.
    fn race(&self, honours_conditions: bool, turns: &[(usize, usize)]) -> [Result<(), Error>; 2] {
        self.race_from(State { honours_conditions, ..State::default() }, turns, Self::init)
    }

    /// Runs something for each client, in this order of their requests.
    fn race_from<T: Send>(
        &self,
        begin: State,
        turns: &[(usize, usize)],
        run: fn(&Self, usize) -> T,
    ) -> [T; 2] {
        let turns = turns.iter().copied().chain([(0, REST), (1, REST)]).collect();
        *self.shared.0.lock().unwrap() = State { turns, ..begin };
        thread::scope(|scope| {
            [0, 1].map(|client| scope.spawn(move || run(self, client))).map(|t| t.join().unwrap())
        })
    }

    fn init(&self, client: usize) -> Result<(), Error> {
        let made = init(self.objects(client), &secret(client), KdfParameters::minimum());
        self.ended(client);
        made.map(drop)
    }

    /// Begins a new epoch of the repository that client 0 made.
    fn rotate(&self, client: usize) -> Result<u32, Error> {
        let open = KeySession::open(self.objects(client), &secret(0));
        let rotated = open.and_then(|keys| keys.rotate());
        self.ended(client);
        rotated
    }

    fn ended(&self, client: usize) {
        let (state, changed) = &*self.shared;
        state.lock().unwrap().turns.retain(|(whose, _)| *whose != client);
        changed.notify_all();
    }

    /// What is stored.
    fn stored(&self) -> Vec<Object> {
        let state = self.shared.0.lock().unwrap();
        let object = |(path, bytes): (&String, &Vec<u8>)| Object {
            name: path.strip_prefix(PREFIX).unwrap().to_owned(),
            bytes: bytes.clone(),
        };
        state.objects.iter().map(object).collect()
    }

    /// How many requests an init makes.
    fn steps(&self, honours_conditions: bool) -> usize {
        *self.shared.0.lock().unwrap() =
            State { honours_conditions, turns: [(0, REST)].into(), ..State::default() };
        self.init(0).unwrap();
        self.shared.0.lock().unwrap().requests
    }
}

/// A key file costs no time to open.
fn secret(client: usize) -> UnlockSecret {
    UnlockSecret::KeyFile(Zeroizing::new(vec![client as u8; 64]))
}

fn serve(stream: TcpStream, client: usize, shared: &(Mutex<State>, Condvar)) {
    let mut stream = BufReader::new(stream);
    while let Some((head, body)) = request(&mut stream) {
        let (state, changed) = shared;
        let is_next = |state: &mut State| {
            while state.turns.front().is_some_and(|(_, left)| *left == 0) {
                state.turns.pop_front();
            }
            state.turns.front().is_some_and(|(whose, _)| *whose == client)
        };
        let state = state.lock().unwrap();
        let mut state = changed.wait_while(state, |state| !is_next(state)).unwrap();
        let (status, content) = act(&mut state, &head, body);
        state.requests += 1;
        state.turns[0].1 -= 1;
        let is_head = head[0].starts_with("head ");
        let mut answer = format!(
            "HTTP/1.1 {status} X\r\nETag: \"x\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\
             Content-Length: {}\r\n\r\n",
            content.len()
        )
        .into_bytes();
        answer.extend(content.iter().filter(|_| !is_head));
        if stream.get_mut().write_all(&answer).is_err() {
            return;
        }
        drop(state);
        changed.notify_all();
    }
}

/// The lines of a request's head, and its body.
fn request(stream: &mut BufReader<TcpStream>) -> Option<(Vec<String>, Vec<u8>)> {
    let mut head: Vec<String> = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|&read| read > 0)?;
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_ascii_lowercase().replace("%2f", "/")),
        }
    }
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn act(state: &mut State, head: &[String], body: Vec<u8>) -> (u16, Vec<u8>) {
    let mut words = head[0].split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let found = state.objects.get(path).cloned();
    match method {
        "put" => {
            let is_conditional = head.iter().any(|line| line.starts_with("if-none-match:"));
            if is_conditional && state.honours_conditions && found.is_some() {
                return (412, Vec::new());
            }
            state.objects.insert(path.to_owned(), body);
            (200, Vec::new())
        }
        "post" if query.starts_with("delete") => {
            let asked = String::from_utf8(body).unwrap();
            let (_, key) = asked.split_once("<Key>").unwrap();
            let (key, _) = key.split_once("</Key>").unwrap();
            assert!(state.objects.remove(&format!("/b/{key}")).is_some(), "{key} is not there");
            let page = format!("<DeleteResult><Deleted><Key>{key}</Key></Deleted></DeleteResult>");
            (200, page.into_bytes())
        }
        "get" if query.contains("list-type=2") => {
            let prefix = query.split('&').find_map(|part| part.strip_prefix("prefix="));
            let prefix = format!("/b/{}", prefix.unwrap());
            let mut page = "<ListBucketResult>".to_owned();
            for (path, body) in state.objects.iter().filter(|(path, _)| path.starts_with(&prefix)) {
                let (key, size) = (path.trim_start_matches("/b/"), body.len());
                page += &format!(
                    "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>x</ETag>\
                     <LastModified>2020-01-01T00:00:00Z</LastModified></Contents>"
                );
            }
            (200, (page + "</ListBucketResult>").into_bytes())
        }
        _ => found.map_or((404, Vec::new()), |body| (200, body)),
    }
}

/// What must hold after each race.
fn check(
    server: &Server,
    results: &[Result<(), Error>; 2],
    honours: bool,
    turns: &[(usize, usize)],
) {
    let stored = server.stored();
    let config = stored.iter().find(|object| object.name == "config");
    let winners: Vec<usize> = (0..2).filter(|&client| results[client].is_ok()).collect();
    assert!(winners.len() <= 1, "{turns:?}: both made it");
    assert!(!honours || winners.len() == 1, "{turns:?}: {results:?}");
    assert_eq!(config.is_some(), winners.len() == 1, "{turns:?}: {results:?}");
    assert!(stored.iter().all(|object| !object.name.starts_with("init/")), "{turns:?}");
    for result in results {
        assert!(
            matches!(
                result,
                Ok(())
                    | Err(Error::Repository(
                        RepositoryError::AlreadyThere | RepositoryError::BeingMade(_)
                    ))
            ),
            "{turns:?}: {result:?}"
        );
    }
    if let (Some(config), [winner]) = (config, &*winners) {
        let id = hierarchy::Config::decode(&config.bytes).unwrap().repository;
        let folder = hierarchy::keys_folder(id);
        let keys: Vec<_> =
            stored.iter().filter(|object| object.name.starts_with(&folder)).cloned().collect();
        let opened = hierarchy::unlock(&config.bytes, &keys, &secret(*winner));
        assert!(opened.is_ok(), "{turns:?}: {:?}", opened.err());
    }
}

/// One runs for a while, then the other, then each to its end.
fn race_at_every_step(honours_conditions: bool) {
    let server = Server::start();
    let steps = server.steps(honours_conditions);
    assert!(steps > 10);
    let (mut won, mut given_up) = (0, 0);
    for first in 0..=steps {
        for second in 0..=steps {
            let turns = [(0, first), (1, second)];
            let results = server.race(honours_conditions, &turns);
            check(&server, &results, honours_conditions, &turns);
            match results.iter().any(Result::is_ok) {
                true => won += 1,
                false => given_up += 1,
            }
        }
    }
    // Both outcomes were met where both are possible.
    assert!(won > 0 && (given_up > 0) != honours_conditions, "{won} won, {given_up} gave up");
}

#[test]
fn where_writes_replace_one_another_never_do_both_make_it() {
    race_at_every_step(false);
}

#[test]
fn where_create_only_puts_are_honoured_exactly_one_makes_it() {
    race_at_every_step(true);
}

#[test]
fn nor_do_both_in_any_other_order() {
    let server = Server::start();
    for seed in 0..300u32 {
        // Turns of one to eight requests each.
        let drawn = *blake3::hash(&seed.to_le_bytes()).as_bytes();
        let turns: Vec<_> =
            drawn.iter().map(|byte| (usize::from(byte & 1), 1 + usize::from(byte >> 5))).collect();
        for honours_conditions in [false, true] {
            let results = server.race(honours_conditions, &turns);
            check(&server, &results, honours_conditions, &turns);
        }
    }
}

/// Of two rotations at once each has an epoch of its own, or fails and says why.
#[test]
fn two_rotations_never_take_one_epoch() {
    let server = Server::start();
    for honours_conditions in [false, true] {
        server.steps(honours_conditions);
        let made = server.shared.0.lock().unwrap().objects.clone();
        let begin = || State { honours_conditions, objects: made.clone(), ..State::default() };
        *server.shared.0.lock().unwrap() = State { turns: [(0, REST)].into(), ..begin() };
        assert_eq!(server.rotate(0).unwrap(), 2);
        let steps = server.shared.0.lock().unwrap().requests;
        let (mut both, mut fewer) = (0, 0);
        for first in 0..=steps {
            for second in (0..=steps).step_by(3) {
                let turns = [(0, first), (1, second)];
                let results = server.race_from(begin(), &turns, Server::rotate);
                let mut epochs: Vec<u32> =
                    results.iter().filter_map(|result| result.as_ref().ok().copied()).collect();
                epochs.sort_unstable();
                let told = if epochs.len() == 2 { &mut both } else { &mut fewer };
                *told += 1;
                assert!(epochs.windows(2).all(|pair| pair[0] < pair[1]), "{turns:?}: {results:?}");
                assert!(!honours_conditions || !epochs.is_empty(), "{turns:?}: {results:?}");
                server.shared.0.lock().unwrap().turns = [(0, REST)].into();
                let keys = KeySession::open(server.objects(0), &secret(0)).unwrap();
                let newest = keys.keyring.newest_epoch();
                assert!(epochs.last().is_none_or(|&last| newest == last), "{turns:?}: {newest}");
            }
        }
        assert!(both > 0 && fewer > 0, "{both} times both, {fewer} times one or none");
    }
}

#[test]
fn what_an_interrupted_init_left_is_no_hindrance_but_for_its_claim_which_is_named() {
    let server = Server::start();
    server.steps(false);
    let id = "0123456789abcdef0123456789abcdef";
    let put = |name: String| {
        let mut state = server.shared.0.lock().unwrap();
        *state = State { turns: [(0, REST)].into(), ..State::default() };
        state.objects.insert(format!("{PREFIX}{name}"), b"left".to_vec());
    };
    put(format!("init/{id}"));
    let result = server.init(0);
    let Err(Error::Repository(RepositoryError::BeingMade(name))) = &result else {
        panic!("{result:?}")
    };
    assert_eq!(name, &format!("init/{id}"));
    assert_eq!(server.stored().len(), 1);
    for name in ["epoch-1", "slot-0123456789abcdef", "epoch-1-0123456789abcdef"] {
        put(format!("keys/{id}/{name}"));
        server.init(0).unwrap();
        let turns = [(0, REST)].into();
        server.shared.0.lock().unwrap().turns = turns;
        let repository = drover_repo::Repository::open(server.objects(0)).unwrap();
        repository.unlock(&secret(0)).unwrap();
        let other = repository.unlock(&secret(1)).map(drop);
        let wrong = hierarchy::UnlockError::WrongSecret("key file");
        assert_eq!(other.unwrap_err().to_string(), wrong.to_string(), "{name}");
    }
}
