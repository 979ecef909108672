//! One suite that every kind of store must pass.
//!
//! The clouds' stand-ins run outside of the tests (`tests/services/start`), which say so when
//! they are not there, and fail where they must be (`CI=true` or
//! `DROVER_TEST_SERVICES=required`).

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher, RandomState},
    num::NonZeroU64,
    os::unix::fs::PermissionsExt,
};

use bytes::Bytes;
use drover_store::{
    Capabilities, CreateOnly, PutOutcome, Store, StoreError, StoreOptions, StoreUrl,
};
use futures::TryStreamExt;

/// A prefix that no other run uses.
fn fresh() -> String {
    format!("t{:016x}", RandomState::new().hash_one(0))
}

/// The endpoint in `variable`; `None` skips the test where that is allowed.
#[allow(clippy::print_stderr)]
fn service(variable: &str) -> Option<String> {
    let endpoint = std::env::var(variable).ok();
    let is_required = std::env::var("CI").is_ok_and(|v| v == "true")
        || std::env::var("DROVER_TEST_SERVICES").is_ok_and(|v| v == "required");
    if endpoint.is_none() {
        assert!(
            !is_required,
            "{variable} is not set: run tests/services/start and source its file"
        );
        eprintln!("skipped: {variable} is not set (tests/services/start)");
    }
    endpoint
}

fn options(pairs: &[(&str, &str)]) -> StoreOptions {
    StoreOptions::from_env(pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())))
}

fn s3(endpoint: &str) -> StoreOptions {
    options(&[
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
    ])
}

fn azure(endpoint: &str) -> StoreOptions {
    // The account and key of the emulator, which are public.
    let key =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
    options(&[
        ("AZURE_STORAGE_ENDPOINT", endpoint),
        ("AZURE_STORAGE_ACCOUNT", "devstoreaccount1"),
        ("AZURE_STORAGE_KEY", key),
    ])
}

fn gcs(endpoint: &str) -> StoreOptions {
    let key = format!(
        r#"{{"gcs_base_url":"{endpoint}","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}}"#
    );
    options(&[("GOOGLE_SERVICE_ACCOUNT_KEY", &key)])
}

async fn open(scheme: &str, options: &StoreOptions) -> Store {
    let url: StoreUrl = format!("{scheme}://drover/{}", fresh()).parse().unwrap();
    Store::connect(&url, options).await.unwrap()
}

#[tokio::test]
async fn memory() {
    let url = "memory:".parse().unwrap();
    let store = Store::connect(&url, &StoreOptions::default()).await.unwrap();
    suite(&store, true).await;
}

#[tokio::test]
async fn local() {
    let directory = tempfile::tempdir().unwrap();
    let url = StoreUrl::from(&*directory.path().join("a/repository"));
    let missing = Store::connect(&url, &StoreOptions::default()).await.unwrap_err();
    assert!(matches!(missing, StoreError::NotFound { .. }), "{missing:?}");
    let store = Store::create(&url, &StoreOptions::default()).await.unwrap();
    let mode = fs::metadata(url.local_path().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    suite(&store, true).await;
}

#[tokio::test]
async fn s3_by_moto() {
    let Some(endpoint) = service("DROVER_TEST_S3") else { return };
    suite(&open("s3", &s3(&endpoint)).await, true).await;
    let mut other = s3(&endpoint);
    other.checksum = drover_store::Checksum::Crc64Nvme;
    other.storage_class = Some("STANDARD_IA".to_owned());
    suite(&open("s3", &other).await, true).await;
}

#[tokio::test]
async fn azure_by_azurite() {
    let Some(endpoint) = service("DROVER_TEST_AZURE") else { return };
    suite(&open("az", &azure(&endpoint)).await, true).await;
    let mut other = azure(&endpoint);
    other.storage_class = Some("Cool".to_owned());
    suite(&open("az", &other).await, true).await;
}

#[tokio::test]
async fn gcs_by_a_fake() {
    let Some(endpoint) = service("DROVER_TEST_GCS") else { return };
    suite(&open("gs", &gcs(&endpoint)).await, false).await;
}

#[tokio::test]
async fn a_missing_bucket_is_not_a_missing_object() {
    for (variable, url, options) in [
        ("DROVER_TEST_S3", "s3://nobody-made-this/p", s3 as fn(&str) -> StoreOptions),
        ("DROVER_TEST_AZURE", "az://nobody-made-this/p", azure),
    ] {
        let Some(endpoint) = service(variable) else { continue };
        let store = Store::connect(&url.parse().unwrap(), &options(&endpoint)).await.unwrap();
        for error in [
            store.get("config", 10).await.unwrap_err(),
            store.put_new("config", Bytes::from_static(b"x")).await.unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::NoContainer { .. }), "{variable}: {error:?}");
            assert!(error.is_not_found());
        }
    }
}

