//! What was found, as reports have it.

use drover_inspect::{
    Date, Survey,
    survey::{Count, Device, Interface, Reconciliation, Tally as Files},
};
use drover_report::{
    ExceptionItem, InventoryAnomaly, InventoryCollision, InventoryContent, InventoryDatabase,
    InventoryDevice, InventoryDirectory, InventoryDuplicateGroup, InventoryDuplicates,
    InventoryFile, InventoryInterface, InventoryNames, InventoryOpenFile, InventoryPeriod,
    InventoryPhi, InventoryPhiExample, InventoryReconciliation, InventorySoftware, InventorySource,
    InventoryType, Text, format,
};
use drover_source::{SourceDescription, local::holders::OpenFiles};
use drover_types::{Exception, Timestamp};

use super::{
    EXAMPLES, Exceptions, Inventory, InventoryOptions, Walked,
    directories::Directory,
    duplicates::Duplicates,
    findings::{Evidence, Findings},
    live::State,
    names::Badly,
    tally::{Examples, Extreme},
    veil::Veil,
    writers,
};
use crate::Error;

/// All that was found.
pub struct Found<'s> {
    pub walked: Walked<'s>,
    pub survey: Option<Survey>,
    pub duplicates: Option<Duplicates>,
    pub open: Option<OpenFiles>,
    pub exceptions: Exceptions,
    pub started: Timestamp,
}

impl Found<'_> {
    /// As reports have it.
    pub fn report(
        self,
        description: &SourceDescription,
        options: &InventoryOptions,
        veil: &Veil,
    ) -> Result<Inventory, Error> {
        let Self { walked, survey, duplicates, open, exceptions, started } = self;
        let by_class = duplicates.as_ref().map(|d| d.by_class.clone()).unwrap_or_default();
        let Walked { tally, mut directories, names, since, exclusions, .. } = walked;
        let names = names.finish()?;
        directories.live.finish(&writers(open.as_ref()));
        let since = since.map(|since| since.finish(started)).transpose()?;
        let root = Text::from_bytes(&description.root);
        let mut report = InventorySource {
            source: options.name.as_deref().map_or_else(|| root.clone(), Text::from),
            host: Text::from(description.host.as_str()),
            user: Text::from(description.user.as_str()),
            privileged: description.privileged,
            connection: Some(description.connection.as_str())
                .filter(|connection| !connection.is_empty())
                .map(Text::from),
            started: format::time(started),
            time_zone: Text::from(options.zone.iana_name().unwrap_or("local")),
            content_read: survey.is_some(),
            duplicates_sought: duplicates.is_some(),
            open_files_sought: open.is_some(),
            paths_hidden: veil.hides(),
            totals: tally.totals,
            sizes: tally.sizes(),
            ages: tally.ages(),
            activity: tally.activity(),
            days: tally.days(),
            since,
            ..InventorySource::default()
        };
        let mut findings = Findings::default();
        of_tree(&mut findings, &tally, description, veil);
        of_names(&mut findings, &names, veil);
        of_live(&mut findings, &directories.live, open.as_ref(), veil);
        of_exceptions(&mut findings, &exceptions, veil);
        if let Some(survey) = &survey {
            report.types = types(survey);
            report.bytes_read = survey.read();
            report.content = content(survey, veil);
            of_content(&mut findings, survey, veil);
        } else if !veil.hides() {
            // What follows a dot may be a name as well.
            report.types = tally.types();
        }
        if let Some(duplicates) = duplicates {
            report.bytes_read += duplicates.read;
            report.duplicates = copies(duplicates, veil);
            let d = &report.duplicates;
            let largest = d.largest.first().map(|group| group.paths.clone()).unwrap_or_default();
            let (n, groups) = (d.files, format::counted(d.groups, "content", "contents"));
            findings.add(
                "copies",
                Evidence {
                    evidence: format!("{} of {groups} could be spared", format::bytes(d.bytes)),
                    count: n,
                    paths: largest,
                },
            );
        }
        report.findings = findings.finish();
        let file = |(depth, extreme): (u64, Extreme)| file(depth, &extreme, veil);
        let by_size = |(_, extreme): (u64, Extreme)| {
            let depth = extreme.path.components().count() as u64;
            file((depth, extreme))
        };
        report.largest = tally.largest.into_vec().into_iter().map(by_size).collect();
        report.deepest = tally.deepest.into_vec().into_iter().map(file).collect();
        let all = |list: Vec<(u64, Directory)>| {
            list.iter().map(|(_, d)| directory(d, veil)).collect::<Vec<_>>()
        };
        report.widest = all(directories.widest.into_vec());
        report.directories = all(directories.near.into_vec());
        report.collisions = names
            .collisions
            .iter()
            .map(|c| InventoryCollision {
                kind: Text::from(if c.normalisation { "normalisation" } else { "case" }),
                paths: veil.paths(&c.paths),
            })
            .collect();
        report.names = names
            .unfit
            .iter()
            .map(|((target, reason, label), (count, paths))| InventoryNames {
                target: Text::from(*target),
                reason: Text::from(*reason),
                label: Text::from(*label),
                count: *count,
                paths: veil.paths(paths),
            })
            .collect();
        report.databases = directories
            .live
            .found
            .iter()
            .map(|found| InventoryDatabase {
                path: veil.path(&found.path),
                kind: Text::from(found.kind),
                state: Text::from(found.state.as_str()),
                evidence: Text::from(found.evidence.as_str()),
            })
            .collect();
        report.open_files = open
            .iter()
            .flat_map(|open| &open.files)
            .map(|file| InventoryOpenFile {
                path: veil.path(&file.path),
                process: file.process,
                command: Text::from_bytes(&file.command),
            })
            .collect();
        let listed = exceptions.listed.into_values().map(|exception| {
            ExceptionItem::from(&Exception { path: veil.cover(&exception.path), ..exception })
        });
        report.exceptions = listed.collect();
        report.exceptions_not_listed = exceptions.more;
        Ok(Inventory { report, exclusions, copies: by_class })
    }
}

