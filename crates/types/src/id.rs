//! Identifiers. Each is a type of its own, so that none passes for another.

use std::fmt;

use data_encoding::HEXLOWER;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Lower-case hexadecimal, `2 * LEN` characters.
            pub fn to_hex(&self) -> String {
                HEXLOWER.encode(&self.0)
            }

            /// Parses exactly what [`Self::to_hex`] prints.
            pub fn from_hex(text: &str) -> Option<Self> {
                let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
                Some(Self(bytes.try_into().ok()?))
            }

            /// The bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.to_hex())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.to_hex())
            }
        }
    };
}

id!(
    /// Names a chunk: a keyed BLAKE3 of the BLAKE3 of its plaintext (`docs/format.md`, "Chunks").
    ChunkId,
    32
);
id!(
    /// Names a pack: the plain BLAKE3 of the bytes it is stored as.
    PackId,
    32
);
id!(
    /// Names a snapshot: the plain BLAKE3 of the bytes it is stored as.
    SnapshotId,
    32
);
id!(
    /// The plain BLAKE3 of a whole file, as `b3sum` prints it.
    FileHash,
    32
);
id!(
    /// A repository, drawn at random by `init`.
    RepositoryId,
    16
);
id!(
    /// A writer: the first half of the BLAKE3 of its public key.
    WriterId,
    16
);
id!(
    /// A dedup domain: writers in one domain share chunk names.
    DomainId,
    16
);
id!(
    /// A source within a repository: a keyed hash of its name.
    SourceId,
    16
);
