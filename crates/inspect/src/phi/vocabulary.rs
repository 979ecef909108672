//! The words that are labels, and those that may stand between a label and its value.

use super::{PhiKind, label::Label, words::Packed, words::packed};

const BIRTH: &str = "dob|d o b|dobs|date of birth|dates of birth|birth date|birthdate|birthday|birthdays|birth day|born|\
    birth time|birthtime|bday|b day|bdate|birth|birth dt|birthdt|birth dttm|dateofbirth|geburtsdatum|geburtstag|geboren|geb|\
    geb datum|gebdatum|gebdat|geb dat|nacimiento|naissance|nacido|nacida|naiss|ne le|nee le|ne e le|ddn|d d n|fec nac|f nac|\
    fecha nac|fnac|fechanacimiento|datenaissance|nato il|nata il|nascita|nascimento|natal|gebd|pt dob|d of b|birth year date";
const SSN: &str = "ssn|ssn tin|ssn itin|ssn ein|ss tin|s s n|ss|s s|social security|soc sec|social sec|soc security|social|socials|soc|ssnum|ssno|ssn no|\
    socialsecurity|ssnumber|ssns|socsec|socsecnum|socialsecurityno|socialsecuritynumber|ssnbr|ss nbr|ssan|socsecno|sssn";
const PHONE: &str = "phone|phones|telephone|tel|mobile|cell|cellphone|fax|pager|call|called|calling|ph|telecom|tele|dial|\
    dialed|telefon|phone number|fax number|contact number|contact no|contact nbr|callback|hotline|reached at|reach at|\
    telefax|handy|mobil|facsimile|whatsapp|sms|text me|text at|text to|texts to|beeper|voicemail|telephones|telefono|tfno|tlfno|tlf|movil|portable|\
    rufnummer|telefonnummer|telefonnr|handynummer|handynr|mobilnummer|mobiltelefon|festnetz|gsm|fon|fono|phoned|telnr|\
    phoneno|phonenumber|phonenum|faxnumber|faxno|telno|mobileno|cellno|phn|phonenbr|switchboard|mobilephone|contactno|\
    msisdn|landline|celular|\
    order line|nurse line|help line|helpline|support line|advice line|care line|info line";
const PHONE_MARKED: &str = "home|work|office|evening|day|contact|residence|business";
const RECORD: &str = "mrn|m r n|mrns|mr no|mr nos|mr number|mr nbr|medical record|med rec|medical rec|medical records|med record|\
    patient id|patient ids|pat id|patient no|patient nos|patient number|patient num|patient nbr|patient identifier|pt id|\
    pt no|pt number|pt nbr|chart no|chart number|chart id|chart nbr|record no|record number|record num|record nbr|\
    hospital no|hospital number|hosp no|hosp number|mrno|mrnumber|patientid|patid|emr id|ehr id|emr no|health record|\
    medical record id|unit record|patient nr|patienten id|medrec|ehr number|emr number|ehr no|clinic number|clinic no|\
    hospital id|medical number|medical no|patient mrn|record id|medicalrecord|nhs|nhs no|nhs number|chi no|chi number|ur no|\
    ur number|unit no|unit number|pas no|pas number|patientennummer|patientennr|patienten nr|patienten nummer|pat nr|\
    patnr|pat no|pat num|patientenid|dossier|numero dossier|nhc|historia clinica|historia|expediente|empi|empi id|mpi id|\
    enterprise id|master patient index|client id|client no|client number|resident id|resident no|resident number|person id|\
    patientnumber|patientno|patientnr|chartno|chartnumber|chartnum|chartid|recordno|recordnumber|hospitalno|hospitalnumber|\
    medrecno|medrecnum|medrecnumber|medicalrecordno|medicalrecordnumber|patno|patnum|patnumber|cmrn|emrn|mrnum|patient key|\
    medical id|medicalid|patient code|clientid|personid|chart file|medical chart|hrno|emrid|ehrid|empiid|archivnummer|\
    karteinummer|krankenblattnummer|patient index|casenote|casenotes|case notes|case note|krankenakte|medrecord|local patient id|\
    patient record|patient chart|patientidentifier|patient file|numero patient|numero de patient|patient identification";
