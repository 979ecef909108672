//! Files as an inventory finds them: headers, messages, tables, archives.

use drover_inspect::{Class, HashKey, InspectOptions, Inspector};

/// Bytes as a file. Whatever they are, no more is read than the limits of archives allow.
pub fn run(data: &[u8]) -> bool {
    let mut options = InspectOptions::new(HashKey::new([7; 32]));
    options.iso = true;
    options.archives.bytes = 1 << 20;
    let found = Inspector::new(options).inspect(b"file.dat", &mut &data[..]).unwrap();
    assert!(found.read <= (8 << 20) + 8 * data.len() as u64);
    found.file_type.class != Class::Unknown
}

/// A header, messages, a table, a letter.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut image = vec![0; 128];
    image.extend(b"DICM\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0");
    image.extend(b"\x08\0\x05\0CS\x0a\0ISO_IR 100\x08\0\x60\0CS\x02\0CT");
    image.extend(b"\x18\0\x01\xa0SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff\x08\0\x70\0LO\x04\0ACME");
    image.extend(b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0");
    image.extend(b"\x20\0\x0d\0UI\x06\x001.2.3\0\xe0\x7f\x10\0OW\0\0\x04\0\0\0\x01\x02\x03\x04");
    let texts: [&[u8]; 4] = [
        b"MSH|^~\\&|LAB|A|EHR|B|20240214||ORU^R01|77|P|2.5.1\rPID|1||0048291^^^M^MR||DOE^J||19611203\r",
        b"patient_id,dob,ssn\n10023,1984-07-19,601-22-9048\n",
        b"DOB: 03/14/1957, MRN 00482913, (617) 555-0142, a.b@example.org, 4111 1111 1111 1111\n",
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x4c\x4a\x06\0\xc2\x41\x24\x35\x03\0\0\0",
    ];
    texts.iter().map(|text| text.to_vec()).chain([image]).collect()
}
