//! The risk register: each finding of an inventory, and of an audit, as a row that someone answers for.

use drover_report::{
    AuditReport, BucketSetting, FindingItem, InventoryFinding, InventorySource, PlanRisk, Text,
    format,
};

use super::{Looked, text};

/// The rows, the worst first. What is only to be known is no risk.
pub fn register(
    looked: &[Looked],
    audits: &[AuditReport],
    repository: &Text,
    bucket: &[BucketSetting],
) -> Vec<PlanRisk> {
    let mut risks = Vec::new();
    for source in looked {
        let patient_data = patient_data(&source.inventory);
        for finding in &source.inventory.findings {
            risks.push(of_inventory(source, finding, &patient_data));
        }
    }
    for server in audits.iter().flat_map(AuditReport::servers) {
        let here: Vec<_> =
            looked.iter().filter(|source| source.inventory.host == server.host).collect();
        let patient_data = match here.as_slice() {
            [] => text("not looked for: no source of this plan is on it"),
            sources => {
                let each = sources.iter().map(|source| {
                    format!("{}: {}", source.inventory.source, patient_data(&source.inventory))
                });
                text(each.collect::<Vec<_>>().join("; "))
            }
        };
        // Where several answer for its sources, nobody answers for the server.
        let mut owners: Vec<_> = here.iter().filter_map(|source| source.owner.as_deref()).collect();
        owners.sort_unstable();
        owners.dedup();
        let owner = if let [one] = owners[..] { Text::from(one) } else { Text::default() };
        for finding in &server.findings {
            risks.push(of_audit(&server.host, finding, &patient_data, &owner));
        }
    }
    let found = bucket.iter().filter(|setting| setting.result.as_str() == "finding");
    risks.extend(found.map(|setting| PlanRisk {
        asset: repository.clone(),
        patient_data: text("all that is moved, encrypted"),
        threat: setting.threat.clone(),
        control: setting.remedy.clone(),
        likelihood: Text::from("low"),
        impact: setting.severity.clone(),
        evidence: text(format!("{}: {}", setting.setting, setting.is)),
        owner: Text::default(),
        severity: setting.severity.clone(),
        finding: text(format!("bucket-{}", setting.setting)),
        from: Text::from("bucket"),
    }));
    risks.retain(|risk| risk.severity.as_str() != "info");
    risks.sort_by_key(|risk| rank(risk.severity.as_str()));
    risks
}

fn of_inventory(source: &Looked, finding: &InventoryFinding, patient_data: &Text) -> PlanRisk {
    PlanRisk {
        asset: source.inventory.source.clone(),
        patient_data: patient_data.clone(),
        threat: finding.title.clone(),
        control: finding.remedy.clone(),
        likelihood: Text::from(degree(finding.likelihood.as_str())),
        impact: Text::from(degree(finding.impact.as_str())),
        evidence: finding.evidence.clone(),
        owner: source.owner.as_deref().map(Text::from).unwrap_or_default(),
        severity: finding.severity.clone(),
        finding: finding.id.clone(),
        from: Text::from("inventory"),
    }
}

fn of_audit(host: &Text, finding: &FindingItem, patient_data: &Text, owner: &Text) -> PlanRisk {
    PlanRisk {
        asset: host.clone(),
        patient_data: patient_data.clone(),
        threat: finding.title.clone(),
        control: finding.remedy.clone(),
        likelihood: finding.likelihood.clone(),
        impact: finding.impact.clone(),
        evidence: finding.evidence.clone(),
        owner: owner.clone(),
        severity: finding.severity.clone(),
        finding: finding.id.clone(),
        from: Text::from("audit"),
    }
}

/// The words of an inventory as the three of the register.
fn degree(word: &str) -> &str {
    match word {
        "certain" | "likely" | "severe" => "high",
        "possible" | "moderate" => "medium",
        "unlikely" | "minor" => "low",
        other => other,
    }
}

fn rank(severity: &str) -> usize {
    const SEVERITIES: [&str; 4] = ["critical", "high", "medium", "low"];
    SEVERITIES.iter().position(|known| *known == severity).unwrap_or(SEVERITIES.len())
}

/// How much patients' data there is, as far as it was looked for. A file may hold several kinds, so
/// that only the most common kind says how many files there are at least.
fn patient_data(source: &InventorySource) -> Text {
    if !source.content_read {
        return text("not looked for: no file was opened");
    }
    let content = &source.content;
    let mut parts = Vec::new();
    if let Some(archive) = &content.reconciliation {
        let about = if archive.estimated { "about " } else { "" };
        parts.push(format!(
            "{about}{} in {} of DICOM",
            format::counted(archive.patients, "patient", "patients"),
            format::counted(archive.studies, "study", "studies"),
        ));
    }
    let messages: u64 = content.interfaces.iter().map(|interface| interface.messages).sum();
    if messages > 0 {
        parts.push(format::counted(messages, "HL7 message", "HL7 messages"));
    }
    let most = content.phi.iter().map(|kind| kind.files).max().unwrap_or(0);
    if most > 0 {
        let kinds: Vec<_> = content.phi.iter().map(|kind| kind.kind.as_str()).collect();
        let files = format::counted(most, "file", "files");
        parts.push(format!("at least {files} with {}", kinds.join(", ")));
    }
    match parts.is_empty() {
        true => text("none found"),
        false => text(parts.join("; ")),
    }
}
