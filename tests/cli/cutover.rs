//! Cutovers: gates, the freeze with its timer, failures and kills at each step, other machines that go
//! on, and the way back.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    clinic::{Client, Clinic, journal, more_lines, refused},
    compare::assert_same,
    lab::Answer,
    sshd::Sshd,
};

#[test]
fn a_cutover_from_the_first_pass_to_the_last_word() {
    let clinic = Clinic::new();
    let answer = clinic.cutover(&[]).expect(5);
    let document = answer.json();
    assert_eq!(document["state"], "planned");
    assert_eq!(document["error"]["kind"], "gate");
    assert_eq!(refused(&document), ["freeze", "baseline", "rehearsal", "lag"]);
    for gate in document["gates"].as_array().unwrap() {
        let refuses = gate["outcome"] == "refused";
        assert_eq!(gate["remedy"].as_str().unwrap().is_empty(), !refuses, "{gate}");
    }
    assert_eq!(clinic.ran(), [""; 0], "nothing is touched before the gates are passed");

    for verb in ["sync", "sync", "verify"] {
        clinic.lab.run(&[verb, clinic.plan.as_str(), "--json"]).expect(0);
    }
    assert_eq!(refused(&clinic.cutover(&[]).expect(5).json()), ["rehearsal"]);
    let rehearsed = clinic.cutover(&["--rehearse"]).expect(0).json();
    assert_eq!(rehearsed["state"], "rehearsed");
    assert!(rehearsed["freeze"]["predicted"]["p90"].as_f64().unwrap() > 1.0);
    let ran = clinic.ran();
    assert!(!ran.iter().any(|name| name == "freeze" || name == "switch"), "{ran:?}");
    assert_same(&clinic.source, &clinic.target, &[]);

    fs::write(clinic.source.join("late"), "in the last minute").unwrap();
    fs::remove_file(clinic.source.join("readme")).unwrap();
    fs::remove_file(clinic.programs("ran")).unwrap();
    let certificate = clinic.lab.path("certificate.txt");
    let certificate = certificate.to_str().unwrap();
    let done = clinic.cutover(&["--certificate", certificate]).expect(0).json();
    assert_eq!(done["state"], "cut over");
    assert_eq!(done["certificate"]["verdict"], "verified");
    let checked = clinic.lab.run(&["verify", "--check-certificate", certificate, "--json"]);
    assert!(
        checked.expect(0).json()["certificate"]["statement"].as_str().unwrap().contains("hashed")
    );
    assert_eq!(clinic.ran(), ["freeze", "before", "after", "switch", "smoke"]);
    assert!(clinic.is_frozen());
    assert_eq!(clinic.serves(), "target");
    assert_same(&clinic.source, &clinic.target, &[]);
    let actual = done["freeze"]["actual"].as_f64().unwrap();
    assert!(actual > 0.0 && actual < 60.0, "{actual}");
    let states: Vec<_> =
        done["history"].as_array().unwrap().iter().map(|step| step["state"].clone()).collect();
    let expected = ["rehearsed", "freezing", "final pass", "verifying", "switching", "cut over"];
    assert_eq!(states, expected);

    clinic.cutover(&[]).expect(1);
    assert_eq!(clinic.cutover(&["--commit"]).expect(0).json()["state"], "committed");
    clinic.cutover(&["--rollback"]).refused(1, "cutover", "final");
    clinic.lab.run(&["log", "verify", clinic.plan.as_str()]).expect(0);
}

