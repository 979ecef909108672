//! What is said in SFTP: requests, and what answers to them, of version 3 of the protocol
//! (draft-ietf-secsh-filexfer-02), as far as reading takes it.
//!
//! ```text
//! packet    length u32 │ sort u8 │ number u32 │ fields          (the first of each side has no number)
//! text      length u32 │ bytes
//! attributes flags u32 │ size u64? │ uid u32, gid u32? │ mode u32? │ atime u32, mtime u32? │ extended?
//! ```
//!
//! A packet holds nothing that allocates more than its own length, and none is longer than
//! [`LONGEST`].

/// The longest packet that is taken from a server, in bytes; servers send no longer ones.
pub const LONGEST: usize = 256 << 10;
/// The version of the protocol that is asked for.
const VERSION: u32 = 3;
/// Opened to be read.
const READ: u32 = 1;

/// Mode bits that tell what an entry is.
const SORT: u32 = 0o170_000;
/// [`SORT`] of a regular file.
pub(crate) const FILE: u32 = 0o100_000;
/// Of a directory.
pub(crate) const DIRECTORY: u32 = 0o040_000;
/// Of a symbolic link.
pub(crate) const LINK: u32 = 0o120_000;

/// Something that a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Which version it speaks; the first request, without a number.
    Init,
    /// A handle of the file at this path.
    Open(&'a [u8]),
    /// Ends the use of a handle.
    Close(&'a [u8]),
    /// Bytes of an open file.
    Read {
        /// Its handle.
        handle: &'a [u8],
        /// Where they begin.
        offset: u64,
        /// How many.
        len: u32,
    },
    /// Attributes of what is at this path, of a link itself.
    Lstat(&'a [u8]),
    /// Attributes of what is at this path.
    Stat(&'a [u8]),
    /// Attributes of an open file.
    Fstat(&'a [u8]),
    /// A handle of the directory at this path.
    OpenDir(&'a [u8]),
    /// More names of an open directory.
    ReadDir(&'a [u8]),
    /// The path without links.
    RealPath(&'a [u8]),
    /// Where a link leads.
    ReadLink(&'a [u8]),
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The version that it speaks.
    Version(u32),
    /// How it went.
    Status {
        /// 0 where all is well; 1 at the end.
        code: u32,
        /// In words.
        message: Vec<u8>,
    },
    /// Of a file or directory that was opened.
    Handle(Vec<u8>),
    /// Bytes of a file.
    Data(Vec<u8>),
    /// Names with their attributes.
    Names(Vec<Name>),
    /// Attributes.
    Attributes(FileAttributes),
}

/// An entry of a directory, or what a path comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Bytes that nobody has looked at.
    pub name: Vec<u8>,
    /// What the server says of it.
    pub attributes: FileAttributes,
}

/// What a server says of an entry; it may leave out anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileAttributes {
    /// Bytes.
    pub size: Option<u64>,
    /// Numbers of user and group.
    pub owners: Option<(u32, u32)>,
    /// Permissions and sort.
    pub mode: Option<u32>,
    /// Of the last change, in seconds since 1970.
    pub mtime: Option<u32>,
}

impl FileAttributes {
    /// The mode's bits that tell what it is; 0 where that is not said.
    pub(crate) fn sort(&self) -> u32 {
        self.mode.unwrap_or(0) & SORT
    }
}

impl Request<'_> {
    /// Appends the packet, as the request with this number.
    pub fn write(&self, number: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        let (sort, text) = match *self {
            Self::Init => (1, None),
            Self::Open(path) => (3, Some(path)),
            Self::Close(handle) => (4, Some(handle)),
            Self::Read { handle, .. } => (5, Some(handle)),
            Self::Lstat(path) => (7, Some(path)),
            Self::Fstat(handle) => (8, Some(handle)),
            Self::OpenDir(path) => (11, Some(path)),
            Self::ReadDir(handle) => (12, Some(handle)),
            Self::RealPath(path) => (16, Some(path)),
            Self::Stat(path) => (17, Some(path)),
            Self::ReadLink(path) => (19, Some(path)),
        };
        out.push(sort);
        let number = if *self == Self::Init { VERSION } else { number };
        out.extend_from_slice(&number.to_be_bytes());
        if let Some(text) = text {
            // Paths and handles are bounded far below.
            out.extend_from_slice(&(text.len() as u32).to_be_bytes());
            out.extend_from_slice(text);
        }
        match *self {
            Self::Read { offset, len, .. } => {
                out.extend_from_slice(&offset.to_be_bytes());
                out.extend_from_slice(&len.to_be_bytes());
            }
            Self::Open(_) => {
                out.extend_from_slice(&READ.to_be_bytes());
                // No attributes.
                out.extend_from_slice(&0_u32.to_be_bytes());
            }
            _ => {}
        }
        let len = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&len.to_be_bytes());
    }
}

impl Answer {
    /// What a packet says, after its length, and the number of the request that it answers; `None`
    /// where it says nothing that there is. What a later version may have added at its end is
    /// passed over.
    pub fn decode(packet: &[u8]) -> Option<(u32, Self)> {
        let mut fields = Fields(packet);
        let sort = fields.byte()?;
        let number = fields.u32()?;
        let answer = match sort {
            2 => return Some((0, Self::Version(number))),
            101 => {
                let code = fields.u32()?;
                // Some servers give no words.
                Self::Status { code, message: fields.text().unwrap_or_default().to_vec() }
            }
            102 => Self::Handle(fields.text()?.to_vec()),
            103 => Self::Data(fields.text()?.to_vec()),
            104 => {
                let count = fields.u32()?;
                let mut names = Vec::new();
                for _ in 0..count {
                    let name = fields.text()?.to_vec();
                    // The same as `ls -l` shows it.
                    fields.text()?;
                    names.push(Name { name, attributes: fields.attributes()? });
                }
                Self::Names(names)
            }
            105 => Self::Attributes(fields.attributes()?),
            _ => return None,
        };
        Some((number, answer))
    }
}

/// What is left of a packet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.bytes(1)?[0])
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.bytes(len as usize)
    }

    fn attributes(&mut self) -> Option<FileAttributes> {
        let flags = self.u32()?;
        let mut found = FileAttributes::default();
        if flags & 1 != 0 {
            found.size = Some(self.u64()?);
        }
        if flags & 2 != 0 {
            found.owners = Some((self.u32()?, self.u32()?));
        }
        if flags & 4 != 0 {
            found.mode = Some(self.u32()?);
        }
        if flags & 8 != 0 {
            self.u32()?;
            found.mtime = Some(self.u32()?);
        }
        if flags & 1 << 31 != 0 {
            for _ in 0..self.u32()? {
                self.text()?;
                self.text()?;
            }
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_the_bytes_of_the_draft() {
        let mut out = b"before".to_vec();
        Request::Read { handle: b"h", offset: 1 << 32, len: 5 }.write(7, &mut out);
        assert_eq!(&out[..6], b"before");
        assert_eq!(&out[6..], b"\0\0\0\x16\x05\0\0\0\x07\0\0\0\x01h\0\0\0\x01\0\0\0\0\0\0\0\x05");
        out.clear();
        Request::Open(b"/a").write(1, &mut out);
        assert_eq!(&out, b"\0\0\0\x13\x03\0\0\0\x01\0\0\0\x02/a\0\0\0\x01\0\0\0\0");
        out.clear();
        Request::Init.write(9, &mut out);
        assert_eq!(&out, b"\0\0\0\x05\x01\0\0\0\x03");
    }

    #[test]
    fn an_answer_is_what_it_says() {
        let attributes = b"\x80\0\0\x0f\0\0\0\0\0\0\0\x05\0\0\0\x01\0\0\0\x02\0\0\x81\xa4\
                           \0\0\0\x03\0\0\0\x04\0\0\0\x01\0\0\0\x01a\0\0\0\0";
        let found = FileAttributes {
            size: Some(5),
            owners: Some((1, 2)),
            mode: Some(0o100_644),
            mtime: Some(4),
        };
        let packet = [b"\x68\0\0\0\x09\0\0\0\x01\0\0\0\x01n\0\0\0\0", &attributes[..]].concat();
        let names = Answer::Names(vec![Name { name: b"n".to_vec(), attributes: found }]);
        assert_eq!(Answer::decode(&packet), Some((9, names)));
        let packet = [b"\x69\0\0\0\x08", &attributes[..]].concat();
        assert_eq!(Answer::decode(&packet), Some((8, Answer::Attributes(found))));
        for end in 0..packet.len() {
            assert_eq!(Answer::decode(&packet[..end]), None, "{end}");
        }
        let wordless = Answer::Status { code: 4, message: Vec::new() };
        assert_eq!(Answer::decode(b"\x65\0\0\0\x01\0\0\0\x04"), Some((1, wordless)));
        assert_eq!(Answer::decode(b"\x02\0\0\0\x03\0\0"), Some((0, Answer::Version(3))));
        // More names than there are bytes, and a sort that there is not.
        assert_eq!(Answer::decode(b"\x68\0\0\0\x01\xff\xff\xff\xff\0\0\0\0"), None);
        assert_eq!(Answer::decode(b"\xc8\0\0\0\x01"), None);
    }

    proptest! {
        #[test]
        fn whatever_a_server_sends_is_no_panic(packet: Vec<u8>) {
            let _ = Answer::decode(&packet);
        }

        #[test]
        fn data_comes_as_it_is(number: u32, data: Vec<u8>) {
            let mut packet = vec![103];
            packet.extend_from_slice(&number.to_be_bytes());
            packet.extend_from_slice(&(data.len() as u32).to_be_bytes());
            packet.extend_from_slice(&data);
            prop_assert_eq!(Answer::decode(&packet), Some((number, Answer::Data(data))));
        }

        #[test]
        fn a_request_says_how_long_it_is(number: u32, handle: Vec<u8>, offset: u64, len: u32) {
            let requests = [
                Request::Read { handle: &handle, offset, len },
                Request::Open(&handle),
                Request::ReadDir(&handle),
            ];
            for request in requests {
                let mut out = Vec::new();
                request.write(number, &mut out);
                prop_assert_eq!(out[..4].to_vec(), (out.len() as u32 - 4).to_be_bytes().to_vec());
                prop_assert_eq!(out[5..9].to_vec(), number.to_be_bytes().to_vec());
            }
        }
    }
}
