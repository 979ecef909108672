//! A page as one self-contained HTML file: no font, no picture, nothing fetched. The one style sheet
//! and the one script, which filters and sorts tables, are allowed by their hashes, and nothing else
//! is.

use askama::Template;
use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use crate::page::{Block, Page};

const STYLE: &str = include_str!("../templates/page.css");
const SCRIPT: &str = include_str!("../templates/page.js");

#[derive(Template)]
#[template(path = "page.html")]
struct PageTemplate<'a> {
    page: &'a Page,
    blocks: Vec<Block<'a>>,
    style: &'static str,
    style_hash: String,
    script: &'static str,
    script_hash: String,
    program: &'static str,
}

/// Renders `page`. An error can only be one of formatting into a string.
pub fn render(page: &Page) -> Result<String, askama::Error> {
    let hash = |text: &str| BASE64.encode(&Sha256::digest(text));
    let (style_hash, script_hash) = (hash(STYLE), hash(SCRIPT));
    let program = concat!("drover ", env!("CARGO_PKG_VERSION"));
    let blocks = page.blocks();
    PageTemplate { page, blocks, style: STYLE, style_hash, script: SCRIPT, script_hash, program }
        .render()
}
