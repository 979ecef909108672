//! Letters, tables, scans as PDF, mail.

use jiff::Timestamp;

use super::{draw::Draw, people::Person};

const SENTENCES: &[&str] = &[
    "The patient, who is made up, came to the clinic with an imaginary cough.",
    "The examination found nothing, since there was nobody to examine.",
    "Rest, tea and a good book are recommended until the end of the story.",
    "The pretended fracture of the left wrist has healed in the time a fracture takes.",
    "The blood values are those of a table in a textbook.",
    "No allergy is known, except to unlikely names.",
    "A further visit is planned for a day that the calendar does not have.",
    "The imaging shows a phantom, as expected.",
    "The dose was halved, and then, nothing having been taken, forgotten.",
    "We thank you for referring this invented case to us.",
];

/// A letter to the doctor who referred the patient.
pub fn letter(patient: &Person, time: Timestamp, draw: &mut Draw) -> String {
    let mut text = format!(
        "Nowhere Clinic (made up)\n1 Invented Street, Nowhere\n\n{}\n\nTo: {}\n\
         Patient: {} {}, born {}\nMRN: {}\nPhone: {}\n\n",
        time.strftime("%d %B %Y"),
        patient.doctor,
        patient.given,
        patient.family,
        patient.birth_date(),
        patient.record,
        patient.phone,
    );
    for _ in 0..3 + draw.below(4) {
        for _ in 0..2 + draw.below(4) {
            text += *draw.pick(SENTENCES);
            text.push(' ');
        }
        text += "\n\n";
    }
    text + "Yours sincerely\nDr. Ima Fiction\n"
}

/// The first line of [`rows`].
pub const COLUMNS: &str = "date,mrn,patient,date_of_birth,service,amount,currency,paid\n";

/// `count` lines of a table of invoices, as a spreadsheet exports it.
pub fn rows(patients: &[Person], count: usize, time: Timestamp, draw: &mut Draw) -> String {
    (0..count)
        .map(|_| {
            let patient = draw.pick(patients);
            format!(
                "{},{},\"{}, {}\",{},{},{}.{:02},XTS,{}\n",
                draw.before(time, 28).strftime("%Y-%m-%d"),
                patient.record,
                patient.family,
                patient.given,
                patient.birth_date(),
                draw.pick(&["visit", "imaging", "laboratory", "vaccination"]),
                20 + draw.below(400),
                draw.below(100),
                draw.pick(&["yes", "no"]),
            )
        })
        .collect()
}

/// A PDF of one page: a line of text over the scan of a sheet.
pub fn scan(patient: &Person, time: Timestamp, draw: &mut Draw) -> Vec<u8> {
    const WIDTH: usize = 200;
    const HEIGHT: usize = 260;
    let mut grey = vec![0; WIDTH * HEIGHT];
    draw.fill(&mut grey);
    // White paper with a little grain, and a dark line of writing every sixteen rows.
    for (at, pixel) in grey.iter_mut().enumerate() {
        let written = (at / WIDTH) % 16 < 4 && *pixel > 96;
        *pixel = if written { *pixel & 0x3f } else { 0xf8 | (*pixel & 3) };
    }
    let content = format!(
        "q 400 0 0 520 97 120 cm /Scan Do Q\n\
         BT /F 12 Tf 72 720 Td (Scanned for {} {}, MRN {}, {}: made up) Tj ET\n",
        patient.given,
        patient.family,
        patient.record,
        time.strftime("%Y-%m-%d"),
    );
    let stream = |dictionary: &str, data: &[u8]| {
        let head = format!("<< {dictionary} /Length {} >>\nstream\n", data.len());
        [head.as_bytes(), data, b"\nendstream"].concat()
    };
    let image = format!(
        "/Type /XObject /Subtype /Image /Width {WIDTH} /Height {HEIGHT} \
         /ColorSpace /DeviceGray /BitsPerComponent 8"
    );
    pdf(&[
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R \
          /Resources << /Font << /F 5 0 R >> /XObject << /Scan 6 0 R >> >> >>"
            .to_vec(),
        stream("", content.as_bytes()),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_vec(),
        stream(&image, &grey),
    ])
}

/// Objects 1, 2, … (the first is the catalogue) with the table that says where each begins.
fn pdf(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut table = String::from("0000000000 65535 f \n");
    for (at, object) in objects.iter().enumerate() {
        table += &format!("{:010} 00000 n \n", file.len());
        file.extend_from_slice(format!("{} 0 obj\n", at + 1).as_bytes());
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let (start, size) = (file.len(), objects.len() + 1);
    let tail = format!(
        "xref\n0 {size}\n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n\
         startxref\n{start}\n%%EOF\n"
    );
    file.extend_from_slice(tail.as_bytes());
    file
}

/// A mail with a letter attached.
pub fn mail(patient: &Person, id: &str, time: Timestamp, draw: &mut Draw) -> String {
    let letter = letter(patient, time, draw);
    format!(
        "From: documents@clinic.invalid\nTo: reception@clinic.invalid\n\
         Date: {date}\nMessage-ID: <{id}@clinic.invalid>\n\
         Subject: Letter for {record} (made up)\nMIME-Version: 1.0\n\
         Content-Type: multipart/mixed; boundary=\"{id}\"\n\n\
         --{id}\nContent-Type: text/plain; charset=utf-8\n\nPlease file this.\n\n\
         --{id}\nContent-Type: text/plain; charset=utf-8\n\
         Content-Disposition: attachment; filename=\"letter.txt\"\n\n{letter}\n--{id}--\n",
        date = time.strftime("%a, %d %b %Y %H:%M:%S +0000"),
        record = patient.record,
    )
}