fn file(depth: u64, extreme: &Extreme, veil: &Veil) -> InventoryFile {
    InventoryFile {
        path: veil.path(&extreme.path),
        bytes: extreme.bytes,
        depth,
        modified: format::time(extreme.modified),
    }
}

fn directory(directory: &Directory, veil: &Veil) -> InventoryDirectory {
    InventoryDirectory {
        path: veil.path(&directory.path),
        entries: directory.entries,
        files: directory.files,
        bytes: directory.bytes,
    }
}

fn types(survey: &Survey) -> Vec<InventoryType> {
    let one = |row: drover_inspect::survey::TypeRow| InventoryType {
        kind: Text::from(row.file_type.id),
        label: Text::from(row.file_type.label),
        class: Text::from(row.file_type.class.as_str()),
        files: row.files,
        bytes: row.bytes,
    };
    survey.types().into_iter().map(one).collect()
}

fn copies(duplicates: Duplicates, veil: &Veil) -> InventoryDuplicates {
    let Duplicates { files, bytes, groups, largest, .. } = duplicates;
    let group = |(_, group): (u64, super::duplicates::Group)| InventoryDuplicateGroup {
        bytes: group.bytes,
        files: group.files,
        paths: veil.paths(&group.paths),
    };
    let largest = largest.into_vec().into_iter().map(group).collect();
    InventoryDuplicates { files, bytes, groups, largest }
}

fn day(date: Option<Date>) -> Option<Text> {
    date.map(|date| Text::from(date.to_string()))
}

fn joined(texts: &[String]) -> Text {
    Text::from(texts.join(", "))
}

