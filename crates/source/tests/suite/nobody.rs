//! Who knows no secret and trusts nobody: keys and fingerprints have to do.

use std::path::Path;

use drover_source::SshSecrets;
use zeroize::Zeroizing;

pub struct Nobody;

impl SshSecrets for Nobody {
    fn password(&self, _: &str, _: &str) -> Result<Option<Zeroizing<String>>, String> {
        Ok(None)
    }
    fn passphrase(&self, _: &Path) -> Result<Option<Zeroizing<String>>, String> {
        Ok(None)
    }
    fn trust(&self, _: &str, _: &str, _: &str) -> bool {
        false
    }
}
