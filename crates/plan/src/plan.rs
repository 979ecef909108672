//! The plan itself.

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    str,
    time::Duration,
};

use toml::de::DeTable;

mod cutover;

pub use cutover::{Bucket, Cutover, Landing, Method};

use crate::{
    Age, Filter, Location, LocationError, PlanError, Problem, Rate, Renamed,
    filter::ignore_file,
    table::{At, Table, Text},
    windows::Window,
};

/// A plan is written by hand: whatever is longer is something else.
const LONGEST: usize = 1 << 20;

/// The most requests at a time that a plan may ask for.
const MOST_PARALLEL: usize = 256;

/// The most machines at a time that a plan may ask for.
const MOST_MACHINES: usize = 64;

/// The highest load that a plan may ask for.
const MOST_LOAD: usize = 10_000;

/// The most waves.
const MOST_WAVES: usize = 1000;

/// The keys of a source.
const SOURCE_KEYS: [&str; 31] = [
    "name",
    "url",
    "command",
    "file",
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
    "thaw",
    "hooks_on",
    "hook_timeout",
    "identity_file",
    "password_file",
    "password_command",
    "host_key",
    "ssh_config",
    "legacy_algorithms",
    "shell",
    "helper",
    "helper_command",
    "wave",
    "risk_owner",
];

/// What is moved, where to, within which limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `[repository]`
    pub repository: Repository,
    /// `[[source]]`: at least one, each with a name of its own, in the order of the file.
    pub sources: Vec<Source>,
    /// `[target]`
    pub target: Option<Target>,
    /// `[limits]`
    pub limits: Limits,
    /// `[cutover]`
    pub cutover: Cutover,
    /// `[costs]`
    pub costs: Costs,
}

/// Where the encrypted data goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Directory or bucket.
    pub url: Location,
    /// Storage class or access tier of packs.
    pub storage_class: Option<String>,
    /// The store's own encryption, beside drover's.
    pub sse: Option<String>,
    /// The KMS key of that encryption.
    pub kms_key_id: Option<String>,
}

/// What is moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// How snapshots and reports call it.
    pub name: SourceName,
    /// The directory, of this machine or of another server.
    pub url: Location,
    /// What is taken in place of a directory; it runs on the server that `url` names, else here.
    pub command: Option<CommandOutput>,
    /// How to be let in where it is another server's.
    pub ssh: Ssh,
    /// Do not enter what is mounted below the root.
    pub one_file_system: bool,
    /// Accept an empty root where the last pass saw entries.
    pub allow_empty: bool,
    /// What of it is left out.
    pub filter: Filter,
    /// What runs around its passes.
    pub hooks: Hooks,
    /// Which of the waves it belongs to; the first is 1.
    pub wave: usize,
    /// Who answers for its risks, as the risk register has it.
    pub risk_owner: Option<String>,
}

/// A command whose output is taken as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutput {
    /// Program and arguments.
    pub words: Vec<String>,
    /// What the file is called.
    pub file: String,
}

/// Commands around the passes and the freeze of a source: program and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// `before_pass`: where it fails, there is no pass.
    pub before_pass: Option<Vec<String>>,
    /// `after_pass`: runs whatever came before it.
    pub after_pass: Option<Vec<String>>,
    /// `freeze`: after it nothing changes on the source.
    pub freeze: Option<Vec<String>>,
    /// `thaw`: undoes `freeze`, however often it runs.
    pub thaw: Option<Vec<String>>,
    /// `hooks_on`: where these run.
    pub on: HooksOn,
    /// `hook_timeout`: how long each may take.
    pub timeout: Age,
}

impl Default for Hooks {
    /// None; ten minutes.
    fn default() -> Self {
        Self {
            before_pass: None,
            after_pass: None,
            freeze: None,
            thaw: None,
            on: HooksOn::Here,
            timeout: HOOK_TIMEOUT,
        }
    }
}

/// How long a command may take where the plan does not say.
const HOOK_TIMEOUT: Age = Age(Duration::from_secs(600));

/// Where the commands of a source run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HooksOn {
    /// On the machine that runs drover.
    #[default]
    Here,
    /// On the server that the source is read from, over SSH.
    Server,
}

