//! Types by content: numbers at fixed places first, then what the beginning of the file says.
//!
//! The numbers are those that the formats' own documents name; where one is short or shared by
//! several formats, a second sign in the content or the name is asked for.

use crate::kind::FileType as T;

/// Signs at fixed offsets. The first that fits counts; longer ones stand before their prefixes.
const SIGNS: &[(usize, &[u8], T)] = &[
    (0, b"SQLite format 3\0", T::SQLITE),
    (4, b"Standard Jet DB", T::ACCESS),
    (4, b"Standard ACE DB", T::ACCESS),
    (0, b"PGDMP", T::PG_DUMP),
    (0, b"TAPE\0", T::MSSQL_BACKUP),
    (3, b"EXPORT:V", T::ORACLE_DUMP),
    (0, b"GDSDYNUNX", T::GTM),
    (0, b"MSWIM\0\0\0", T::WINDOWS_IMAGE),
    (0, b"KDMV", T::VMDK),
    (0, b"COWD", T::VMDK),
    (0, b"# Disk DescriptorFile", T::VMDK),
    (0, b"conectix", T::VHD),
    (0, b"vhdxfile", T::VHDX),
    (0x40, b"\x7f\x10\xda\xbe", T::VDI),
    (0, b"QFI\xfb", T::QCOW2),
    (0, b"!BDN", T::PST),
    (0, b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", T::ONENOTE),
    (0, b"{\\rtf", T::RTF),
    (0, b"%!PS", T::POSTSCRIPT),
    (0, b"\xff\xd8\xff", T::JPEG),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", T::JPEG2000),
    (0, b"\xff\x4f\xff\x51", T::JPEG2000),
    (0, b"\x89PNG\r\n\x1a\n", T::PNG),
    (0, b"GIF87a", T::GIF),
    (0, b"GIF89a", T::GIF),
    (0, b"II*\0", T::TIFF),
    (0, b"MM\0*", T::TIFF),
    (0, b"II+\0", T::TIFF),
    (0, b"8BPS", T::PHOTOSHOP),
    (0, b"fLaC", T::FLAC),
    (0, b"OggS", T::OGG),
    (0, b"ID3", T::MP3),
    (0, b"\x02dss", T::DSS),
    (0, b"\x03ds2", T::DSS),
    (0, b"\x1a\x45\xdf\xa3", T::MATROSKA),
    (0, b"\0\0\x01\xba", T::MPEG),
    (0, b"\0\0\x01\xb3", T::MPEG),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", T::ASF),
    (0, b"7z\xbc\xaf\x27\x1c", T::SEVEN_ZIP),
    (0, b"Rar!\x1a\x07", T::RAR),
    (0, b"MSCF\0\0\0\0", T::CAB),
    (0, b"070701", T::CPIO),
    (0, b"070702", T::CPIO),
    (0, b"070707", T::CPIO),
    (0, b"!<arch>\n", T::AR),
    (0, b"\xed\xab\xee\xdb", T::RPM),
    (257, b"ustar", T::TAR),
    (0, b"\x1f\x8b\x08", T::GZIP),
    (0, b"\xfd7zXZ\0", T::XZ),
    (0, b"\x28\xb5\x2f\xfd", T::ZSTD),
    (0, b"\x04\x22\x4d\x18", T::LZ4),
    (0, b"LUKS\xba\xbe", T::LUKS),
    (3, b"-FVE-FS-", T::BITLOCKER),
    (0, b"age-encryption.org/", T::AGE),
    (0, b"Salted__", T::OPENSSL),
    (0, b"\xc0\xb9\x07\x2e\x4f\x93\xf1\x46\xa0\x15\x79\x2c\xa1\xd9\xe8\x21", T::AXCRYPT),
    (0, b"-----BEGIN PGP MESSAGE", T::PGP),
    (0, b"-----BEGIN PGP PRIVATE KEY", T::PRIVATE_KEY),
    (0, b"-----BEGIN CERTIFICATE", T::CERTIFICATE),
    (0, b"-----BEGIN PUBLIC KEY", T::CERTIFICATE),
    (0, b"PuTTY-User-Key-File-", T::PRIVATE_KEY),
    (0, b"\xfe\xed\xfe\xed\0\0\0", T::JAVA_KEYS),
    (0, b"\x03\xd9\xa2\x9a", T::KEEPASS),
    (0, b"\x7fELF", T::ELF),
    (0, b"\xcf\xfa\xed\xfe", T::MACHO),
    (0, b"\xce\xfa\xed\xfe", T::MACHO),
    (0, b"\0asm\x01", T::WASM),
    (0, b"\x89HDF\r\n\x1a\n", T::HDF5),
    (0, b"L\0\0\0\x01\x14\x02\0", T::LNK),
    (0, b"ElfFile\0", T::EVTX),
    (0, b"regf", T::REGISTRY),
    (0, b"OTTO\0", T::FONT),
    (0, b"wOFF", T::FONT),
    (0, b"wOF2", T::FONT),
    (0, b"\0\x01\0\0\0", T::FONT),
    (344, b"n+1\0", T::NIFTI),
    (344, b"ni1\0", T::NIFTI),
    (0, b"\xffBIOSEMI", T::EDF),
];

fn at(head: &[u8], offset: usize, sign: &[u8]) -> bool {
    head.get(offset..offset + sign.len()) == Some(sign)
}

fn le16(head: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(head.get(offset..offset + 2)?.try_into().ok()?))
}

