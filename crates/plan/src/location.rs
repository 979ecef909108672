//! Where data is: a directory, a cloud prefix, or a directory of another server.

use std::{
    ffi::OsString,
    fmt,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Component, Path, PathBuf},
};

use drover_types::path::escape;
use url::Url;

/// A place that a plan names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// A directory of this machine.
    Directory(PathBuf),
    /// `s3://bucket/prefix`, `az://container/prefix` or `gs://bucket/prefix`, as it was written.
    Cloud(String),
    /// `sftp://user@host:port/path`.
    Sftp(SftpUrl),
}

/// A directory of another server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SftpUrl {
    /// The account, where it is given.
    pub user: Option<String>,
    /// Name, address, or alias of `~/.ssh/config`.
    pub host: String,
    /// The port, where it is given.
    pub port: Option<u16>,
    /// An absolute path on the server.
    pub path: PathBuf,
}

impl SftpUrl {
    /// Of a URL that begins with `sftp://`.
    fn parse(text: &str) -> Result<Self, LocationError> {
        let url = Url::parse(text).map_err(|_| LocationError::Sftp)?;
        if url.password().is_some() {
            return Err(LocationError::SftpPassword);
        }
        let decoded = |text: &str| decode(text).ok_or(LocationError::Sftp);
        let text_of =
            |text: &str| String::from_utf8(decoded(text)?).map_err(|_| LocationError::Sftp);
        let plain = url.query().is_none() && url.fragment().is_none();
        let host = url.host_str().filter(|host| plain && !host.is_empty());
        let host = text_of(host.ok_or(LocationError::Sftp)?)?;
        let user = Some(url.username()).filter(|user| !user.is_empty()).map(text_of).transpose()?;
        let path = PathBuf::from(OsString::from_vec(decoded(url.path())?));
        if !path.is_absolute() || path.as_os_str().as_bytes().contains(&0) {
            return Err(LocationError::Sftp);
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { user, host, port: url.port(), path })
    }
}

/// Undoes the escapes of a URL; `None` where one is broken.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    Some(bytes)
}

impl fmt::Display for SftpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sftp://")?;
        if let Some(user) = &self.user {
            write!(f, "{}@", escape(user.as_bytes()))?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", escape(self.host.as_bytes()))?,
            false => f.write_str(&escape(self.host.as_bytes()))?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&escape(self.path.as_os_str().as_bytes()))
    }
}

/// Why a place is refused. What was written is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Nothing, or a NUL byte.
    #[error("a path or URL is not empty and holds no NUL character")]
    Empty,
    /// A scheme that drover does not know.
    #[error("the scheme of a URL is one of file, s3, az, gs, sftp")]
    Scheme,
    /// A `file` URL without an absolute path of this machine.
    #[error("a file URL has three slashes and an absolute path: file:///srv/files")]
    File,
    /// User name or password in the URL of a bucket.
    #[error(
        "credentials do not belong in a URL: they come from the provider's environment variables"
    )]
    Credentials,
    /// No bucket.
    #[error("after the scheme comes the bucket or container: s3://bucket/prefix")]
    Bucket,
    /// Files on another server, written otherwise.
    #[error("a server's directory is written sftp://user@host:port/path, with an absolute path")]
    Sftp,
    /// A password where everyone sees it.
    #[error(
        "a password does not belong in a URL: use a key, or give a file or command that has the password"
    )]
    SftpPassword,
    /// A bucket where a directory is needed.
    #[error("a {0} must be a directory, not a bucket")]
    NotADirectory(&'static str),
    /// A server's directory where drover writes.
    #[error("sftp serves as a source only, and not as a {0}")]
    SourceOnly(&'static str),
}

impl Location {
    /// Parses a path or a URL. A relative path is taken from `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, LocationError> {
        if text.is_empty() || text.contains('\0') {
            return Err(LocationError::Empty);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text.split_once(':') {
                Some(("file", _)) => Err(LocationError::File),
                Some(("s3" | "az" | "gs", _)) => Err(LocationError::Bucket),
                Some(("sftp", _)) => Err(LocationError::Sftp),
                _ => Ok(Self::Directory(base.join(text))),
            };
        };
        match scheme {
            "file" => {
                let path = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
                path.map(Self::Directory).ok_or(LocationError::File)
            }
            "s3" | "az" | "gs" => {
                let bucket = rest.split('/').next().unwrap_or_default();
                if bucket.contains('@') {
                    Err(LocationError::Credentials)
                } else if bucket.is_empty() {
                    Err(LocationError::Bucket)
                } else {
                    Ok(Self::Cloud(text.to_owned()))
                }
            }
            "sftp" => SftpUrl::parse(text).map(Self::Sftp),
            _ => Err(LocationError::Scheme),
        }
    }

    /// Whether `self` is `other` or lies below it, going by the names alone: links are not
    /// followed.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory(inner), Self::Directory(outer)) => {
                plain(inner).starts_with(plain(outer))
            }
            _ => false,
        }
    }
}

