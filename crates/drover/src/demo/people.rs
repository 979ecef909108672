//! People who do not exist.
//!
//! Every family name says that it is invented, telephone numbers are from the range that is kept
//! for fiction (555-0100 to 555-0199), and record numbers begin with `DEMO`.

use jiff::{SignedDuration, Timestamp};

use super::draw::Draw;

const FAMILY: &[&str] = &[
    "Madeup",
    "Fictitious",
    "Placeholder",
    "Nonesuch",
    "Pretend",
    "Imaginary",
    "Specimen",
    "Sampleton",
    "Testperson",
    "Neverborn",
    "Invented",
    "Exemplary",
];
const GIVEN: &[&str] = &[
    "Alma", "Bruno", "Clara", "Dario", "Edith", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Klara",
    "Leon", "Maren", "Nils", "Olga", "Paul", "Rosa", "Sven", "Tilda", "Ulf",
];
const DOCTORS: &[&str] =
    &["Dr. Fable Pseudonym", "Dr. Nomen Nescio", "Dr. Ima Fiction", "Dr. Otto Unreal"];

/// A patient of the made-up clinic.
pub struct Person {
    /// The record number, `DEMO-` and six digits.
    pub record: String,
    /// Family name.
    pub family: &'static str,
    /// Given name.
    pub given: &'static str,
    /// Date of birth, `YYYYMMDD`.
    pub birth: String,
    /// `F`, `M` or `O`.
    pub sex: &'static str,
    /// Telephone number.
    pub phone: String,
    /// The doctor who refers them.
    pub doctor: &'static str,
}

impl Person {
    /// The name as DICOM and HL7 write it: components between carets.
    pub fn caret_name(&self) -> String {
        format!("{}^{}", self.family, self.given)
    }

    /// The date of birth as people write it.
    pub fn birth_date(&self) -> String {
        let (year, rest) = self.birth.split_at(4);
        let (month, day) = rest.split_at(2);
        format!("{year}-{month}-{day}")
    }
}

/// The patients of the clinic with this seed, always the same.
pub fn patients(seed: u64) -> Vec<Person> {
    let mut draw = Draw::new(seed, "patients");
    (0..120)
        .map(|number| {
            let born =
                Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * draw.below(16_000) as i64);
            Person {
                record: format!("DEMO-{:06}", 1000 + 7 * number),
                family: draw.pick::<&str>(FAMILY),
                given: draw.pick::<&str>(GIVEN),
                birth: born.strftime("%Y%m%d").to_string(),
                sex: draw.pick::<&str>(&["F", "M", "O"]),
                phone: format!("(555) 555-01{:02}", draw.below(100)),
                doctor: draw.pick::<&str>(DOCTORS),
            }
        })
        .collect()
}
