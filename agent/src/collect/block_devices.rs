//! Disks, their partitions and what is stacked on them, as sysfs and the database of udev tell, and the devices of the
//! PCI and USB buses.
//!
//! Row types: `block_device` (disks, partitions, loop, device-mapper and md devices), `fstab_entry`, `crypttab_entry`,
//! `pci_device`, `usb_device`. `/proc/mdstat` and `/proc/partitions` are kept as raw texts.
//!
//! No device is opened: reading one can wait for a disk that is gone, and wakes those that sleep. Type, label and UUID
//! of a file system are what udev found when the device appeared (`/run/udev/data`), so that one that was made since may
//! be told wrongly; a host without udev tells none.
//!
//! Known limits: volumes of LVM are device-mapper devices by name and UUID here, their metadata is not read; devices
//! that were unplugged are the journal's to tell.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};

use bundle::item::shown;
use rustix::fs::{Mode, OFlags};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::Tier;

use super::rows::RowType;
use super::{Collect, Failure, Plan};
use crate::host::Host;
use crate::host::mounts::unescape;
use crate::host::proc::{self, Hands, Pages};
use crate::host::text::decimal;
use crate::run::session::{Session, Stopped};

/// Devices of one kind that are described.
const DEVICES_MAX: usize = 20_000;
/// Bytes of one value of sysfs: a page.
const VALUE_BYTES_MAX: usize = 4096;
/// Bytes of one entry of udev's database.
const UDEV_BYTES_MAX: u64 = 256 << 10;
/// Bytes of fstab, crypttab, mdstat.
const TEXT_BYTES_MAX: u64 = 4 << 20;
/// Units of `size` and `start` in sysfs, whatever the disk's own are.
const SECTOR_BYTES: u64 = 512;

/// Takes no arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockDevices {}

/// A block device. A column is there when the device has such a thing.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct BlockRow {
    /// Its number, `major:minor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<String>,
    /// Name of a device-mapper device (`dm/name`): a volume of LVM, an opened LUKS container …
    #[serde(skip_serializing_if = "Option::is_none")]
    dm_name: Option<String>,
    /// What made it: `CRYPT-LUKS2-…`, `LVM-…` (`dm/uuid`).
    #[serde(skip_serializing_if = "Option::is_none")]
    dm_uuid: Option<String>,
    /// Label of its file system (`ID_FS_LABEL` of udev).
    #[serde(skip_serializing_if = "Option::is_none")]
    fs_label: Option<String>,
    /// Type of its file system or container: ext4, crypto_LUKS, LVM2_member … (`ID_FS_TYPE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    fs_type: Option<String>,
    /// UUID of its file system (`ID_FS_UUID`).
    #[serde(skip_serializing_if = "Option::is_none")]
    fs_uuid: Option<String>,
    /// Devices that are made of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holders: Vec<String>,
    /// True when it cannot be written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_read_only: Option<bool>,
    /// True when its medium can be taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_removable: Option<bool>,
    /// True for a turning disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_rotational: Option<bool>,
    /// Other names below `/dev`, as udev made them: by-id, by-uuid, by-path, mapper …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<String>,
    /// The file behind a loop device.
    #[serde(skip_serializing_if = "Option::is_none")]
    loop_file: Option<String>,
    /// Where in the file it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    loop_offset_bytes: Option<u64>,
    /// Level of an md array: raid1 …
    #[serde(skip_serializing_if = "Option::is_none")]
    md_level: Option<String>,
    /// State of an md array: clean, active, degraded …
    #[serde(skip_serializing_if = "Option::is_none")]
    md_state: Option<String>,
    /// Model of the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Its name in sysfs.
    name: String,
    /// The disk that a partition is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// Number of a partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u64>,
    /// Name of the partition in its table (`ID_PART_ENTRY_NAME`).
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_label: Option<String>,
    /// Kind of the partition table: gpt, dos (`ID_PART_TABLE_TYPE`).
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_table: Option<String>,
    /// UUID of the partition (`ID_PART_ENTRY_UUID`).
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_uuid: Option<String>,
    /// `block_device`.
    record: &'static str,
    /// Revision of its firmware.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    /// Serial number of the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    /// Devices that it is made of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    slaves: Vec<String>,
    /// Where a partition begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_bytes: Option<u64>,
    /// Its place in the tree of devices: bus, port.
    #[serde(skip_serializing_if = "Option::is_none")]
    sysfs_path: Option<String>,
    /// Maker of the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<String>,
    /// World-wide name or NVMe identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    wwid: Option<String>,
}