/// `path` without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            // The root is its own parent.
            Component::ParentDir if plain.has_root() => {}
            other => plain.push(other),
        }
    }
    plain
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => f.write_str(&escape(path.as_os_str().as_encoded_bytes())),
            Self::Cloud(url) => f.write_str(&escape(url.as_bytes())),
            Self::Sftp(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location, LocationError> {
        Location::parse(text, Path::new("/plans"))
    }

    #[test]
    fn paths_and_urls() {
        let directory = |path: &str| Ok(Location::Directory(path.into()));
        assert_eq!(parse("/srv/a b"), directory("/srv/a b"));
        assert_eq!(parse("files"), directory("/plans/files"));
        assert_eq!(parse("c:files"), directory("/plans/c:files"));
        assert_eq!(parse("file:///srv/a%20b"), directory("/srv/a b"));
        assert_eq!(parse("s3://bucket/prefix"), Ok(Location::Cloud("s3://bucket/prefix".into())));
        for (text, error) in [
            ("", LocationError::Empty),
            ("a\0b", LocationError::Empty),
            ("file://srv/files", LocationError::File),
            ("file:/srv", LocationError::File),
            ("s3:bucket", LocationError::Bucket),
            ("s3:///prefix", LocationError::Bucket),
            ("az://key:secret@container/p", LocationError::Credentials),
            ("sftp:user@host/srv", LocationError::Sftp),
            ("sftp:///srv", LocationError::Sftp),
            ("sftp://host", LocationError::Sftp),
            ("sftp://host/srv?x", LocationError::Sftp),
            ("sftp://host/a%zz", LocationError::Sftp),
            ("sftp://host/a%00", LocationError::Sftp),
            ("sftp://user:secret@host/srv", LocationError::SftpPassword),
            ("http://host/x", LocationError::Scheme),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn servers() {
        let url = |user: Option<&str>, host: &str, port, path: &str| {
            let (user, host) = (user.map(str::to_owned), host.to_owned());
            Location::Sftp(SftpUrl { user, host, port, path: path.into() })
        };
        for (text, parsed) in [
            ("sftp://u@h:2222/srv/a%20b", url(Some("u"), "h", Some(2222), "/srv/a b")),
            ("sftp://h/", url(None, "h", None, "/")),
            ("sftp://[::1]:22/x", url(None, "::1", Some(22), "/x")),
        ] {
            assert_eq!(parse(text), Ok(parsed), "{text}");
        }
        assert_eq!(parse("sftp://u@h:2222/a%20b").unwrap().to_string(), "sftp://u@h:2222/a b");
        assert_eq!(parse("sftp://[::1]/x").unwrap().to_string(), "sftp://[::1]/x");
    }

    #[test]
    fn within_goes_by_names() {
        let at = |text: &str| parse(text).expect("a location");
        assert!(at("/srv/a/b").is_within(&at("/srv/a")));
        assert!(at("/srv/a").is_within(&at("/srv/a/")));
        assert!(at("/srv/x/../a/./b").is_within(&at("/srv/a")));
        assert!(at("/../srv/a").is_within(&at("/srv")));
        assert!(!at("/srv/ab").is_within(&at("/srv/a")));
        assert!(!at("/srv/a/../b").is_within(&at("/srv/a")));
        assert!(!at("s3://b/p").is_within(&at("/")));
    }
}
