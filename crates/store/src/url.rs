//! The URL of a store. It never holds a secret: credentials come from the provider's environment.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::StoreError;

/// Where a store is: a bare path or `file://`, `s3://bucket/prefix`, `az://container/prefix`,
/// `gs://bucket/prefix`, or `memory:`, which each connection starts empty, for tests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreUrl(Place);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Local(PathBuf),
    Memory,
    Cloud { kind: StoreKind, bucket: String, prefix: String },
}

/// The kind of service behind a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreKind {
    /// A directory.
    Local,
    /// The memory of this process.
    Memory,
    /// Amazon S3 and what speaks its protocol.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Gcs,
}

impl StoreKind {
    fn scheme(self) -> &'static str {
        match self {
            Self::Local => "file",
            Self::Memory => "memory",
            Self::S3 => "s3",
            Self::Azure => "az",
            Self::Gcs => "gs",
        }
    }
}

impl StoreUrl {
    /// The kind of service.
    pub fn kind(&self) -> StoreKind {
        match &self.0 {
            Place::Local(_) => StoreKind::Local,
            Place::Memory => StoreKind::Memory,
            Place::Cloud { kind, .. } => *kind,
        }
    }

    /// The directory of a local store.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Local(path) => Some(path),
            _ => None,
        }
    }

    /// The same place with a directory `name` added to its prefix or path.
    pub fn join(&self, name: &str) -> Result<Self, StoreError> {
        crate::name::check(name)?;
        Ok(Self(match &self.0 {
            Place::Local(path) => Place::Local(path.join(name)),
            Place::Memory => Place::Memory,
            Place::Cloud { kind, bucket, prefix } => Place::Cloud {
                kind: *kind,
                bucket: bucket.clone(),
                prefix: match prefix.as_str() {
                    "" => name.to_owned(),
                    prefix => format!("{prefix}/{name}"),
                },
            },
        }))
    }

    pub(crate) fn place(&self) -> &Place {
        &self.0
    }
}

impl From<&Path> for StoreUrl {
    fn from(path: &Path) -> Self {
        Self(Place::Local(path.to_owned()))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Local(path) => {
                f.write_str(&drover_types::path::escape(path.as_os_str().as_encoded_bytes()))
            }
            Place::Memory => f.write_str("memory:"),
            Place::Cloud { kind, bucket, prefix } if prefix.is_empty() => {
                write!(f, "{}://{bucket}", kind.scheme())
            }
            Place::Cloud { kind, bucket, prefix } => {
                write!(f, "{}://{bucket}/{prefix}", kind.scheme())
            }
        }
    }
}

impl FromStr for StoreUrl {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        // What stands before an `@` may be a password: it is never repeated.
        let shown =
            match text.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'))) {
                Some((scheme, Some((_, host)))) => format!("{scheme}://…@{host}"),
                _ => text.to_owned(),
            };
        let bad = |reason: &str| StoreError::BadUrl {
            url: drover_types::path::escape(shown.as_bytes()),
            reason: reason.to_owned(),
        };
        if text.is_empty() || text.contains('\0') {
            return Err(bad("it is empty or holds a NUL byte"));
        }
        if text == "memory:" || text == "memory://" {
            return Ok(Self(Place::Memory));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text.split_once(':') {
                Some(("file" | "s3" | "az" | "gs", _)) => {
                    Err(bad("after the scheme and its colon comes `//`"))
                }
                _ => Ok(Self(Place::Local(PathBuf::from(text)))),
            };
        };
        let kind = match scheme {
            "file" => {
                let url = ::url::Url::parse(text).map_err(|error| bad(&error.to_string()))?;
                let path = url.to_file_path().map_err(|()| {
                    bad("a file URL has three slashes and an absolute path: file:///path")
                })?;
                return Ok(Self(Place::Local(path)));
            }
            "s3" => StoreKind::S3,
            "az" => StoreKind::Azure,
            "gs" => StoreKind::Gcs,
            _ => return Err(bad("the scheme is none of file, s3, az, gs")),
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains('@') {
            return Err(bad(
                "credentials do not belong into a URL; set the provider's environment variables",
            ));
        }
        let is_bucket_character =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
        if bucket.is_empty() || bucket.len() > 255 || !bucket.bytes().all(is_bucket_character) {
            return Err(bad(
                "after the scheme comes the bucket or container: lower-case letters, digits, `-`, `.`",
            ));
        }
        let prefix = prefix.trim_end_matches('/');
        if prefix.contains(['?', '#']) {
            return Err(bad("a prefix has no `?` and no `#`"));
        }
        if prefix.len() > 400 {
            return Err(bad("the prefix is longer than 400 bytes"));
        }
        // Parsing refuses empty, `.` and `..` segments, and control characters.
        if prefix.starts_with('/') || object_store::path::Path::parse(prefix).is_err() {
            return Err(bad(
                "a segment of the prefix is empty, `.`, `..` or holds unusual characters",
            ));
        }
        Ok(Self(Place::Cloud { kind, bucket: bucket.to_owned(), prefix: prefix.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StoreUrl, StoreError> {
        text.parse()
    }

    #[test]
    fn urls_print_as_they_were_given() {
        for text in
            ["/srv/repo", "repo", "../x", "s3://b/p/q", "az://c", "gs://b/p", "memory:", "c:x"]
        {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("file:///srv/a%20b").unwrap().local_path(), Some(Path::new("/srv/a b")));
        assert_eq!(parse("s3://b/p/").unwrap(), parse("s3://b/p").unwrap());
        assert_eq!(parse("s3://b").unwrap().join("x").unwrap().to_string(), "s3://b/x");
    }

    #[test]
    fn what_names_no_store_is_refused_and_says_why() {
        for text in [
            "",
            "s3://",
            "s3:bucket",
            "s3:///p",
            "s3://B/p",
            "s3://b//p",
            "s3://b/../p",
            "s3://b/p?x",
            "http://host/x",
            "file://host/x",
            "sftp://host/x",
            "a\0b",
        ] {
            let error = parse(text).unwrap_err();
            assert!(matches!(error, StoreError::BadUrl { .. }), "{text:?}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        for text in
            ["s3://key:hunter2@bucket/p", "https://key:hunter2@host/p", "s3://u:hunter2@a@b"]
        {
            let error = parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