async fn names(store: &Store, directory: &str) -> BTreeMap<String, u64> {
    let listed: Vec<_> = store.list(directory).try_collect().await.unwrap();
    let count = listed.len();
    let names: BTreeMap<_, _> =
        listed.into_iter().map(|object| (object.name, object.len)).collect();
    assert_eq!(names.len(), count, "a name was listed twice");
    names
}

/// What every store must do, on an empty one. `is_paged_largely`: whether 25 objects are one page.
async fn suite(store: &Store, is_paged_largely: bool) {
    // Nothing is there.
    assert!(names(store, "").await.is_empty());
    assert_eq!(store.head("config").await.unwrap(), None);
    let error = store.get("config", 10).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::NotFound { object, .. } if object == "config"),
        "{error:?}"
    );
    store.delete("config").await.unwrap();

    // The probe finds out and leaves nothing.
    let found = store.probe().await.unwrap();
    let expected = Capabilities {
        create_only: CreateOnly::Honoured,
        checksums: found.checksums,
        read: true,
        list: true,
        delete: true,
    };
    assert_eq!(found, expected);
    assert_eq!(store.capabilities(), Some(found));
    assert!(names(store, "").await.is_empty());

    // Put, get, and every byte counted.
    let body = Bytes::from((0..100_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    let len = body.len() as u64;
    let before = store.usage();
    assert_eq!(store.put_new("packs/0a/0a1", body.clone()).await.unwrap(), PutOutcome::Created);
    assert_eq!(store.get("packs/0a/0a1", body.len()).await.unwrap(), body);
    let after = store.usage();
    assert_eq!((after.put - before.put, after.get - before.get), (1, 1));
    assert_eq!(after.bytes_sent - before.bytes_sent, len);
    assert_eq!(after.bytes_received - before.bytes_received, len);
    assert_eq!(store.head("packs/0a/0a1").await.unwrap(), Some(len));

    // The same again is found equal; anything else is never written.
    assert_eq!(
        store.put_new("packs/0a/0a1", body.clone()).await.unwrap(),
        PutOutcome::AlreadyThere
    );
    for other in [
        Bytes::new(),
        body.slice(1..),
        Bytes::from_iter(body.iter().copied().chain([0])),
        Bytes::from_iter(body.iter().copied().take(body.len() - 1).chain([0xee])),
    ] {
        let error = store.put_new("packs/0a/0a1", other).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    }
    assert_eq!(store.get("packs/0a/0a1", body.len()).await.unwrap(), body);

    // Bounds.
    let before = store.usage();
    let error = store.get("packs/0a/0a1", body.len() - 1).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { len: l, .. } if l == len), "{error:?}");
    assert_eq!(store.usage().get - before.get, 1);

    // Ranges, all of each or an error.
    assert_eq!(store.get_range("packs/0a/0a1", 5..70_000).await.unwrap(), body.slice(5..70_000));
    assert_eq!(
        store.get_range("packs/0a/0a1", len - 1..len).await.unwrap(),
        body.slice(body.len() - 1..)
    );
    assert!(store.get_range("packs/0a/0a1", 7..7).await.unwrap().is_empty());
    for range in [len - 1..len + 1, len..len + 1, len + 5..len + 9] {
        let error = store.get_range("packs/0a/0a1", range.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::WrongLength { .. }), "{range:?}: {error:?}");
    }
    assert!(matches!(
        store.get_range("packs/0a/none", 0..1).await,
        Err(StoreError::NotFound { .. })
    ));

    // An empty object is one.
    assert_eq!(store.put_new("keys/empty", Bytes::new()).await.unwrap(), PutOutcome::Created);
    assert_eq!(store.put_new("keys/empty", Bytes::new()).await.unwrap(), PutOutcome::AlreadyThere);
    assert_eq!(store.get("keys/empty", 0).await.unwrap(), Bytes::new());
    assert_eq!(store.head("keys/empty").await.unwrap(), Some(0));

    // A listing is of whole components, and more than a page comes whole.
    let mut expected = BTreeMap::new();
    for number in 0..25u64 {
        let name = format!("snapshots/ab/{number:03}-cd");
        store.put_new(&name, Bytes::from(vec![7; number as usize])).await.unwrap();
        expected.insert(name, number);
    }
    store.put_new("snapshots/abc/1", Bytes::from_static(b"x")).await.unwrap();
    let before = store.usage().list;
    assert_eq!(names(store, "snapshots/ab").await, expected);
    let pages = store.usage().list - before;
    assert_eq!(pages, if is_paged_largely { 1 } else { 3 });
    assert_eq!(names(store, "snapshots").await.len(), 26);
    assert!(names(store, "snapshots/a").await.is_empty());
    assert_eq!(names(store, "").await.len(), 28);

    // Many writers of one name: one creates, the others find it equal.
    let race = (0..8).map(|_| store.put_new("log/race", Bytes::from_static(b"same")));
    let outcomes = futures::future::join_all(race).await;
    let created = outcomes.iter().filter(|o| matches!(o, Ok(PutOutcome::Created))).count();
    assert_eq!(created, 1, "{outcomes:?}");
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");

    // Where the store is taken not to honour conditions, nothing is overwritten either.
    store.assume(Capabilities { create_only: CreateOnly::Ignored, ..found });
    assert_eq!(store.put_new("index/1", body.clone()).await.unwrap(), PutOutcome::Created);
    assert_eq!(store.put_new("index/1", body.clone()).await.unwrap(), PutOutcome::AlreadyThere);
    let error = store.put_new("index/1", body.slice(4..)).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    assert_eq!(store.get("index/1", body.len()).await.unwrap(), body);
    store.assume(found);

    // What was deleted can be made again.
    store.delete("keys/empty").await.unwrap();
    assert_eq!(store.head("keys/empty").await.unwrap(), None);
    assert_eq!(
        store.put_new("keys/empty", Bytes::from_static(b"2")).await.unwrap(),
        PutOutcome::Created
    );

    for bad in ["", "a//b", "../x", "/x", "A"] {
        assert!(matches!(store.head(bad).await, Err(StoreError::BadName { .. })), "{bad:?}");
    }
}

