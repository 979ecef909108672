//! Counts of DICOM and HL7 in files that somebody else reads, as an inventory of them has them.

use std::io;

use drover_inspect::{Content, HashKey, InspectOptions, Inspector, Survey};
use drover_report::InventorySource;
use drover_types::RelativePath;

use super::{report, veil::Veil};

/// Counts file by file, in memory that is bounded whatever there are.
pub struct Counts {
    inspector: Inspector,
    survey: Survey,
}

impl Default for Counts {
    fn default() -> Self {
        let key = HashKey::new(drover_crypt::random::array());
        Self { inspector: Inspector::new(InspectOptions::new(key)), survey: Survey::new() }
    }
}

impl Counts {
    /// Looks into one file. The error is that of a read.
    pub(crate) fn add(&mut self, path: &RelativePath, content: &mut dyn Content) -> io::Result<()> {
        let found = self.inspector.inspect(path.name(), content)?;
        self.survey.absorb(path, content.size(), &found);
        Ok(())
    }

    /// What was counted, as an inventory has it; nothing else is in it.
    pub fn finish(self) -> InventorySource {
        let content = report::content(&self.survey, &Veil::new(None));
        InventorySource { content, content_read: true, ..InventorySource::default() }
    }
}
