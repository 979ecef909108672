//! From what a client library or the system reports to the kind of [`StoreError`] it is.

use std::{error::Error, io};

use crate::{Cause, StoreError, client::HttpFailure};

/// The first `T` in an error's chain of causes, also inside an [`io::Error`], which hides the
/// error it wraps from [`Error::source`].
pub(crate) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Why a create-only put did not store anything.
pub(crate) enum PutFailure {
    /// Something is, or may be, stored under the name.
    Taken(StoreError),
    /// The store does not know create-only puts.
    Unsupported(StoreError),
    /// Anything else.
    Other(StoreError),
}

pub(crate) fn put_failure(object: &str, error: object_store::Error) -> PutFailure {
    let is_unsupported = match find::<HttpFailure>(&error) {
        // Where two writes meet nothing was stored, and nothing is known to be there.
        Some(HttpFailure::Refused { status: 409, code, .. }) if is_under_way(code) => false,
        // S3 and Google answer 412, Azure 409.
        Some(HttpFailure::Refused { status: 409 | 412, .. }) => {
            let object = object.to_owned();
            return PutFailure::Taken(StoreError::Conflict { object, source: Some(error.into()) });
        }
        Some(HttpFailure::Refused { status, code, .. }) => {
            *status == 501 || code == "NotImplemented"
        }
        Some(_) => false,
        // File systems without hard links: FAT, some network file systems and FUSE.
        None => match find::<io::Error>(&error).and_then(io::Error::raw_os_error) {
            Some(code) => [EPERM, ENOSYS, EOPNOTSUPP].contains(&code),
            None => matches!(error, object_store::Error::NotImplemented { .. }),
        },
    };
    let error = store_error(object, error);
    match error {
        _ if is_unsupported => PutFailure::Unsupported(error),
        StoreError::Conflict { .. } => PutFailure::Taken(error),
        _ => PutFailure::Other(error),
    }
}

/// Whether a 409 says that something else is under way with the object.
fn is_under_way(code: &str) -> bool {
    matches!(code, "OperationAborted" | "ConditionalRequestConflict")
}

// Linux's numbers; `io::ErrorKind` does not tell EPERM from EACCES.
const EPERM: i32 = 1;
const ENOSYS: i32 = 38;
const EOPNOTSUPP: i32 = 95;

/// The error about `object` that `error` is.
pub(crate) fn store_error(object: &str, error: object_store::Error) -> StoreError {
    if let Some(build) = find::<HttpFailure>(&error).map(http_error) {
        return build(object.to_owned(), Some(Box::new(error)));
    }
    if let Some(kind) = find::<io::Error>(&error).map(io::Error::kind) {
        return io_error(object, kind, Some(Box::new(error)));
    }
    let object = object.to_owned();
    let is = |test: fn(&object_store::Error) -> bool| test(&error);
    use object_store::Error as E;
    if is(|e| matches!(e, E::NotFound { .. })) {
        StoreError::NotFound { object, source: Some(Box::new(error)) }
    } else if is(|e| matches!(e, E::AlreadyExists { .. } | E::Precondition { .. })) {
        StoreError::Conflict { object, source: Some(Box::new(error)) }
    } else {
        StoreError::Protocol { object, source: Some(Box::new(error)) }
    }
}

/// The error of an operation on a local file.
pub(crate) fn io_error(object: &str, kind: io::ErrorKind, source: Option<Cause>) -> StoreError {
    use io::ErrorKind as K;
    let object = object.to_owned();
    match kind {
        K::NotFound | K::NotADirectory | K::IsADirectory => StoreError::NotFound { object, source },
        K::AlreadyExists => StoreError::Conflict { object, source },
        K::PermissionDenied => StoreError::Denied { object, source },
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge => {
            StoreError::NoSpace { object, source }
        }
        K::ReadOnlyFilesystem => StoreError::ReadOnly { object, source },
        _ => StoreError::Io { object, source },
    }
}

type Build = Box<dyn FnOnce(String, Option<Cause>) -> StoreError>;

/// How the error that `failure` stands for is made of the object and the cause.
fn http_error(failure: &HttpFailure) -> Build {
    match failure {
        HttpFailure::Refused { status, code, retry_after, ahead, .. } => {
            refusal(*status, code, *retry_after, *ahead)
        }
        HttpFailure::Stalled(_) | HttpFailure::TooSlow(_) => {
            Box::new(|object, source| StoreError::TimedOut { object, source })
        }
        HttpFailure::Unreachable(_) => {
            Box::new(|object, source| StoreError::Unreachable { object, source })
        }
        HttpFailure::Untrusted(_) => {
            Box::new(|object, source| StoreError::Untrusted { object, source })
        }
        HttpFailure::Broken(_) => {
            Box::new(|object, source| StoreError::Interrupted { object, source })
        }
        HttpFailure::NoCredentials(_) => {
            Box::new(|object, source| StoreError::Unauthenticated { object, source })
        }
        HttpFailure::Insecure(url) => {
            let url = url.clone();
            Box::new(|_, _| StoreError::InsecureHttp { url })
        }
        HttpFailure::LongPage | HttpFailure::Invalid(_) => {
            Box::new(|object, source| StoreError::Protocol { object, source })
        }
    }
}