#[tokio::test]
async fn foreign_files_in_a_directory_do_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let store =
        Store::connect(&StoreUrl::from(directory.path()), &StoreOptions::default()).await.unwrap();
    store.put_new("packs/aa/1", Bytes::from_static(b"x")).await.unwrap();
    let at = |name: &str| directory.path().join(name);
    // What a writer that was killed leaves, what a person left, what an attacker put there.
    fs::write(at("packs/aa/2#1"), "half").unwrap();
    fs::write(at("packs/README"), "hello").unwrap();
    fs::create_dir(at("packs/bb")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", at("packs/aa/3")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("packs/aa/4")).status().unwrap().success());
    assert_eq!(store.get("packs/aa/1", 10).await.unwrap(), "x");
    assert_eq!(store.head("packs/bb").await.unwrap(), None);
    for odd in ["packs/aa/3", "packs/aa/4"] {
        let error = store.get(odd, 10_000).await.unwrap_err();
        assert!(matches!(error, StoreError::Protocol { .. }), "{error:?}");
    }
    fs::remove_file(at("packs/aa/3")).unwrap();
    let listed = names(&store, "packs").await;
    assert_eq!(listed.keys().collect::<Vec<_>>(), ["packs/aa/1"]);
}

#[tokio::test]
async fn a_large_object_is_put_as_a_small_one_is() {
    // On a disk, and in memory, where nothing can go past the page cache.
    for root in [".", "/dev/shm"] {
        let directory = tempfile::tempdir_in(root).unwrap();
        let url = StoreUrl::from(directory.path());
        let store = Store::connect(&url, &StoreOptions::default()).await.unwrap();
        for len in [1 << 20, (5 << 20) + 123, (9 << 20) - 1] {
            let body: Bytes = (0..len).map(|at: u32| ((at * 7) >> 9) as u8).collect();
            let (name, other) = (format!("packs/aa/{len}"), Bytes::from(vec![1; len as usize]));
            // What a writer that was killed left.
            let staged = directory.path().join(format!("{name}#1"));
            fs::create_dir_all(staged.parent().unwrap()).unwrap();
            fs::write(&staged, "half").unwrap();
            assert_eq!(store.put_new(&name, body.clone()).await.unwrap(), PutOutcome::Created);
            assert_eq!(store.put_new(&name, body.clone()).await.unwrap(), PutOutcome::AlreadyThere);
            let refused = store.put_new(&name, other).await.unwrap_err();
            assert!(matches!(refused, StoreError::Conflict { .. }), "{refused:?}");
            assert!(store.get(&name, len as usize).await.unwrap() == body);
            let part = u64::from(len) - 700_000..u64::from(len) - 9;
            let read = store.get_range(&name, part.clone()).await.unwrap();
            assert!(read == body[part.start as usize..part.end as usize]);
            let beyond = 5..u64::from(len) + 1;
            let short = store.get_range(&name, beyond).await.unwrap_err();
            assert!(matches!(short, StoreError::WrongLength { .. }), "{short:?}");
            assert!(fs::read(&staged).unwrap() == b"half");
            assert_eq!(fs::read_dir(staged.parent().unwrap()).unwrap().count(), 2);
            fs::remove_dir_all(staged.parent().unwrap()).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_bandwidth_limit_holds_in_both_directions() {
    let mut options = options(&[]);
    options.bandwidth = NonZeroU64::new(1 << 20);
    let store = Store::connect(&"memory:".parse().unwrap(), &options).await.unwrap();
    let start = tokio::time::Instant::now();
    store.put_new("x", Bytes::from(vec![1; 4 << 20])).await.unwrap();
    let put = start.elapsed().as_secs_f64();
    store.get("x", 4 << 20).await.unwrap();
    let both = start.elapsed().as_secs_f64();
    assert!((3.5..4.1).contains(&put), "{put}");
    assert!((7.2..8.2).contains(&both), "{both}");
}
