//! Signs of data that somebody else has encrypted: known extensions and notes, from a dated file.

/// The list, with its date on the first lines.
const LIST: &str = include_str!("../data/ransomware.txt");

/// What is known of ransomware's names.
#[derive(Clone, Debug)]
pub(crate) struct Signs {
    extensions: Vec<(&'static [u8], &'static str)>,
    notes: Vec<(&'static str, &'static str)>,
}

impl Signs {
    /// The built-in list.
    pub fn built_in() -> Self {
        let mut signs = Self { extensions: Vec::new(), notes: Vec::new() };
        for line in LIST.lines().filter(|line| !line.starts_with('#')) {
            if let Some((suffix, family)) =
                line.strip_prefix("extension ").and_then(|l| l.split_once(' '))
            {
                signs.extensions.push((suffix.as_bytes(), family));
            } else if let Some(rest) = line.strip_prefix("note ") {
                // Names of notes hold blanks, families are one or two words after the last sign.
                let at = note_end(rest);
                signs.notes.push((rest[..at].trim(), rest[at..].trim()));
            }
        }
        signs
    }

    /// The family whose extension the lower-case `name` ends with.
    pub fn extension(&self, name: &[u8]) -> Option<&'static str> {
        let dot = name.iter().rposition(|&b| b == b'.')?;
        let suffix = &name[dot..];
        self.extensions.iter().find(|(known, _)| *known == suffix).map(|&(_, family)| family)
    }

    /// The family whose note the lower-case `name` is.
    pub fn note(&self, name: &[u8]) -> Option<&'static str> {
        let fits = |pattern: &str| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(end), _) => name.ends_with(end.as_bytes()) && name.len() > end.len(),
            (_, Some(start)) => name.starts_with(start.as_bytes()),
            _ => match pattern.split_once('*') {
                Some((start, end)) => {
                    name.len() > start.len() + end.len()
                        && name.starts_with(start.as_bytes())
                        && name.ends_with(end.as_bytes())
                }
                None => name == pattern.as_bytes(),
            },
        };
        self.notes.iter().find(|(pattern, _)| fits(pattern)).map(|&(_, family)| family)
    }
}

/// Where the pattern of a note ends: after its last `*` or the extension.
fn note_end(rest: &str) -> usize {
    let star = rest.rfind('*').map(|at| at + 1);
    let extension = [".txt", ".pdf", ".hta", ".html"]
        .iter()
        .filter_map(|e| rest.find(e).map(|at| at + e.len()));
    star.into_iter().chain(extension).max().unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_means_something() {
        let signs = Signs::built_in();
        let lines = LIST.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(signs.extensions.len() + signs.notes.len(), lines);
        assert!(
            signs.extensions.iter().all(|(e, family)| e.starts_with(b".") && !family.is_empty())
        );
        assert!(signs.notes.iter().all(|(n, family)| n.len() > 5 && !family.is_empty()));
    }

    #[test]
    fn names_are_matched() {
        let signs = Signs::built_in();
        assert_eq!(signs.extension(b"scan.pdf.lockbit"), Some("LockBit"));
        assert_eq!(signs.extension(b"scan.pdf"), None);
        assert_eq!(signs.note(b"how to decrypt files.txt"), Some("several"));
        assert_eq!(signs.note(b"recover-ab12x-files.txt"), Some("BlackCat"));
        assert_eq!(signs.note(b"hljkv2.readme.txt"), Some("LockBit 3"));
        assert_eq!(signs.note(b"readme.txt"), None);
    }
}
