//! What a helper on a server says, and what it is asked.

use drover_source::{
    Cut, SourceDescription, Stat, Taken, WalkEvent,
    helper::message::{Answer, Question},
};
use drover_types::{
    Attributes, Evidence, ExceptionKind, FileHash, Kind, RelativePath, Timestamp, Xattr,
};

/// The first byte says whether the rest is a question. An answer that is accepted is what its fields
/// are encoded as.
pub fn run(data: &[u8]) -> bool {
    match data.split_first() {
        Some((0, bytes)) => Question::decode(bytes).is_ok(),
        Some((_, bytes)) => match Answer::decode(bytes) {
            Ok(answer) => {
                assert_eq!(answer.encode(), bytes);
                true
            }
            Err(_) => false,
        },
        None => false,
    }
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let path = RelativePath::new(*b"directory/file").unwrap();
    let time = Timestamp::new(-1, 999_999_999).unwrap();
    let xattr = Xattr { name: b"user.a".as_slice().into(), value: b"\0b".as_slice().into() };
    let stat = Stat {
        kind: Kind::File,
        attributes: Attributes {
            mode: 0o4755,
            uid: 1000,
            gid: 100,
            user: Some("somebody".into()),
            group: None,
            mtime: time,
            flags: 16,
            xattrs: vec![xattr],
        },
        evidence: Evidence {
            inode: 7,
            links: 2,
            size: 9,
            ctime: Some(time),
            ..Evidence::default()
        },
    };
    let link = Kind::Symlink { target: b"..".as_slice().into() };
    let device = Kind::BlockDevice { major: 7, minor: 99 };
    let events = vec![
        WalkEvent::Entry(Stat { kind: device, ..stat.clone() }.into_entry(RelativePath::root())),
        WalkEvent::Entry(stat.clone().into_entry(path.clone())),
    ];
    let description = SourceDescription {
        kind: "helper",
        host: "server".into(),
        root: b"/srv".as_slice().into(),
        user: "root".into(),
        privileged: true,
        file_system: 42,
        connection: String::new(),
    };
    let hash = Some(FileHash([3; 32]));
    let rest = Answer::Rest { kind: link.clone(), attributes: Attributes::default() };
    let answers = [
        Answer::Ready(description),
        Answer::Events(events),
        Answer::End,
        Answer::Whole(b"content".to_vec()),
        Answer::Hole(1 << 40),
        Answer::Cuts(vec![Cut { len: 1 << 20, hash: [5; 32] }]),
        Answer::Again,
        Answer::Taken(Box::new(Taken { size: 9, hash, stat: stat.clone() })),
        Answer::Bytes(vec![1, 2, 3]),
        rest,
        Answer::Stat(stat),
        Answer::Data(Some(3..9)),
        Answer::Refused(ExceptionKind::Denied, "permission".into()),
        Answer::Parts(vec![vec![1, 2], vec![]]),
    ];
    let questions = [
        Question::Root(b"/srv".to_vec()),
        Question::Walk { threads: 4, one_file_system: true, buffer: 1024 },
        Question::Take(path.clone()),
        Question::Want(vec![true, false]),
        Question::Complete(path.clone(), link),
        Question::Parts(path, vec![0..9, 12..13]),
        Question::Read { offset: 3, len: 9 },
        Question::Rest,
    ];
    let question = |question: &Question| {
        let mut message = Vec::new();
        question.write(&mut message).unwrap();
        [&[0], &message[4..]].concat()
    };
    let mut seeds: Vec<_> = answers.iter().map(|a| [&[1], &a.encode()[..]].concat()).collect();
    seeds.extend(questions.iter().map(question));
    seeds
}
