//! Several sources in one freeze: all of them go over by one switch, or none does.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    compare::assert_same,
    lab::{Answer, Lab, is_long},
};

/// What a program of the clinic does, for the source that it is told.
const PROGRAM: &str = r#"#!/bin/sh
here=$(dirname "$0")
name=$(basename "$0")
echo "$name $DROVER_SOURCE" >> "$here/ran"
if [ -e "$here/fail-$name-$DROVER_SOURCE" ]; then echo "it was told to fail"; exit 7; fi
case $name in
    freeze) touch "$here/frozen-$DROVER_SOURCE" ;;
    thaw) rm -f "$here/frozen-$DROVER_SOURCE" ;;
    # One that works while clients are led to the target has two sides open.
    switch) [ -e "$here/frozen-files" ] && [ -e "$here/frozen-images" ] || exit 8; echo target > "$here/serves" ;;
    switch_back) [ -e "$here/frozen-files" ] && [ -e "$here/frozen-images" ] || exit 8; echo source > "$here/serves" ;;
esac || exit
if [ -e "$here/kill-$name-$DROVER_SOURCE" ]; then
    rm "$here/kill-$name-$DROVER_SOURCE"
    kill -9 "$PPID"
    sleep 5
fi
"#;
const NAMES: [&str; 2] = ["files", "images"];

struct Pair {
    lab: Lab,
    plan: String,
}

impl Pair {
    /// Taken twice, verified and rehearsed.
    fn new() -> Self {
        let lab = Lab::with_repository();
        let programs = lab.path("programs");
        fs::create_dir(&programs).unwrap();
        let program = |name: &str| {
            let file = programs.join(name);
            fs::write(&file, PROGRAM).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            format!("{name} = [\"{}\"]\n", file.display())
        };
        let mut text = format!("[repository]\nurl = \"{}\"\n", lab.repository);
        let hooks = ["freeze", "thaw", "before_pass"].map(program).concat();
        for name in NAMES {
            let source = lab.path(name);
            fs::create_dir(&source).unwrap();
            fs::write(source.join("readme"), format!("hello from the {name}")).unwrap();
            fs::write(source.join("data"), vec![7; 100_000]).unwrap();
            let source = source.display();
            text += &format!("[[source]]\nname = \"{name}\"\nurl = \"{source}\"\n{hooks}");
        }
        let switch = program("switch").replace("switch =", "switch_command =");
        text += &format!(
            "[target]\nurl = \"{}\"\n[cutover]\ntogether = true\nfreeze = \"120 seconds\"\n\
             switch = \"1 seconds\"\n{switch}{}{}",
            lab.path("target").display(),
            program("switch_back"),
            program("freeze_target"),
        );
        let plan = lab.path("plan.toml");
        fs::write(&plan, text).unwrap();
        let pair = Self { plan: plan.to_str().unwrap().to_owned(), lab };
        for verb in ["sync", "verify"] {
            pair.lab.run(&[verb, &pair.plan, "--json"]).expect(0);
        }
        let rehearsed = pair.cutover(&["--rehearse"]).expect(0).json();
        assert_eq!(states(&rehearsed), ["rehearsed"; 2]);
        fs::remove_file(pair.program("ran")).unwrap();
        pair
    }

    fn command(&self, more: &[&str]) -> Command {
        let all = [&["--operator", "anna", "--json", "cutover", &self.plan][..], more].concat();
        self.lab.command(&all)
    }

    fn cutover(&self, more: &[&str]) -> Answer {
        Answer::new(self.command(more).output().unwrap())
    }

    fn program(&self, name: &str) -> PathBuf {
        self.lab.path("programs").join(name)
    }

    fn tell(&self, what: &str) {
        fs::write(self.program(what), "").unwrap();
    }

    fn ran(&self) -> Vec<String> {
        let ran = fs::read_to_string(self.program("ran")).unwrap_or_default();
        let _ = fs::remove_file(self.program("ran"));
        ran.lines().map(str::to_owned).collect()
    }

    fn source(&self, name: &str) -> PathBuf {
        self.lab.path(name)
    }

    fn target(&self, name: &str) -> PathBuf {
        self.lab.path("target").join(name)
    }

    /// Which of them rest.
    fn frozen(&self) -> [bool; 2] {
        NAMES.map(|name| self.program(&format!("frozen-{name}")).exists())
    }

    fn serves(&self) -> String {
        let serves = fs::read_to_string(self.program("serves"));
        serves.unwrap_or("source".into()).trim().to_owned()
    }

    fn states(&self) -> Vec<String> {
        states(&self.cutover(&["--show"]).expect(0).json())
    }