/// Labels where a mark follows; or with a number that is long.
const RECORD_WEAK: &str =
    "chi|urn|ipp|nip|mpi|hrn|pmi|hn|chart|charts|mr|patient|patients|pt|paciente";
const RECORD_MARKED: &str = "record|rec";
const MEMBER: &str = "member id|member ids|member no|member number|member nbr|subscriber id|subscriber no|subscriber number|\
    subscriber nbr|beneficiary id|beneficiary no|beneficiary number|medicaid id|medicaid no|medicaid number|insurance id|\
    insurance no|insurance number|health plan id|plan member|insured id|insid|insured s id|insured s i d|insured i d|hicn|hic|\
    memberid|memberids|memberno|membernumber|subscriberid|subscriberno|member identifier|subscriber identifier|\
    beneficiary identifier|health plan number|plan number|insured number|insured s number|policyholder id|\
    insurance policy no|insurance policy number|insurance policy|insurance policy id|health insurance|member num|medicaid|\
    enrollee id|insured no|health plan|enrollee number|enrollee no|cardholder id|membership number|membership id|membership no|\
    plan beneficiary|health plan member|policy id|certificate no|certificate number|cert no|recipient id|recipient no|\
    medicaid recipient|rxid|rx id|rx member|versichertennummer|versicherten nr|vers nr|versnr|kv nr|kvnr|\
    krankenversichertennummer|versichertennr|versicherten id|versichertenid|health card|healthcard|ohip|insurance card|\
    ins id|ins no|ins policy|ins policy id|ins member|sub id|subscr id|mem id|mbr id|mbr no|mbr nbr|memid|mbrid|subid|\
    insuredid|insuranceid|insurance member id|insurance identification|hmo id|ppo id|versicherungsnummer|\
    insurance member|payer id of member|beneficiaryid|medicaidid|medicaidno|planmemberid|healthplanid|policy holder id|\
    member card|hpn|phn|dependent id|subscribernumber|ins subscriber|insurance subscriber|ins policy no|carte vitale";
const MEMBER_WEAK: &str = "member|subscriber|beneficiary|enrollee|members|insured";
const MEDICARE: &str = "mbi|mbis|medicare id|medicare no|medicare number|medicare beneficiary identifier|medicare|\
    medicare beneficiary|medicare beneficiary id|medicare beneficiary number|medicareid|medicareno|medicarenumber|\
    medicare claim|medicare claim no|medicare claim number|medicarebeneficiaryid";
const CARD: &str = "credit card|card number|card no|debit card|visa|mastercard|amex|card|cc|ccn|payment card|\
    american express|discover|master card|charge card|cardnumber|pan|kreditkarte|kartennummer|kreditkartennummer|\
    creditcard|creditcardnumber|ccnum|ccnumber|ccno|cardno|cardnum|diners|diners club|jcb|maestro|hsa card|fsa card|\
    carte bancaire|tarjeta|card on file|cc on file";
const ACCOUNT: &str =
    "account|account number|account no|acct|acct no|acct number|accounts|accountnumber|acctno";