/// How a server recognises us, and we it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// The private key to offer.
    pub identity_file: Option<PathBuf>,
    /// The file that holds the password.
    pub password_file: Option<PathBuf>,
    /// The command that prints the password.
    pub password_command: Option<String>,
    /// The fingerprint of the only host key that counts, as `SHA256:…`.
    pub host_key: Option<String>,
    /// The file of settings that OpenSSH is asked for, in place of the account's and the system's.
    pub config: Option<PathBuf>,
    /// Whether algorithms that are broken or weak may be used: the server knows no others.
    pub legacy_algorithms: bool,
    /// Whether a shell of the account may be asked what SFTP does not say.
    pub shell: bool,
    /// Whether a helper on the server reads it.
    pub helper: Helper,
}

/// A helper that reads a source on its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Helper {
    /// None: it is read by SFTP.
    #[default]
    No,
    /// `helper = true`: this program, copied there for as long as it is needed.
    Copied,
    /// `helper_command`: one that is installed there, such as by way of `sudo`.
    Installed(Vec<String>),
}

impl Default for Ssh {
    /// What the account and the system have set; a shell is asked.
    fn default() -> Self {
        Self {
            identity_file: None,
            password_file: None,
            password_command: None,
            host_key: None,
            config: None,
            legacy_algorithms: false,
            shell: true,
            helper: Helper::No,
        }
    }
}

/// Where a restore lands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The directory, or the bucket where files become plain objects.
    pub url: Location,
    /// `owners`: users who are others there.
    pub owners: Vec<Renamed>,
    /// `groups`: groups that are others there.
    pub groups: Vec<Renamed>,
}

/// What a pass may take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most that is sent to the repository; no limit where it is `None`.
    pub upload: Option<Rate>,
    /// Hours in which it is another rate.
    pub windows: Vec<Window>,
    /// The most requests to the repository at a time.
    pub parallel: Option<usize>,
    /// The most machines whose sources are taken at a time.
    pub machines: Option<usize>,
    /// `read`: the most that is read of each source.
    pub read: Option<Rate>,
    /// `load`: the load average of this machine above which nothing is read.
    pub load: Option<usize>,
    /// `polite`: whether whatever else the machines do goes before.
    pub polite: bool,
}

/// How costs are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// `prices`: the file that has them.
    pub prices: Option<PathBuf>,
    /// `class`: the storage class, by the name that the file has for it; else the repository's.
    pub class: Option<String>,
}

/// A source's name: 1 to 64 characters, each `a` to `z`, `0` to `9` or `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(String);

impl SourceName {
    /// `None` where `text` is no such name.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        fits.then(|| Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Plan {
    /// Reads and parses the file. Relative paths in it are taken from its own directory, so that
    /// a plan means the same wherever it is run from.
    pub fn load(file: &Path) -> Result<Self, PlanError> {
        let read = || -> io::Result<_> {
            let mut bytes = Vec::new();
            fs::File::open(file)?.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
            Ok((bytes, std::path::absolute(file)?))
        };
        let (bytes, absolute) =
            read().map_err(|source| PlanError::Read { file: file.to_owned(), source })?;
        match str::from_utf8(&bytes) {
            Ok(text) => parse(Text { file, text }, directory(&absolute)),
            Err(_) if bytes.len() > LONGEST => {
                Err(Text { file, text: "" }.error(0, Problem::TooLong(LONGEST)))
            }
            Err(error) => {
                let valid = &bytes[..error.valid_up_to()];
                let text = str::from_utf8(valid).unwrap_or_default();
                Err(Text { file, text }.error(text.len(), Problem::NotText))
            }
        }
    }

    /// Parses the text of a plan. `file` is what errors call it; relative paths are taken from
    /// its directory.
    pub fn parse(text: &str, file: &Path) -> Result<Self, PlanError> {
        parse(Text { file, text }, directory(file))
    }

    /// The source of this name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name.as_str() == name)
    }
}

