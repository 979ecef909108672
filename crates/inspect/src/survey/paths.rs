//! Many paths in little memory: directories once, names one behind the other.

use std::collections::HashMap;

use drover_types::RelativePath;

#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    numbers: HashMap<Box<[u8]>, u32>,
    directories: Vec<Box<[u8]>>,
    names: Vec<u8>,
    /// Directory, and where the name ends in `names`.
    entries: Vec<(u32, u32)>,
}

impl Paths {
    /// Keeps `path`; its number, or `None` where no more fit (names of 4 GiB).
    pub fn add(&mut self, path: &RelativePath) -> Option<u32> {
        let (bytes, name) = (path.as_bytes(), path.name());
        let directory = &bytes[..bytes.len() - name.len()];
        let end = u32::try_from(self.names.len() + name.len()).ok()?;
        let number = u32::try_from(self.entries.len()).ok()?;
        let directory = match self.numbers.get(directory) {
            Some(&known) => known,
            None => {
                let new = u32::try_from(self.directories.len()).ok()?;
                self.numbers.insert(directory.into(), new);
                self.directories.push(directory.into());
                new
            }
        };
        self.names.extend_from_slice(name);
        self.entries.push((directory, end));
        Some(number)
    }

    /// The path of this number.
    pub fn get(&self, number: u32) -> RelativePath {
        let number = number as usize;
        let Some(&(directory, end)) = self.entries.get(number) else { return RelativePath::root() };
        let start = number.checked_sub(1).map_or(0, |before| self.entries[before].1);
        let name = &self.names[start as usize..end as usize];
        let bytes = [&self.directories[directory as usize], name].concat();
        RelativePath::new(bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let mut paths = Paths::default();
        let all = ["a/b/c", "a/b/d", "e", "a/f", "a/b/c2"];
        for (number, path) in all.iter().enumerate() {
            assert_eq!(
                paths.add(&RelativePath::new(path.as_bytes()).unwrap()),
                Some(number as u32)
            );
        }
        let back: Vec<_> = (0..5).map(|number| paths.get(number).to_string()).collect();
        assert_eq!(back, all);
        assert_eq!(paths.directories.len(), 3);
    }
}