const OTHER: &str = "order|orders|invoices|tickets|parts|items|emp id|emp no|order no|order number|part|part no|part number|ticket|ticket no|invoice|tracking|serial|\
    model|sku|version|po|item|catalog|lot|batch|reference|ref|confirmation|isbn|npi|ein|fein|ndc|firmware|build|\
    serial number|serial no|invoice no|ticket number|tracking number|reference number|reference no|\
    lot number|lot no|accession|accession number|accession no|patient account|patient account no|patient account number|\
    patient acct|patient acct no|patient s account no|patient s account|patient control number|patient control no|\
    routing|routing number|case|case number|case no|case id|claim|claim number|claim no|asset|asset tag|device id|\
    license|license number|uuid|guid|oid|uid|udi|tax id|taxid|tin|study id|sample|specimen|sample id|specimen id|\
    group number|group no|group|encounter|visit|encounter id|encounter number|visit number|visit id|requisition|\
    order id|transaction|transaction id|transaction number|barcode|upc|ean|dea|issn|doi|page|room|\
    ext|policy|policy no|policy number|catalogue|article|product|job|job id|process|code|checksum|hash|\
    message id|message|control id|iban|invoice number|purchase order|test|port|size|bytes|offset|line|error|\
    control number|ticket id|item number|batch number|catalog number|part id|catalog no|batch no|item no|acc|acc no|acsn|\
    s n|sn|imei|iccid|gtin|rx|rx no|prescription|terminal|merchant|merch id|auth|authorization|prior auth|approval|receipt|\
    check no|check number|cheque|statement|statement no|fallnummer|fall nr|fallnr|aufnahme nr|aufnahmenummer|rechnung|\
    rechnungsnr|rechnungsnummer|rechnung nr|facture|factura|auftrag|auftragsnr|auftragsnummer|seriennummer|serien nr|ik|bsnr|lanr|\
    clia|ncpdp|taxonomy|drivers license|driver s license|driver license|passport|trace|trace no|seq|sequence|session|thread|\
    request|request no|req|req no|file no|file number|our ref|your ref|facility id|payer id|visit no|employee id|employee no|\
    employee number|user id|staff id|provider id|provider no|zip|plz|device|equipment|stock|bestellnummer|artikelnummer|\
    fin|csn|har|contact serial|referral|referral no|referral number|accession nbr|order nbr|invoice nbr|stock no|stock number|ups|\
    fedex|usps|tracking no|shipment|parcel|meter|vin|registration no|bank|sort code|swift|bic|cusip|fax job";
const CONNECTORS: &str = "area code|we|have|she|he|they|you|i|got|gave|had|see|in|into|is|no|number|num|nr|nbr|nos|on|was|am|the|of|value|id|mm|dd|yyyy|yy|d|m|y|are|td|th|tr|span|b|strong|\
    em|label|div|string|text|to|at|for|and|or|his|her|their|my|your|patient|pt|s|as|date|dt|home|work|office|cell|day|\
    evening|daytime|main|primary|us|usa|format|listed|reads|li|p|v|br|nbsp|el|le|de|extension|me|mobile|\
    last|confirmed|verified|recorded|given|direct|line|phone|identifier|numbers|file|field|following|him|them|lists|\
    use|valuestring|valuedate|via|now|self|emergency|contact|new|our|back|toll|free|age|sex|gender|if|known|please|enter|\
    matches|shows|current|legal|type|system|name|key|data|val|oldid|item|privat|private|personal|preferred|alt|alternate|\
    secondary|night|voice|pref|internet|best|parent|mother|father|spouse|guardian|dttm|txt|str|and|und|et|y|du|der|die|des|la|del|\
    nummer|numero|n|e|o|ours|stands|remains|has|been|be|being|include|incl|including|print|optional|required|answer|h|w|c|\
    same|full|complete|correct|actual|which|shown|appears|stated|noted|entered|under|class|also|still|uses|with|code|display|dl|dd|\
    time|oid|area|incl|include|ist|war|lautet|est|es|ssn4|int|varchar|char|nvarchar|cast|tablet|landline|house|business|evenings|i";

/// Words that are written together with a label in names of columns and fields: `patientssn`,
/// `homephone`, `ssnnum`.
const BEFORE: &str = "patient|patients|pat|pt|member|mem|subscriber|sub|guarantor|guar|insured|ins|home|work|cell|client|person|emp|\
    contact|primary|sec|spouse|mother|father|emergency|day|evening|prim|res|bus|alt|resp|policyholder|holder|dependent";
const AFTER: &str = "no|num|nbr|number|txt|str|dt|date|val|code|raw|id|1|2";
const JOINED: [(&str, PhiKind); 8] = [
    ("ssn", PhiKind::Ssn),
    ("dob", PhiKind::BirthDate),
    ("birthdate", PhiKind::BirthDate),
    ("mrn", PhiKind::RecordNumber),
    ("phone", PhiKind::Phone),
    ("tel", PhiKind::Phone),
    ("mobile", PhiKind::Phone),
    ("fax", PhiKind::Phone),
];