fn directory(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

fn parse(text: Text<'_>, base: &Path) -> Result<Plan, PlanError> {
    if text.text.len() > LONGEST {
        return Err(text.error(0, Problem::TooLong(LONGEST)));
    }
    let document = DeTable::parse(text.text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        text.error(at, Problem::Syntax(error.message().to_owned()))
    })?;
    let known = ["repository", "source", "target", "limits", "cutover", "costs"];
    let plan = Table::new(text, "", document.get_ref(), 0, &known)?;

    let known = ["url", "storage_class", "sse", "kms_key_id"];
    let table = plan.required("repository", plan.table("repository", &known)?)?;
    let repository = location(text, &table, base)?;
    if let Location::Sftp(_) = repository.value {
        let problem = Problem::Location(LocationError::SourceOnly("repository"));
        return Err(text.error(repository.start, problem));
    }
    let string = |key| Ok(table.string(key)?.map(|at| at.value.to_owned()));
    let (storage_class, sse, kms_key_id) =
        (string("storage_class")?, string("sse")?, string("kms_key_id")?);

    let mut sources: Vec<(Source, usize)> = Vec::new();
    for table in plan.tables("source", &SOURCE_KEYS)? {
        let source = source(text, &table, base)?;
        if sources.iter().any(|(other, _)| other.name == source.value.name) {
            let problem = Problem::DuplicateSource(source.value.name.to_string());
            return Err(text.error(source.start, problem));
        }
        sources.push((source.value, table.start));
    }
    if sources.is_empty() {
        return Err(text.error(text.text.len(), Problem::NoSource));
    }

    let (mut target, mut owners, mut groups) = (None, Vec::new(), Vec::new());
    if let Some(table) = plan.table("target", &["url", "owners", "groups"])? {
        target = Some(no_server(text, location(text, &table, base)?, "target")?);
        owners = renamed(text, &table, "owners")?;
        groups = renamed(text, &table, "groups")?;
    }
    let limits = match plan
        .table("limits", &["upload", "parallel", "windows", "machines", "read", "load", "polite"])?
    {
        Some(table) => limits(text, &table)?,
        None => Limits::default(),
    };
    let cutover = match plan.table("cutover", &cutover::CUTOVER_KEYS)? {
        Some(table) => cutover::cutover(text, &table, base)?,
        None => Cutover::default(),
    };
    let costs = match plan.table("costs", &["prices", "class"])? {
        Some(table) => Costs {
            prices: table.string("prices")?.map(|at| base.join(at.value)),
            class: table.string("class")?.map(|at| at.value.to_owned()),
        },
        None => Costs::default(),
    };

    let in_place = |source: &&(Source, usize)| source.0.command.is_none();
    for (source, _) in sources.iter().filter(in_place) {
        let named = format!("source \"{}\"", source.name);
        // A repository within the source would be read and stored again in each pass.
        apart(text, ("repository", &repository), (&named, &source.url))?;
        if let Some(target) = &target {
            apart(text, ("target", target), (&named, &source.url))?;
        }
    }
    if let Some(target) = &target {
        // A restore that removes what the snapshot lacks would remove the repository.
        apart(text, ("repository", &repository), ("target", &target.value))?;
        for (source, start) in sources.iter().filter(in_place) {
            let source = At { value: source.url.clone(), start: *start };
            apart(text, ("source", &source), ("target", &target.value))?;
        }
    }

    Ok(Plan {
        repository: Repository { url: repository.value, storage_class, sse, kms_key_id },
        sources: sources.into_iter().map(|(source, _)| source).collect(),
        target: target.map(|target| Target { url: target.value, owners, groups }),
        limits,
        cutover,
        costs,
    })
}

fn source(text: Text<'_>, table: &Table<'_>, base: &Path) -> Result<At<Source>, PlanError> {
    let name = table.required("name", table.string("name")?)?;
    let start = name.start;
    let name = SourceName::new(name.value).ok_or_else(|| text.error(start, Problem::SourceName))?;
    let printed = printed(text, table, base)?;
    let url = match (&printed, table.string("url")?) {
        // It needs no place, and none is within another.
        (Some(_), None) => At { value: Location::Directory(PathBuf::new()), start },
        _ => location(text, table, base)?,
    };
    if let (Some(_), Location::Directory(path)) = (&printed, &url.value)
        && !path.as_os_str().is_empty()
    {
        return Err(text.error(url.start, Problem::CommandPlace));
    }
    if let Location::Cloud(_) = url.value {
        let problem = Problem::Location(LocationError::NotADirectory("source"));
        return Err(text.error(url.start, problem));
    }
    let location = url.value.clone();
    let value = Source {
        name,
        ssh: ssh(text, table, base, &url.value)?,
        url: url.value,
        command: printed,
        one_file_system: table.boolean("one_file_system")?.is_some_and(|at| at.value),
        allow_empty: table.boolean("allow_empty")?.is_some_and(|at| at.value),
        filter: filter(text, table, base)?,
        wave: table.integer("wave", 1..MOST_WAVES + 1)?.map_or(1, |at| at.value),
        risk_owner: table.string("risk_owner")?.map(|at| at.value.to_owned()),
        hooks: Hooks {
            before_pass: command(text, table, "before_pass", base)?,
            after_pass: command(text, table, "after_pass", base)?,
            freeze: command(text, table, "freeze", base)?,
            thaw: command(text, table, "thaw", base)?,
            on: hooks_on(text, table, &location)?,
            timeout: match table.parsed("hook_timeout", Problem::Filter)? {
                Some(timeout) => timeout,
                None => Hooks::default().timeout,
            },
        },
    };
    Ok(At { value, start })
}

