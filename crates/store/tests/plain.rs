//! Plain objects, in memory: names of any kind, parts, metadata, replacing.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use bytes::Bytes;
use drover_store::{Metadata, Store, StoreError, StoreOptions};
use futures::TryStreamExt;

async fn store() -> Store {
    Store::connect(&"memory:".parse().unwrap(), &StoreOptions::default()).await.unwrap()
}

#[tokio::test]
async fn objects_of_any_name_are_replaced_listed_and_deleted() {
    let store = store().await;
    let metadata = Metadata::from([("droverblake3", "ab".to_owned())]);
    for key in ["A b/\u{fc}.txt", "100%25", "a?b#c&d", ".drover/landing.json"] {
        store.put_plain(key, Bytes::from_static(b"old"), &Metadata::new()).await.unwrap();
        store.put_plain(key, Bytes::from_static(b"newer"), &metadata).await.unwrap();
        assert_eq!(store.get_plain(key, 0..5).await.unwrap(), "newer");
        assert_eq!(store.get_plain(key, 2..4).await.unwrap(), "we");
        let (len, said) = store.plain_metadata(key).await.unwrap().unwrap();
        assert_eq!((len, said["droverblake3"].as_str()), (5, "ab"));
    }
    let listed: Vec<_> = store.list_plain().try_collect().await.unwrap();
    let names: BTreeSet<_> = listed.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names.len(), 4);
    assert!(names.contains("A b/\u{fc}.txt") && listed.iter().all(|object| object.len == 5));
    // Names of drover's own making are told from these.
    let own: Vec<_> = store.list("").try_collect().await.unwrap();
    assert_eq!(own.len(), 1, "{own:?}");
    store.delete_plain("100%25").await.unwrap();
    store.delete_plain("100%25").await.unwrap();
    assert_eq!(store.plain_metadata("100%25").await.unwrap(), None);
    let gone = store.get_plain("100%25", 0..1).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })), "{gone:?}");
    for bad in ["a//b", "a/../b", "a/./b"] {
        let put = store.put_plain(bad, Bytes::new(), &Metadata::new()).await;
        assert!(matches!(put, Err(StoreError::BadName { .. })), "{bad}: {put:?}");
    }
}

#[tokio::test]
async fn parts_are_joined_and_go_on_where_they_were_noted() {
    let store = store().await;
    let none = Metadata::new();
    let upload = store.begin_plain("large", &none).await.unwrap();
    let first = store.put_plain_part(&upload, 0, Bytes::from_static(b"first ")).await.unwrap();
    assert_eq!(store.plain_metadata("large").await.unwrap(), None, "it is not there yet");
    let (id, noted) = (upload.id().to_owned(), first.id().to_owned());
    drop((upload, first));
    let upload = store.plain_upload("large", &id).unwrap();
    let second = store.put_plain_part(&upload, 1, Bytes::from_static(b"second")).await.unwrap();
    let parts = vec![drover_store::PlainPart::from_id(noted), second];
    store.complete_plain(&upload, parts, &none, 12).await.unwrap();
    assert_eq!(store.get_plain("large", 0..12).await.unwrap(), "first second");
    let given_up = store.begin_plain("other", &none).await.unwrap();
    store.abort_plain(&given_up).await.unwrap();
    assert_eq!(store.plain_metadata("other").await.unwrap(), None);
}