/// What words mean at the end of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Label(Label),
    /// A label where a mark follows, or before a number that leaves no doubt.
    Weak(Label),
    /// A label only where a mark follows.
    Marked(Label),
    Connector,
}

/// Words of a label but the last one.
const BEFORE_LAST: usize = 4;

/// One label: its words before the last, last first, and what it says.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    last: Packed,
    before: [Packed; BEFORE_LAST],
    pub sort: Sort,
}

impl Entry {
    /// The words before the last, from the last on.
    pub fn before(&self) -> impl Iterator<Item = Packed> + '_ {
        self.before.iter().copied().take_while(|word| *word != 0)
    }
}

/// Labels by their last words.
pub(super) struct Vocabulary {
    entries: Vec<Entry>,
    /// From a word's hash to its first entry and one after its last.
    places: Vec<(Packed, u16, u16)>,
}

/// A power of two, more than twice the number of last words.
const PLACES: usize = 4096;

fn place(word: Packed) -> usize {
    let folded = (word as u64) ^ ((word >> 64) as u64).rotate_left(29);
    (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52) as usize % PLACES
}

impl Vocabulary {
    pub fn new() -> Self {
        let of = |kind| Sort::Label(Label::Of(kind));
        let lists = [
            (BIRTH, of(PhiKind::BirthDate)),
            (SSN, of(PhiKind::Ssn)),
            (PHONE, of(PhiKind::Phone)),
            (PHONE_MARKED, Sort::Marked(Label::Of(PhiKind::Phone))),
            (RECORD, of(PhiKind::RecordNumber)),
            (RECORD_WEAK, Sort::Weak(Label::Of(PhiKind::RecordNumber))),
            (RECORD_MARKED, Sort::Marked(Label::Of(PhiKind::RecordNumber))),
            (MEMBER, of(PhiKind::MemberId)),
            (MEMBER_WEAK, Sort::Weak(Label::Of(PhiKind::MemberId))),
            (MEDICARE, Sort::Label(Label::Medicare)),
            (CARD, of(PhiKind::PaymentCard)),
            (ACCOUNT, Sort::Label(Label::Account)),
            (OTHER, Sort::Label(Label::Other)),
            (CONNECTORS, Sort::Connector),
        ];
        let mut entries = Vec::new();
        let mut add = |label: &str, sort| {
            let mut words = label.split_ascii_whitespace().rev().map(|w| packed(w.as_bytes()));
            let last = words.next().unwrap_or_default();
            let mut before = [0; BEFORE_LAST];
            for (to, from) in before.iter_mut().zip(words) {
                *to = from;
            }
            entries.push(Entry { last, before, sort });
        };
        for (list, sort) in lists {
            list.split('|').for_each(|label| add(label, sort));
        }
        for (label, kind) in JOINED {
            BEFORE.split('|').for_each(|word| add(&format!("{word}{label}"), of(kind)));
            AFTER.split('|').for_each(|word| add(&format!("{label}{word}"), of(kind)));
        }
        // Longer ones first, and of those labels.
        entries.sort_by_key(|entry| {
            let longer = std::cmp::Reverse(entry.before().count());
            (entry.last, longer, entry.sort == Sort::Connector)
        });
        let mut places = vec![(0, 0, 0); PLACES];
        let mut from = 0;
        for same in entries.chunk_by(|a, b| a.last == b.last) {
            let mut at = place(same[0].last);
            while places[at].0 != 0 {
                at = (at + 1) % PLACES;
            }
            places[at] = (same[0].last, from, from + same.len() as u16);
            from += same.len() as u16;
        }
        Self { entries, places }
    }

    /// What ends in this word, longest labels first.
    pub fn ending(&self, last: Packed) -> &[Entry] {
        let mut at = place(last);
        loop {
            match self.places[at] {
                (word, from, to) if word == last => {
                    return &self.entries[usize::from(from)..usize::from(to)];
                }
                (0, ..) => return &[],
                _ => at = (at + 1) % PLACES,
            }
        }
    }
}