fn be32(head: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(head.get(offset..offset + 4)?.try_into().ok()?))
}

/// Numbers in `name`, which has no extension: relations of PostgreSQL (`16384`, `16384.1`,
/// `16384_fsm`).
fn is_relation(name: &[u8]) -> bool {
    let stem = name.split(|&b| b == b'.' || b == b'_').next().unwrap_or_default();
    !stem.is_empty() && stem.len() <= 10 && stem.iter().all(u8::is_ascii_digit)
}

/// The type that `head`, the first bytes of a file of `size` bytes, shows without reading it as
/// text. `name` decides only between formats that share a sign. All but the last two in lower case.
pub(crate) fn binary(head: &[u8], name: &[u8], extension: &[u8]) -> Option<T> {
    if let Some(found) = database(head, name, extension) {
        return Some(found);
    }
    if let Some(&(.., found)) = SIGNS.iter().find(|(offset, sign, _)| at(head, *offset, sign)) {
        // A page of an InDesign or an icon may begin like these; what they begin alike is harmless.
        return Some(found);
    }
    if at(head, 0, b"PK\x03\x04") || at(head, 0, b"PK\x05\x06") {
        return Some(zip(head, extension));
    }
    if at(head, 0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return Some(ole(head, extension));
    }
    // Some writers put a few bytes before it, and readers look within the first 1024.
    let start = &head[..head.len().min(1024)];
    if memchr::memmem::find(start, b"%PDF-").is_some_and(|p| p == 0 || extension == b"pdf") {
        return Some(T::PDF);
    }
    if at(head, 0, b"RIFF") {
        return match head.get(8..12) {
            Some(b"WAVE") => Some(T::WAV),
            Some(b"AVI ") => Some(T::AVI),
            Some(b"WEBP") => Some(T::WEBP),
            _ => None,
        };
    }
    if at(head, 4, b"ftyp") {
        return match head.get(8..12) {
            Some(b"heic" | b"heix" | b"mif1" | b"avif" | b"msf1") => Some(T::HEIC),
            _ => Some(T::MP4),
        };
    }
    if at(head, 0, b"MZ") && head.len() >= 64 {
        return Some(T::PE);
    }
    if at(head, 0, b"BM") && le16(head, 6) == Some(0) && le16(head, 8) == Some(0) {
        return Some(T::BMP);
    }
    if at(head, 0, b"BZh") && at(head, 4, b"\x31\x41\x59\x26\x53\x59") {
        return Some(T::BZIP2);
    }
    if at(head, 0, b"\0\0\x01\0") && extension == b"ico" {
        return Some(T::ICON);
    }
    if at(head, 0, b"\xca\xfe\xba\xbe") {
        return Some(if extension == b"class" { T::JAVA_CLASS } else { T::MACHO });
    }
    if matches!(head, [0xff, second, ..] if second & 0xe6 == 0xe2) && extension == b"mp3" {
        return Some(T::MP3);
    }
    // EDF: the version `0` in eight characters, then a header in printable ASCII.
    if at(head, 0, b"0       ")
        && head.len() >= 256
        && head[..256].iter().all(|b| (32..127).contains(b))
    {
        return Some(T::EDF);
    }
    if matches!(extension, b"pfx" | b"p12") && at(head, 0, b"\x30\x82") {
        return Some(T::PKCS12);
    }
    if matches!(extension, b"cer" | b"crt" | b"der") && at(head, 0, b"\x30\x82") {
        return Some(T::CERTIFICATE);
    }
    if matches!(extension, b"gpg" | b"pgp") && head.first().is_some_and(|b| b & 0x80 != 0) {
        return Some(T::PGP);
    }
    if at(head, 510, b"\x55\xaa") && matches!(extension, b"img" | b"raw" | b"dd" | b"bin") {
        return Some(T::RAW_DISK);
    }
    None
}