/// The keys `command` and `file`, which come together.
fn printed(
    text: Text<'_>,
    table: &Table<'_>,
    base: &Path,
) -> Result<Option<CommandOutput>, PlanError> {
    let Some(words) = command(text, table, "command", base)? else {
        return match table.string("file")? {
            Some(at) => Err(text.error(at.start, Problem::FileWithoutCommand)),
            None => Ok(None),
        };
    };
    let file = table.required("file", table.string("file")?)?;
    let name = file.value;
    let fits = !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.contains(['/', '\0']);
    match fits {
        true => Ok(Some(CommandOutput { words, file: name.to_owned() })),
        false => Err(text.error(file.start, Problem::FileName)),
    }
}

/// Program and arguments. A program that is given by a relative path lies where the plan does.
fn command(
    text: Text<'_>,
    table: &Table<'_>,
    key: &'static str,
    base: &Path,
) -> Result<Option<Vec<String>>, PlanError> {
    let mut words = table.strings(key)?;
    let Some(program) = words.first_mut() else { return Ok(None) };
    let start = program.start;
    let wrong = || text.error(start, Problem::Command(key));
    if program.value.is_empty() || words.iter().any(|word| word.value.contains('\0')) {
        return Err(wrong());
    }
    let mut command: Vec<_> = words.iter().map(|word| word.value.to_owned()).collect();
    if command[0].contains('/') {
        command[0] = base.join(&command[0]).into_os_string().into_string().map_err(|_| wrong())?;
    }
    Ok(Some(command))
}

fn filter(text: Text<'_>, table: &Table<'_>, base: &Path) -> Result<Filter, PlanError> {
    let wrong = |key, at: usize| move |error| text.error(at, Problem::Filter(key, error));
    let mut rules = Vec::new();
    for At { value, start } in table.strings("rules")? {
        rules.push(value.parse().map_err(wrong("rules", start))?);
    }
    let mut ignore_files = Vec::new();
    for At { value, start } in table.strings("ignore_files")? {
        ignore_files.push(ignore_file(value).map_err(wrong("ignore_files", start))?);
    }
    Ok(Filter {
        rules,
        ignore_files,
        exclude_caches: table.boolean("exclude_caches")?.is_some_and(|at| at.value),
        files_from: table.string("files_from")?.map(|at| base.join(at.value)),
        min_size: table.parsed("min_size", Problem::Filter)?,
        max_size: table.parsed("max_size", Problem::Filter)?,
        min_age: table.parsed("min_age", Problem::Filter)?,
        max_age: table.parsed("max_age", Problem::Filter)?,
    })
}

fn ssh(text: Text<'_>, table: &Table<'_>, base: &Path, url: &Location) -> Result<Ssh, PlanError> {
    let string = |key| match table.string(key)? {
        Some(at) if !matches!(url, Location::Sftp(_)) => {
            Err(text.error(at.start, Problem::OnlySftp(key)))
        }
        Some(at) => Ok(Some(at)),
        None => Ok(None),
    };
    let path = |key| Ok(string(key)?.map(|at| base.join(at.value)));
    let host_key = string("host_key")?;
    if let Some(at) = &host_key
        && !is_fingerprint(at.value)
    {
        return Err(text.error(at.start, Problem::Fingerprint));
    }
    let boolean = |key| match table.boolean(key)? {
        Some(at) if !matches!(url, Location::Sftp(_)) => {
            Err(text.error(at.start, Problem::OnlySftp(key)))
        }
        at => Ok(at.map(|at| at.value)),
    };
    Ok(Ssh {
        identity_file: path("identity_file")?,
        password_file: path("password_file")?,
        password_command: string("password_command")?.map(|at| at.value.to_owned()),
        host_key: host_key.map(|at| at.value.to_owned()),
        config: path("ssh_config")?,
        legacy_algorithms: boolean("legacy_algorithms")?.unwrap_or(false),
        shell: boolean("shell")?.unwrap_or(true),
        helper: helper(text, table, url, boolean("helper")?.unwrap_or(false))?,
    })
}

