//! Plans, and the rates in them.

use drover_plan::{Plan, Rate};

use crate::shared::text;
use std::path::Path;

/// Text as either.
pub fn run(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let rate = text.parse::<Rate>();
    if let Ok(rate) = rate {
        assert_eq!(rate.to_string().parse::<Rate>(), Ok(rate));
    }
    match Plan::parse(text, Path::new("/plans/plan.toml")) {
        Ok(_) => true,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            rate.is_ok()
        }
    }
}

/// The example plans, and a rate.
pub fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plans");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let plans = files.filter(|path| path.extension().is_some_and(|e| e == "toml"));
    let mut seeds: Vec<_> = plans.map(|path| std::fs::read(path).unwrap()).collect();
    seeds.push(b"12.5 MiB/s".to_vec());
    seeds
}