fn device(device: &Device) -> InventoryDevice {
    let counts = [device.patients, device.studies, device.series, device.instances];
    let seen = |seen: Option<(Date, Date)>| {
        (day(seen.map(|(first, _)| first)), day(seen.map(|(_, last)| last)))
    };
    let software = |software: &drover_inspect::survey::Software| {
        let (first_seen, last_seen) = seen(software.seen);
        let version = Text::from(software.version.as_str());
        InventorySoftware { version, first_seen, last_seen, instances: software.objects }
    };
    let (first_seen, last_seen) = seen(device.seen);
    let newest = device.software.iter().max_by_key(|software| software.seen.map(|(_, last)| last));
    InventoryDevice {
        manufacturer: Text::from(device.manufacturer.as_str()),
        model: Text::from(device.model.as_str()),
        station: joined(&device.stations),
        serial: Text::from(device.serial.as_str()),
        software: newest.map(|newest| Text::from(newest.version.as_str())).unwrap_or_default(),
        versions: device.software.iter().map(software).collect(),
        institution: joined(&device.institutions),
        department: joined(&device.departments),
        modalities: device.modalities.iter().map(|m| Text::from(m.as_str())).collect(),
        first_seen,
        last_seen,
        calibrated: day(device.calibrated),
        told_by: Text::from(device.grouping.as_str()),
        patients: device.patients.value,
        studies: device.studies.value,
        series: device.series.value,
        instances: device.instances.value,
        estimated: counts.iter().any(|count| count.estimated),
        files: device.files,
        bytes: device.bytes,
        contributed: device.contributed,
    }
}

/// What was found in the files.
pub fn content(survey: &Survey, veil: &Veil) -> InventoryContent {
    let phi = |row: drover_inspect::survey::PhiRow| InventoryPhi {
        kind: Text::from(row.kind.as_str()),
        files: row.files,
        values: row.values,
        bytes: row.bytes,
        examples: row
            .examples
            .iter()
            .map(|example| InventoryPhiExample {
                path: veil.path(&example.path),
                shape: Text::from(example.shape.as_str()),
                values: example.values,
            })
            .collect(),
    };
    let found = survey.reconciliation();
    InventoryContent {
        devices: survey.devices().iter().map(device).collect(),
        interfaces: survey.interfaces().iter().map(interface).collect(),
        phi: survey.phi().into_iter().map(phi).collect(),
        reconciliation: (found.files > 0).then(|| reconciliation(&found, veil)),
    }
}

fn interface(found: &Interface) -> InventoryInterface {
    let key = &found.key;
    let text = |text: &String| Text::from(text.as_str());
    InventoryInterface {
        sender: text(&key.sender),
        sender_facility: text(&key.sender_facility),
        receiver: text(&key.receiver),
        receiver_facility: text(&key.receiver_facility),
        message: text(&key.message_type),
        version: text(&key.version),
        charsets: found.charsets.iter().map(text).collect(),
        messages: found.messages,
        bytes: found.bytes,
        files: found.files,
        duplicate_ids: found.duplicate_ids,
        without_id: found.without_id,
        ids_not_compared: found.ids_not_compared,
        first_seen: day(found.seen.map(|(first, _)| first)),
        last_seen: day(found.seen.map(|(_, last)| last)),
    }
}

fn reconciliation(found: &Reconciliation, veil: &Veil) -> InventoryReconciliation {
    let Reconciliation { patients, studies, series, instances, .. } = *found;
    let estimated = |counts: [Count; 4]| counts.iter().any(|count| count.estimated);
    InventoryReconciliation {
        patients: patients.value,
        studies: studies.value,
        series: series.value,
        instances: instances.value,
        estimated: estimated([patients, studies, series, instances])
            || found
                .periods
                .iter()
                .any(|p| estimated([p.patients, p.studies, p.series, p.instances])),
        files: found.files,
        periods: found
            .periods
            .iter()
            .map(|period| InventoryPeriod {
                modality: Text::from(period.modality.as_str()),
                year: period.year,
                patients: period.patients.value,
                studies: period.studies.value,
                series: period.series.value,
                instances: period.instances.value,
                files: period.files,
            })
            .collect(),
        anomalies: found
            .anomalies
            .iter()
            .map(|anomaly| InventoryAnomaly {
                kind: Text::from(anomaly.kind.as_str()),
                count: anomaly.count,
                examples: anomaly.examples.iter().map(|files| veil.paths(files)).collect(),
            })
            .collect(),
        not_compared: found.not_compared,
    }
}

