//! Text: whether bytes are some, in which encoding, and of what sort.

mod encoding;
mod sort;

pub use encoding::Encoding;
pub(crate) use encoding::{Transcoder, detect};
pub(crate) use sort::sort;
