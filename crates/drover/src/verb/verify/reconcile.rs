//! Counts of an inventory that was kept beside those of the landed target.

use std::path::Path;

use drover_ops::inventory::{InventoryOptions, inventory};
use drover_report::{Body, InventorySource, Reconciliation};
use drover_source::LocalSource;

use crate::{context::Context, error::Error, output, reading};

/// The inventory of `source` in a report that was kept.
pub fn kept(path: &Path, source: Option<&str>) -> Result<InventorySource, Error> {
    let document = reading::report(path, "cannot read the inventory")?;
    let shown = output::shown(path);
    let report = match document.body {
        Some(Body::Inventory(report)) => report,
        Some(Body::Plan(report)) => report.inventory,
        _ => return Err(Error::Usage(format!("{shown} is no report of drover inventory or plan"))),
    };
    let mut sources = match report.sources.is_empty() {
        true => vec![report.sum],
        false => report.sources,
    };
    if sources.len() > 1 {
        sources.retain(|known| Some(known.source.as_str()) == source);
    }
    match sources.pop() {
        Some(found) if found.content_read => Ok(found),
        Some(_) => Err(Error::Usage(format!("{shown} counts nothing: no file was opened for it"))),
        None => {
            let message = format!("{shown} is of several sources: name one with --source");
            Err(Error::Usage(message))
        }
    }
}

/// Counts what the target shows.
pub fn with_target(
    before: &InventorySource,
    target: &Path,
    context: &Context,
) -> Result<Reconciliation, Error> {
    let source = LocalSource::open(target).map_err(drover_ops::Error::from)?;
    let options = InventoryOptions { duplicates: false, ..InventoryOptions::default() };
    let after = inventory(&source, None, &|| None, &options, &context.progress, &context.cancel)?;
    Ok(Reconciliation::new(before, &after.report))
}