/// A line of `/etc/fstab`.
#[derive(Debug, Serialize, JsonSchema)]
struct FstabRow {
    /// Type of the file system.
    fs_type: String,
    /// Where it is mounted.
    mount_point: String,
    /// Options of the mount.
    options: Vec<String>,
    /// The file.
    path: &'static str,
    /// `fstab_entry`.
    record: &'static str,
    /// What is mounted.
    source: String,
}

/// A line of `/etc/crypttab`.
#[derive(Debug, Serialize, JsonSchema)]
struct CrypttabRow {
    /// The file with the key; `none` or `-` when somebody is asked for it.
    key_file: Option<String>,
    /// Name of the opened device.
    name: String,
    /// Options.
    options: Vec<String>,
    /// The file.
    path: &'static str,
    /// `crypttab_entry`.
    record: &'static str,
    /// The encrypted device.
    source: String,
}

/// A device of a bus.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct DeviceRow {
    /// Its address on the bus.
    address: String,
    /// Class: of PCI the number in `class`, of USB that of `bDeviceClass`.
    #[serde(skip_serializing_if = "Option::is_none")]
    class_hex: Option<String>,
    /// The driver that is bound to it; of USB those of its interfaces.
    drivers: Vec<String>,
    /// True when the host may talk to it (`authorized`, USB).
    #[serde(skip_serializing_if = "Option::is_none")]
    is_authorized: Option<bool>,
    /// Maker as the device tells it (USB).
    #[serde(skip_serializing_if = "Option::is_none")]
    manufacturer: Option<String>,
    /// Product as the device tells it (USB).
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<String>,
    /// Number of the product.
    #[serde(skip_serializing_if = "Option::is_none")]
    product_id_hex: Option<String>,
    /// `pci_device` or `usb_device`.
    record: &'static str,
    /// Serial number as the device tells it (USB).
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    /// Number of the product's maker.
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor_id_hex: Option<String>,
}

impl Collect for BlockDevices {
    const NAME: &'static str = "block_devices";
    const TIER: Tier = Tier::System;
    const SUMMARY: &'static str =
        "Disks, partitions, device-mapper, md and loop devices, fstab and crypttab, PCI and USB";
    const NEEDS: &'static [&'static str] = &["root"];

    fn collect(&self, session: &mut Session) -> Result<(), Failure> {
        blocks(session)?;
        tables(session)?;
        devices(session, "/sys/bus/pci/devices", pci)?;
        devices(session, "/sys/bus/usb/devices", usb)?;
        for (path, name) in [("/proc/mdstat", "mdstat.txt"), ("/proc/partitions", "partitions.txt")] {
            match session.host().read(path, TEXT_BYTES_MAX) {
                Ok(text) => session.raw(path, "procfs", name, text)?,
                Err(error) => session.unreadable(path, &error)?,
            }
        }
        Ok(())
    }

    fn rows() -> Vec<RowType> {
        vec![
            RowType::of::<BlockRow>("block_device", "Documentation/ABI/stable/sysfs-block, udev(7)"),
            RowType::of::<FstabRow>("fstab_entry", "fstab(5)"),
            RowType::of::<CrypttabRow>("crypttab_entry", "crypttab(5)"),
            RowType::of::<DeviceRow>("pci_device", "Documentation/ABI/testing/sysfs-bus-pci"),
            RowType::of::<DeviceRow>("usb_device", "Documentation/ABI/stable/sysfs-bus-usb"),
        ]
    }

    fn plan(&self, _host: &Host) -> Plan {
        let reads = ["/sys/block", "/run/udev/data/b*", "/etc/fstab", "/etc/crypttab", "/sys/bus/{pci,usb}/devices"];
        Plan { reads: reads.iter().map(|path| (*path).to_owned()).collect(), ..Plan::default() }
    }
}

/// A folder of sysfs, and the values of its files.
struct Folder {
    dir: OwnedFd,
    pages: Pages,
}

impl Folder {
    fn open(host: &Host, path: &str) -> std::io::Result<Self> {
        Ok(Self { dir: host.dir(path)?, pages: Pages::default() })
    }

