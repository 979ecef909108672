use std::{path::PathBuf, sync::OnceLock};

use proptest::prelude::*;

use super::*;

const MINIMAL: &str = "[repository]\nurl = \"s3://b\"\n[[source]]\nname = \"a\"\nurl = \"/a\"\n";

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// How the error reads.
fn refused(text: &str) -> String {
    Plan::parse(text, Path::new("plans/x.toml")).expect_err("an error").to_string()
}

/// The documentation's example.
fn example() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let page = fs::read_to_string(project().join("docs/plan-file.md")).expect("the page");
        let (_, rest) = page.split_once("```toml\n").expect("an example");
        rest.split_once("```").expect("its end").0.to_owned()
    })
}

#[test]
fn the_documented_example_means_what_it_says() {
    let plan = Plan::parse(example(), Path::new("plans/clinic.toml")).expect("a plan");
    let source = |name, url: &str, one_file_system| Source {
        name: SourceName::new(name).expect("a name"),
        url: Location::Directory(url.into()),
        command: None,
        ssh: Ssh::default(),
        one_file_system,
        allow_empty: false,
        filter: Filter::default(),
        hooks: Hooks::default(),
        wave: 1,
        risk_owner: None,
    };
    assert_eq!(
        plan,
        Plan {
            repository: Repository {
                url: Location::Cloud("s3://clinic-archive/server-1".into()),
                storage_class: None,
                sse: None,
                kms_key_id: None,
            },
            sources: vec![
                source("files", "/srv/files", false),
                source("pacs", "/srv/pacs/archive", true),
            ],
            target: Some(Target {
                url: Location::Directory("/mnt/landing".into()),
                owners: Vec::new(),
                groups: Vec::new(),
            }),
            limits: Limits {
                upload: "20 MiB/s".parse().ok(),
                parallel: Some(4),
                ..Limits::default()
            },
            cutover: Cutover::default(),
            costs: Costs::default(),
        }
    );
    assert_eq!(plan.source("pacs"), Some(&plan.sources[1]));
    assert_eq!(plan.source("other"), None);
}

#[test]
fn every_key_of_a_plan_is_documented() {
    let page = fs::read_to_string(project().join("docs/plan-file.md")).expect("the page");
    for table in ["[repository]", "[[source]]", "[target]", "[limits]"] {
        assert!(page.contains(&format!("| `{table}` |")), "{table}");
    }
    for key in [
        "url",
        "storage_class",
        "sse",
        "kms_key_id",
        "name",
        "one_file_system",
        "allow_empty",
        "rules",
        "ignore_files",
        "exclude_caches",
        "files_from",
        "min_size",
        "max_size",
        "min_age",
        "max_age",
        "before_pass",
        "after_pass",
        "freeze",
        "hooks_on",
        "command",
        "hook_timeout",
        "upload",
        "switch_command",
        "verify",
        "landing",
        "write_back",
        "parallel",
    ] {
        let cell = page.contains(&format!("| `{key}`")) || page.contains(&format!(", `{key}` |"));
        assert!(cell, "{key}");
    }
}

#[test]
fn every_plan_of_the_project_loads() {
    let mut plans = 0;
    for file in fs::read_dir(project().join("plans")).expect("plans") {
        let file = file.expect("a file").path();
        if file.is_dir() {
            continue;
        }
        Plan::load(&file).unwrap_or_else(|error| panic!("{error}"));
        plans += 1;
    }
    assert!(plans >= 2);
}

#[test]
fn what_is_left_out_has_its_default() {
    let plan = Plan::parse(MINIMAL, Path::new("x.toml")).expect("a plan");
    assert_eq!(plan.target, None);
    assert_eq!(plan.limits, Limits::default());
    assert!(!plan.sources[0].one_file_system && !plan.sources[0].allow_empty);
}

#[test]
fn a_relative_path_starts_where_the_plan_is() {
    let text = MINIMAL.replace("\"/a\"", "\"../a\"");
    let url = |plan: Plan| plan.sources[0].url.clone();
    let plan = Plan::parse(&text, Path::new("/etc/drover/x.toml")).expect("a plan");
    assert_eq!(url(plan), Location::Directory("/etc/drover/../a".into()));

    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("x.toml");
    fs::write(&file, &text).expect("written");
    let plan = Plan::load(&file).expect("a plan");
    assert_eq!(url(plan), Location::Directory(directory.path().join("../a")));
}

