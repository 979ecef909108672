//! The objects `config` and `keys/`, and a writer's credential.

use drover_crypt::hierarchy::{
    Config, Grant, KdfParameters, Keyring, Object, Revocation, UnlockSecret, WriterCredential,
    create_repository, unlock,
};
use zeroize::Zeroizing;

use crate::shared::time;

struct Made {
    config: Vec<u8>,
    objects: Vec<Object>,
    owner: Keyring,
}

fn secret() -> UnlockSecret {
    UnlockSecret::KeyFile(Zeroizing::new(vec![1; 64]))
}

fn make() -> Made {
    let made = create_repository(&secret(), KdfParameters::minimum(), time());
    let (mut objects, owner) = made.unwrap();
    let config = objects.pop().unwrap().bytes;
    Made { config, objects, owner }
}

thread_local! {
    static MADE: Made = make();
}

/// Bytes in the place of each object of a repository in turn, and as objects by themselves.
pub fn run(data: &[u8]) -> bool {
    MADE.with(|made| {
        let mut opened = unlock(data, &made.objects, &secret()).is_ok();
        for at in 0..made.objects.len() {
            let mut objects = made.objects.clone();
            objects[at].bytes = data.to_vec();
            opened |= unlock(&made.config, &objects, &secret()).is_ok();
        }
        let root = made.owner.root_public();
        opened
            || Config::decode(data).is_ok()
            || Grant::decode_verified(data, root).is_ok()
            || Revocation::decode_verified(data, root).is_ok()
            || WriterCredential::decode(data).is_ok()
    })
}

/// All the objects of a repository, a grant, a revocation, a credential.
pub fn seeds() -> Vec<Vec<u8>> {
    MADE.with(|made| {
        let (credential, grant) = made.owner.issue_writer("server", None, time()).unwrap();
        let mut seeds: Vec<_> = made.objects.iter().map(|o| o.bytes.clone()).collect();
        let revoked = made.owner.revoke(credential.writer_id(), 3).unwrap().bytes;
        seeds.extend([made.config.clone(), grant.bytes, revoked]);
        seeds.push(credential.encode().to_vec());
        seeds
    })
}