    /// A value without the blanks around it; `None` when there is none or it is empty.
    fn value(&mut self, name: &str) -> Option<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let (folder, file) = name.rsplit_once('/').unwrap_or((".", name));
        let folder = rustix::fs::openat(&self.dir, folder, flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
        self.pages.clear();
        let file = std::ffi::CString::new(file).ok()?;
        let piece = self.pages.read(folder.as_fd(), &file, Hands::AtOnce, VALUE_BYTES_MAX).ok()?;
        let value = self.pages.get(piece).trim_ascii();
        (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
    }

    fn number(&mut self, name: &str) -> Option<u64> {
        decimal(self.value(name)?.as_bytes())
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        self.value(name).map(|value| value != "0")
    }

    fn names(&self, name: &str) -> Vec<String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.dir, name, flags, Mode::empty()).map_err(std::io::Error::from);
        let names = opened.and_then(|dir| proc::names(dir.as_fd())).unwrap_or_default();
        names.iter().map(|name| name.to_string_lossy().into_owned()).collect()
    }

    /// The last part of where a link leads.
    fn link(&self, name: &str) -> Option<String> {
        let target = rustix::fs::readlinkat(&self.dir, name, Vec::new()).ok()?;
        let target = target.to_string_lossy();
        target.rsplit('/').next().map(str::to_owned)
    }
}

/// Disks, each followed by its partitions.
fn blocks(session: &mut Session) -> Result<(), Stopped> {
    let host = session.host().clone();
    let names = match host.dir("/sys/block").and_then(|dir| proc::names(dir.as_fd())) {
        Ok(names) => names,
        Err(error) => return session.unreadable("/sys/block", &error),
    };
    let mut count = 0;
    for name in names {
        session.go_on()?;
        let disk = name.to_string_lossy().into_owned();
        let path = format!("/sys/block/{disk}");
        let mut folder = match Folder::open(&host, &path) {
            Ok(folder) => folder,
            Err(error) => {
                session.unreadable(path, &error)?;
                continue;
            }
        };
        session.row(&block(&host, &mut folder, &path, disk.clone()))?;
        // A partition is a folder of the disk's with a number in it.
        for name in folder.names(".").into_iter().filter(|name| name.starts_with(&disk)) {
            count += 1;
            if count > DEVICES_MAX {
                return session.limited(format!("only the first {DEVICES_MAX} partitions are described"));
            }
            let path = format!("{path}/{name}");
            let Ok(mut partition) = Folder::open(&host, &path) else { continue };
            if let Some(number) = partition.number("partition") {
                let row = block(&host, &mut partition, &path, name);
                session.row(&BlockRow { parent: Some(disk.clone()), partition: Some(number), ..row })?;
            }
        }
    }
    Ok(())
}

fn block(host: &Host, folder: &mut Folder, path: &str, name: String) -> BlockRow {
    let dev = folder.value("dev");
    let udev = dev.as_deref().map(|dev| Udev::of(host, dev)).unwrap_or_default();
    let sectors = |count: Option<u64>| count.and_then(|count| count.checked_mul(SECTOR_BYTES));
    let sysfs_path = rustix::fs::readlink(host.path(path), Vec::new()).ok();
    BlockRow {
        dm_name: folder.value("dm/name"),
        dm_uuid: folder.value("dm/uuid"),
        fs_label: udev.get("ID_FS_LABEL"),
        fs_type: udev.get("ID_FS_TYPE"),
        fs_uuid: udev.get("ID_FS_UUID"),
        holders: folder.names("holders"),
        is_read_only: folder.flag("ro"),
        is_removable: folder.flag("removable"),
        is_rotational: folder.flag("queue/rotational"),
        loop_file: folder.value("loop/backing_file"),
        loop_offset_bytes: folder.number("loop/offset"),
        md_level: folder.value("md/level"),
        md_state: folder.value("md/array_state"),
        model: folder.value("device/model"),
        partition_label: udev.get("ID_PART_ENTRY_NAME"),
        partition_table: udev.get("ID_PART_TABLE_TYPE"),
        partition_uuid: udev.get("ID_PART_ENTRY_UUID").or_else(|| folder.uevent("PARTUUID")),
        record: "block_device",
        revision: folder.value("device/firmware_rev").or_else(|| folder.value("device/rev")),
        serial: folder
            .value("device/serial")
            .or_else(|| folder.value("serial"))
            .or_else(|| udev.get("ID_SERIAL_SHORT")),
        size_bytes: sectors(folder.number("size")),
        slaves: folder.names("slaves"),
        start_bytes: sectors(folder.number("start")),
        sysfs_path: sysfs_path.map(|target| target.to_string_lossy().trim_start_matches("../").to_owned()),
        vendor: folder.value("device/vendor"),
        wwid: folder.value("wwid").or_else(|| folder.value("device/wwid")),
        links: udev.links,
        dev,
        name,
        ..BlockRow::default()
    }
}

impl Folder {
    /// A line `KEY=value` of `uevent`.
    fn uevent(&mut self, key: &str) -> Option<String> {
        let text = self.value("uevent")?;
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
    }
}