fn database(head: &[u8], name: &[u8], extension: &[u8]) -> Option<T> {
    // SQL Server: page 0 of each file is of type 15, its file header.
    if at(head, 0, b"\x01\x0f\0\0") {
        return match extension {
            b"ldf" => Some(T::MSSQL_LOG),
            b"mdf" | b"ndf" => Some(T::MSSQL_DATA),
            _ if head.len() >= 96 => Some(T::MSSQL_DATA),
            _ => None,
        };
    }
    // Oracle: block 0 names its size in bytes 20 to 23 and has a number of its own in 28 to 31.
    if at(head, 28, b"\x7d\x7c\x7b\x7a") || at(head, 28, b"\x7a\x7b\x7c\x7d") {
        return Some(T::ORACLE);
    }
    // InnoDB: page 0 (bytes 4 to 7) is of type 8, the space's header (bytes 24 and 25).
    if (extension == b"ibd" || name.starts_with(b"ibdata"))
        && at(head, 24, b"\0\x08")
        && be32(head, 4) == Some(0)
    {
        return Some(T::MYSQL_INNODB);
    }
    if (at(head, 0, b"\xfe\xfe\x07") || at(head, 0, b"\xfe\xfe\x06")) && extension == b"myi" {
        return Some(T::MYSQL_MYISAM);
    }
    if name == b"pg_version" && head.len() <= 8 && head.first().is_some_and(u8::is_ascii_digit) {
        return Some(T::POSTGRES_MARK);
    }
    // PostgreSQL: page size and layout version, 8192 | 4, in bytes 18 and 19 of each page.
    if le16(head, 18) == Some(0x2004) && is_relation(name) || name == b"pg_control" {
        return Some(T::POSTGRES_DATA);
    }
    if name.len() == 24
        && name.iter().all(u8::is_ascii_hexdigit)
        && matches!(head.get(1), Some(0xd0 | 0xd1))
    {
        return Some(T::POSTGRES_WAL);
    }
    if at(head, 4, b"\xef\xcd\xab\x89") {
        return Some(T::ESE);
    }
    // Firebird: page type 1, the header page.
    if matches!(extension, b"fdb" | b"gdb") && head.first() == Some(&1) {
        return Some(T::FIREBIRD);
    }
    if matches!(name, b"cache.dat" | b"iris.dat" | b"cache.ext") {
        return Some(T::CACHE);
    }
    // dBase: version, then a date of last change as year, month, day, then the header's length.
    if extension == b"dbf"
        && matches!(
            head,
            [
                0x02 | 0x03 | 0x30 | 0x31 | 0x43 | 0x63 | 0x83 | 0x8b | 0xcb | 0xf5,
                _,
                1..=12,
                1..=31,
                ..
            ]
        )
        && le16(head, 8).is_some_and(|len| len >= 33)
    {
        return Some(T::DBASE);
    }
    None
}

