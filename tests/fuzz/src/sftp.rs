//! What an SFTP server answers.

use drover_source::sftp::packet::{Answer, LONGEST};

/// A packet after its length. What is accepted holds no more than came.
pub fn run(data: &[u8]) -> bool {
    let Some((_, answer)) = Answer::decode(&data[..data.len().min(LONGEST)]) else { return false };
    let held = match &answer {
        Answer::Handle(bytes) | Answer::Data(bytes) => bytes.len(),
        Answer::Status { message, .. } => message.len(),
        // A name and its attributes take 12 bytes at least.
        Answer::Names(names) => names.iter().map(|name| name.name.len() + 12).sum(),
        Answer::Version(_) | Answer::Attributes(_) => 0,
    };
    assert!(held <= data.len());
    true
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let attributes = b"\x80\0\0\x0f\0\0\0\0\0\0\0\x05\0\0\0\x01\0\0\0\x02\0\0\x81\xa4\
                       \0\0\0\x03\0\0\0\x04\0\0\0\x01\0\0\0\x01a\0\0\0\0";
    let name = [&b"\0\0\0\x04file\0\0\0\x02ls"[..], attributes].concat();
    vec![
        b"\x02\0\0\0\x03\0\0\0\x07limits@\0\0\0\x011".to_vec(),
        b"\x65\0\0\0\x01\0\0\0\x04\0\0\0\x07failure\0\0\0\x02en".to_vec(),
        b"\x66\0\0\0\x02\0\0\0\x04\0\0\0\x01".to_vec(),
        b"\x67\0\0\0\x03\0\0\0\x05bytes".to_vec(),
        [&b"\x68\0\0\0\x04\0\0\0\x02"[..], &name, &name].concat(),
        [&b"\x69\0\0\0\x05"[..], attributes].concat(),
    ]
}
