//! A tree of a machine in a cloud.

use std::sync::Arc;

use bundle::time::Instant;

use super::*;
use crate::host::FixedClock;
use crate::run::testing::{assert_keys_sorted, collect, items, rows};

#[test]
fn a_machine_in_a_cloud() {
    let tree = tempfile::tempdir().unwrap();
    let put = |path: &str, content: &str| {
        let path = tree.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    put("etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    put("sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
    put("sys/class/dmi/id/product_name", "m5.large\n");
    put("run/cloud-init/instance-data.json", r#"{"v1":{"instance_id":"i-1","region":"eu-1"},"ds":{"x":"HIDDEN"}}"#);
    put("var/lib/cloud/data/previous-instance-id", "i-0\n");
    put("var/lib/cloud/instances/i-1/user-data.txt", "#cloud-config\npassword: HIDDEN\n");
    std::os::unix::fs::symlink("/var/lib/cloud/instances/i-1", tree.path().join("var/lib/cloud/instance")).unwrap();
    put("var/lib/cloud/instances/i-1/scripts/part-001", "HIDDEN without a mark\n");
    put("root/.aws/credentials", "[p]\naws_access_key_id=AKIA1\naws_secret_access_key=HIDDEN\n");
    put("root/.aws/config", "[profile p]\nregion = eu-1\n");
    put("var/log/amazon/ssm/amazon-ssm-agent.log", "x\n");
    put("proc/9/environ", "HOME=/\0AWS_ACCESS_KEY_ID=AKIA2\0AWS_SECRET_ACCESS_KEY=HIDDEN\0odd\0");
    put("proc/9/comm", "aws\n");
    put("proc/9/stat", "");
    let messages = collect(&CloudIdentity {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
    assert_keys_sorted(&messages);
    let rows = rows(&messages);
    let of = |record: &str| rows.iter().filter(|row| row["record"] == record).collect::<Vec<_>>();
    assert!(!rows.iter().any(|row| row.to_string().contains("HIDDEN")), "no secret stands in a row");
    assert_eq!(of("cloud_platform")[0]["provider"], "aws");
    assert!(of("cloud_fact").iter().any(|row| row["name"] == "instance_id" && row["value"] == "i-1"));
    assert!(of("cloud_fact").iter().any(|row| row["name"] == "previous-instance-id" && row["value"] == "i-0"));
    let user_data = of("cloud_user_data");
    assert_eq!((user_data.len(), &user_data[1]["kind"]), (2, &"cloud_config".into()));
    assert!(user_data[0]["first_line"].is_null());
    let credentials = of("cloud_credential");
    assert!(credentials.iter().any(|row| row["key_id"] == "AKIA1" && row["has_secret"] == true && row["name"] == "p"));
    assert_eq!(of("cloud_agent")[0]["name"], "amazon_ssm");
    let environment = of("environment_credential");
    assert_eq!((&environment[0]["identity"], &environment[1]["length_bytes"]), (&"AKIA2".into(), &6.into()));
    assert_eq!(environment[0]["comm"], "aws");
    let items = items(&messages);
    let status = |path: &str| items.iter().find(|item| item.path == path.as_bytes()).unwrap().status;
    assert_eq!(status("/root/.aws/credentials"), Status::Redacted);
    assert_eq!(status("/var/lib/cloud/instances/i-1/user-data.txt"), Status::Redacted);
    assert_eq!(status("/root/.aws/config"), Status::Ok);
}

#[test]
fn the_live_host_answers_or_says_why_not() {
    let messages = collect(&CloudIdentity {}, Arc::new(Host::live()));
    assert_keys_sorted(&messages);
    let has_platform = rows(&messages).iter().any(|row| row["record"] == "cloud_platform");
    let has_reason = items(&messages).iter().any(|item| item.path == b"/sys/class/dmi/id");
    assert!(has_platform || has_reason);
}