/// By what an office program or a Java tool puts first into its zip.
fn zip(head: &[u8], extension: &[u8]) -> T {
    let has = |what: &[u8]| memchr::memmem::find(head, what).is_some();
    if has(b"mimetypeapplication/vnd.oasis.opendocument") {
        return T::ODF;
    }
    if has(b"mimetypeapplication/epub") {
        return T::EPUB;
    }
    if has(b"[Content_Types].xml") || has(b"_rels/.rels") {
        return match extension {
            b"xlsx" | b"xlsm" | b"xltx" | b"xlsb" => T::XLSX,
            b"pptx" | b"pptm" | b"ppsx" => T::PPTX,
            b"docx" | b"docm" | b"dotx" => T::DOCX,
            _ if has(b"xl/") => T::XLSX,
            _ if has(b"ppt/") => T::PPTX,
            _ if has(b"word/") => T::DOCX,
            _ => T::ZIP,
        };
    }
    if has(b"META-INF/MANIFEST.MF") || matches!(extension, b"jar" | b"war" | b"ear") {
        return T::JAR;
    }
    // Bit 0 of the first member's flags: it needs a password.
    if head.get(6).is_some_and(|flags| flags & 1 != 0) && at(head, 0, b"PK\x03\x04") {
        return T::ZIP_ENCRYPTED;
    }
    T::ZIP
}

fn utf16(text: &str) -> Vec<u8> {
    text.bytes().flat_map(|b| [b, 0]).collect()
}

/// By the streams' names, which stand in UTF-16, where they lie within `head`; else by extension.
fn ole(head: &[u8], extension: &[u8]) -> T {
    let has = |name: &str| memchr::memmem::find(head, &utf16(name)).is_some();
    if has("EncryptedPackage") {
        return T::OFFICE_ENCRYPTED;
    }
    match extension {
        b"doc" | b"dot" => T::DOC,
        b"xls" | b"xlt" => T::XLS,
        b"ppt" | b"pps" => T::PPT,
        b"msg" => T::MSG,
        b"msi" | b"msp" => T::MSI,
        // New office documents are zips; in an OLE file they are encrypted.
        b"docx" | b"xlsx" | b"pptx" | b"docm" | b"xlsm" => T::OFFICE_ENCRYPTED,
        _ if has("WordDocument") => T::DOC,
        _ if has("Workbook") => T::XLS,
        _ if has("PowerPoint Document") => T::PPT,
        _ if has("__properties_version1.0") => T::MSG,
        _ => T::OLE,
    }
}

/// The type that a name alone says, of content that shows nothing.
pub(crate) fn by_name(name: &[u8], extension: &[u8]) -> Option<T> {
    Some(match extension {
        b"mdf" | b"ndf" => T::MSSQL_DATA,
        b"ldf" => T::MSSQL_LOG,
        b"myd" => T::MYSQL_MYISAM,
        b"vmdk" => T::VMDK,
        b"vhd" => T::VHD,
        b"vmem" | b"vmsn" | b"vmss" | b"vsv" => T::VM_STATE,
        b"db" if name.starts_with(b"px") => T::PARADOX,
        b"fp7" | b"fmp12" => T::FILEMAKER,
        b"dmp" | b"expdp" => T::ORACLE_DUMP,
        b"mp3" => T::MP3,
        _ => return None,
    })
}

/// Extensions of formats that are known here: bytes that look random are none of them.
pub(crate) fn promises_format(extension: &[u8]) -> bool {
    const KNOWN: [&[u8]; 38] = [
        b"doc", b"docx", b"xls", b"xlsx", b"ppt", b"pptx", b"pdf", b"rtf", b"txt", b"csv", b"log",
        b"xml", b"json", b"html", b"htm", b"sql", b"jpg", b"jpeg", b"png", b"gif", b"tif", b"tiff",
        b"bmp", b"zip", b"gz", b"tar", b"dcm", b"hl7", b"mdb", b"accdb", b"sqlite", b"pst", b"mp4",
        b"avi", b"wav", b"mdf", b"bak", b"vmdk",
    ];
    KNOWN.contains(&extension)
}