#[test]
fn errors_say_where_and_what_was_meant() {
    for (text, error) in [
        ("\n\n[[sorce]]", "3:3: unknown key \"sorce\" (did you mean \"source\"?)"),
        ("\u{feff}[repo]", "1:2: unknown key \"repo\""),
        ("[Repository]", "1:2: unknown key \"Repository\" (did you mean \"repository\"?)"),
        ("x = 1\nsorce = 2", "1:1: unknown key \"x\""),
        ("", "1:1: the key \"repository\" is missing"),
        ("\n[repository]", "2:1: the key \"url\" is missing in \"repository\""),
        ("\n[repository]\nurI = 's3://b'", "3:1: unknown key \"urI\" (did you mean \"url\"?)"),
        ("[repository]\n  url = 7", "2:9: \"url\" must be a string, not a whole number"),
        ("repository = 'x'", "1:14: \"repository\" must be a table, not a string"),
        ("[repository]\nurl = 's3://b'\n", "3:1: a plan needs at least one [[source]]"),
        ("[repository]\nurl = 's3://b'\n[source]", "3:1: \"source\" must be an array of tables"),
        ("source = [1]\n[repository]\nurl = 's3://b'", "1:11: \"source\" must be an array of"),
        ("é = 1", "1:1: "),
        ("a = 'é' b", "1:9: "),
        ("[repository]\nurl = 's3://b'\nurl = 's3://c'", "3:1: duplicate key"),
        ("\"\\u001b[2J\" = 1", "1:1: unknown key \"\\x1b[2J\""),
    ] {
        let shown = refused(text);
        assert!(shown.starts_with(&format!("plans/x.toml:{error}")), "{text:?}: {shown}");
        assert!(!shown.contains('\n'), "{shown}");
    }
}

#[test]
fn values_are_checked() {
    for (addition, error) in [
        (
            "one_file_system = 1",
            "6:19: \"one_file_system\" must be true or false, not a whole number",
        ),
        (
            "one-file-system = true",
            "6:1: unknown key \"one-file-system\" (did you mean \"one_file_system\"?)",
        ),
        ("[[source]]\nname = 'a'\nurl = '/b'", "7:8: another source is named \"a\" already"),
        ("[[source]]\nname = 'A'\nurl = '/b'", "7:8: a source's name has"),
        ("[[source]]\nname = ''\nurl = '/b'", "7:8: a source's name has"),
        ("[[source]]\nname = 'b'", "6:1: the key \"url\" is missing in \"source\""),
        ("[[source]]\nname = 'b'\nurl = ''", "8:7: a path or URL is not empty"),
        ("[[source]]\nname = 'b'\nurl = 'sftp:u@h/x'", "8:7: a server's directory is written"),
        ("[target]\nurl = 'sftp://u@h/x'", "7:7: sftp serves as a source only"),
        ("[[source]]\nname = 'b'\nurl = '/x'\nhost_key = 'x'", "9:12: \"host_key\" is for sources"),
        (
            "[[source]]\nname = 'b'\nurl = '/x'\nlegacy_algorithms = true",
            "9:21: \"legacy_algorithms\" is for sources",
        ),
        ("[[source]]\nname = 'b'\nurl = '/x'\nhelper = true", "9:10: \"helper\" is for sources"),
        (
            "[[source]]\nname = 'b'\nurl = '/x'\nhelper_command = ['drover', 'helper']",
            "9:19: \"helper_command\" is for sources",
        ),
        (
            "[[source]]\nname = 'b'\nurl = 'sftp://u@h/x'\nhelper_command = ['']",
            "9:19: \"helper_command\" is a program and its arguments",
        ),
        (
            "[[source]]\nname = 'b'\nurl = 'sftp://u@h/x'\nhost_key = 'x'",
            "9:12: a host key is given as",
        ),
        ("[[source]]\nname = 'b'\nurl = 's3://h/x'", "8:7: a source must be a directory"),
        ("rules = 'x'", "6:9: \"rules\" must be an array of strings, not a string"),
        ("rules = ['exclude a',\n1]", "7:1: \"rules\" must be an array of strings, not a whole"),
        ("rules = ['a']", "6:10: \"rules\": a rule is \"exclude GLOB\" or \"include GLOB\""),
        ("rules = ['exclude a{b']", "6:10: \"rules\": the pattern cannot be understood"),
        ("ignore_files = ['a/b']", "6:17: \"ignore_files\": an ignore file is given by its name"),
        ("max_size = '2GB'", "6:12: \"max_size\": a size is a whole number"),
        ("before_pass = ['']", "6:16: \"before_pass\" is a program and its arguments"),
        ("after_pass = 'x'", "6:14: \"after_pass\" must be an array of strings, not a string"),
        ("hook_timeout = 5", "6:16: \"hook_timeout\" must be a string, not a whole number"),
        ("min_age = '1 month'", "6:11: \"min_age\": an age is a whole number"),
        ("[target]\nurl = '/x'\nowners = ['pacs']", "8:11: "),
        ("[limits]\nupload = '20MiB/s'", "7:10: \"upload\": a rate is a number, a space"),
        ("[limits]\nread = '1GB/s'", "7:8: \"read\": a rate is a number, a space"),
        ("[limits]\nload = 0", "7:8: "),
        ("[limits]\nmachines = 0", "7:12: "),
        ("[limits]\npolite = 'yes'", "7:10: \"polite\" must be true or false, not a string"),
        ("[limits]\nupload = 20", "7:10: \"upload\" must be a string, not a whole number"),
        ("[limits]\nparallel = 0", "7:12: \"parallel\" must be from 1 to 256"),
        ("[limits]\nparallel = -1", "7:12: \"parallel\" must be from 1 to 256"),
        ("[limits]\nparallel = 257", "7:12: \"parallel\" must be from 1 to 256"),
        ("[limits]\nparallel = 99999999999999999999999", "7:12: "),
        ("[limits]\nparallel = 4.0", "7:12: \"parallel\" must be a whole number, not a fraction"),
        ("[cutovr]", "6:2: unknown key \"cutovr\" (did you mean \"cutover\"?)"),
        ("[limits]\nwindows = ['Mon 7-19 1 MB/s']", "7:12: \"windows\": hours are from 00:00"),
        ("[limits]\nwindows = ['Mon 07:00-19:00 fast']", "7:12: \"windows\": a rate is"),
        ("[cutover]\nwindow = 'Caturday 22:00-23:00'", "7:10: \"window\": days are Mon, Tue"),
        ("[cutover]\nfreeze = '30min'", "7:10: \"freeze\": an age is"),
        ("[costs]\nprice = 'x'", "7:1: unknown key \"price\" (did you mean \"prices\"?)"),
    ] {
        let shown = refused(&format!("{MINIMAL}{addition}"));
        assert!(shown.starts_with(&format!("plans/x.toml:{error}")), "{addition:?}: {shown}");
    }
    let good = format!("{MINIMAL}[limits]\nparallel = 0x1_0\n");
    let plan = Plan::parse(&good, Path::new("x.toml")).expect("a plan");
    assert_eq!(plan.limits.parallel, Some(16));
}