/// What the database of udev says of a block device: `S:` a link, `E:KEY=value` a property.
#[derive(Debug, Default)]
struct Udev {
    links: Vec<String>,
    properties: BTreeMap<String, String>,
}

impl Udev {
    fn of(host: &Host, dev: &str) -> Self {
        let text = host.read(format!("/run/udev/data/b{dev}"), UDEV_BYTES_MAX).unwrap_or_default();
        let mut found = Self::default();
        for line in String::from_utf8_lossy(&text).lines() {
            match line.split_once(':') {
                Some(("S", link)) => found.links.push(format!("/dev/{link}")),
                Some(("E", property)) => {
                    if let Some((key, value)) = property.split_once('=') {
                        found.properties.insert(key.to_owned(), value.to_owned());
                    }
                }
                _ => {}
            }
        }
        found.links.sort();
        found
    }

    fn get(&self, key: &str) -> Option<String> {
        self.properties.get(key).cloned()
    }
}

/// fstab and crypttab: rows, and the texts themselves.
fn tables(session: &mut Session) -> Result<(), Stopped> {
    for (path, name) in [("/etc/fstab", "fstab.txt"), ("/etc/crypttab", "crypttab.txt")] {
        let text = match session.host().read_file(path.as_bytes(), TEXT_BYTES_MAX) {
            Ok(text) => text,
            Err(error) => {
                session.unreadable(path, &error)?;
                continue;
            }
        };
        session.spend(text.len() as u64)?;
        for line in text.split(|byte| *byte == b'\n') {
            let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
            if words.first().is_none_or(|word| word.starts_with(b"#")) {
                continue;
            }
            let word = |at: usize| words.get(at).map(|word| shown(&unescape(word)).0);
            let options = |at: usize| word(at).iter().flat_map(|word| word.split(',')).map(str::to_owned).collect();
            if path == "/etc/fstab" {
                session.row(&FstabRow {
                    fs_type: word(2).unwrap_or_default(),
                    mount_point: word(1).unwrap_or_default(),
                    options: options(3),
                    path: "/etc/fstab",
                    record: "fstab_entry",
                    source: word(0).unwrap_or_default(),
                })?;
            } else {
                session.row(&CrypttabRow {
                    key_file: word(2),
                    name: word(0).unwrap_or_default(),
                    options: options(3),
                    path: "/etc/crypttab",
                    record: "crypttab_entry",
                    source: word(1).unwrap_or_default(),
                })?;
            }
        }
        session.raw(path, "read", name, text)?;
    }
    Ok(())
}

/// The devices of a bus. A machine without the bus has none.
fn devices(
    session: &mut Session,
    path: &'static str,
    row: impl Fn(&mut Folder, &str) -> Option<DeviceRow>,
) -> Result<(), Stopped> {
    let host = session.host().clone();
    let names = match host.dir(path).and_then(|dir| proc::names(dir.as_fd())) {
        Ok(names) => names,
        Err(error) => return session.unreadable(path, &error),
    };
    if names.len() > DEVICES_MAX {
        session.limited(format!("only the first {DEVICES_MAX} of {path} are described"))?;
    }
    for name in names.iter().take(DEVICES_MAX) {
        session.go_on()?;
        let name = name.to_string_lossy();
        // An interface of a USB device has a colon in its name and is told with the device.
        let Ok(mut folder) = Folder::open(&host, &format!("{path}/{name}")) else { continue };
        if let Some(row) = row(&mut folder, &name) {
            session.row(&row)?;
        }
    }
    Ok(())
}

fn hex(value: Option<String>) -> Option<String> {
    value.map(|value| value.trim_start_matches("0x").to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "the other bus has entries that are no devices")]
fn pci(folder: &mut Folder, address: &str) -> Option<DeviceRow> {
    Some(DeviceRow {
        address: address.to_owned(),
        class_hex: hex(folder.value("class")),
        drivers: folder.link("driver").into_iter().collect(),
        product_id_hex: hex(folder.value("device")),
        record: "pci_device",
        vendor_id_hex: hex(folder.value("vendor")),
        ..DeviceRow::default()
    })
}