#[test]
fn what_fails_before_the_switch_leaves_the_clinic_as_it_was() {
    let clinic = Clinic::new().prepared();
    for (fails, ran) in [
        ("fail-freeze", &["freeze", "thaw"][..]),
        ("fail-before", &["freeze", "before", "after", "thaw"]),
        ("fail-after", &["freeze", "before", "after", "thaw"]),
    ] {
        clinic.tell(fails);
        let answer = clinic.cutover(&[]).expect(1);
        assert_eq!(answer.json()["error"]["kind"], "given-up", "{fails}");
        assert_eq!(clinic.ran(), ran, "{fails}");
        assert!(!clinic.is_frozen());
        assert_eq!(clinic.serves(), "source");
        assert_eq!(clinic.state(), "converging");
        for left in [fails, "ran"] {
            fs::remove_file(clinic.programs(left)).unwrap();
        }
    }
    // The rehearsal still counts.
    assert_eq!(clinic.cutover(&[]).expect(0).json()["state"], "cut over");
}

#[test]
fn a_source_that_does_not_rest_is_not_switched() {
    let clinic = Clinic::new().prepared();
    let busy = clinic.source.join("busy");
    let writer = fs::File::create(&busy).unwrap();
    let answer = clinic.cutover(&[]).expect(1);
    let document = answer.json();
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.contains("does not rest") && message.contains("busy"), "{message}");
    assert_eq!(clinic.ran(), ["freeze", "thaw"]);
    assert_eq!(clinic.state(), "converging");
    drop(writer);
    clinic.cutover(&[]).expect(0);
}

#[test]
fn what_is_landed_wrong_is_not_switched() {
    let clinic = Clinic::new().prepared();
    // Content that nobody's times or sizes tell of.
    let hurt = clinic.target.join("letters/a");
    let before = fs::metadata(&hurt).unwrap();
    fs::write(&hurt, vec![8; 100_000]).unwrap();
    let file = fs::File::options().write(true).open(&hurt).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    drop(file);
    let answer = clinic.cutover(&[]).expect(4);
    let document = answer.json();
    assert_eq!(document["error"]["kind"], "given-up");
    assert_eq!(document["problems"][0]["path"], "letters/a");
    assert_eq!(clinic.ran().last().unwrap(), "thaw");
    assert!(!clinic.is_frozen());
    assert_eq!(clinic.state(), "converging");
}

#[test]
fn what_fails_in_the_switch_waits_for_someone() {
    let clinic = Clinic::new().prepared();
    for fails in ["fail-switch", "fail-smoke"] {
        clinic.tell(fails);
        let answer = clinic.cutover(&[]).expect(1);
        assert_eq!(answer.json()["state"], "switching");
        assert!(clinic.is_frozen(), "nothing thaws it by itself");
        fs::remove_file(clinic.programs(fails)).unwrap();
    }
    // The rollback of what nobody used brings the same back.
    clinic.tell("fail-switch_back");
    clinic.cutover(&["--rollback"]).expect(1);
    assert_eq!(clinic.state(), "rolling back");
    assert!(clinic.is_frozen());
    fs::remove_file(clinic.programs("fail-switch_back")).unwrap();
    assert_eq!(clinic.cutover(&["--rollback"]).expect(0).json()["state"], "reverted");
    assert!(!clinic.is_frozen());
    assert_eq!(clinic.serves(), "source");
    assert_same(&clinic.source, &clinic.target, &[]);
}

