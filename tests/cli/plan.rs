//! The planning report: what it foretells against what the pass then does, and that it writes
//! nothing.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    lab::{Lab, number},
    tree,
};

/// A tree of some sorts of files, 40 MB.
fn build(root: &Path) {
    for n in 0..400_u64 {
        let directory = root.join(format!("d{}", n % 7));
        fs::create_dir_all(&directory).unwrap();
        let size = 2_000 + (n * n % 90_000) as usize;
        let content = match n % 3 {
            0 => tree::noise(n, size),
            1 => format!("line {n} of a letter to a colleague\n").repeat(size / 30).into_bytes(),
            // Copies of one another.
            _ => tree::noise(n / 30, 40_000),
        };
        let extension = ["bin", "txt", "copy"][(n % 3) as usize];
        fs::write(directory.join(format!("{n}.{extension}")), content).unwrap();
    }
    fs::write(root.join("large.img"), tree::noise(7, 20_000_000)).unwrap();
}

/// Sizes and times of everything below a directory.
fn state(root: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut all = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        if stat.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        all.insert(path, (stat.len(), stat.mtime(), stat.mtime_nsec()));
    }
    all
}

fn plan(lab: &Lab, more: &[&str]) -> Value {
    lab.verb("plan", more).expect(0).json()
}

#[test]
fn what_is_foretold_is_what_the_pass_does() {
    let lab = Lab::with_repository();
    let source = lab.path("source");
    build(&source);
    let before = state(&lab.path(""));
    let at = source.to_str().unwrap();
    let told = plan(&lab, &["--source", at, "--sample", "8 MiB"]);
    assert_eq!(
        state(&lab.path("repository")).len(),
        before.keys().filter(|p| p.starts_with(lab.path("repository"))).count()
    );
    assert_eq!(state(&lab.path("")), before, "a plan writes nothing");
    let pass = lab.sync(&source).expect(0).json();
    let near = |pointer: &str, is: u64, percent: u64| {
        let told = number(&told, pointer);
        assert!(told.abs_diff(is) * 100 <= is * percent, "{pointer}: {told} and {is}");
    };
    near("/estimate/stored", number(&pass, "/bytes/stored"), 5);
    near("/estimate/uploaded", number(&pass, "/bytes/uploaded"), 5);
    near("/estimate/read", number(&pass, "/bytes/read"), 1);
    assert!(number(&told, "/estimate/requests").abs_diff(number(&pass, "/requests/put")) <= 1);
    assert!(number(&told, "/estimate/sampled_bytes") < 30_000_000);
    assert!(told["estimate"]["dedup_ratio"].as_f64().unwrap() > 1.1, "{}", told["estimate"]);
    assert_eq!(told["repository"]["state"], "there");
    assert_eq!(number(&told, "/totals/files"), 401);
    assert_eq!(told["readiness"][0]["state"], "ready", "{}", told["readiness"]);
}

#[test]
fn a_plan_file_is_judged_by_its_gates() {
    let (lab, source) = Lab::with_source();
    let prices = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/prices/aws.toml");
    let file = lab.path("plan.toml");
    let write = |freeze: &str| {
        let text = format!(
            "[repository]\nurl = \"{}\"\n[[source]]\nname = \"files\"\nurl = \"{}\"\n[limits]\n\
             upload = \"1 MiB/s\"\nwindows = [\"Mon-Fri 07:00-19:00 100 kB/s\"]\n[cutover]\n\
             window = \"Sat 22:00-23:30\"\nfreeze = \"{freeze}\"\nswitch = \"5 minutes\"\nexceptions = 0\n\
             [costs]\nprices = \"{}\"\n",
            lab.repository,
            source.display(),
            prices.display()
        );
        fs::write(&file, text).unwrap();
    };
    let gate = |report: &Value, name: &str| {
        let gates = report["gates"].as_array().unwrap();
        let gate = gates.iter().find(|gate| gate["gate"] == name);
        gate.unwrap_or_else(|| panic!("{name}: {gates:?}"))["state"].clone()
    };
    write("30 minutes");
    let page = lab.path("report.html");
    let arguments = ["plan", file.to_str().unwrap(), "--json", "--html", page.to_str().unwrap()];
    let report = lab.run(&arguments).expect(0).json();
    assert_eq!(gate(&report, "the freeze is short enough"), "go");
    assert_eq!(gate(&report, "exceptions"), "go");
    assert_eq!(report["plan"]["blake3"], blake3(&file));
    assert_eq!(report["estimate"]["upload_rate_from"], "limit");
    assert_eq!(report["cost"]["currency"], "USD");
    assert!(report["cost"]["monthly"].as_f64().unwrap() > 0.0);
    // The classes beside each other: the plan's own as in the lines.
    let classes = report["cost"]["classes"].as_array().unwrap();
    let names: Vec<_> = classes.iter().map(|class| class["class"].as_str().unwrap()).collect();
    assert_eq!(names, ["STANDARD", "STANDARD_IA", "GLACIER_IR"]);
    assert_eq!(classes[0]["storage"], report["cost"]["lines"][0]["amount"]);
    let of = |class: &Value, what: &str| class[what].as_f64().unwrap();
    assert!(of(&classes[0], "storage") > of(&classes[2], "storage"));
    assert!(of(&classes[0], "moved") < of(&classes[2], "moved"));
    assert!(of(&classes[0], "read_back") < of(&classes[2], "read_back"));
    let steps: Vec<_> =
        report["schedule"].as_array().unwrap().iter().map(|step| step["step"].clone()).collect();
    assert_eq!(steps.first().unwrap(), "baseline");
    assert_eq!(steps.last().unwrap(), "cutover");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("Migration plan") && html.contains("Costs"));

    write("2 minutes");
    let report = lab.run(&arguments).expect(0).json();
    assert_eq!(gate(&report, "the freeze is short enough"), "no-go");

    // Of two sources one cannot be reached: the report is there all the same, and says so.
    let text = fs::read_to_string(&file).unwrap();
    let more = "[[source]]\nname = \"gone\"\nurl = \"/nowhere/at/all\"\n[limits]";
    fs::write(&file, text.replacen("[limits]", more, 1)).unwrap();
    let report = lab.run(&arguments).expect(1).json();
    assert_eq!(gate(&report, "every source can be reached"), "no-go");
    let readiness = report["readiness"].as_array().unwrap();
    assert_eq!(
        (&readiness[0]["state"], &readiness[1]["state"]),
        (&"ready".into(), &"not ready".into())
    );
}

