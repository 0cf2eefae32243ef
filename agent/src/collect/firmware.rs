//! What the firmware handed to the kernel: ACPI tables, SMBIOS, the variables of Secure Boot and of the boot order, and
//! what the TPM and IMA measured.
//!
//! Row types: `acpi_table`, `efi_variable`, `boot_entry`, `secure_boot_certificate`, `firmware_file`. The bytes of each
//! are kept as raw. A table that the firmware did not bring (`/sys/firmware/acpi/tables/dynamic`, or one that overrides)
//! and a boot entry that nobody knows are how code comes in below the kernel.
//!
//! Only variables of the boot and of Secure Boot are read: each costs a call into the firmware. Reading moves nothing.
//!
//! Known limits: hashes and certificates of the revocation list (dbx) are counted, and certificates parsed; a machine
//! without EFI has no variables, which is an item.

use std::os::fd::AsFd as _;

use bundle::item::{Kind, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{Sha256, Tier};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::netlink::{u16_at, u32_at};
use crate::host::text::hex;
use crate::host::{Host, proc};
use crate::run::session::{Session, Stopped};

/// Bytes of one table or log.
const TABLE_BYTES_MAX: u64 = 16 << 20;
/// Bytes of one variable.
const VARIABLE_BYTES_MAX: u64 = 1 << 20;
/// Tables of one folder, and variables that are read.
const FILES_MAX: usize = 512;
/// Certificates that are told.
const CERTIFICATES_MAX: usize = 2000;

/// Variables that are read: their names before the GUID. `Boot` stands for `Boot0000` to `BootFFFF`.
const VARIABLES: [&str; 17] = [
    "AuditMode",
    "Boot",
    "BootCurrent",
    "BootNext",
    "BootOrder",
    "DeployedMode",
    "KEK",
    "MokListRT",
    "MokListTrustedRT",
    "MokListXRT",
    "MokSBStateRT",
    "PK",
    "SbatLevelRT",
    "SecureBoot",
    "SetupMode",
    "db",
    "dbx",
];

/// Files that are kept whole: tables of SMBIOS, and what the TPM and IMA measured.
const FILES: [&str; 4] = [
    "/sys/firmware/dmi/tables/DMI",
    "/sys/firmware/dmi/tables/smbios_entry_point",
    "/sys/firmware/devicetree/base/model",
    "/sys/firmware/fdt",
];
/// The same below securityfs.
const MEASURED: [&str; 2] = ["tpm0/binary_bios_measurements", "ima/ascii_runtime_measurements"];

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Firmware {}

/// A table of ACPI (its header is 36 bytes).
#[derive(Debug, Serialize, JsonSchema)]
struct TableRow {
    /// True when all bytes add up to zero, as they must.
    is_checksum_right: bool,
    /// Its file below `/sys/firmware/acpi/tables`.
    name: String,
    /// Maker of the table.
    oem_id: String,
    /// The maker's name for it.
    oem_table_id: String,
    /// `acpi_table`.
    record: &'static str,
    /// Version of its format.
    revision: u8,
    /// Digest of all of it.
    sha256: Sha256,
    /// Its kind: DSDT, SSDT, FACP …
    signature: String,
    /// Its length.
    size_bytes: u64,
}

/// A variable of the firmware.
#[derive(Debug, Serialize, JsonSchema)]
struct VariableRow {
    /// 1 kept over a boot, 2 for boot services, 4 for the system too, 0x20 authenticated.
    attributes: u32,
    /// GUID of who it belongs to.
    guid: String,
    /// Its name.
    name: String,
    /// `efi_variable`.
    record: &'static str,
    /// Digest of its value.
    sha256: Sha256,
    /// Length of its value.
    size_bytes: u64,
    /// Its value, where it is one byte (SecureBoot, SetupMode: 1 is on) or a list of numbers (BootOrder).
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

/// An entry of the boot menu.
#[derive(Debug, Serialize, JsonSchema)]
struct BootEntryRow {
    /// True when the firmware may choose it.
    active: bool,
    /// Its words.
    description: String,
    /// Its variable.
    name: String,
    /// The file that is started, where its device path names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// `boot_entry`.
    record: &'static str,
}

/// A certificate that the firmware, or the shim, trusts or forbids.
#[derive(Debug, Serialize, JsonSchema)]
struct CertificateRow {
    /// Who signed it.
    issuer: String,
    /// Until when it is valid, seconds since the epoch.
    not_after_secs: i64,
    /// Since when it is valid, seconds since the epoch.
    not_before_secs: i64,
    /// GUID of who put it there.
    owner_guid: String,
    /// `secure_boot_certificate`.
    record: &'static str,
    /// Its serial number.
    serial_hex: String,
    /// Digest of the certificate.
    sha256: Sha256,
    /// Whose it is.
    subject: String,
    /// The list that it is on: PK, KEK, db, dbx, MokListRT …
    variable: String,
}

/// A file that is kept whole.
#[derive(Debug, Serialize, JsonSchema)]
struct FileRow {
    /// Where it was read.
    path: String,
    /// `firmware_file`.
    record: &'static str,
    /// Digest.
    sha256: Sha256,
    /// Length.
    size_bytes: u64,
}

impl Collect for Firmware {
    const NAME: &'static str = "firmware";
    const TIER: Tier = Tier::System;
    const SUMMARY: &'static str =
        "ACPI tables, SMBIOS, Secure Boot variables and certificates, boot entries, measurements";
    const NEEDS: &'static [&'static str] = &["root"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        for folder in ["/sys/firmware/acpi/tables", "/sys/firmware/acpi/tables/dynamic"] {
            tables(session, folder)?;
        }
        variables(session)?;
        for path in FILES {
            let read = session.host().read(path, TABLE_BYTES_MAX);
            file(session, path.to_owned(), read)?;
        }
        measured(session)?;
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<TableRow>(
                "acpi_table",
                "Documentation/ABI/testing/sysfs-firmware-acpi, ACPI specification 5.2.6",
            ),
            RowType::of::<VariableRow>(
                "efi_variable",
                "Documentation/filesystems/efivarfs.rst, UEFI specification 3.3",
            ),
            RowType::of::<BootEntryRow>("boot_entry", "UEFI specification 3.1.3, EFI_LOAD_OPTION"),
            RowType::of::<CertificateRow>("secure_boot_certificate", "UEFI specification 32.4.1, EFI_SIGNATURE_LIST"),
            RowType::of::<FileRow>("firmware_file", "Documentation/ABI/testing/sysfs-firmware-dmi-tables"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let reads = ["/sys/firmware/acpi/tables/**", "efivarfs (boot order and Secure Boot)"];
        let files = FILES.into_iter().map(str::to_owned);
        let measured = MEASURED.iter().map(|path| format!("securityfs/{path}"));
        Plan { reads: reads.into_iter().map(str::to_owned).chain(files).chain(measured).collect(), ..Plan::default() }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches(['\0', ' ']).to_owned()
}

fn tables(session: &mut Session, folder: &str) -> Result<(), Stopped> {
    let host = session.host().clone();
    let names = match host.dir(folder).and_then(|dir| proc::names(dir.as_fd())) {
        Ok(names) => names,
        Err(error) => return session.unreadable(folder, &error),
    };
    let of = folder.strip_prefix("/sys/firmware/acpi/tables").unwrap_or_default().trim_start_matches('/');
    for name in names.iter().take(FILES_MAX) {
        let name = name.to_string_lossy();
        let path = format!("{folder}/{name}");
        // `data` and `dynamic` are folders.
        if matches!(name.as_ref(), "data" | "dynamic") {
            continue;
        }
        session.go_on()?;
        let table = match host.read(&path, TABLE_BYTES_MAX) {
            Ok(table) => table,
            Err(error) => {
                session.unreadable(path, &error)?;
                continue;
            }
        };
        let part = |range: std::ops::Range<usize>| text(table.get(range).unwrap_or_default());
        let name = if of.is_empty() { name.into_owned() } else { format!("{of}/{name}") };
        session.row(&TableRow {
            is_checksum_right: table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0,
            oem_id: part(10..16),
            oem_table_id: part(16..24),
            record: "acpi_table",
            revision: table.get(8).copied().unwrap_or(0),
            sha256: Sha256::of(&table),
            signature: part(0..4),
            size_bytes: table.len() as u64,
            name: name.clone(),
        })?;
        session.raw(path, "sysfs", format!("acpi/{name}.bin"), table)?;
    }
    Ok(())
}

/// The variables' names end in `-GUID`; their files begin with four bytes of attributes.
fn variables(session: &mut Session) -> Result<(), Stopped> {
    let host = session.host().clone();
    let root = match host.kernel_fs("efivarfs", "/sys/firmware/efi/efivars") {
        Ok(root) => root,
        Err(error) => return session.unreadable("efivarfs", &error),
    };
    let mut certificates = 0;
    let names = proc::names(root.as_fd()).unwrap_or_default();
    for file_name in names.iter().filter(|name| is_wanted(&name.to_string_lossy())).take(FILES_MAX) {
        session.go_on()?;
        let path = format!("efivarfs/{}", file_name.to_string_lossy());
        let mut pages = proc::Pages::default();
        let bytes_max = usize::try_from(VARIABLE_BYTES_MAX).unwrap_or(usize::MAX);
        let bytes = match pages.read(root.as_fd(), file_name, proc::Hands::InPieces, bytes_max) {
            Ok(piece) => pages.get(piece).to_vec(),
            Err(error) => {
                session.unreadable(path, &error)?;
                continue;
            }
        };
        let file_name = file_name.to_string_lossy();
        let (name, guid) = split_guid(&file_name);
        let value = bytes.get(4..).unwrap_or_default();
        session.row(&VariableRow {
            attributes: u32_at(&bytes, 0).unwrap_or(0),
            guid: guid.to_owned(),
            name: name.to_owned(),
            record: "efi_variable",
            sha256: Sha256::of(value),
            size_bytes: value.len() as u64,
            value: short_value(name, value),
        })?;
        if is_boot_entry(name)
            && let Some(row) = boot_entry(name, value)
        {
            session.row(&row)?;
        }
        if matches!(name, "PK" | "KEK" | "db" | "dbx" | "MokListRT" | "MokListXRT" | "MokListTrustedRT") {
            for row in signatures(name, value) {
                certificates += 1;
                if certificates <= CERTIFICATES_MAX {
                    session.row(&row)?;
                }
            }
        }
        session.raw(path, "efivarfs", format!("efi/{file_name}.bin"), bytes)?;
    }
    if certificates > CERTIFICATES_MAX {
        session.limited(format!("only the first {CERTIFICATES_MAX} certificates are rows; the variables are whole"))?;
    }
    Ok(())
}

fn split_guid(file_name: &str) -> (&str, &str) {
    let at = file_name.len().checked_sub(37).filter(|at| file_name.as_bytes().get(*at) == Some(&b'-'));
    at.and_then(|at| Some((file_name.get(..at)?, file_name.get(at + 1..)?))).unwrap_or((file_name, ""))
}

fn is_boot_entry(name: &str) -> bool {
    name.strip_prefix("Boot").is_some_and(|rest| rest.len() == 4 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_wanted(file_name: &str) -> bool {
    let (name, _) = split_guid(file_name);
    VARIABLES.contains(&name) || is_boot_entry(name)
}

/// One byte as a number; numbers of 16 bits as the names of the boot entries.
fn short_value(name: &str, value: &[u8]) -> Option<String> {
    match (name, value) {
        ("BootOrder" | "BootNext" | "BootCurrent", _) => {
            let numbers = (0..value.len() / 2).filter_map(|index| u16_at(value, 2 * index));
            Some(numbers.map(|number| format!("Boot{number:04X}")).collect::<Vec<_>>().join(","))
        }
        (_, [byte]) => Some(byte.to_string()),
        _ => None,
    }
}

/// UCS-2 up to its zero, and how many bytes it took with it.
fn ucs2(bytes: &[u8]) -> (String, usize) {
    let units: Vec<u16> = (0..bytes.len() / 2).filter_map(|index| u16_at(bytes, 2 * index)).collect();
    let length = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    (String::from_utf16_lossy(units.get(..length).unwrap_or_default()), 2 * (length + 1))
}

/// EFI_LOAD_OPTION: attributes of 32 bits, length of the device path of 16, description, device path.
fn boot_entry(name: &str, value: &[u8]) -> Option<BootEntryRow> {
    let attributes = u32_at(value, 0)?;
    let (description, length) = ucs2(value.get(6..)?);
    let mut nodes = value.get(6 + length..).unwrap_or_default();
    let mut path = None;
    // Nodes of a device path: type, subtype, length of 16 bits; type 4 subtype 4 is a file.
    while let ([kind, subtype, ..], Some(length)) = (nodes, u16_at(nodes, 2)) {
        let Some(node) = nodes.get(4..usize::from(length)) else { break };
        if (*kind, *subtype) == (4, 4) {
            path = Some(ucs2(node).0);
        }
        if *kind == 0x7f {
            break;
        }
        nodes = nodes.get(usize::from(length)..).unwrap_or_default();
    }
    Some(BootEntryRow { active: attributes & 1 == 1, description, name: name.to_owned(), path, record: "boot_entry" })
}

/// A GUID as it is written: the first three numbers stand in little endian.
fn guid(bytes: &[u8]) -> String {
    let part = |range: std::ops::Range<usize>, is_reversed: bool| {
        let mut part = bytes.get(range).unwrap_or_default().to_vec();
        if is_reversed {
            part.reverse();
        }
        hex(&part)
    };
    format!(
        "{}-{}-{}-{}-{}",
        part(0..4, true),
        part(4..6, true),
        part(6..8, true),
        part(8..10, false),
        part(10..16, false)
    )
}

/// EFI_CERT_X509_GUID.
const X509: &str = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072";

/// The certificates in lists EFI_SIGNATURE_LIST: type of 16 bytes, then lengths of the list, its header and each
/// signature; each signature begins with its owner.
fn signatures(variable: &str, mut value: &[u8]) -> Vec<CertificateRow> {
    let mut rows = Vec::new();
    loop {
        let number = |at| u32_at(value, at).and_then(|length| usize::try_from(length).ok());
        let (Some(list_bytes), Some(header_bytes), Some(each_bytes)) = (number(16), number(20), number(24)) else {
            return rows;
        };
        let Some(list) = value.get(..list_bytes).filter(|list| list.len() >= 28) else { return rows };
        if guid(list) == X509 && each_bytes > 16 {
            let signatures = header_bytes.checked_add(28).and_then(|at| list.get(at..)).unwrap_or_default();
            for signature in signatures.chunks_exact(each_bytes) {
                rows.extend(signature.split_at_checked(16).and_then(|(owner, der)| certificate(variable, owner, der)));
            }
        }
        value = value.get(list_bytes..).unwrap_or_default();
    }
}

fn certificate(variable: &str, owner: &[u8], der: &[u8]) -> Option<CertificateRow> {
    let (rest, parsed) = X509Certificate::from_der(der).ok()?;
    let whole = der.get(..der.len() - rest.len())?;
    Some(CertificateRow {
        issuer: parsed.issuer().to_string(),
        not_before_secs: parsed.validity().not_before.timestamp(),
        not_after_secs: parsed.validity().not_after.timestamp(),
        owner_guid: guid(owner),
        record: "secure_boot_certificate",
        serial_hex: hex(parsed.raw_serial()),
        sha256: Sha256::of(whole),
        subject: parsed.subject().to_string(),
        variable: variable.to_owned(),
    })
}

fn file(session: &mut Session, path: String, read: std::io::Result<Vec<u8>>) -> Result<(), Stopped> {
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            let rule = format!("{path} is longer than {TABLE_BYTES_MAX} bytes");
            let item = session.item(Kind::Record, path, "sysfs", Status::Skipped);
            session.note(item.because(rule.as_str()))?;
            return session.limited(rule);
        }
        Err(error) => return session.unreadable(path, &error),
    };
    session.row(&FileRow {
        record: "firmware_file",
        sha256: Sha256::of(&bytes),
        size_bytes: bytes.len() as u64,
        path: path.clone(),
    })?;
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    session.raw(path, "sysfs", format!("{name}.bin"), bytes)
}

/// What the TPM's log and IMA have, by securityfs.
fn measured(session: &mut Session) -> Result<(), Stopped> {
    let root = match session.host().kernel_fs("securityfs", "/sys/kernel/security") {
        Ok(root) => root,
        Err(error) => return session.unreadable("securityfs", &error),
    };
    for name in MEASURED {
        use std::io::Read as _;
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
        let read = rustix::fs::openat(&root, name, flags, rustix::fs::Mode::empty()).map_err(std::io::Error::from);
        let read = read.and_then(|opened| {
            let mut bytes = Vec::new();
            std::fs::File::from(opened).take(TABLE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
            let is_short = bytes.len() as u64 <= TABLE_BYTES_MAX;
            if is_short { Ok(bytes) } else { Err(std::io::ErrorKind::FileTooLarge.into()) }
        });
        file(session, format!("securityfs/{name}"), read)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bundle::time::Instant;
    use serde_json::json;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, items, rows};

    const GUID: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    }

    /// A list with one certificate, its type and owner all of one byte's GUID.
    fn list(der: &[u8]) -> Vec<u8> {
        let kind = [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
        let each = u32::try_from(16 + der.len()).unwrap();
        let mut bytes = kind.to_vec();
        for number in [28 + each, 0, each] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([0x77; 16]);
        bytes.extend(der);
        bytes
    }

    #[test]
    fn tables_variables_and_certificates() {
        let certificate = rcgen::generate_simple_self_signed(["fx.example".to_owned()]).unwrap().cert;
        let file = [&[0xa1, 0x00][..], &wide("\\EFI\\fx\\shim.efi")].concat();
        let node = [&[4, 4][..], &u16::try_from(file.len() + 2).unwrap().to_le_bytes(), &file[2..]].concat();
        let entry = [&1_u32.to_le_bytes()[..], &[0, 0], &wide("fx"), &node, &[0x7f, 0xff, 4, 0]].concat();
        let mut table = b"SSDT\x24\0\0\0\x02\0FXOEM FXTABLE ".to_vec();
        table.resize(36, 0);
        table[9] = 0_u8.wrapping_sub(table.iter().fold(0, |sum, byte| sum.wrapping_add(*byte)));
        let tree = tempfile::tempdir().unwrap();
        let variable = |value: &[u8]| [&6_u32.to_le_bytes()[..], value].concat();
        for (path, content) in [
            ("sys/firmware/acpi/tables/SSDT1".to_owned(), table.clone()),
            ("sys/firmware/acpi/tables/dynamic/SSDT9".to_owned(), b"short".to_vec()),
            (format!("sys/firmware/efi/efivars/SecureBoot-{GUID}"), variable(&[1])),
            (format!("sys/firmware/efi/efivars/BootOrder-{GUID}"), variable(&[1, 0, 0, 0x10])),
            (format!("sys/firmware/efi/efivars/Boot0001-{GUID}"), variable(&entry)),
            (format!("sys/firmware/efi/efivars/db-{GUID}"), variable(&list(certificate.der()))),
            (format!("sys/firmware/efi/efivars/Other-{GUID}"), variable(&[1])),
        ] {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let messages = collect(&Firmware {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
        assert_keys_sorted(&messages);
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
        let rows = rows(&messages);
        let of = |record: &str| rows.iter().filter(|row| row["record"] == record).collect::<Vec<_>>();
        let table = of("acpi_table")[0];
        assert_eq!(
            (&table["signature"], &table["oem_id"], &table["is_checksum_right"]),
            (&json!("SSDT"), &json!("FXOEM"), &json!(true))
        );
        assert_eq!(
            (&of("acpi_table")[1]["name"], &of("acpi_table")[1]["is_checksum_right"]),
            (&json!("dynamic/SSDT9"), &json!(false))
        );
        let names: Vec<_> =
            of("efi_variable").iter().map(|row| (row["name"].as_str().unwrap(), row["value"].as_str())).collect();
        assert_eq!(
            names,
            [("Boot0001", None), ("BootOrder", Some("Boot0001,Boot1000")), ("SecureBoot", Some("1")), ("db", None)]
        );
        assert_eq!(of("boot_entry")[0]["description"], "fx");
        assert_eq!(of("boot_entry")[0]["path"], "\\EFI\\fx\\shim.efi");
        let found = of("secure_boot_certificate")[0];
        assert_eq!((&found["variable"], &found["sha256"]), (&json!("db"), &json!(Sha256::of(certificate.der()))));
        assert_eq!(found["owner_guid"], "77777777-7777-7777-7777-777777777777");
    }

    #[test]
    fn foreign_bytes_are_no_certificates_and_end() {
        assert!(signatures("db", &[0xff; 64]).is_empty());
        assert!(signatures("db", &[0; 64]).is_empty(), "a list of no length ends it");
        assert!(signatures("db", &list(b"no certificate")).is_empty());
        assert!(boot_entry("Boot0000", b"").is_none());
        assert!(boot_entry("Boot0000", &[0xff; 40]).is_some());
        assert_eq!(split_guid("short"), ("short", ""));
    }

    #[test]
    fn the_live_host_has_tables_or_says_why_not() {
        let messages = collect(&Firmware {}, Arc::new(Host::live()));
        let has_tables = rows(&messages).iter().any(|row| row["record"] == "acpi_table");
        assert!(has_tables || items(&messages).iter().any(|item| item.path.starts_with(b"/sys/firmware/acpi")));
    }
}
