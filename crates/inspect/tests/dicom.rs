//! DICOM objects as archives hold them: in each syntax, and against the standard.

#![allow(clippy::unwrap_used, reason = "what is not there is a failure")]

mod support;

use drover_inspect::{
    DicomHeader, FileType, PhiKind, Survey,
    dicom::Oddity,
    survey::{AnomalyKind, Grouping},
};
use drover_types::RelativePath;
use support::{Object, Writing, inspect, with_meta};

fn header(file: &[u8]) -> DicomHeader {
    let found = inspect("IM0001", file);
    assert_eq!(found.file_type, FileType::DICOM);
    *found.dicom.expect("a header")
}

/// What a header has to say whatever it is written in.
fn check(header: &DicomHeader) {
    assert_eq!(header.modality, "CT");
    assert_eq!(header.equipment.manufacturer, "ACME Imaging");
    assert_eq!(header.equipment.institution, "Universität");
    assert_eq!(header.equipment.station, "CT01");
    assert_eq!(header.equipment.department, "Radiology");
    assert_eq!(header.equipment.serial, "SN-4711");
    assert_eq!(header.equipment.software, ["V1.0", "B12"]);
    assert_eq!(header.equipment.calibrated.unwrap().to_string(), "2020-12-31");
    assert_eq!(header.contributing.len(), 1);
    assert_eq!(header.contributing[0].model, "Router 9");
    assert_eq!(header.study_date.unwrap().to_string(), "2021-03-04");
    assert_eq!(header.made.unwrap().to_string(), "2021-03-05");
    assert!(header.has_pixels && header.is_usable() && header.patient.is_some());
}

#[test]
fn every_syntax_says_the_same() {
    let object = Object::default();
    let explicit = header(&object.file(Writing::Explicit));
    check(&explicit);
    assert_eq!(explicit.oddities, []);
    assert!(explicit.image.is_some());
    let implicit = header(&object.file(Writing::Implicit));
    check(&implicit);
    assert_eq!((implicit.oddities.as_slice(), implicit.image), (&[][..], explicit.image));
    let big = header(&object.file(Writing::Big));
    check(&big);
    assert_eq!((big.oddities.as_slice(), big.image), (&[Oddity::BigEndian][..], explicit.image));
    let deflated = header(&object.deflated());
    check(&deflated);
    assert_eq!(deflated.oddities, [Oddity::Deflated]);
    for other in [&implicit, &big, &deflated] {
        assert_eq!(other.instance, explicit.instance);
        assert_eq!(other.patient, explicit.patient);
    }
}

#[test]
fn what_the_standard_does_not_allow_is_read_and_named() {
    let object = Object::default();
    for writing in [Writing::Explicit, Writing::Implicit, Writing::Big] {
        let bare = header(&object.data_set(writing).bytes);
        check(&bare);
        assert!(bare.oddities.contains(&Oddity::NoPreamble), "{writing:?}");
        assert!(bare.oddities.contains(&Oddity::NoMetaHeader), "{writing:?}");
    }
    // Meta header without preamble.
    let file = object.file(Writing::Implicit);
    let headless = header(&file[132..]);
    check(&headless);
    assert_eq!(headless.oddities, [Oddity::NoPreamble]);
    // Announced explicit, written implicit, and the other way round.
    for (announced, written) in
        [(Writing::Explicit, Writing::Implicit), (Writing::Implicit, Writing::Explicit)]
    {
        let lying = header(&with_meta(announced.uid(), &object.data_set(written).bytes));
        check(&lying);
        assert_eq!(lying.oddities, [Oddity::OtherSyntax]);
    }
}

#[test]
fn a_cut_anywhere_is_survived_and_noticed() {
    let file = Object::default().file(Writing::Explicit);
    for end in (400..1100).chain((1100..file.len()).step_by(97)) {
        let cut = header(&file[..end]);
        assert!(
            cut.oddities.contains(&Oddity::Truncated) || cut.modality.is_empty() || !cut.has_pixels,
            "{end}"
        );
    }
    let cut = header(&file[..file.len() - 100]);
    check(&cut);
    assert_eq!(cut.oddities, [Oddity::Truncated]);
    assert_eq!(cut.image, None);
}

#[test]
fn only_what_is_needed_is_read() {
    let pixels = Some((0..64 << 20).map(|n: u32| (n ^ (n >> 9)) as u8).collect());
    let object = Object { pixels, ..Object::default() };
    let found = inspect("big", &object.file(Writing::Explicit));
    assert_eq!(found.read, 8192);
    // A private element of 200 KB before the rest: the beginning is read further.
    let mut set = support::DataSet::new(Writing::Explicit);
    set.element((8, 0x18), "UI", b"1.2.3.4.5").element((9, 0x1001), "OB", &vec![1; 200_000]);
    let rest = object.data_set(Writing::Explicit).bytes;
    let patient = rest.windows(4).position(|w| w == [0x10, 0, 0x10, 0]).unwrap();
    set.bytes.extend(&rest[patient..]);
    let found = inspect("private", &with_meta(Writing::Explicit.uid(), &set.bytes));
    assert!(found.dicom.unwrap().study.is_some());
    assert!(found.read <= (256 << 10) + 4096, "{}", found.read);
}