fn blake3(file: &Path) -> String {
    ::blake3::hash(&fs::read(file).unwrap()).to_hex().to_string()
}

#[test]
fn a_plan_to_begin_with_is_a_plan() {
    let (lab, source) = Lab::with_source();
    let at = source.to_str().unwrap();
    let written = lab.run(&["plan", "--new", "--repo", &lab.repository, "--source", at]).expect(0);
    let file = lab.path("new.toml");
    fs::write(&file, &written.stdout).unwrap();
    let report = lab.run(&["plan", file.to_str().unwrap(), "--json"]).expect(0).json();
    assert_eq!(number(&report, "/totals/files"), 2);
    lab.run(&["sync", file.to_str().unwrap(), "--json"]).expect(0);
    let schema = lab.run(&["plan", "--schema"]).expect(0);
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert_eq!(schema["title"], "A plan for drover");
}

#[test]
fn the_link_is_measured_and_nothing_is_left() {
    let (lab, source) = Lab::with_source();
    let before: Vec<_> = state(&lab.path("repository")).into_keys().collect();
    let report = plan(&lab, &["--source", source.to_str().unwrap(), "--probe-upload"]);
    assert_eq!(report["estimate"]["upload_rate_from"], "measured");
    assert!(report["estimate"]["upload_rate"].as_f64().unwrap() > 0.0);
    let after: Vec<_> = state(&lab.path("repository")).into_keys().collect();
    assert_eq!(before, after);
    assert!(!lab.path("repository-drover-probe").exists());
}

#[test]
fn a_store_that_is_not_there_is_said() {
    let lab = Lab::new();
    let source = lab.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "b").unwrap();
    let at = source.to_str().unwrap();
    assert_eq!(plan(&lab, &["--source", at])["repository"]["state"], "empty");
    assert_eq!(plan(&lab, &["--source", at, "--offline"])["repository"]["state"], "not asked");
    lab.verb("plan", &["--source", at, "--sample", "much"]).expect(2);
    lab.verb("plan", &["--source", "/nowhere/at/all"]).expect(1);
}

