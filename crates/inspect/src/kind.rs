//! The types of files that are told apart: one table, ids that reports and plans may rely on.

use std::fmt;

/// What sort of thing a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Images, studies, messages and documents of medicine.
    Medical,
    /// Files of a database, and its logs.
    Database,
    /// What a database or a system was dumped or backed up to.
    Dump,
    /// Disks of virtual machines, images of disks.
    Disk,
    /// Mailboxes and letters.
    Mail,
    /// Office documents and the like.
    Document,
    /// Plain text in any form.
    Text,
    /// Tables as text.
    Table,
    /// Pictures.
    Image,
    /// Sound.
    Audio,
    /// Films.
    Video,
    /// Files that hold files.
    Archive,
    /// Compressed, of one file.
    Compressed,
    /// Encrypted by design.
    Encrypted,
    /// Private keys, certificates, stores of passwords.
    Key,
    /// Programs and libraries.
    Program,
    /// No bytes.
    Empty,
    /// None of these.
    Unknown,
}

impl Class {
    /// The word that JSON and people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Medical => "medical",
            Class::Database => "database",
            Class::Dump => "dump",
            Class::Disk => "disk",
            Class::Mail => "mail",
            Class::Document => "document",
            Class::Text => "text",
            Class::Table => "table",
            Class::Image => "image",
            Class::Audio => "audio",
            Class::Video => "video",
            Class::Archive => "archive",
            Class::Compressed => "compressed",
            Class::Encrypted => "encrypted",
            Class::Key => "key",
            Class::Program => "program",
            Class::Empty => "empty",
            Class::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A type of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileType {
    /// Stable, lower case, with dashes.
    pub id: &'static str,
    /// For people.
    pub label: &'static str,
    /// Its sort.
    pub class: Class,
}

macro_rules! types {
    ($($name:ident $id:literal $label:literal $class:ident;)*) => {
        impl FileType {
            $(#[doc = $label] pub const $name: FileType =
                FileType { id: $id, label: $label, class: Class::$class };)*
            /// All of them.
            pub const ALL: &[FileType] = &[$(FileType::$name),*];
        }
    };
}

types! {
    EMPTY "empty" "Empty file" Empty;
    UNKNOWN "unknown" "Unknown binary data" Unknown;
    RANDOM "random" "Unknown data that looks encrypted" Encrypted;
    ZEROS "zeros" "Nothing but zero bytes" Unknown;

    DICOM "dicom" "DICOM object" Medical;
    DICOMDIR "dicomdir" "DICOM directory" Medical;
    HL7 "hl7-v2" "HL7 v2 messages" Medical;
    FHIR_JSON "fhir-json" "FHIR resource (JSON)" Medical;
    FHIR_XML "fhir-xml" "FHIR resource (XML)" Medical;
    CDA "cda" "Clinical document (CDA)" Medical;
    AECG "hl7-aecg" "Annotated ECG (HL7)" Medical;
    X12 "x12" "X12 claims and remittances" Medical;
    EDF "edf" "Signals in EDF or BDF" Medical;
    NIFTI "nifti" "NIfTI volume" Medical;
    ASTM "astm" "Laboratory messages (ASTM E1394)" Medical;

    MSSQL_DATA "mssql-data" "SQL Server data file" Database;
    MSSQL_LOG "mssql-log" "SQL Server log file" Database;
    POSTGRES_MARK "postgres-directory" "PostgreSQL data directory (PG_VERSION)" Database;
    POSTGRES_DATA "postgres-data" "PostgreSQL relation or control file" Database;
    POSTGRES_WAL "postgres-wal" "PostgreSQL write-ahead log" Database;
    MYSQL_INNODB "mysql-innodb" "MySQL InnoDB tablespace" Database;
    MYSQL_MYISAM "mysql-myisam" "MySQL MyISAM table or index" Database;
    ORACLE "oracle-data" "Oracle data file" Database;
    CACHE "intersystems-data" "InterSystems Caché or IRIS database" Database;
    GTM "gtm-data" "GT.M or YottaDB database" Database;
    SQLITE "sqlite" "SQLite database" Database;
    ACCESS "access" "Microsoft Access database" Database;
    DBASE "dbase" "dBase or FoxPro table" Database;
    ESE "ese" "Extensible Storage Engine database" Database;
    FIREBIRD "firebird" "Firebird or InterBase database" Database;
    PARADOX "paradox" "Paradox table" Database;
    FILEMAKER "filemaker" "FileMaker database" Database;

    PG_DUMP "postgres-dump" "PostgreSQL dump" Dump;
    PG_DUMP_SQL "postgres-dump-sql" "PostgreSQL dump (SQL)" Dump;
    MYSQL_DUMP "mysql-dump-sql" "MySQL or MariaDB dump (SQL)" Dump;
    SQLITE_DUMP "sqlite-dump-sql" "SQLite dump (SQL)" Dump;
    MSSQL_BACKUP "mssql-backup" "SQL Server or tape-format backup" Dump;
    ORACLE_DUMP "oracle-dump" "Oracle export" Dump;
    SQL "sql" "SQL script" Dump;
    WINDOWS_IMAGE "windows-image" "Windows image (WIM)" Dump;

    VMDK "vmdk" "VMware disk" Disk;
    VHD "vhd" "Virtual PC or Hyper-V disk (VHD)" Disk;
    VHDX "vhdx" "Hyper-V disk (VHDX)" Disk;
    VDI "vdi" "VirtualBox disk" Disk;
    QCOW2 "qcow2" "QEMU disk" Disk;
    RAW_DISK "raw-disk" "Disk image" Disk;
    ISO "iso-9660" "CD or DVD image" Disk;
    VM_STATE "vm-state" "Memory or state of a virtual machine" Disk;

    PST "outlook" "Outlook mailbox (PST, OST)" Mail;
    MSG "outlook-message" "Outlook message" Mail;
    EML "mail" "Mail message" Mail;
    MBOX "mbox" "Mailbox" Mail;

    DOCX "docx" "Word document" Document;
    XLSX "xlsx" "Excel workbook" Document;
    PPTX "pptx" "PowerPoint presentation" Document;
    ODF "opendocument" "OpenDocument" Document;
    DOC "doc" "Word document (97-2003)" Document;
    XLS "xls" "Excel workbook (97-2003)" Document;
    PPT "ppt" "PowerPoint presentation (97-2003)" Document;
    OLE "ole" "OLE compound file" Document;
    OFFICE_ENCRYPTED "office-encrypted" "Office document with a password" Encrypted;
    PDF "pdf" "PDF document" Document;
    PDF_ENCRYPTED "pdf-encrypted" "PDF document, encrypted" Encrypted;
    POSTSCRIPT "postscript" "PostScript" Document;
    RTF "rtf" "Rich text" Document;
    EPUB "epub" "Electronic book" Document;
    ONENOTE "onenote" "OneNote section" Document;

    TEXT "text" "Plain text" Text;
    JSON "json" "JSON" Text;
    XML "xml" "XML" Text;
    HTML "html" "HTML" Text;
    LOG "log" "Log" Text;
    CONFIG "config" "Configuration" Text;
    SCRIPT "script" "Script" Program;
    CSV "csv" "Table as text" Table;
    CSV_PATIENTS "csv-patients" "Table as text with columns of patients" Table;
    VCARD "vcard" "Address card" Text;
    LDIF "ldif" "Directory export (LDIF)" Text;

    JPEG "jpeg" "JPEG image" Image;
    JPEG2000 "jpeg-2000" "JPEG 2000 image" Image;
    PNG "png" "PNG image" Image;
    GIF "gif" "GIF image" Image;
    TIFF "tiff" "TIFF image" Image;
    BMP "bmp" "Bitmap" Image;
    WEBP "webp" "WebP image" Image;
    HEIC "heic" "HEIC or AVIF image" Image;
    ICON "icon" "Icon" Image;
    SVG "svg" "SVG image" Image;
    PHOTOSHOP "photoshop" "Photoshop image" Image;

    WAV "wav" "WAV sound" Audio;
    MP3 "mp3" "MP3 sound" Audio;
    FLAC "flac" "FLAC sound" Audio;
    OGG "ogg" "Ogg sound or film" Audio;
    DSS "dictation" "Dictation (DSS)" Audio;
    AVI "avi" "AVI film" Video;
    MP4 "mp4" "MP4 or QuickTime film" Video;
    MATROSKA "matroska" "Matroska or WebM film" Video;
    MPEG "mpeg" "MPEG film" Video;
    ASF "windows-media" "Windows Media" Video;

    ZIP "zip" "Zip archive" Archive;
    ZIP_ENCRYPTED "zip-encrypted" "Zip archive with a password" Encrypted;
    TAR "tar" "Tar archive" Archive;
    SEVEN_ZIP "7z" "7-Zip archive" Archive;
    RAR "rar" "RAR archive" Archive;
    CAB "cab" "Cabinet archive" Archive;
    CPIO "cpio" "Cpio archive" Archive;
    AR "ar" "Archive of objects or a Debian package" Archive;
    RPM "rpm" "RPM package" Archive;
    JAR "jar" "Java archive" Program;
    GZIP "gzip" "Gzip" Compressed;
    BZIP2 "bzip2" "Bzip2" Compressed;
    XZ "xz" "XZ" Compressed;
    ZSTD "zstd" "Zstandard" Compressed;
    LZ4 "lz4" "LZ4" Compressed;

    LUKS "luks" "Encrypted volume (LUKS)" Encrypted;
    BITLOCKER "bitlocker" "Encrypted volume (BitLocker)" Encrypted;
    PGP "pgp" "PGP message" Encrypted;
    AGE "age" "Age file" Encrypted;
    OPENSSL "openssl-encrypted" "OpenSSL's enc" Encrypted;
    AXCRYPT "axcrypt" "AxCrypt file" Encrypted;
    PRIVATE_KEY "private-key" "Private key" Key;
    CERTIFICATE "certificate" "Certificate or public key" Key;
    PKCS12 "pkcs12" "Key store (PKCS #12)" Key;
    JAVA_KEYS "java-keystore" "Key store (Java)" Key;
    KEEPASS "keepass" "Password store (KeePass)" Key;

    ELF "elf" "Linux program or library" Program;
    PE "windows-program" "Windows program or library" Program;
    MACHO "mac-program" "macOS program or library" Program;
    JAVA_CLASS "java-class" "Java class" Program;
    WASM "wasm" "WebAssembly" Program;
    MSI "msi" "Windows installer" Program;
    HDF5 "hdf5" "HDF5 data" Unknown;
    LNK "shortcut" "Windows shortcut" Text;
    EVTX "windows-events" "Windows event log" Text;
    REGISTRY "windows-registry" "Windows registry hive" Unknown;
    FONT "font" "Font" Unknown;
}

impl FileType {
    /// Whether it is text that can be looked through as it is.
    pub fn is_text(self) -> bool {
        matches!(self.class, Class::Text | Class::Table)
            && !matches!(self, FileType::LNK | FileType::EVTX)
            || matches!(
                self,
                FileType::HL7
                    | FileType::FHIR_JSON
                    | FileType::FHIR_XML
                    | FileType::CDA
                    | FileType::AECG
                    | FileType::X12
                    | FileType::ASTM
                    | FileType::PG_DUMP_SQL
                    | FileType::MYSQL_DUMP
                    | FileType::SQLITE_DUMP
                    | FileType::SQL
                    | FileType::EML
                    | FileType::MBOX
                    | FileType::RTF
                    | FileType::SVG
                    | FileType::SCRIPT
            )
    }

    /// Whether its bytes are compressed or encrypted by design, so that looking random says nothing.
    pub fn is_dense(self) -> bool {
        matches!(
            self.class,
            Class::Image
                | Class::Audio
                | Class::Video
                | Class::Archive
                | Class::Compressed
                | Class::Encrypted
                | Class::Document
                | Class::Key
        )
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label)
    }
}
