//! HL7 version 2 messages, batches, and a spool with MLLP framing. Segments end with a carriage
//! return.

use jiff::Timestamp;

use super::{draw::Draw, people::Person};

/// Name, LOINC code, unit, usual range.
const TESTS: &[(&str, &str, &str, &str)] = &[
    ("Hemoglobin", "718-7", "g/dL", "12-17"),
    ("Glucose", "2345-7", "mg/dL", "70-105"),
    ("Creatinine", "2160-0", "mg/dL", "0.6-1.3"),
    ("Potassium", "2823-3", "mmol/L", "3.5-5.1"),
    ("Sodium", "2951-2", "mmol/L", "136-145"),
];

/// An admission, ADT^A01.
pub fn admission(patient: &Person, id: &str, time: Timestamp, draw: &mut Draw) -> String {
    let stamp = stamp(time);
    format!(
        "{}EVN|A01|{stamp}\r{}PV1|1|I|DEMO^{}^{}||||9{:04}^{}|||MED\r",
        head("PRETENDADT", "ADT^A01", id, &stamp),
        identity(patient),
        100 + draw.below(20),
        1 + draw.below(2),
        draw.below(10_000),
        patient.doctor,
    )
}

/// Results of a laboratory, ORU^R01.
pub fn results(patient: &Person, id: &str, time: Timestamp, draw: &mut Draw) -> String {
    let stamp = stamp(time);
    let mut message = format!(
        "{}{}OBR|1|{id}|{id}-L|24323-8^Panel (made up)^LN|||{stamp}\r",
        head("PRETENDLAB", "ORU^R01", id, &stamp),
        identity(patient)
    );
    for (at, (name, code, unit, range)) in TESTS.iter().enumerate() {
        message += &format!(
            "OBX|{}|NM|{code}^{name}^LN||{}.{}|{unit}|{range}||||F|||{stamp}\r",
            at + 1,
            1 + draw.below(140),
            draw.below(10)
        );
    }
    message
}

/// Messages as a batch file.
pub fn batch(messages: &[String], id: &str, time: Timestamp) -> String {
    let stamp = stamp(time);
    let head = format!("|^~\\&|PRETENDLAB|NOWHERE|EHR|NOWHERE|{stamp}||{id}\r");
    format!("FHS{head}BHS{head}{}BTS|{}\rFTS|1\r", messages.concat(), messages.len())
}

/// Messages one after the other as they come over the wire.
pub fn spool(messages: &[String]) -> String {
    messages.iter().map(|message| format!("\x0b{message}\x1c\r")).collect()
}

fn head(sender: &str, kind: &str, id: &str, stamp: &str) -> String {
    // T: a message of a training system, which nobody may act on.
    format!(
        "MSH|^~\\&|{sender}|NOWHERE|EHR|NOWHERE|{stamp}||{kind}|{id}|T|2.5.1||||||UNICODE UTF-8\r"
    )
}

fn identity(patient: &Person) -> String {
    format!(
        "PID|1||{}^^^NOWHERE^MR||{}||{}|{}|||1 Invented Street^^Nowhere||{}\r",
        patient.record,
        patient.caret_name(),
        patient.birth,
        patient.sex,
        patient.phone
    )
}

fn stamp(time: Timestamp) -> String {
    time.strftime("%Y%m%d%H%M%S").to_string()
}