    /// All is as if nothing had been.
    #[track_caller]
    fn works(&self, when: &str) {
        assert_eq!(self.frozen(), [false; 2], "{when}");
        assert_eq!(self.serves(), "source", "{when}");
        assert_eq!(self.states(), ["converging"; 2], "{when}");
    }
}

fn states(document: &Value) -> Vec<String> {
    let sources = document["sources"].as_array().unwrap().iter();
    sources.map(|source| source["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn two_go_over_by_one_switch_and_come_back() {
    let pair = Pair::new();
    for name in NAMES {
        fs::write(pair.source(name).join("late"), name).unwrap();
    }
    let done = pair.cutover(&[]).expect(0).json();
    assert_eq!((&done["state"], states(&done)), (&"cut over".into(), vec!["cut over".into(); 2]));
    assert_eq!(
        pair.ran(),
        [
            "freeze files",
            "freeze images",
            "before_pass files",
            "before_pass images",
            "switch files, images"
        ]
    );
    assert_eq!((pair.frozen(), pair.serves().as_str()), ([true; 2], "target"));
    for name in NAMES {
        assert_same(&pair.source(name), &pair.target(name), &[]);
    }
    let gates = done["gates"].as_array().unwrap();
    let of = |id: &str| -> Vec<&str> {
        let gates = gates.iter().filter(|gate| gate["id"] == id);
        gates.map(|gate| gate["source"].as_str().unwrap()).collect()
    };
    assert_eq!((of("freeze"), of("rehearsal")), (vec!["files, images"], NAMES.to_vec()));
    // Neither goes alone.
    pair.cutover(&["--source", "files"]).refused(2, "command-line", "together");
    pair.cutover(&["--accept", "readme"]).refused(2, "command-line", "--source");

    for name in NAMES {
        fs::write(pair.target(name).join("new"), "from the cloud").unwrap();
        fs::write(pair.target(name).join("readme"), "the target's").unwrap();
    }
    fs::write(pair.source("images").join("readme"), "the source's own").unwrap();
    let back = pair.cutover(&["--rollback"]).expect(0).json();
    assert_eq!(states(&back), ["reverted"; 2]);
    assert_eq!(back["conflicts"], serde_json::json!(["images/readme"]));
    let ran = pair.ran();
    assert_eq!(ran.first().unwrap(), "freeze_target files, images");
    assert_eq!(ran[ran.len() - 3..], ["switch_back files, images", "thaw files", "thaw images"]);
    assert_eq!((pair.frozen(), pair.serves().as_str()), ([false; 2], "source"));
    for name in NAMES {
        let read = |file: &str| fs::read_to_string(pair.source(name).join(file)).unwrap();
        assert_eq!(
            (read("new").as_str(), read("readme").as_str()),
            ("from the cloud", "the target's")
        );
    }
    pair.cutover(&[]).expect(0);
    assert_eq!(states(&pair.cutover(&["--commit"]).expect(0).json()), ["committed"; 2]);
}

#[test]
fn what_fails_with_one_thaws_all() {
    let pair = Pair::new();
    for fails in ["fail-freeze-images", "fail-before_pass-images"] {
        pair.tell(fails);
        let answer = pair.cutover(&[]).expect(1);
        assert_eq!(answer.json()["error"]["kind"], "given-up", "{fails}");
        let ran = pair.ran();
        assert!(ran.ends_with(&["thaw files".into(), "thaw images".into()]), "{fails}: {ran:?}");
        pair.works(fails);
        fs::remove_file(pair.program(fails)).unwrap();
    }
    // Damage that no size and no time tells of, in what the second landed.
    let hurt = pair.target("images").join("data");
    let modified = fs::metadata(&hurt).unwrap().modified().unwrap();
    fs::write(&hurt, vec![8; 100_000]).unwrap();
    fs::File::options().write(true).open(&hurt).unwrap().set_modified(modified).unwrap();
    let answer = pair.cutover(&[]).expect(4).json();
    let problem = &answer["problems"][0];
    assert_eq!(problem["path"], "data");
    assert!(problem["message"].as_str().unwrap().starts_with("images: "), "{problem}");
    pair.works("damage");
    // Of one that cannot be thawed the timer does it; the other works.
    for told in ["fail-before_pass-images", "fail-thaw-images"] {
        pair.tell(told);
    }
    let message = "its timer tries at its time";
    pair.cutover(&[]).refused(1, "cutover", message);
    assert_eq!(pair.frozen(), [false, true]);
    let shown = pair.cutover(&["--show"]).expect(0).json();
    assert_eq!(states(&shown), ["converging", "freezing"]);
    assert!(shown["deadline"].is_string(), "that of the one that rests: {shown}");
    for told in ["fail-before_pass-images", "fail-thaw-images"] {
        fs::remove_file(pair.program(told)).unwrap();
    }
    pair.cutover(&[]).expect(1);
    pair.works("thawed at last");
    // What a gate refuses it names.
    let plan = fs::read_to_string(&pair.plan).unwrap();
    fs::write(
        &pair.plan,
        plan.replace("together = true\n", "together = true\nlag = \"0 seconds\"\n"),
    )
    .unwrap();
    let refused = pair.cutover(&[]).expect(5).json();
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("lag of files") && message.contains("lag of images"), "{message}");
    assert_eq!(pair.frozen(), [false; 2]);
}

#[test]
fn a_killed_run_of_two_goes_on() {
    let all = [
        ("kill-freeze-files", ["freezing", "freezing"]),
        ("kill-freeze-images", ["freezing", "freezing"]),
        ("kill-before_pass-files", ["final pass", "freezing"]),
        ("kill-before_pass-images", ["verifying", "final pass"]),
        ("kill-switch-files, images", ["switching", "switching"]),
    ];
    let pair = Pair::new();
    for (kill, states) in if is_long() { &all[..] } else { &all[3..] } {
        pair.tell(kill);
        pair.cutover(&[]).expect(-1);
        assert_eq!(pair.states(), *states, "{kill}");
        let mut command = pair.command(&[]);
        let elsewhere = pair.lab.path("another machine's state");
        let answer = Answer::new(command.env("DROVER_STATE_DIR", elsewhere).output().unwrap());
        assert_eq!(answer.expect(0).json()["state"], "cut over", "{kill}");
        assert_eq!((pair.frozen(), pair.serves().as_str()), ([true; 2], "target"));
        for name in NAMES {
            assert_same(&pair.source(name), &pair.target(name), &[]);
        }
        pair.cutover(&["--rollback"]).expect(0);
        pair.ran();
    }
}

/// The timer of a source fires, as it does when its time is over; what it runs fails.
fn fire(name: &str, thaw: &Path) {
    let timers = fs::read_dir("/var/tmp").unwrap().flatten().map(|entry| entry.path());
    let folder =
        timers.filter(|path| path.to_string_lossy().contains("drover-thaw-")).find(|path| {
            let script = fs::read_to_string(path.join("thaw")).unwrap_or_default();
            script.contains(&format!("DROVER_SOURCE='{name}'"))
                && script.contains(thaw.to_str().unwrap())
        });
    let folder = folder.expect("there is a timer");
    fs::rename(folder.join("armed"), folder.join("fired")).unwrap();
}

#[test]
fn where_one_was_thawed_by_its_timer_all_are() {
    let pair = Pair::new();
    pair.tell("kill-before_pass-images");
    pair.cutover(&[]).expect(-1);
    assert_eq!(pair.frozen(), [true; 2]);
    fire("images", &pair.program("thaw"));
    assert_eq!(pair.frozen(), [true; 2]);
    pair.ran();
    // By a plan that says otherwise nobody goes on with one of them.
    let plan = fs::read_to_string(&pair.plan).unwrap();
    fs::write(&pair.plan, plan.replace("together = true", "together = false")).unwrap();
    pair.cutover(&["--source", "files"]).refused(
        1,
        "cutover",
        "files was begun with all of files, images",
    );
    fs::write(&pair.plan, plan).unwrap();
    assert_eq!(pair.cutover(&[]).expect(1).json()["error"]["kind"], "given-up");
    assert_eq!(pair.ran(), ["thaw files", "thaw images"], "what a timer ran may have failed");
    pair.works("one timer fired");
}

#[test]
fn a_rollback_of_two_killed_between_their_thaws() {
    let pair = Pair::new();
    pair.cutover(&[]).expect(0);
    for name in NAMES {
        fs::write(pair.target(name).join("readme"), "the target's").unwrap();
        fs::write(pair.source(name).join("readme"), "the source's own").unwrap();
    }
    pair.tell("kill-thaw-files");
    pair.cutover(&["--rollback"]).expect(-1);
    assert_eq!(pair.frozen(), [false, true]);
    assert_eq!(pair.states(), ["rolling back"; 2]);
    // Clients go on where they can.
    fs::write(pair.source("files").join("readme"), "written since").unwrap();
    let back = pair.cutover(&["--rollback"]).expect(0).json();
    assert_eq!(states(&back), ["reverted"; 2]);
    assert_eq!(back["conflicts"], serde_json::json!(["files/readme", "images/readme"]));
    assert_eq!(pair.frozen(), [false; 2]);
    let read = |name: &str| fs::read_to_string(pair.source(name).join("readme")).unwrap();
    assert_eq!(
        (read("files").as_str(), read("images").as_str()),
        ("written since", "the target's")
    );
}

/// The lines of a certificate that have this key.
fn lines(certificate: &Path, key: &str) -> Vec<String> {
    let text = fs::read_to_string(certificate).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn one_certificate_of_all_that_go_together() {
    let pair = Pair::new();
    let path = |name: &str| pair.lab.path(name).to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| pair.lab.run(&[arguments, &["--json"]].concat());
    // Where one was not reached the whole is incomplete.
    let certificate = pair.lab.path("given up.txt");
    pair.tell("fail-before_pass-images");
    pair.cutover(&["--certificate", certificate.to_str().unwrap()]).expect(1);
    fs::remove_file(pair.program("fail-before_pass-images")).unwrap();
    assert_eq!(lines(&certificate, "verdict"), ["incomplete"]);
    assert_eq!(lines(&certificate, "snapshot-verdict"), ["verified"]);
    run(&["verify", "--check-certificate", certificate.to_str().unwrap()]).expect(1);

    let certificate = pair.lab.path("certificate.txt");
    let shown = certificate.to_str().unwrap();
    let done = pair.cutover(&["--certificate", shown]).expect(0).json();
    let verifier = done["certificate"]["verifier"].as_str().unwrap();
    let text = fs::read_to_string(&certificate).unwrap();
    assert!(text.starts_with("drover-certificate: 2\n"), "{text}");
    assert_eq!(lines(&certificate, "snapshot-method"), ["landed and hashed"; 2]);
    assert_eq!(lines(&certificate, "snapshot-verdict"), ["verified"; 2]);
    for name in ["images", "readme", "plan", "target"] {
        assert!(!text.contains(name), "{name}: {text}");
    }
    let found = run(&["verify", &pair.plan, "--check-certificate", shown]).expect(0).json();
    assert_eq!(found["snapshots"][1]["method"], "landed and hashed");
    run(&["verify", "--check-certificate", shown, "--verifier", verifier]).expect(0);

    // Of the targets as they are now, all by one command, and in the folder of evidence.
    let (target, again, folder) = (path("target"), path("again.txt"), path("evidence"));
    let verify = ["verify", &pair.plan, "--target", &target, "--certificate", &again];
    let found = run(&verify).expect(0).json();
    assert_eq!(found["snapshots"].as_array().unwrap().len(), 2);
    assert_eq!(lines(Path::new(&again), "snapshot-verdict"), ["verified"; 2]);
    let log = run(&["log", "show", &pair.plan]).expect(0).json().to_string();
    let outcome = r#""verified, landed and hashed""#;
    assert_eq!(log.matches(outcome).count(), 2, "each has its own: {log}");
    run(&["evidence", &pair.plan, "--out", &folder, "--target", &target]).expect(0);
    let evidence = pair.lab.path("evidence/certificate.txt");
    assert_eq!(lines(&evidence, "snapshot-method"), ["landed and hashed"; 2]);
    for more in [&["--files", "files.csv"][..], &["--inventory", "inventory.json"]] {
        run(&[&verify, more].concat()).refused(2, "command-line", "--source");
    }

    // A proof of one holds against it; where another is damaged, too.
    let proof = |source: &str| {
        let proof = path(&format!("{source}.proof"));
        let made = ["verify", &pair.plan, "--source", source, "--prove", "data", "--proof", &proof];
        run(&made).expect(0);
        proof
    };
    let [files, images] = NAMES.map(proof);
    let prove = |proof: &str, certificate: &str| {
        run(&[
            "verify",
            "--check-proof",
            proof,
            "--certificate",
            certificate,
            "--verifier",
            verifier,
        ])
    };
    for proof in [&files, &images] {
        prove(proof, shown).expect(0);
    }
    fs::write(pair.target("images").join("data"), vec![8; 100_000]).unwrap();
    let found = run(&verify).expect(4).json();
    let message = found["problems"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("images: "), "{found}");
    assert_eq!(lines(Path::new(&again), "verdict"), ["failed"]);
    let mut verdicts = lines(Path::new(&again), "snapshot-verdict");
    verdicts.sort();
    assert_eq!(verdicts, ["failed", "verified"]);
    run(&["verify", "--check-certificate", &again]).expect(4);
    prove(&files, &again).expect(0);
    prove(&images, &again).refused(4, "difference", "1 problem");
}
