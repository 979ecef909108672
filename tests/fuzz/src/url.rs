//! Locations of sources and targets, and URLs of repositories.

use drover_plan::Location;
use drover_store::StoreUrl;

use crate::shared::text;
use std::path::Path;

/// Text as either. What a URL is shown as parses to the same, unless it had to
/// be escaped.
pub fn run(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let url = text.parse::<StoreUrl>();
    if let Ok(url) = &url
        && !url.to_string().contains('\\')
    {
        assert_eq!(url.to_string().parse::<StoreUrl>().as_ref().ok(), Some(url));
    }
    url.is_ok() | Location::parse(text, Path::new("/base")).is_ok()
}

/// One of each scheme.
pub fn seeds() -> Vec<Vec<u8>> {
    ["/srv/data", "s3://bucket/prefix/x", "az://container/prefix", "gs://bucket", "memory:x"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}