fn examples(found: &Examples, evidence: impl Into<String>, veil: &Veil) -> Evidence {
    Evidence { evidence: evidence.into(), count: found.count, paths: veil.paths(&found.paths) }
}

fn of_tree(
    findings: &mut Findings,
    tally: &super::tally::Tally,
    description: &SourceDescription,
    veil: &Veil,
) {
    findings.add("future-times", examples(&tally.ahead, "times of last change", veil));
    findings.add("setuid", examples(&tally.setuid, "their mode bits", veil));
    findings.add("world-writable", examples(&tally.world_writable, "their mode bits", veil));
    if !description.privileged {
        let evidence = format!("it was read as {}", description.user);
        findings.add("not-privileged", Evidence { evidence, count: 1, ..Evidence::default() });
    }
}

fn of_names(findings: &mut Findings, names: &Badly, veil: &Veil) {
    for (id, normalisation, count) in
        [("names-case", false, names.case), ("names-normalisation", true, names.normalisation)]
    {
        let of_kind = names.collisions.iter().filter(|c| c.normalisation == normalisation);
        let paths = of_kind.flat_map(|c| &c.paths).take(EXAMPLES);
        let evidence = "the names of each directory, compared with each other".to_owned();
        findings.add(id, Evidence { evidence, count, paths: veil.paths(paths) });
    }
    let targets = [
        ("names-linux", "linux"),
        ("names-s3", "s3"),
        ("names-azure", "azure"),
        ("names-gcs", "gcs"),
        ("names-windows", "windows"),
    ];
    for (id, target) in targets {
        let mut found = Evidence::default();
        let mut reasons = Vec::new();
        for ((_, _, label), (count, paths)) in
            names.unfit.iter().filter(|((t, ..), _)| *t == target)
        {
            found.count += count;
            reasons.push(format!("{label}: {}", format::count(*count)));
            found
                .paths
                .extend(veil.paths(paths.iter().take(EXAMPLES - found.paths.len().min(EXAMPLES))));
        }
        found.evidence = reasons.join("; ");
        findings.add(id, found);
    }
}

fn of_live(
    findings: &mut Findings,
    live: &super::live::Live,
    open: Option<&OpenFiles>,
    veil: &Veil,
) {
    let mut add = |id: &str, disk: bool, states: &[State]| {
        let found: Vec<_> = live
            .found
            .iter()
            .filter(|found| found.disk == disk && states.contains(&found.state))
            .collect();
        let evidence: Vec<_> =
            found.iter().take(3).map(|f| format!("{}: {}", f.kind, f.evidence)).collect();
        findings.add(
            id,
            Evidence {
                evidence: evidence.join("; "),
                count: found.len() as u64,
                paths: veil.paths(found.iter().take(EXAMPLES).map(|found| &found.path)),
            },
        );
    };
    add("database-running", false, &[State::Running]);
    add("database-maybe-running", false, &[State::MaybeRunning]);
    add("database-files", false, &[State::NoSign]);
    add("machine-running", true, &[State::Running, State::MaybeRunning]);
    add("machine-disks", true, &[State::NoSign]);
    let Some(open) = open else { return };
    let mut by: Vec<String> =
        open.files.iter().map(|file| drover_types::path::escape(&file.command)).collect();
    by.sort();
    by.dedup();
    by.truncate(EXAMPLES);
    let mut evidence = format!("held by {}", by.join(", "));
    if open.unseen > 0 {
        let unseen = format::counted(open.unseen, "process was", "processes were");
        evidence = format!("{evidence}; {unseen} not to be looked into");
    }
    findings.add(
        "open-files",
        Evidence {
            evidence,
            count: open.files.len() as u64 + open.more,
            paths: veil.paths(open.files.iter().take(EXAMPLES).map(|file| &file.path)),
        },
    );
}

