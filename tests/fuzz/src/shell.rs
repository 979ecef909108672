//! What a shell on a server answers, to each question that is asked of one.

use std::ops::ControlFlow;

use drover_source::sftp::answers::Answers;

/// The paths that were asked about.
const PATHS: [&[u8]; 3] = [b"/a", b"/b\n", b"/c\\"];

/// The same bytes as the answer to each question. What is accepted holds no more than came.
pub fn run(data: &[u8]) -> bool {
    let mut told = 0;
    let listed = Answers::new(data).listed(|entry| {
        assert!(!entry.name.is_empty() && !entry.name.contains(&0));
        told += entry.name.len() + 1;
        ControlFlow::Continue(())
    });
    assert!(told <= data.len());
    let stats = Answers::new(data).stats(&PATHS);
    if let Ok(stats) = &stats {
        assert_eq!(stats.len(), PATHS.len());
        for (entry, path) in stats.iter().zip(PATHS) {
            assert!(entry.as_ref().is_none_or(|entry| *entry.name == *path));
        }
    }
    let xattrs = Answers::new(data).all_xattrs(&PATHS);
    if let Ok(Some(xattrs)) = &xattrs {
        assert_eq!(xattrs.len(), PATHS.len());
        let held = |xattr: &drover_types::Xattr| xattr.name.len() + xattr.value.len();
        assert!(xattrs.iter().flatten().map(held).sum::<usize>() <= data.len());
    }
    let probe = Answers::new(data).probe();
    let device = Answers::new(data).device();
    listed.is_ok()
        || stats.is_ok()
        || matches!(xattrs, Ok(Some(_)))
        || matches!(probe, Ok(Some(_)))
        || matches!(device, Ok(Some(_)))
}

/// One answer to each.
pub fn seeds() -> Vec<Vec<u8>> {
    let entry = |name: &str, sort: char| {
        format!(
            "{name}|{sort}|644|1000|100|it|it|5|1700000000.1234567890|1700000001.5|64769|12|1|8|"
        )
    };
    let answers = [
        format!("{}{}|0|", entry("name", 'f'), entry("other", 'd')),
        format!("{}{}|0|", entry("/a", 'f'), entry("/c\\", 'l')),
        "# file: /b\\012\nuser.a=0x01\nsystem.posix_acl_access=0x0200\n\n|0|".to_owned(),
        "ready|1700000000.1 1700000000.2 64769 2 1 8|0||0|".to_owned(),
        "8 1\n|0|".to_owned(),
    ];
    answers.map(|answer| answer.replace('|', "\0").into_bytes()).into()
}
