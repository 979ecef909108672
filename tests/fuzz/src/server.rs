//! What a server answers to an audit: output of commands, files, and the beginning of TLS.

use drover_audit::{
    Answers, Content, Facts, PROBES, PeerMap, accounts, backup, checks, cron_jobs, disks, homes,
    listeners, mounts, shares, system, timers, tls, units,
};
use drover_types::Timestamp;

/// The first byte says which question the rest answers; where there is no such question, all of them.
pub fn run(data: &[u8]) -> bool {
    let Some((which, bytes)) = data.split_first() else { return false };
    let mut answers = Answers::default();
    let one = PROBES.get(usize::from(*which));
    for probe in PROBES.iter().filter(|probe| one.is_none_or(|one| one.id == probe.id)) {
        let content = Content { status: Some(0), bytes: bytes.to_vec(), ..Content::default() };
        answers.add(probe.id, "/root/.ssh/authorized_keys", Ok(content));
    }
    let text = String::from_utf8_lossy(bytes);
    let mut peers = PeerMap::default();
    peers.add(&[&text]);
    let certificate = tls::certificate(bytes);
    let ports =
        [tls::TlsPort { port: 443, certificate: certificate.clone(), ..tls::TlsPort::default() }];
    let now = Timestamp { seconds: 1_795_760_701, nanos: 0 };
    let facts = Facts { answers: &answers, peers: &peers, tls: &ports, now };
    let made = checks(&facts);
    assert!(!made.is_empty());
    system(&facts);
    homes(&text);
    let peers = peers.peers(&facts).len();
    let known = [
        listeners(&facts).map_or(0, |found| found.len()),
        accounts::accounts(&facts).map_or(0, |found| found.len()),
        disks(&facts).map_or(0, |found| found.len()),
        mounts(&facts).map_or(0, |found| found.len()),
        units(&facts).map_or(0, |found| found.len()),
        timers(&facts).map_or(0, |found| found.len()),
        cron_jobs(&facts).len(),
        shares(&facts).len(),
        backup::backups(&facts).len(),
        peers,
    ];
    let handshake = tls::answer(bytes).is_some_and(|a| matches!(a, tls::TlsAnswer::Speaks { .. }));
    handshake || certificate.is_some() || known.iter().any(|found| *found > 0)
}

/// For each sort of answer one of a few lines, answering everything.
pub fn seeds() -> Vec<Vec<u8>> {
    let texts: [&str; 8] = [
        "root:x:0:0::/root:/bin/bash\nscanner::1001:1001::/home/scanner:/bin/sh\n",
        "root:x:0:0::/root:/bin/sh\nroot:!:19000::::::\n",
        "tcp LISTEN 0 128 0.0.0.0:11112 0.0.0.0:* users:((\"storescp\",pid=1,fd=3))\n",
        "0: 00000000:2B68 00000000:0000 0A\n1: 0A00000A:2B68 0B00000A:C001 01\n",
        "NAME=\"sda\" KNAME=\"sda\" PKNAME=\"\" TYPE=\"disk\" SIZE=\"1000\" MOUNTPOINT=\"/\"\n",
        "[global]\nserver min protocol = NT1\n[images]\npath = /srv\nguest ok = yes\n",
        "Id=backup.timer\nUnit=backup.service\nLastTriggerUSec=Fri 2026-11-27 06:25:01 UTC\n",
        "17 * * * * root restic backup /srv --password-file /root/p\n",
    ];
    let mut seeds: Vec<Vec<u8>> =
        texts.iter().map(|text| [&[u8::MAX], text.as_bytes()].concat()).collect();
    // A server's hello and its certificate, which is none.
    let hello = [&[2, 0, 0, 38, 3, 3][..], &[0; 36], &[11, 0, 0, 7, 0, 0, 4, 0, 0, 1, 9]].concat();
    let record = [&[22, 3, 3][..], &(hello.len() as u16).to_be_bytes(), &hello].concat();
    seeds.push([&[u8::MAX], record.as_slice()].concat());
    seeds
}
