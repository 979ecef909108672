//! What a provider asks for: a dated file that is edited by hand.

use std::{fs, path::Path};

use toml::{Table as TomlTable, Value};

/// Prices of one provider in one region.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// Such as `AWS S3`.
    pub provider: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// Such as `USD`.
    pub currency: String,
    /// The day the prices are of.
    pub priced_on: String,
    /// Where they are from.
    pub source: String,
    /// For each GB that leaves for the internet.
    pub egress_per_gb: f64,
    /// GB a month that leave for nothing.
    pub egress_free_gb: f64,
    /// Storage classes.
    pub classes: Vec<ClassPrices>,
}

/// What one storage class costs.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassPrices {
    /// As the provider calls it.
    pub name: String,
    /// For each GB and month.
    pub storage_per_gb_month: f64,
    /// For each 1,000 requests that put or list.
    pub puts_per_1000: f64,
    /// For each 1,000 requests that get.
    pub gets_per_1000: f64,
    /// For each GB that is read.
    pub retrieval_per_gb: f64,
    /// Months that are paid at least.
    pub minimum_months: f64,
}

/// Why prices cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    /// The file cannot be read.
    #[error("{file}: cannot read the prices: {source}")]
    Read {
        /// The file.
        file: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not what prices are.
    #[error("{file}: {problem}")]
    Invalid {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
}

/// Larger files are no prices, in bytes.
const LONGEST: u64 = 1 << 20;
/// A GB as providers count it, in bytes.
pub const GB: f64 = (1u64 << 30) as f64;

impl Prices {
    /// Reads a file.
    pub fn load(file: &Path) -> Result<Self, PricesError> {
        let name = drover_types::path::escape(file.as_os_str().as_encoded_bytes());
        let read = || {
            if fs::metadata(file)?.len() > LONGEST {
                return Err(std::io::Error::other("it is larger than any price list"));
            }
            fs::read_to_string(file)
        };
        let text = read().map_err(|source| PricesError::Read { file: name.clone(), source })?;
        Self::parse(&text).map_err(|problem| PricesError::Invalid { file: name, problem })
    }

    /// Parses the text of a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        const KEYS: [&str; 8] = [
            "provider",
            "region",
            "currency",
            "priced_on",
            "source",
            "egress_per_gb",
            "egress_free_gb",
            "class",
        ];
        let table: TomlTable = text.parse().map_err(|error: toml::de::Error| {
            let message = error.message().to_owned();
            match error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count())
            {
                Some(lines) => format!("line {}: {message}", lines + 1),
                None => message,
            }
        })?;
        known(&table, &KEYS)?;
        let word = |key: &str| match table.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            _ => Err(format!("\"{key}\" must be a string")),
        };
        let classes = match table.get("class") {
            Some(Value::Array(classes)) if !classes.is_empty() => classes,
            _ => return Err("at least one [[class]] is needed".to_owned()),
        };
        let classes = classes.iter().map(|class| match class {
            Value::Table(class) => ClassPrices::parse(class),
            _ => Err("each [[class]] is a table".to_owned()),
        });
        let classes = classes.collect::<Result<_, _>>()?;
        Ok(Self {
            provider: word("provider")?,
            region: word("region")?,
            currency: word("currency")?,
            priced_on: word("priced_on")?,
            source: word("source")?,
            egress_per_gb: amount(&table, "egress_per_gb")?,
            egress_free_gb: amount(&table, "egress_free_gb")?,
            classes,
        })
    }

    /// The class of this name, else the first.
    pub fn class(&self, name: Option<&str>) -> Option<&ClassPrices> {
        match name {
            Some(name) => self.classes.iter().find(|class| class.name.eq_ignore_ascii_case(name)),
            None => self.classes.first(),
        }
    }
}

impl ClassPrices {
    fn parse(table: &TomlTable) -> Result<Self, String> {
        const KEYS: [&str; 6] = [
            "name",
            "storage_per_gb_month",
            "puts_per_1000",
            "gets_per_1000",
            "retrieval_per_gb",
            "minimum_months",
        ];
        known(table, &KEYS)?;
        let Some(Value::String(name)) = table.get("name") else {
            return Err("a [[class]] needs a \"name\"".to_owned());
        };
        Ok(Self {
            name: name.clone(),
            storage_per_gb_month: amount(table, "storage_per_gb_month")?,
            puts_per_1000: amount(table, "puts_per_1000")?,
            gets_per_1000: amount(table, "gets_per_1000")?,
            retrieval_per_gb: amount(table, "retrieval_per_gb")?,
            minimum_months: amount(table, "minimum_months")?,
        })
    }
}

fn known(table: &TomlTable, keys: &[&str]) -> Result<(), String> {
    match table.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => Err(format!("unknown key \"{}\"", drover_types::path::escape(key.as_bytes()))),
        None => Ok(()),
    }
}

fn amount(table: &TomlTable, key: &str) -> Result<f64, String> {
    let amount = match table.get(key) {
        Some(Value::Float(amount)) => *amount,
        Some(Value::Integer(amount)) => *amount as f64,
        _ => return Err(format!("\"{key}\" must be a number")),
    };
    match amount.is_finite() && amount >= 0.0 {
        true => Ok(amount),
        false => Err(format!("\"{key}\" must not be negative")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_that_come_with_drover_can_be_read() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plans/prices");
        let mut files = 0;
        for file in fs::read_dir(directory).expect("the lists") {
            let prices = Prices::load(&file.expect("a file").path()).expect("prices");
            assert!(prices.source.starts_with("https://"), "{prices:?}");
            assert!(prices.class(None).is_some_and(|class| class.storage_per_gb_month > 0.0));
            files += 1;
        }
        assert_eq!(files, 3);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |text: &str| Prices::parse(text).expect_err("an error");
        assert!(refused("x = 'y").contains("line 1"));
        assert!(refused("provder = 'a'").contains("provder"));
        assert!(refused("provider = 'a'").contains("[[class]]"));
        let class = "[[class]]\nname = 'a'\nstorage_per_gb_month = -1\n";
        assert!(refused(class).contains("negative"), "{}", refused(class));
    }
}
