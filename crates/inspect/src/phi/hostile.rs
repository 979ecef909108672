//! Lines made to cost more than their length: work is counted, and what is kept.

use std::{cell::Cell, mem::size_of};

use crate::phi::{
    TextScanner,
    sql::MEMORY,
    table::{COLUMNS, Column},
};

thread_local! {
    static WORK: Cell<u64> = const { Cell::new(0) };
}

pub(in crate::phi) fn worked(bytes: usize) {
    WORK.set(WORK.get() + bytes as u64 + 1);
}

/// What looking through one line costs that begins with `front` and goes on with `again` for `len` bytes.
fn work(front: &str, again: &str, len: usize) -> u64 {
    WORK.set(0);
    let mut scanner = TextScanner::new(2026);
    let mut found = 0u64;
    scanner.feed(front.as_bytes(), &mut |_, _| found += 1);
    let piece = again.repeat((64 << 10) / again.len());
    for _ in 0..len / piece.len() {
        scanner.feed(piece.as_bytes(), &mut |_, _| found += 1);
    }
    scanner.finish(&mut |_, _| found += 1);
    WORK.get()
}

#[test]
fn hostile_lines_cost_what_their_length_does() {
    const MIB: usize = 1 << 20;
    let table = "mrn,dob,ssn\n4711,1961-12-03,536904399\n";
    let insert = "CREATE TABLE `p` (\n`dob` date\n);\nINSERT INTO `p` VALUES ";
    let message = "MSH|^~\\&|A|B|C|D|20240214||ADT^A08|1|P|2.5PID|1||";
    let longest = ["\"", ",", "(", "[", "INSERT INTO ("];
    for (front, again) in [
        (table, "\""),
        (table, ","),
        (table, "\","),
        ("a,dob,b\tc", ",dob"),
        ("dob", "\t"),
        (insert, "("),
        (insert, "()"),
        (insert, "(',"),
        (insert, "(\\',"),
        (insert, ");INSERT INTO `p` VALUES ("),
        ("INSERT INTO ", "("),
        ("INSERT INTO (", "INSERT INTO ("),
        ("INSERT INTO a;", "INSERT INTO a;"),
        ("INSERT INTO a(", "a,"),
        ("INSERT INTO a(b) VALUES(c);", "INSERT INTO a(b) VALUES(c);"),
        ("INSERT INTO a(b) VALUES(c);", "CREATE TABLE a("),
        ("CREATE TABLE a(", "b c,"),
        (message, "|"),
        (message, "PID|"),
        (message, "~^"),
        ("in a log: PID|", " PID|"),
        ("in a log: PID|", "\\rPID|x"),
        ("ISA*~", "~"),
        ("ISA*~", "NM1*"),
        ("ISA*~", "DMG*D8*~"),
        ("<table>", "<"),
        ("<table>", "<td>"),
        ("<table>", "<td><b>"),
        ("<table>", "<td> "),
        ("<th>dob", ">"),
        ("{", "{"),
        ("[", "["),
        ("\"", "\""),
        ("  dob  ssn\n", "a  "),
    ] {
        let len = if longest.contains(&again) { 16 * MIB } else { 2 * MIB };
        let (short, long) = (work(front, again, len / 16), work(front, again, len));
        assert!(long <= 4 * len as u64, "{front} {again}: {long}");
        assert!(long <= 17 * short + 4096, "{front} {again}: {short} {long}");
    }
}

#[test]
fn what_is_kept_of_a_line_is_little() {
    // Two headers, and a third that is read; SQL's tables have a limit of their own.
    assert!(3 * COLUMNS * size_of::<Column>() + MEMORY <= 1 << 20);
}