/// A plan file of one source, with `more` below the source.
fn written(lab: &Lab, source: &Path, more: &str) -> String {
    let text = format!(
        "[repository]\nurl = \"{}\"\n\n[[source]]\nname = \"office\"\nurl = \"{}\"\n{more}\n",
        lab.repository,
        source.display()
    );
    let path = lab.path("plan.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_risk_register_is_made_from_what_was_found() {
    let (lab, source) = Lab::with_source();
    fs::write(source.join("letter.txt"), "SSN: 536-22-1234, DOB: 03/04/1961").unwrap();
    fs::write(source.join("open.txt"), "x").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(source.join("open.txt"), open).unwrap();
    let plan = written(&lab, &source, "risk_owner = \"Practice manager\"");
    let audit = lab.path("audit.json");
    let answer = lab.run(&["audit", "--json"]);
    fs::write(&audit, &answer.stdout).unwrap();
    let audited = answer.json();
    let (file, page) = (audit.to_str().unwrap(), lab.path("plan.md"));
    let more = ["--audit", file, "--markdown", page.to_str().unwrap()];
    let report = lab.run(&[&["plan", &plan, "--json"], &more[..]].concat()).expect(0).json();
    let risks = report["risks"].as_array().unwrap();
    let of = |id: &str| {
        let found = risks.iter().find(|risk| risk["finding"] == id);
        found.unwrap_or_else(|| panic!("no {id}: {}", report["risks"]))
    };
    for (id, likelihood) in [("patient-data", "high"), ("world-writable", "medium")] {
        let risk = of(id);
        assert_eq!(risk["asset"], "office");
        assert_eq!(risk["owner"], "Practice manager");
        assert_eq!((&risk["likelihood"], &risk["impact"]), (&likelihood.into(), &"high".into()));
        let data = risk["patient_data"].as_str().unwrap();
        assert!(data.starts_with("at least 1 file with "), "{data}");
        let finding =
            report["findings"].as_array().unwrap().iter().find(|f| f["id"] == id).unwrap();
        assert_eq!(risk["control"], finding["remedy"]);
        assert_eq!(risk["evidence"], finding["evidence"]);
    }
    // Each finding that is a risk is there once, the worst first.
    let counts = |list: &Value| {
        let list = list.as_array().unwrap().iter();
        list.filter(|finding| finding["severity"] != "info").count()
    };
    let of_audit = risks.iter().filter(|risk| risk["from"] == "audit");
    assert_eq!(of_audit.clone().count(), counts(&audited["findings"]));
    assert_eq!(risks.len(), counts(&audited["findings"]) + counts(&report["findings"]));
    for risk in of_audit {
        assert_eq!(risk["owner"], "Practice manager", "{risk}");
        assert!(risk["patient_data"].as_str().unwrap().starts_with("office: "), "{risk}");
    }
    let severity = |risk: &Value| {
        let known = ["critical", "high", "medium", "low"];
        known.iter().position(|known| risk["severity"] == *known).unwrap()
    };
    assert!(risks.windows(2).all(|pair| severity(&pair[0]) <= severity(&pair[1])));
    assert!(fs::read_to_string(page).unwrap().contains("## Risk register"));
    // Nobody is named where the plan names nobody, and a pass is no audit.
    let unnamed = written(&lab, &source, "");
    let report = lab.run(&["plan", &unnamed, "--no-content", "--json"]).expect(0).json();
    assert!(report["risks"].as_array().unwrap().iter().all(|risk| risk["owner"] == ""));
    let pass = lab.path("pass.json");
    fs::write(&pass, lab.sync(&source).expect(0).stdout).unwrap();
    let wrong = ["plan", &plan, "--json", "--audit", pass.to_str().unwrap()];
    lab.run(&wrong).refused(2, "command-line", "no report of drover audit");
}

#[test]
fn passes_tell_more_than_times() {
    let (lab, source) = Lab::with_source();
    let plan = written(&lab, &source, "");
    let forecast = |more: &[&str]| {
        let report = lab.run(&[&["plan", &plan, "--json"], more].concat()).expect(0).json();
        (report["forecast"].clone(), report)
    };
    assert_eq!(forecast(&[]).0["from"], "times");
    lab.run(&["sync", &plan]).expect(0);
    let (told, _) = forecast(&[]);
    assert_eq!(told["from"], "times");
    assert!(told["basis"].as_str().unwrap().contains("too few passes of office"), "{told}");
    for n in 0..2 {
        fs::write(source.join("readme"), format!("{n}")).unwrap();
        lab.run(&["sync", &plan]).expect(0);
    }
    let (told, report) = forecast(&[]);
    let status = lab.run(&["status", &plan, "--json"]).expect(0).json();
    let status = &status["sources"][0];
    assert_eq!(told["from"], "passes", "{told}");
    assert_eq!(told["basis"], status["basis"]);
    assert_eq!(told["sources"][0]["passes"], 3);
    // The same sums as those of status and the cutover.
    assert_eq!(told["converges"], status["converges"]);
    assert_eq!(report["estimate"]["freeze_seconds"], status["freeze"]);
    assert_eq!(told["load"], status["load"]);
    let steps: Vec<_> = report["schedule"].as_array().unwrap().iter().collect();
    assert!(steps.iter().all(|step| step["step"] != "baseline"), "{steps:?}");
    assert_eq!(steps.last().unwrap()["step"], "cutover");
    // Nobody is asked for a password, and nothing is asked of the store where it must not be.
    let mut without = lab.command(&["plan", &plan, "--json"]);
    let answer = crate::lab::Answer::new(without.env_remove("DROVER_PASSWORD").output().unwrap());
    let told = answer.expect(0).json()["forecast"].clone();
    assert_eq!(told["from"], "times");
    assert!(told["basis"].as_str().unwrap().contains("password"), "{told}");
    assert_eq!(forecast(&["--offline"]).0["from"], "times");
}
