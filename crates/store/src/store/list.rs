//! Listing, page by page.

use std::collections::VecDeque;

use futures::{Stream, StreamExt, stream};
use object_store::{list::PaginatedListOptions, path::Path};

use super::Store;
use crate::{StoreError, classify::store_error, name};

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name below the store's prefix.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

impl Store {
    /// All objects below a directory of names (`packs`, `snapshots/ab`; empty for all), in no
    /// particular order. Fetched page by page as the stream is read. What drover did not name, and
    /// what is being written, is left out.
    pub fn list(
        &self,
        directory: &str,
    ) -> impl Stream<Item = Result<ObjectInfo, StoreError>> + Send + Unpin + use<> {
        let directory = directory.trim_end_matches('/').to_owned();
        if !directory.is_empty()
            && let Err(error) = name::check(&directory)
        {
            return stream::once(std::future::ready(Err(error))).boxed();
        }
        if self.0.backend.is_cloud() {
            self.list_pages(directory, true).boxed()
        } else {
            self.list_files(directory, true).boxed()
        }
    }

    /// With names of drover's making only, or with all.
    pub(super) fn list_files(
        &self,
        directory: String,
        own: bool,
    ) -> impl Stream<Item = Result<ObjectInfo, StoreError>> + use<> {
        self.0.traffic.meter.add(|m| &m.list, 1);
        let prefix = (!directory.is_empty()).then(|| Path::from(directory.as_str()));
        let store = self.clone();
        self.0.backend.objects().list(prefix.as_ref()).filter_map(move |item| {
            let listed = match item {
                Ok(meta) => store.listed(meta.location.as_ref(), meta.size, own).map(Ok),
                Err(error) => Some(Err(store_error(&directory, error))),
            };
            std::future::ready(listed)
        })
    }

    /// With names of drover's making only, or with all.
    pub(super) fn list_pages(
        &self,
        directory: String,
        own: bool,
    ) -> impl Stream<Item = Result<ObjectInfo, StoreError>> + use<> {
        let prefix = match directory.as_str() {
            "" => self.0.prefix.clone(),
            directory => format!("{}{directory}/", self.0.prefix),
        };
        struct State {
            store: Store,
            page: VecDeque<ObjectInfo>,
            /// The page to ask for next; `None` after the last.
            next: Option<Option<String>>,
        }
        let state = State { store: self.clone(), page: VecDeque::new(), next: Some(None) };
        stream::try_unfold(state, move |mut state| {
            let (directory, prefix) = (directory.clone(), prefix.clone());
            async move {
                loop {
                    if let Some(object) = state.page.pop_front() {
                        return Ok(Some((object, state)));
                    }
                    let Some(token) = state.next.take() else { return Ok(None) };
                    let (page, next) =
                        state.store.page(&directory, &prefix, token.clone(), own).await?;
                    if next.is_some() && next == token {
                        return Err(StoreError::Protocol {
                            object: directory,
                            source: Some("the listing names the same page as the next one".into()),
                        });
                    }
                    state.page = page;
                    state.next = next.map(Some);
                }
            }
        })
    }

    /// One page of a listing, and the token of the next.
    async fn page(
        &self,
        directory: &str,
        prefix: &str,
        token: Option<String>,
        own: bool,
    ) -> Result<(VecDeque<ObjectInfo>, Option<String>), StoreError> {
        let pages = self.0.backend.pages().ok_or_else(|| StoreError::Protocol {
            object: directory.to_owned(),
            source: Some("only clouds are listed by pages".into()),
        })?;
        let prefix = (!prefix.is_empty()).then_some(prefix);
        let page = self
            .retried(|_| {
                self.0.traffic.meter.add(|m| &m.list, 1);
                let page_token = token.clone();
                let options = PaginatedListOptions { page_token, ..Default::default() };
                let page = pages.list_paginated(prefix, options);
                async { page.await.map_err(|error| store_error(directory, error)) }
            })
            .await?;
        let objects = page.result.objects.iter();
        let listed = objects.filter_map(|o| self.listed(o.location.as_ref(), o.size, own));
        Ok((listed.collect(), page.page_token))
    }

    fn listed(&self, location: &str, len: u64, own: bool) -> Option<ObjectInfo> {
        let name = location.strip_prefix(&self.0.prefix)?;
        (!own || name::is_valid(name)).then(|| ObjectInfo { name: name.to_owned(), len })
    }
}