#[test]
fn directories_that_would_destroy_one_another_are_refused() {
    let plan = |repository: &str, source: &str, target: &str| {
        format!(
            "[repository]\nurl = \"{repository}\"\n[[source]]\nname = \"a\"\nurl = \"{source}\"\n\
             [target]\nurl = \"{target}\"\n"
        )
    };
    for (repository, source, target, error) in [
        ("/srv/a/repo", "/srv/a", "/t", "2:7: the repository lies within the source \"a\""),
        ("/srv/a", "/srv/a", "/t", "2:7: the repository lies within the source \"a\""),
        ("/r", "/srv/a", "/srv/x/../a/b", "7:7: the target lies within the source \"a\""),
        ("/r", "/srv/a", "/srv", "3:1: the source lies within the target"),
        ("/srv/r", "/a", "file:///srv", "2:7: the repository lies within the target"),
    ] {
        let shown = refused(&plan(repository, source, target));
        assert!(shown.starts_with(&format!("plans/x.toml:{error}")), "{shown}");
    }
    let fine = plan("/srv/repo", "/srv/a", "/srv/ab");
    assert!(Plan::parse(&fine, Path::new("x.toml")).is_ok());
}

#[test]
fn a_password_in_a_url_is_not_repeated() {
    for url in ["s3://key:hunter2@b/p", "https://u:hunter2@h", "sftp://u:hunter2@h/x"] {
        let text = MINIMAL.replace("s3://b", url);
        let error = Plan::parse(&text, Path::new("x.toml")).expect_err("an error");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn files_that_are_no_plan() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("x.toml");
    assert!(matches!(Plan::load(&file), Err(PlanError::Read { .. })));
    assert!(matches!(Plan::load(directory.path()), Err(PlanError::Read { .. })));
    for (bytes, error) in [
        (b"a = 1\nb = \xff".to_vec(), "2:5: a plan is UTF-8 text"),
        (vec![b'#'; LONGEST + 1], "1:1: a plan has at most 1048576 bytes"),
        (vec![0xff; LONGEST + 1], "1:1: a plan has at most 1048576 bytes"),
        (vec![b'['; LONGEST], "1:"),
    ] {
        fs::write(&file, bytes).expect("written");
        let shown = Plan::load(&file).expect_err("an error").to_string();
        assert!(shown.contains(&format!("x.toml:{error}")), "{shown}");
    }
}

proptest! {
    #[test]
    fn any_text_is_safe(text in "\\PC{0,80}|[\\[\\]{}=\"'#.\\na-z0-9 -]{0,80}") {
        let _ = Plan::parse(&text, Path::new("x.toml"));
    }

    #[test]
    fn a_damaged_plan_is_safe(at in any::<prop::sample::Index>(), len in 0..40usize, new in "\\PC{0,6}") {
        let text: Vec<char> = example().chars().collect();
        let at = at.index(text.len());
        let end = text.len().min(at + len);
        let damaged: String =
            text[..at].iter().copied().chain(new.chars()).chain(text[end..].iter().copied()).collect();
        if let Err(error) = Plan::parse(&damaged, Path::new("x.toml")) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}

/// A plan with these lines in its source and in `[cutover]`.
fn with(source: &str, cutover: &str) -> Result<Plan, String> {
    let text = format!(
        "[repository]\nurl = \"/repository\"\n[[source]]\nname = \"pacs\"\n{source}\n[cutover]\n{cutover}\n"
    );
    Plan::parse(&text, Path::new("/plans/plan.toml")).map_err(|error| error.to_string())
}

#[test]
fn what_leads_clients_elsewhere() {
    let url = "url = \"/srv/pacs\"";
    let plan = with(
        &format!("{url}\nfreeze = [\"./freeze\", \"now\"]\nthaw = [\"systemctl\", \"start\", \"pacs\"]"),
        "verify = \"read back\"\nlanding = \"elsewhere\"\nlag = \"2 hours\"\nwrite_back = \"back\"\n\
         valid_for = \"0 seconds\"\nbucket = \"blocked\"\nswitch_command = [\"/usr/bin/switch\"]",
    )
    .unwrap();
    let hooks = &plan.sources[0].hooks;
    assert_eq!(hooks.freeze.as_ref().unwrap(), &["/plans/./freeze", "now"]);
    assert_eq!(hooks.on, HooksOn::Here);
    assert_eq!((plan.cutover.verify, plan.cutover.landing), (Method::ReadBack, Landing::Elsewhere));
    assert_eq!(plan.cutover.lag, Age(Duration::from_secs(7200)));
    assert_eq!(plan.cutover.write_back.as_deref(), Some(Path::new("/plans/back")));
    assert_eq!((plan.cutover.valid_for.0, plan.cutover.bucket), (Duration::ZERO, Bucket::Blocked));
    let usual = with(url, "").unwrap().cutover;
    assert_eq!(usual, Cutover::default());
    for (source, cutover, wrong) in [
        (url, "verify = \"trust\"", "one of \"acknowledged\", \"read back\", \"landed\""),
        (url, "bucket = \"open\"", "one of \"blocked\", \"not open\", \"any\""),
        (url, "switch_command = [\"\"]", "program and its arguments"),
        ("url = \"/srv\"\nhooks_on = \"server\"", "", "sftp://"),
        ("url = \"/srv\"\nhooks_on = \"there\"", "", "one of \"here\", \"server\""),
    ] {
        let error = with(source, cutover).unwrap_err();
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn what_a_command_prints() {
    let plan = with("command = [\"pg_dumpall\"]\nfile = \"all.sql\"", "").unwrap();
    let printed = plan.sources[0].command.as_ref().unwrap();
    assert_eq!(
        (printed.words.as_slice(), printed.file.as_str()),
        (&["pg_dumpall".to_owned()][..], "all.sql")
    );
    let url = "url = \"sftp://a@b/\"\ncommand = [\"pg_dumpall\"]\nfile = \"all.sql\"";
    assert!(with(url, "").is_ok());
    for (source, wrong) in [
        ("command = [\"x\"]", "\"file\" is missing"),
        ("url = \"/a\"\nfile = \"x\"", "there is no command"),
        ("command = [\"x\"]\nfile = \"a/b\"", "the name of a file"),
        ("command = [\"x\"]\nfile = \"..\"", "the name of a file"),
        ("url = \"/a\"\ncommand = [\"x\"]\nfile = \"a\"", "only names a server"),
    ] {
        let error = with(source, "").unwrap_err();
        assert!(error.contains(wrong), "{error}");
    }
}
