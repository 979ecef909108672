//! What a session speaks through: a TCP connection, or the streams of a program that leads there.

use std::{
    io::{self, Read},
    net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, ChildStderr, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use drover_types::{lock, path::escape};

use super::{Proxy, SftpOptions};

/// How much of what a program complains about is kept, in bytes.
const COMPLAINT: u64 = 1 << 10;

/// One end of a connection. Dropping it ends the program, where there is one.
pub(crate) enum Wire {
    Tcp(TcpStream),
    Program { socket: UnixStream, child: Mutex<Child>, errors: Mutex<Option<ChildStderr>> },
}

impl Wire {
    /// To the host itself, or by the program that leads there.
    pub(super) fn open(options: &SftpOptions) -> io::Result<Self> {
        match &options.proxy {
            None => tcp(&options.host, options.port, options.answer).map(Self::Tcp),
            Some(proxy) => program(proxy),
        }
    }

    /// Has the session speak through it.
    pub(super) fn give_to(&self, session: &mut ssh2::Session) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => session.set_tcp_stream(socket.try_clone()?),
            Self::Program { socket, .. } => session.set_tcp_stream(socket.try_clone()?),
        }
        Ok(())
    }

    /// The address that was reached; there is none where a program leads to it.
    pub(crate) fn peer(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr(),
            Self::Program { .. } => {
                Err(io::Error::other("it is reached by way of another machine"))
            }
        }
    }

    /// Nothing comes or goes any more.
    pub(crate) fn cut(&self) {
        // It may be cut already.
        let _ = match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Both),
            Self::Program { socket, .. } => socket.shutdown(Shutdown::Both),
        };
    }

    /// Ends a program that did not lead to a server; what it had to say, if anything.
    pub(super) fn complaint(&self) -> Option<io::Error> {
        let Self::Program { errors, .. } = self else { return None };
        self.cut();
        self.end();
        let mut said = Vec::new();
        lock(errors).take()?.take(COMPLAINT).read_to_end(&mut said).ok()?;
        let said = escape(said.trim_ascii()).replace("\\n", " ").replace("\\r", "");
        (!said.is_empty()).then(|| io::Error::other(format!("the way there says: {said}")))
    }

    fn end(&self) {
        let Self::Program { child, .. } = self else { return };
        let mut child = lock(child);
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Program { socket, .. } => socket.as_fd(),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.end();
    }
}

fn tcp(host: &str, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host's name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn program(proxy: &Proxy) -> io::Result<Wire> {
    let (name, arguments) =
        proxy.command.split_first().ok_or_else(|| io::Error::other("no program leads there"))?;
    let (socket, other) = UnixStream::pair()?;
    let input: OwnedFd = other.try_clone()?.into();
    let output: OwnedFd = other.into();
    let mut child = Command::new(name)
        .args(arguments)
        .env_clear()
        .envs(proxy.environment.iter().cloned())
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            let name = escape(name.as_encoded_bytes());
            io::Error::new(error.kind(), format!("{name} cannot be run: {error}"))
        })?;
    let errors = Mutex::new(child.stderr.take());
    Ok(Wire::Program { socket, child: Mutex::new(child), errors })
}