fn helper(
    text: Text<'_>,
    table: &Table<'_>,
    url: &Location,
    copied: bool,
) -> Result<Helper, PlanError> {
    const KEY: &str = "helper_command";
    let words = table.strings(KEY)?;
    let Some(first) = words.first() else {
        return Ok(if copied { Helper::Copied } else { Helper::No });
    };
    if !matches!(url, Location::Sftp(_)) {
        return Err(text.error(first.start, Problem::OnlySftp(KEY)));
    }
    if first.value.is_empty() || words.iter().any(|word| word.value.contains('\0')) {
        return Err(text.error(first.start, Problem::Command(KEY)));
    }
    Ok(Helper::Installed(words.iter().map(|word| word.value.to_owned()).collect()))
}

/// Whether this is the fingerprint of a host key as `ssh-keygen -l` prints it: `SHA256:` and 43
/// characters of Base64.
pub fn is_fingerprint(text: &str) -> bool {
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    text.strip_prefix("SHA256:").is_some_and(|hash| hash.len() == 43 && hash.bytes().all(base64))
}

fn limits(text: Text<'_>, table: &Table<'_>) -> Result<Limits, PlanError> {
    let upload = table.parsed("upload", Problem::Rate)?;
    let parallel = table.integer("parallel", 1..MOST_PARALLEL + 1)?.map(|at| at.value);
    let windows = table.strings("windows")?.into_iter().map(|At { value, start }| {
        value.parse().map_err(|error| text.error(start, Problem::Window("windows", error)))
    });
    Ok(Limits {
        upload,
        windows: windows.collect::<Result<_, _>>()?,
        parallel,
        machines: table.integer("machines", 1..MOST_MACHINES + 1)?.map(|at| at.value),
        read: table.parsed("read", Problem::Rate)?,
        load: table.integer("load", 1..MOST_LOAD + 1)?.map(|at| at.value),
        polite: table.boolean("polite")?.is_some_and(|at| at.value),
    })
}

/// The value of a key that has one of a few words.
fn one_of<T: Copy>(
    text: Text<'_>,
    table: &Table<'_>,
    key: &'static str,
    words: &[(&'static str, T)],
) -> Result<Option<T>, PlanError> {
    let Some(At { value, start }) = table.string(key)? else { return Ok(None) };
    let found = words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
    let known = || words.iter().map(|(word, _)| *word).collect();
    found.map(Some).ok_or_else(|| text.error(start, Problem::Word(key, known())))
}

fn hooks_on(text: Text<'_>, table: &Table<'_>, url: &Location) -> Result<HooksOn, PlanError> {
    let words = [("here", HooksOn::Here), ("server", HooksOn::Server)];
    let on = one_of(text, table, "hooks_on", &words)?.unwrap_or_default();
    match table.string("hooks_on")? {
        Some(at) if on == HooksOn::Server && !matches!(url, Location::Sftp(_)) => {
            Err(text.error(at.start, Problem::OnlySftp("hooks_on")))
        }
        _ => Ok(on),
    }
}

/// The key `url`, which every table with a place has.
fn location(text: Text<'_>, table: &Table<'_>, base: &Path) -> Result<At<Location>, PlanError> {
    let At { value, start } = table.required("url", table.string("url")?)?;
    match Location::parse(value, base) {
        Ok(value) => Ok(At { value, start }),
        Err(error) => Err(text.error(start, Problem::Location(error))),
    }
}

fn renamed(
    text: Text<'_>,
    table: &Table<'_>,
    key: &'static str,
) -> Result<Vec<Renamed>, PlanError> {
    let one = |At { value, start }: At<&str>| {
        value.parse().map_err(|error| text.error(start, Problem::Filter(key, error)))
    };
    table.strings(key)?.into_iter().map(one).collect()
}

fn no_server(
    text: Text<'_>,
    at: At<Location>,
    what: &'static str,
) -> Result<At<Location>, PlanError> {
    match at.value {
        Location::Directory(_) | Location::Cloud(_) => Ok(at),
        Location::Sftp(_) => {
            let problem = Problem::Location(LocationError::SourceOnly(what));
            Err(text.error(at.start, problem))
        }
    }
}

/// Refuses `inner` within `outer`.
fn apart(
    text: Text<'_>,
    (inner, at): (&'static str, &At<Location>),
    (outer, location): (&str, &Location),
) -> Result<(), PlanError> {
    if at.value.is_within(location) {
        let problem = Problem::Nested { inner, outer: outer.to_owned() };
        return Err(text.error(at.start, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