/// S3 and Azure refuse what was signed more than 15 minutes away from their own time.
const CLOCK_TOLERANCE: u64 = 15 * 60;

fn refusal(
    status: u16,
    code: &str,
    retry_after: Option<std::time::Duration>,
    ahead: Option<i64>,
) -> Build {
    let is_far_off = ahead.is_some_and(|ahead| ahead.unsigned_abs() > CLOCK_TOLERANCE);
    match (status, code) {
        (_, "RequestTimeTooSkewed") => {
            Box::new(move |object, source| StoreError::WrongClock { object, ahead, source })
        }
        // Not every store says what it minds, and an answer to HEAD has no room to.
        (
            400 | 401 | 403,
            ""
            | "SignatureDoesNotMatch"
            | "AuthenticationFailed"
            | "InvalidAuthenticationInfo"
            | "AuthorizationHeaderMalformed",
        ) if is_far_off => {
            Box::new(move |object, source| StoreError::WrongClock { object, ahead, source })
        }
        (_, "NoSuchBucket" | "ContainerNotFound" | "ContainerBeingDeleted") => {
            Box::new(|object, source| StoreError::NoContainer { object, source })
        }
        // S3 answers 400 when a body stalls or arrives damaged.
        (
            400,
            "RequestTimeout"
            | "BadDigest"
            | "XAmzContentChecksumMismatch"
            | "IncompleteBody"
            | "Md5Mismatch",
        ) => Box::new(|object, source| StoreError::Interrupted { object, source }),
        (401, _)
        | (
            400 | 403,
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "AuthenticationFailed"
            | "AuthorizationHeaderMalformed"
            | "InvalidAuthenticationInfo",
        ) => Box::new(|object, source| StoreError::Unauthenticated { object, source }),
        (507, _) | (_, "QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage") => {
            Box::new(|object, source| StoreError::NoSpace { object, source })
        }
        (403 | 407, _) => Box::new(|object, source| StoreError::Denied { object, source }),
        (404, _) => Box::new(|object, source| StoreError::NotFound { object, source }),
        (412, _) => Box::new(|object, source| StoreError::Conflict { object, source }),
        (429 | 503, _) => {
            Box::new(move |object, source| StoreError::Throttled { object, retry_after, source })
        }
        // 307: a bucket so new that its region's name does not resolve everywhere yet.
        (307 | 408 | 425 | 500 | 502 | 504, _) => {
            Box::new(move |object, source| StoreError::Unavailable { object, retry_after, source })
        }
        // One without a name of its own says no more.
        (409, code) if code.is_empty() || is_under_way(code) => {
            Box::new(move |object, source| StoreError::Unavailable { object, retry_after, source })
        }
        _ => Box::new(|object, source| StoreError::Protocol { object, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_found_behind_an_io_error() {
        let inner = io::Error::other(rustls::Error::HandshakeNotComplete);
        let outer = object_store::Error::Generic { store: "x", source: Box::new(inner) };
        assert!(find::<rustls::Error>(&outer).is_some());
        assert!(find::<HttpFailure>(&outer).is_none());
    }

    #[test]
    fn what_the_system_says_becomes_what_people_can_act_upon() {
        let error = |code| {
            let source = Box::new(io::Error::from_raw_os_error(code));
            store_error("x", object_store::Error::Generic { store: "x", source })
        };
        // ENOENT, EIO, EACCES, ENOSPC, EDQUOT, EROFS as Linux numbers them.
        assert!(matches!(error(2), StoreError::NotFound { .. }));
        assert!(matches!(error(5), StoreError::Io { .. }));
        assert!(matches!(error(13), StoreError::Denied { .. }));
        assert!(matches!(error(28), StoreError::NoSpace { .. }));
        assert!(matches!(error(122), StoreError::NoSpace { .. }));
        assert!(matches!(error(30), StoreError::ReadOnly { .. }));
        // Each of these needs a person: none is tried again.
        assert!([2, 5, 13, 28, 122, 30].iter().all(|code| !error(*code).is_transient()));
    }

    #[test]
    fn a_file_system_without_hard_links_is_no_denial() {
        let failure = |code| {
            let source = Box::new(io::Error::from_raw_os_error(code));
            put_failure("x", object_store::Error::Generic { store: "x", source })
        };
        for code in [EPERM, ENOSYS, EOPNOTSUPP] {
            assert!(matches!(failure(code), PutFailure::Unsupported(_)), "{code}");
        }
        assert!(matches!(failure(13), PutFailure::Other(StoreError::Denied { .. })));
    }

    #[test]
    fn statuses_become_what_people_can_act_upon() {
        let error = |status, code: &str| refusal(status, code, None, None)("x".to_owned(), None);
        assert!(matches!(error(403, "AccessDenied"), StoreError::Denied { .. }));
        assert!(matches!(error(403, "ExpiredToken"), StoreError::Unauthenticated { .. }));
        assert!(matches!(error(404, "NoSuchBucket"), StoreError::NoContainer { .. }));
        assert!(error(400, "RequestTimeout").is_transient());
        assert!(!error(400, "").is_transient());
        for status in [429, 500, 502, 503, 504] {
            assert!(error(status, "").is_transient(), "{status}");
        }
        assert!(!error(501, "").is_transient());
    }
}
