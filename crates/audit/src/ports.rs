//! What ports are used for, where a number says it.
//!
//! From IANA's registry of service names, and from what the makers of medical software document as
//! their defaults.

/// What data goes over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Images and messages of patients, in the clear.
    Medical,
    /// A database.
    Database,
    /// Files.
    Files,
    /// Something that should not be there any more.
    Legacy,
    /// TLS is expected.
    Tls,
    /// Anything else.
    Other,
}

const PORTS: &[(u16, &str, Kind)] = {
    use Kind::{Database, Files, Legacy, Medical, Other, Tls};
    &[
        (21, "FTP", Legacy),
        (22, "SSH", Other),
        (23, "telnet", Legacy),
        (25, "SMTP", Other),
        (53, "DNS", Other),
        (69, "TFTP", Legacy),
        (79, "finger", Legacy),
        (80, "HTTP", Other),
        (104, "DICOM", Medical),
        (110, "POP3", Other),
        (111, "NFS portmapper", Files),
        (123, "NTP", Other),
        (139, "SMB (NetBIOS)", Files),
        (143, "IMAP", Other),
        (161, "SNMP", Other),
        (389, "LDAP", Other),
        (443, "HTTPS", Tls),
        (445, "SMB", Files),
        (465, "SMTP over TLS", Tls),
        (512, "rexec", Legacy),
        (513, "rlogin", Legacy),
        (514, "rsh", Legacy),
        (515, "LPD printing", Other),
        (548, "AFP", Files),
        (631, "IPP printing", Other),
        (636, "LDAP over TLS", Tls),
        (873, "rsync", Files),
        (990, "FTP over TLS", Tls),
        (993, "IMAP over TLS", Tls),
        (995, "POP3 over TLS", Tls),
        (1433, "SQL Server", Database),
        (1434, "SQL Server browser", Database),
        (1521, "Oracle", Database),
        (1972, "Caché/IRIS", Database),
        (2049, "NFS", Files),
        (2575, "HL7 (MLLP)", Medical),
        (2761, "DICOM (ISCL)", Medical),
        (2762, "DICOM over TLS", Tls),
        (3050, "Firebird", Database),
        (3260, "iSCSI", Files),
        (3268, "LDAP global catalogue", Other),
        (3269, "LDAP global catalogue over TLS", Tls),
        (3306, "MySQL", Database),
        (3389, "Remote Desktop", Other),
        (4242, "DICOM (Orthanc)", Medical),
        (5432, "PostgreSQL", Database),
        (5666, "NRPE monitoring", Other),
        (5671, "AMQP over TLS", Tls),
        (5900, "VNC", Other),
        (5985, "WinRM", Other),
        (5986, "WinRM over TLS", Tls),
        (6379, "Redis", Database),
        (6514, "syslog over TLS", Tls),
        (6661, "HL7 (MLLP)", Medical),
        (8042, "Orthanc (HTTP)", Medical),
        (8080, "HTTP", Other),
        (8443, "HTTPS", Tls),
        (9100, "raw printing", Other),
        (9101, "Bacula director", Other),
        (9102, "Bacula client", Other),
        (9103, "Bacula storage", Other),
        (9200, "Elasticsearch", Database),
        (9443, "HTTPS", Tls),
        (10000, "NDMP or Webmin", Other),
        (10050, "Zabbix agent", Other),
        (11112, "DICOM", Medical),
        (27017, "MongoDB", Database),
        (50000, "Db2", Database),
        (51773, "Caché/IRIS", Database),
    ]
};

fn find(port: u16) -> Option<&'static (u16, &'static str, Kind)> {
    PORTS.iter().find(|(number, ..)| *number == port)
}

/// What a port is for; `port NUMBER` where the number does not say.
pub(crate) fn name(port: u16) -> String {
    find(port).map_or_else(|| format!("port {port}"), |(_, name, _)| (*name).to_owned())
}

pub(crate) fn kind(port: u16) -> Kind {
    find(port).map_or(Kind::Other, |(.., kind)| *kind)
}

pub(crate) fn of_kind(kind: Kind) -> Vec<u16> {
    PORTS.iter().filter(|(.., of)| *of == kind).map(|(port, ..)| *port).collect()
}

/// Whether it is of those that give everything away. 514/udp is syslog; 69 is UDP only.
pub(crate) fn is_legacy(port: u16, protocol: &str) -> bool {
    let right = if port == 69 { "udp" } else { "tcp" };
    kind(port) == Kind::Legacy && protocol == right
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_there_once_and_in_order() {
        assert!(PORTS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!((name(104), name(2)), ("DICOM".into(), "port 2".into()));
        assert!(is_legacy(23, "tcp") && !is_legacy(514, "udp") && is_legacy(69, "udp"));
    }
}
