//! A page as one self-contained HTML file: no script, no font, no picture, nothing fetched. The
//! one style sheet is allowed by its hash, and nothing else is.

use askama::Template;
use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use crate::page::Page;

const STYLE: &str = include_str!("../templates/page.css");

#[derive(Template)]
#[template(path = "page.html")]
struct PageTemplate<'a> {
    page: &'a Page,
    style: &'static str,
    style_hash: String,
    program: &'static str,
}

/// Renders `page`. An error can only be one of formatting into a string.
pub fn render(page: &Page) -> Result<String, askama::Error> {
    let style_hash = BASE64.encode(&Sha256::digest(STYLE));
    let program = concat!("drover ", env!("CARGO_PKG_VERSION"));
    PageTemplate { page, style: STYLE, style_hash, program }.render()
}