#[test]
fn no_value_of_the_patient_is_kept() {
    let found = inspect("IM", &Object::default().file(Writing::Explicit));
    let shown = format!("{found:?}");
    for value in ["PID-0815", "Doe", "Jane", "19800102", "1980", "1.2.3.4.5"] {
        assert!(!shown.contains(value), "{value}");
    }
    assert_eq!(found.phi.of(PhiKind::RecordNumber), 1);
    assert_eq!(found.phi.of(PhiKind::BirthDate), 1);
}

fn survey(objects: &[(&str, Object)]) -> Survey {
    let mut survey = Survey::new();
    for (path, object) in objects {
        let file = object.file(Writing::Explicit);
        let path = RelativePath::new(path.as_bytes()).unwrap();
        survey.absorb(&path, file.len() as u64, &inspect(path.to_string().as_str(), &file));
    }
    survey
}

#[test]
fn devices_are_told_apart_by_the_best_there_is() {
    let base = Object::default();
    let survey = survey(&[
        ("a/1", base.clone()),
        (
            "a/2",
            Object { software: "V2.0", instance: "1.9".into(), station: "CT1", ..base.clone() },
        ),
        // No serial number: by station. A filler is none.
        ("b/1", Object { serial: "", station: "MR7", modality: "MR", ..base.clone() }),
        ("b/2", Object { serial: "0000", station: "MR7", modality: "MR", ..base.clone() }),
        ("c/1", Object { serial: "", station: "", model: "Other", ..base.clone() }),
    ]);
    let devices = survey.devices();
    // Three, and the gateway.
    assert_eq!(devices.len(), 4);
    let ct = devices.iter().find(|d| d.grouping == Grouping::Serial).unwrap();
    assert_eq!((ct.files, ct.instances.value, ct.stations.len()), (2, 2, 2));
    assert_eq!(ct.software.len(), 2);
    assert_eq!(ct.serial, "SN-4711");
    let mr = devices.iter().find(|d| d.grouping == Grouping::Station).unwrap();
    assert_eq!((mr.files, mr.modalities.as_slice()), (2, &["MR".to_owned()][..]));
    let gateway = devices.iter().find(|d| d.model == "Router 9").unwrap();
    assert_eq!((gateway.contributed, gateway.files), (5, 0));
}

#[test]
fn what_does_not_add_up_is_found() {
    let base = Object::default();
    let other: Vec<u8> = (0..8192u32).map(|n| (n * 31 + n / 7) as u8).collect();
    let third: Vec<u8> = (0..8192u32).map(|n| (n * 17 + n / 11) as u8).collect();
    let objects = [
        ("a/1", base.clone()),
        // A copy is no anomaly.
        ("a/1-copy", base.clone()),
        ("b/same-uid", Object { pixels: Some(other), ..base.clone() }),
        ("c/same-image", Object { instance: "1.7".into(), ..base.clone() }),
        (
            "d/no-date",
            Object {
                study_date: "",
                instance: "1.8".into(),
                study: "1.88".into(),
                pixels: Some(third),
                patient: "",
                ..base.clone()
            },
        ),
        (
            "e/report",
            Object { pixels: None, instance: "1.6".into(), study: "1.66".into(), ..base.clone() },
        ),
        (
            "f/moved",
            Object { pixels: None, instance: "1.5".into(), patient: "PID-2", ..base.clone() },
        ),
    ];
    let whole = survey(&objects);
    let table = whole.reconciliation();
    let count = |kind| table.anomalies.iter().find(|a| a.kind == kind).map_or(0, |a| a.count);
    assert_eq!(count(AnomalyKind::OneUidSeveralImages), 1);
    assert_eq!(count(AnomalyKind::OneImageSeveralUids), 1);
    assert_eq!(count(AnomalyKind::NoStudyDate), 1);
    assert_eq!(count(AnomalyKind::NoPatientId), 1);
    assert_eq!(count(AnomalyKind::StudyWithoutImages), 1);
    assert_eq!(count(AnomalyKind::OneStudySeveralPatients), 1);
    assert_eq!(count(AnomalyKind::UnreadableHeader), 0);
    let pair = &table
        .anomalies
        .iter()
        .find(|a| a.kind == AnomalyKind::OneUidSeveralImages)
        .unwrap()
        .examples;
    let shown: Vec<_> = pair[0].iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["a/1", "b/same-uid"]);
    assert_eq!((table.files, table.instances.value, table.studies.value), (7, 5, 3));
    let year = table.periods.iter().find(|p| p.year == Some(2021)).unwrap();
    assert_eq!((year.modality.as_str(), year.instances.value), ("CT", 4));
    // Gathered in two parts and put together it is the same.
    for at in 0..objects.len() {
        let mut first = survey(&objects[..at]);
        first.merge(survey(&objects[at..]));
        let merged = first.reconciliation();
        assert_eq!(merged.periods, table.periods);
        let counts = |t: &drover_inspect::survey::Reconciliation| {
            t.anomalies.iter().map(|a| (a.kind, a.count)).collect::<Vec<_>>()
        };
        assert_eq!(counts(&merged), counts(&table), "{at}");
        assert_eq!(first.devices(), whole.devices());
    }
}