#[test]
fn a_killed_run_goes_on_from_another_machine() {
    for (killed, state) in [
        ("kill-freeze", "freezing"),
        ("kill-before", "final pass"),
        ("kill-after", "final pass"),
        ("kill-switch", "switching"),
        ("kill-smoke", "switching"),
    ] {
        let clinic = Clinic::new().prepared();
        clinic.tell(killed);
        clinic.cutover(&[]).expect(-1);
        assert_eq!(clinic.state(), state, "{killed}");
        assert!(clinic.is_frozen(), "{killed}");
        let elsewhere = clinic.lab.path("another machine's state");
        let mut command =
            clinic.lab.command(&["--operator", "ben", "--json", "cutover", clinic.plan.as_str()]);
        let answer = Answer::new(command.env("DROVER_STATE_DIR", elsewhere).output().unwrap());
        let document = answer.expect(0).json();
        assert_eq!(document["state"], "cut over", "{killed}");
        assert_eq!(clinic.serves(), "target", "{killed}");
        assert_same(&clinic.source, &clinic.target, &[]);
        let by: Vec<_> = document["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| step["operator"].as_str().unwrap())
            .collect();
        assert_eq!((by.first(), by.last()), (Some(&"anna"), Some(&"ben")));
    }
}

#[test]
fn the_source_thaws_when_nobody_comes_back() {
    let clinic = Clinic::with("20 seconds", "", "", |source| source.display().to_string());
    let clinic = clinic.prepared();
    clinic.tell("kill-before");
    clinic.cutover(&[]).expect(-1);
    assert!(clinic.is_frozen());
    let begun = Instant::now();
    while clinic.is_frozen() {
        assert!(begun.elapsed() < Duration::from_secs(90), "it never thaws");
        thread::park_timeout(Duration::from_millis(100));
    }
    let answer = clinic.cutover(&[]).expect(1);
    assert_eq!(answer.json()["error"]["kind"], "given-up");
    assert_eq!(clinic.state(), "converging");
    assert_eq!(clinic.serves(), "source");
    assert_eq!(clinic.ran(), ["freeze", "before", "thaw", "thaw"], "who knows what came of it");
}

/// Has another machine run drover, once, in a command of this cutover.
fn meanwhile(clinic: &Clinic, name: &str, arguments: &[&str]) {
    let mut command = clinic.lab.command(arguments);
    command.env("DROVER_STATE_DIR", clinic.lab.path("another state"));
    let quoted = |word: &OsStr| format!("'{}'", word.to_str().unwrap());
    let variable = |(name, value): (&OsStr, Option<&OsStr>)| {
        format!("{}={}", name.to_str().unwrap(), quoted(value.unwrap()))
    };
    let mut words: Vec<_> = command.get_envs().map(variable).collect();
    words.push(quoted(command.get_program()));
    words.extend(command.get_args().map(quoted));
    let file = clinic.programs(name);
    let text = format!("#!/bin/sh\nrm \"$0\"\nexec env -i {} > \"$0.out\"\n", words.join(" "));
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_rollback_before_the_switch_is_noted_before_the_thaw() {
    let clinic = Clinic::new().prepared();
    let steps = Path::new(&clinic.lab.repository).join("cutover");
    let also = clinic.programs("also-after");
    for fails in ["kill-thaw", "fail-thaw"] {
        // Where the step of the switch would come there is something: all is verified and disarmed,
        // and goes no further.
        let switch = steps.join(format!("{:020}", fs::read_dir(&steps).unwrap().count() + 4));
        fs::write(&also, format!("#!/bin/sh\necho no > '{}'\n", switch.display())).unwrap();
        fs::set_permissions(&also, fs::Permissions::from_mode(0o755)).unwrap();
        clinic.cutover(&[]).refused(1, "cutover", "nothing was switched");
        for left in [&switch, &also] {
            fs::remove_file(left).unwrap();
        }
        assert_eq!(clinic.state(), "verifying");
        assert!(clinic.is_frozen());
        clinic.tell(fails);
        if fails == "kill-thaw" {
            clinic.cutover(&["--rollback"]).expect(-1);
            assert!(!clinic.is_frozen());
        } else {
            let message = "nothing thaws it by itself: run the same command again";
            clinic.cutover(&["--rollback"]).refused(1, "cutover", message);
            assert!(clinic.is_frozen());
            fs::remove_file(clinic.programs(fails)).unwrap();
        }
        assert_eq!(clinic.state(), "freezing", "{fails}");
        clinic.cutover(&[]).expect(1);
        assert_eq!((clinic.state().as_str(), clinic.serves().as_str()), ("converging", "source"));
        assert!(!clinic.is_frozen(), "{fails}");
    }
}

#[test]
fn steps_of_another_source_do_not_end_a_cutover() {
    let clinic = Clinic::new().prepared();
    let others = clinic.lab.path("others");
    fs::create_dir(&others).unwrap();
    fs::write(others.join("readme"), "other things").unwrap();
    let plan = clinic.lab.path("others.toml");
    let text = format!(
        "[repository]\nurl = \"{}\"\n[[source]]\nname = \"others\"\nurl = \"{}\"\n\
         [target]\nurl = \"{}\"\n[cutover]\nfreeze = \"60 seconds\"\n",
        clinic.lab.repository,
        others.display(),
        clinic.lab.path("others' target").display(),
    );
    fs::write(&plan, text).unwrap();
    let plan = plan.to_str().unwrap();
    let rehearse = ["--operator", "ben", "--json", "cutover", plan, "--rehearse"];
    meanwhile(&clinic, "also-before", &rehearse);
    assert_eq!(clinic.cutover(&[]).expect(0).json()["state"], "cut over");
    let shown = clinic.lab.run(&["cutover", plan, "--show", "--json"]).expect(0).json();
    assert_eq!(shown["state"], "rehearsed");
}

#[test]
fn who_was_overtaken_thaws_nothing() {
    let clinic = Clinic::new().prepared();
    let again = ["--operator", "ben", "--json", "cutover", clinic.plan.as_str()];
    meanwhile(&clinic, "also-before", &again);
    let overtaken = clinic.cutover(&[]).expect(1).json();
    assert_eq!(overtaken["error"]["kind"], "cutover-moved", "{overtaken}");
    assert_eq!((clinic.state().as_str(), clinic.serves().as_str()), ("cut over", "target"));
    assert!(clinic.is_frozen(), "both sides are open");
}

#[test]
fn steps_that_somebody_took_away_are_missed() {
    let clinic = Clinic::new().prepared();
    let steps = Path::new(&clinic.lab.repository).join("cutover");
    let newest = fs::read_dir(&steps).unwrap().flatten().map(|entry| entry.path()).max().unwrap();
    fs::remove_file(newest).unwrap();
    let document = clinic.cutover(&[]).expect(5).json();
    assert!(refused(&document).contains(&"repository"), "{document}");
    clinic.cutover(&["--rehearse"]).expect(1);
}

#[test]
fn the_command_line_of_a_cutover() {
    let clinic = Clinic::new();
    let plan = clinic.plan.as_str();
    clinic.lab.run(&["cutover", plan, "--json"]).refused(2, "command-line", "--operator");
    clinic.cutover(&["--accept", "nothing/there"]).refused(1, "cutover", "planned");
    clinic.lab.run(&["sync", plan, "--json"]).expect(0);
    clinic.cutover(&["--accept", "nothing/there"]).refused(1, "cutover", "nothing/there");
    clinic.cutover(&["--rollback"]).refused(1, "cutover", "needs no way back");
    clinic.cutover(&["--commit"]).refused(1, "cutover", "not made final");
    clinic.cutover(&["--source", "other"]).refused(1, "no-such-source", "other");
}

#[test]
fn a_server_is_frozen_and_thawed_over_ssh() {
    let Some(sshd) = Sshd::start("") else { return };
    let keys = format!(
        "hooks_on = \"server\"\nidentity_file = \"{}\"\nhost_key = \"{}\"",
        sshd.path("user_key").display(),
        sshd.fingerprint
    );
    let lab_source = std::cell::RefCell::new(PathBuf::new());
    let clinic = Clinic::with("120 seconds", &keys, "", |source| {
        *lab_source.borrow_mut() = source.to_owned();
        sshd.url(source)
    });
    let plan = fs::read_to_string(&clinic.plan).unwrap();
    let write_back = format!("{plan}write_back = \"{}\"\n", clinic.source.display());
    fs::write(&clinic.plan, write_back).unwrap();
    let clinic = clinic.prepared();
    let done = clinic.cutover(&[]).expect(0).json();
    assert_eq!(done["state"], "cut over");
    assert_eq!(clinic.ran(), ["freeze", "before", "after", "switch", "smoke"]);
    assert_same(&clinic.source, &clinic.target, &[]);
    fs::write(clinic.target.join("new"), "from the cloud").unwrap();
    assert_eq!(clinic.cutover(&["--rollback"]).expect(0).json()["state"], "reverted");
    assert_eq!(fs::read_to_string(clinic.source.join("new")).unwrap(), "from the cloud");
    assert!(!clinic.is_frozen());
}

#[test]
fn passes_foretell_the_freeze() {
    let clinic = Clinic::new();
    let status = |code| clinic.lab.run(&["status", &clinic.plan, "--json"]).expect(code).json();
    let before = status(0);
    assert_eq!(before["sources"][0]["state"], "planned");
    assert_eq!(before["sources"][0]["freeze"]["p50"], Value::Null);
    clinic.lab.run(&["sync", &clinic.plan]).expect(0);
    fs::write(clinic.source.join("more"), vec![1; 5000]).unwrap();
    clinic.lab.run(&["sync", &clinic.plan]).expect(0);
    let after = status(0);
    let source = &after["sources"][0];
    assert_eq!(source["state"], "converging");
    assert_eq!(source["converges"], true);
    let passes = source["passes"].as_array().unwrap();
    assert_eq!(passes.len(), 2);
    assert_eq!(passes[0]["changed"], Value::Null);
    assert_eq!(passes[1]["changed"], 1, "the root does not count");
    assert_eq!(passes[1]["changed_bytes"], 5000);
    let (p50, p90) = (source["freeze"]["p50"].as_f64(), source["freeze"]["p90"].as_f64());
    assert!(p50.unwrap() >= 1.0 && p90 >= p50, "{source}");
    let page = clinic.lab.path("status.html");
    clinic.lab.run(&["status", &clinic.plan, "--html", page.to_str().unwrap()]).expect(0);
    assert!(fs::read_to_string(page).unwrap().contains("<svg"));
}

/// What is answered at a URL that was printed: the head, and what came of the body until `enough`.
fn get(url: &str, more: &str, enough: impl Fn(&str) -> bool) -> String {
    use std::io::{Read, Write};
    let rest = url.strip_prefix("http://").unwrap();
    let (address, path) = rest.split_once('/').unwrap();
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request =
        format!("GET /{path}{more} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = connection.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..n]);
        if enough(&String::from_utf8_lossy(&answer)) {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Begins a cutover with a page, whose freeze waits until it is told to go on. Returns the URL.
fn serving(clinic: &Clinic) -> (std::process::Child, String, thread::JoinHandle<String>) {
    use std::io::{BufRead, BufReader, Read};
    let program = fs::read_to_string(clinic.programs("freeze")).unwrap();
    let waits = "while [ ! -e \"$here/go\" ]; do sleep 0.05; done\n";
    fs::write(
        clinic.programs("freeze"),
        program.replace("case $name in", &format!("{waits}case $name in")),
    )
    .unwrap();
    let all =
        ["--operator", "anna", "cutover", &clinic.plan, "--serve", "0", "--progress", "plain"];
    let mut child = clinic.lab.start(&all);
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let url = loop {
        let mut line = String::new();
        assert!(told.read_line(&mut line).unwrap() > 0, "it tells no URL");
        if let Some(at) = line.find("http://") {
            break line[at..].trim().to_owned();
        }
    };
    // Whoever tells must not wait for a reader.
    let rest = thread::spawn(move || {
        let mut rest = String::new();
        let _ = told.read_to_string(&mut rest);
        rest
    });
    (child, url, rest)
}

#[test]
fn a_page_shows_it_as_it_happens_to_who_has_the_token() {
    let clinic = Clinic::new().prepared();
    let (mut child, url, _rest) = serving(&clinic);
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let page = get(&url, "", |_| false);
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("default-src 'none'"));
    let wrong = url.replace(&url[url.len() - 9..url.len() - 1], "00000000");
    assert!(get(&wrong, "", |_| false).starts_with("HTTP/1.1 404"));
    assert!(get(&url, "../", |_| false).starts_with("HTTP/1.1 404"));
    let begun = get(&url, "events", |text| text.contains("freeze …"));
    assert!(begun.contains("text/event-stream"), "{begun}");
    assert!(begun.contains(r#""event":"gates""#) && begun.contains(r#""state":"freezing""#));
    assert!(begun.contains(r#""deadline":1"#), "{begun}");
    let seen = {
        let (url, tell) = (url.clone(), clinic.programs("go"));
        let look =
            thread::spawn(move || get(&url, "events", |text| text.contains(r#""event":"end""#)));
        fs::write(tell, "").unwrap();
        look.join().unwrap()
    };
    assert!(child.wait().unwrap().success());
    for state in ["final pass", "verifying", "switching", "cut over"] {
        assert!(seen.contains(&format!(r#""state":"{state}""#)), "{state}: {seen}");
    }
}

#[test]
fn the_page_in_a_browser() {
    let clinic = Clinic::new().prepared();
    let (mut child, url, _rest) = serving(&clinic);
    let Some(seen) = crate::browser::watch(&url, &clinic.programs("go"), "cut over") else {
        fs::write(clinic.programs("go"), "").unwrap();
        let _ = child.wait();
        return;
    };
    assert!(child.wait().unwrap().success());
    assert_eq!(seen["console"], serde_json::json!([]));
    assert_eq!(seen["before"]["state"], "freezing");
    assert!(seen["before"]["left"].as_str().unwrap().contains(':'), "{seen}");
    assert_eq!(seen["after"]["state"], "cut over");
    assert_eq!(seen["after"]["overflow"], 0);
    let steps = seen["after"]["steps"].as_u64().unwrap();
    assert!(steps >= 9, "{seen}");
    let gates = seen["after"]["gates"].as_array().unwrap();
    assert!(gates.len() >= 10 && gates.iter().all(|gate| gate == "passed"), "{seen}");
}

#[test]
fn a_runbook_has_the_plans_own_names() {
    let clinic = Clinic::new();
    let page = clinic.lab.run(&["runbook", &clinic.plan]).expect(0);
    let page = String::from_utf8(page.stdout).unwrap();
    for word in ["## files", "programs/freeze", "programs/switch", "at most | 1 min", "--rollback"]
    {
        assert!(page.contains(word), "{word}: {page}");
    }
}

#[test]
#[allow(clippy::print_stderr)]
fn clients_write_through_the_switch_and_lose_no_line() {
    let Some(sshd) = Sshd::start("") else { return };
    let keys = format!(
        "hooks_on = \"server\"\nidentity_file = \"{}\"\nhost_key = \"{}\"",
        sshd.path("user_key").display(),
        sshd.fingerprint
    );
    let clinic = Clinic::with("120 seconds", &keys, "exceptions = 1", |source| sshd.url(source));
    let plan = fs::read_to_string(&clinic.plan).unwrap();
    fs::write(&clinic.plan, format!("{plan}write_back = \"{}\"\n", clinic.source.display()))
        .unwrap();
    for n in 0..300 {
        fs::write(clinic.source.join(format!("letters/{n}")), vec![n as u8; 2000]).unwrap();
    }
    let client = Client::begin(&clinic);
    let clinic = clinic.prepared();
    let done = clinic.cutover(&[]).expect(0).json();
    more_lines(&clinic.target);
    let (lines, longest) = client.end();
    let (new, old) = (journal(&clinic.target), journal(&clinic.source));
    assert!(new.iter().copied().eq(0..lines), "lines are lost or there twice");
    assert!(new.starts_with(&old) && old.len() < new.len());
    let actual = done["freeze"]["actual"].as_f64().unwrap();
    let p90 = done["freeze"]["predicted"]["p90"].as_f64().unwrap();
    eprintln!(
        "the client could not write for {:.1} s; the freeze was {actual:.1} s, foretold {p90:.1} s",
        longest.as_secs_f64()
    );

    // And back, with what was written meanwhile.
    assert_eq!(clinic.cutover(&["--rollback"]).expect(0).json()["state"], "reverted");
    assert_eq!(journal(&clinic.source), new);
}

#[test]
fn a_cutover_between_buckets() {
    let Some(service) = crate::services::s3_service() else { return };
    let lab = service.lab();
    lab.run(&["init", "--repo", &lab.repository]).expect(0);
    let source = lab.path("source");
    fs::create_dir_all(source.join("letters")).unwrap();
    fs::write(source.join("readme"), "hello").unwrap();
    fs::write(source.join("letters/a"), vec![7; 100_000]).unwrap();
    let bucket = format!("{}-objects", lab.repository);
    let url = |source: &Path| source.display().to_string();
    let clinic = Clinic::within(lab, source, &bucket, "120 seconds", "", "", url);
    let refusal = clinic.cutover(&["--rehearse"]).expect(0).json();
    assert!(refused(&refusal).contains(&"way back"), "{refusal}");
    for verb in ["sync", "verify"] {
        clinic.lab.run(&[verb, clinic.plan.as_str(), "--json"]).expect(0);
    }
    fs::write(clinic.source.join("late"), "in the last minute").unwrap();
    let done = clinic.cutover(&["--no-way-back"]).expect(0).json();
    assert_eq!(done["state"], "cut over");
    let steps: Vec<_> =
        done["steps"].as_array().unwrap().iter().map(|s| s["name"].clone()).collect();
    assert!(steps.contains(&"verification of the bucket".into()), "{steps:?}");
    assert_eq!(service.object(&format!("{bucket}/late")).unwrap(), b"in the last minute");
    clinic.lab.run(&["verify", &clinic.plan, "--target", &bucket, "--json"]).expect(0);
}

#[test]
fn another_machine_lands_and_the_cutover_waits_for_it() {
    let clinic = Clinic::with("120 seconds", "", "landing = \"elsewhere\"", |source| {
        source.display().to_string()
    });
    let plan = clinic.plan.as_str();
    for verb in ["sync", "sync"] {
        clinic.lab.run(&[verb, plan, "--json"]).expect(0);
    }
    let target = clinic.target.to_str().unwrap();
    let arguments =
        ["restore", plan, "latest", target, "--follow", "--verify", "--poll", "1s", "--json"];
    let mut follow = clinic.lab.command(&arguments);
    follow.env("DROVER_STATE_DIR", clinic.lab.path("the landing machine's state"));
    follow.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let follow = follow.spawn().unwrap();
    clinic.lab.run(&["verify", plan, "--json"]).expect(0);
    clinic.cutover(&["--rehearse"]).expect(0);
    fs::write(clinic.source.join("late"), "in the last minute").unwrap();
    let done = clinic.cutover(&["--no-way-back"]).expect(0).json();
    assert_eq!(done["state"], "cut over");
    assert_same(&clinic.source, &clinic.target, &[]);
    let steps = done["steps"].as_array().unwrap();
    let waited = steps.iter().find(|step| step["name"] == "verification elsewhere").unwrap();
    assert!(waited["detail"].as_str().unwrap().contains("landed and hashed"), "{waited}");
    let process = nix::unistd::Pid::from_raw(follow.id().cast_signed());
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).unwrap();
    let followed = Answer::new(follow.wait_with_output().unwrap()).expect(0).json();
    let landings = followed["landings"].as_array().unwrap();
    assert!(landings.iter().all(|landing| landing["verified"] == true), "{followed}");
}
