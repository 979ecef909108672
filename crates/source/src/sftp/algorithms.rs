//! What a connection may agree on.
//!
//! libssh2 takes out of each list what it was built without. SHA-1 and CBC are in it only as far as
//! `.cargo/config.toml` has it built so, and are asked for only where a host needs them.

use ssh2::{Error, MethodType, Session};

/// Key exchange without SHA-1, best first.
const KEX: &str = "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,\
                   ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,\
                   diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,\
                   diffie-hellman-group14-sha256";
const MAC: &str = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,\
                   hmac-sha2-512";
const CIPHER: &str = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,\
                      aes128-ctr,aes256-ctr,aes192-ctr";

/// What servers from before about 2012 know at most, best first. Not among them, because they are
/// broken in practice: single DES, RC4, MD5, keys of DSA, groups of 768 bits.
const LEGACY_KEX: &str = "diffie-hellman-group-exchange-sha1,diffie-hellman-group14-sha1,\
                          diffie-hellman-group1-sha1";
const LEGACY_MAC: &str = "hmac-sha1-etm@openssh.com,hmac-sha1";
const LEGACY_CIPHER: &str = "aes256-cbc,aes192-cbc,aes128-cbc,3des-cbc";
/// RSA keys with signatures of SHA-1.
pub(super) const LEGACY_HOST_KEYS: [&str; 1] = ["ssh-rsa"];

/// Lets a session agree on these host keys and on what is good, and on the rest where `legacy` says
/// so; the good first.
pub(super) fn allow(session: &Session, host_keys: &str, legacy: bool) -> Result<(), Error> {
    let list = |good: &str, old: &str| match legacy {
        true => format!("{good},{old}"),
        false => good.to_owned(),
    };
    let (cipher, mac) = (list(CIPHER, LEGACY_CIPHER), list(MAC, LEGACY_MAC));
    for (method, list) in [
        (MethodType::Kex, &*list(KEX, LEGACY_KEX)),
        (MethodType::HostKey, host_keys),
        (MethodType::CryptCs, &cipher),
        (MethodType::CryptSc, &cipher),
        (MethodType::MacCs, &mac),
        (MethodType::MacSc, &mac),
    ] {
        session.method_pref(method, list)?;
    }
    Ok(())
}

/// What both sides agreed on: key exchange, host key, cipher, message authentication.
pub(super) fn agreed(session: &Session) -> String {
    let method = |method| session.methods(method).unwrap_or("none");
    format!(
        "{}, {}, {}, {}",
        method(MethodType::Kex),
        method(MethodType::HostKey),
        method(MethodType::CryptSc),
        method(MethodType::MacSc)
    )
}

/// Those of the algorithms that were agreed, as the session tells them, that are only for servers
/// that know no others.
pub fn legacy_in(agreed: &str) -> Vec<&str> {
    let legacy = |name: &&str| {
        [LEGACY_KEX, LEGACY_MAC, LEGACY_CIPHER]
            .iter()
            .any(|list| list.split(',').any(|l| l == *name))
            || LEGACY_HOST_KEYS.contains(name)
    };
    agreed.split(", ").filter(legacy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_is_told_from_what_is_good() {
        let good = "curve25519-sha256, ssh-ed25519, aes128-gcm@openssh.com, none";
        assert_eq!(legacy_in(good), Vec::<&str>::new());
        let old = "diffie-hellman-group14-sha1, ssh-rsa, aes128-cbc, hmac-sha1";
        assert_eq!(legacy_in(old).len(), 4);
    }
}