fn usb(folder: &mut Folder, address: &str) -> Option<DeviceRow> {
    let vendor_id_hex = Some(folder.value("idVendor")?);
    let interfaces = folder.names(".").into_iter().filter(|name| name.contains(':'));
    let mut drivers: Vec<String> = interfaces.filter_map(|name| folder.link(&format!("{name}/driver"))).collect();
    drivers.sort();
    drivers.dedup();
    Some(DeviceRow {
        address: address.to_owned(),
        class_hex: folder.value("bDeviceClass"),
        drivers,
        is_authorized: folder.flag("authorized"),
        manufacturer: folder.value("manufacturer"),
        product: folder.value("product"),
        product_id_hex: folder.value("idProduct"),
        record: "usb_device",
        serial: folder.value("serial"),
        vendor_id_hex,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bundle::time::Instant;
    use serde_json::json;

    use super::*;
    use crate::host::FixedClock;
    use crate::run::session::Message;
    use crate::run::testing::{assert_keys_sorted, collect, rows};

    #[test]
    fn a_tree_with_a_disk_that_holds_an_encrypted_volume() {
        let tree = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("sys/block/sda/dev", "8:0\n"),
            ("sys/block/sda/size", "2048\n"),
            ("sys/block/sda/removable", "1\n"),
            ("sys/block/sda/device/model", "FX DISK  \n"),
            ("sys/block/sda/sda1/partition", "1\n"),
            ("sys/block/sda/sda1/dev", "8:1\n"),
            ("sys/block/sda/sda1/start", "34\n"),
            ("sys/block/sda/sda1/size", "18446744073709551615\n"),
            ("sys/block/sda/sda1/holders/dm-0", ""),
            ("sys/block/dm-0/dm/name", "secret\n"),
            ("sys/block/dm-0/dm/uuid", "CRYPT-LUKS2-abc\n"),
            ("sys/block/dm-0/slaves/sda1", ""),
            (
                "run/udev/data/b8:1",
                "S:disk/by-uuid/77\nS:disk/by-id/x\nE:ID_FS_TYPE=crypto_LUKS\nE:ID_FS_UUID=77\nI:1\nodd\n",
            ),
            ("etc/fstab", "# c\n/dev/mapper/secret /mnt/a\\040b ext4 rw,nosuid 0 2\nshort\n"),
            ("etc/crypttab", "secret UUID=77 /root/key luks,discard\n"),
            ("proc/mdstat", "Personalities : \n"),
            ("sys/bus/pci/devices/0000:00:01.0/vendor", "0x1af4\n"),
            ("sys/bus/usb/devices/1-1/idVendor", "0951\n"),
            ("sys/bus/usb/devices/1-1/serial", "CAFE\n"),
            ("sys/bus/usb/devices/1-1:1.0/bInterfaceClass", "08\n"),
        ] {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let messages = collect(&BlockDevices {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
        assert_keys_sorted(&messages);
        assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
        let rows = rows(&messages);
        let of = |record: &str| rows.iter().filter(|row| row["record"] == record).collect::<Vec<_>>();
        let names: Vec<_> = of("block_device").iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["dm-0", "sda", "sda1"]);
        let (volume, disk, partition) = (of("block_device")[0], of("block_device")[1], of("block_device")[2]);
        assert_eq!((&volume["dm_name"], &volume["slaves"]), (&json!("secret"), &json!(["sda1"])));
        assert_eq!(
            (&disk["size_bytes"], &disk["is_removable"], &disk["model"]),
            (&json!(1 << 20), &json!(true), &json!("FX DISK"))
        );
        assert_eq!(
            (&partition["parent"], &partition["partition"], &partition["start_bytes"]),
            (&json!("sda"), &json!(1), &json!(34 * 512))
        );
        assert_eq!(partition.get("size_bytes"), None, "a size that no disk has");
        assert_eq!((&partition["fs_type"], &partition["holders"]), (&json!("crypto_LUKS"), &json!(["dm-0"])));
        assert_eq!(partition["links"], json!(["/dev/disk/by-id/x", "/dev/disk/by-uuid/77"]));
        assert_eq!(of("fstab_entry")[0]["mount_point"], "/mnt/a b");
        assert_eq!(of("fstab_entry").len(), 2, "a line that is too short is a row too");
        assert_eq!(
            (&of("crypttab_entry")[0]["key_file"], &of("crypttab_entry")[0]["options"]),
            (&json!("/root/key"), &json!(["luks", "discard"]))
        );
        assert_eq!(of("pci_device")[0]["vendor_id_hex"], "1af4");
        assert_eq!((of("usb_device").len(), &of("usb_device")[0]["serial"]), (1, &json!("CAFE")));
    }

    #[test]
    fn the_live_host_has_what_sysfs_lists() {
        let rows = rows(&collect(&BlockDevices {}, Arc::new(Host::live())));
        for entry in std::fs::read_dir("/sys/block").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(rows.iter().any(|row| row["record"] == "block_device" && row["name"] == *name), "{name}");
        }
    }
}
