//! Tables as text: the separator, and the columns that hold patients' data.

use super::PhiKind;

/// Columns of a table that are looked at.
const COLUMNS: usize = 256;

/// What a column's name promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Values of this kind.
    Of(PhiKind),
    /// Numbers of something else, whatever they look like.
    Other,
    /// Nothing.
    Plain,
}

/// What the header of a table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Between fields: comma, semicolon, tab or bar.
    pub separator: u8,
    /// For each column what its name promises.
    pub columns: Vec<Column>,
    /// Whether a column's name is about patients at all, identifying by itself or not.
    pub patients: bool,
}

/// The fields of one line, without their quotes; `None` where a quote does not close.
fn fields(line: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let mut out = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.first() {
            Some(b'"') => {
                let close = memchr::memchr(b'"', &rest[1..])? + 1;
                (&rest[1..close], &rest[close + 1..])
            }
            _ => {
                let end = memchr::memchr(separator, rest).unwrap_or(rest.len());
                (&rest[..end], &rest[end..])
            }
        };
        out.push(field.trim_ascii());
        match after.split_first() {
            None => return Some(out),
            Some((&next, following)) if next == separator && out.len() < COLUMNS => {
                rest = following
            }
            Some(_) => return None,
        }
    }
}

/// Reads `line` as the header of a table, where it is one: at least three columns with names, and a
/// line `after` it with as many fields.
pub(super) fn header_of(line: &[u8], after: &[u8]) -> Option<Header> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let second_end = memchr::memchr2(b'\n', b'\r', after).unwrap_or(after.len());
    let second = after[..second_end].strip_suffix(b"\r").unwrap_or(&after[..second_end]);
    if line.len() > 8192 {
        return None;
    }
    [b',', b';', b'\t', b'|'].into_iter().find_map(|separator| {
        let names = fields(line, separator).filter(|names| names.len() >= 3)?;
        // Names: short, no sentence, mostly not numbers.
        let is_name = |name: &&[u8]| {
            name.len() <= 40
                && name.first().is_none_or(|b| !b.is_ascii_digit())
                && !name.iter().any(|b| matches!(b, b'{' | b'}' | b'<' | b'>' | b'=' | b'(' | b'.'))
        };
        if !names.iter().all(is_name) || names.iter().filter(|name| name.is_empty()).count() > 2 {
            return None;
        }
        let known = names.iter().any(|name| column(name).is_some());
        let width = fields(second, separator).map(|f| f.len());
        let same = width == Some(names.len());
        // A header alone, or one whose first row is cut off, counts where a name is known.
        if !same && !(known && (second.is_empty() || width.is_none())) {
            return None;
        }
        let columns = names.iter().map(|name| match column(name) {
            Some(kind) => Column::Of(kind),
            None if is_other(name) => Column::Other,
            None => Column::Plain,
        });
        let columns = columns.collect();
        let patients = names.iter().any(|name| is_about_patients(name)) || known;
        Some(Header { separator, columns, patients })
    })
}

/// Whether `text` begins with the header of a table, and then whether its columns are of patients.
pub(crate) fn header_columns(text: &[u8]) -> Option<bool> {
    let end = memchr::memchr(b'\n', text)?;
    let line = text[..end].strip_suffix(b"\r").unwrap_or(&text[..end]);
    header_of(line, &text[end + 1..]).map(|header| header.patients)
}

/// A name in lower case, only its letters and digits.
fn squeezed(name: &[u8]) -> Vec<u8> {
    name.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect()
}

/// The kind that a column's name promises.
fn column(name: &[u8]) -> Option<PhiKind> {
    Some(match squeezed(name).as_slice() {
        b"ssn"
        | b"socialsecuritynumber"
        | b"socialsecurity"
        | b"socsec"
        | b"socsecnum"
        | b"patientssn"
        | b"ssnum"
        | b"ssno"
        | b"socialsecurityno"
        | b"patssn"
        | b"guarantorssn"
        | b"subscriberssn" => PhiKind::Ssn,
        b"dob" | b"birthdate" | b"dateofbirth" | b"birthday" | b"patientdob"
        | b"patientbirthdate" | b"bdate" | b"birthdt" | b"dobdate" | b"geburtsdatum"
        | b"fechanacimiento" | b"datenaissance" | b"patdob" | b"memberdob" | b"subscriberdob"
        | b"borndate" | b"birth" | b"guarantordob" => PhiKind::BirthDate,
        b"phone"
        | b"phonenumber"
        | b"telephone"
        | b"homephone"
        | b"cellphone"
        | b"mobile"
        | b"mobilephone"
        | b"workphone"
        | b"tel"
        | b"fax"
        | b"faxnumber"
        | b"patientphone"
        | b"contactphone"
        | b"phone1"
        | b"phone2"
        | b"cell"
        | b"dayphone"
        | b"eveningphone"
        | b"emergencyphone"
        | b"phoneno"
        | b"phonehome"
        | b"phonework"
        | b"phonecell"
        | b"primaryphone"
        | b"emergencycontactphone" => PhiKind::Phone,
        b"mrn"
        | b"medicalrecordnumber"
        | b"medrecno"
        | b"medrec"
        | b"patientid"
        | b"patid"
        | b"patientno"
        | b"patientnumber"
        | b"chartno"
        | b"chartnumber"
        | b"chart"
        | b"recordnumber"
        | b"medicalrecord"
        | b"patientmrn"
        | b"pid"
        | b"mrno"
        | b"hospitalnumber"
        | b"hospitalno"
        | b"medrecnum"
        | b"medicalrecordno"
        | b"chartid"
        | b"recordno" => PhiKind::RecordNumber,
        b"email" | b"emailaddress" | b"mail" | b"patientemail" | b"contactemail" => PhiKind::Email,
        b"memberid"
        | b"subscriberid"
        | b"mbi"
        | b"medicareid"
        | b"medicaidid"
        | b"insuranceid"
        | b"hicn"
        | b"beneficiaryid"
        | b"insuredid"
        | b"healthplanid"
        | b"membernumber"
        | b"memberno"
        | b"insurancememberid"
        | b"medicarebeneficiaryid"
        | b"medicareno"
        | b"medicarenumber"
        | b"subscribernumber"
        | b"planmemberid" => PhiKind::MemberId,
        b"cardnumber" | b"creditcard" | b"creditcardnumber" | b"ccnumber" | b"ccnum"
        | b"cardno" | b"pan" | b"paymentcard" => PhiKind::PaymentCard,
        _ => return None,
    })
}

/// Names of columns that hold numbers of other things.
fn is_other(name: &[u8]) -> bool {
    let name = squeezed(name);
    const WORDS: [&[u8]; 17] = [
        b"sku",
        b"order",
        b"orderno",
        b"ordernumber",
        b"orderid",
        b"part",
        b"partno",
        b"partnumber",
        b"item",
        b"itemno",
        b"invoice",
        b"invoiceno",
        b"serial",
        b"serialno",
        b"serialnumber",
        b"tracking",
        b"asset",
    ];
    WORDS.contains(&name.as_slice())
}

/// Names of columns that say that rows are patients.
fn is_about_patients(name: &[u8]) -> bool {
    let name = squeezed(name);
    const WORDS: [&[u8]; 8] = [
        b"patient",
        b"diagnosis",
        b"icd10",
        b"icd9",
        b"insured",
        b"guarantor",
        b"subscriber",
        b"procedurecode",
    ];
    WORDS.iter().any(|word| memchr::memmem::find(&name, word).is_some())
}