fn of_exceptions(findings: &mut Findings, exceptions: &Exceptions, veil: &Veil) {
    use drover_types::ExceptionKind::Vanished;
    // What vanished is not there any more to be migrated.
    let listed: Vec<_> = exceptions.listed.values().filter(|e| e.kind != Vanished).collect();
    findings.add(
        "unreadable",
        Evidence {
            evidence: "the list of exceptions".to_owned(),
            count: listed.len() as u64 + exceptions.more,
            paths: veil.paths(listed.iter().take(EXAMPLES).map(|exception| &exception.path)),
        },
    );
}

fn of_content(findings: &mut Findings, survey: &Survey, veil: &Veil) {
    let mut add = |id: &str, files: &Files, evidence: &str| {
        let evidence = format!("{evidence}: {}", format::bytes(files.bytes));
        findings
            .add(id, Evidence { evidence, count: files.files, paths: veil.paths(&files.examples) });
    };
    add("ransom-notes", survey.ransom_notes(), "names of notes that are known");
    add("ransomed-files", survey.ransomed(), "bytes that look random, under names that are known");
    add("encrypted-files", survey.encrypted(), "their form, or bytes that look random");
    add(
        "not-as-named",
        survey.not_as_named(),
        "bytes that look random, under names of other forms",
    );
    add("key-files", survey.keys(), "their form");
    add("looked-at-partly", survey.partly(), "the limits of looking into files");
    let phi = survey.phi();
    if !phi.is_empty() {
        let kinds: Vec<_> = phi
            .iter()
            .map(|row| format!("{} in {}", row.kind, format::counted(row.files, "file", "files")))
            .collect();
        let most = phi.iter().max_by_key(|row| row.files);
        let paths = most.map(|row| row.examples.iter().map(|example| &example.path));
        findings.add(
            "patient-data",
            Evidence {
                evidence: kinds.join(", "),
                // A file can hold several kinds: at least as many as hold the most frequent one.
                count: most.map_or(0, |row| row.files),
                paths: veil.paths(paths.into_iter().flatten()),
            },
        );
    }
    let anomalies = survey.reconciliation().anomalies;
    let kinds: Vec<_> = anomalies
        .iter()
        .map(|anomaly| format!("{}: {}", anomaly.kind.as_str(), format::count(anomaly.count)))
        .collect();
    findings.add(
        "dicom-anomalies",
        Evidence {
            evidence: kinds.join(", "),
            count: anomalies.iter().map(|anomaly| anomaly.count).sum(),
            paths: veil
                .paths(anomalies.iter().flat_map(|a| a.examples.iter().flatten()).take(EXAMPLES)),
        },
    );
    let apart = survey.messages_apart();
    let interfaces = survey.interfaces();
    let same =
        interfaces.iter().map(|found| found.duplicate_ids).sum::<u64>() + apart.duplicate_ids;
    let without = interfaces.iter().map(|found| found.without_id).sum::<u64>();
    let evidence = [
        (same, "ids that another message of the sender has"),
        (without, "messages without one"),
        (apart.malformed, "headers that cannot be read"),
    ];
    let parts = evidence.iter().filter(|(n, _)| *n > 0);
    let parts: Vec<_> = parts.map(|(n, what)| format!("{} {what}", format::count(*n))).collect();
    findings.add(
        "hl7-ids",
        Evidence {
            evidence: parts.join(", "),
            count: same + without + apart.malformed,
            ..Evidence::default()
        },
    );
    let programs =
        survey.types().into_iter().filter(|row| row.file_type.class.as_str() == "program");
    let (mut files, mut bytes) = (0, 0u64);
    for row in programs {
        files += row.files;
        bytes = bytes.saturating_add(row.bytes);
    }
    let evidence = format!("their form: {}", format::bytes(bytes));
    findings.add("programs", Evidence { evidence, count: files, ..Evidence::default() });
}
