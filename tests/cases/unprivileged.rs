//! Without root there is less evidence, and the bundle says which.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;
use std::time::Duration;

use harness::{Collected, Lab, Opened, Running, agent, is_root};

const NOBODY: u32 = 65534;

#[test]
fn denials_are_items_and_the_bundle_is_sealed() {
    let lab = Lab::new();
    lab.plant("open", "for all");
    let secret = lab.plant("secret", "not for all");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let profile = lab.tree_profile("  - collect: processes\n  - collect: open_files\n  - collect: sockets\n");
    let (program, out, state) = (lab.path("holdfast-agent"), lab.path("own-out"), lab.path("own-state"));
    fs::copy(agent(), &program).unwrap();
    let mut command = if is_root() {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"]).arg(&program);
        setpriv
    } else {
        Command::new(&program)
    };
    for folder in [&out, &state] {
        fs::create_dir(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
        if is_root() {
            chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    command.args(["collect", "--json", "--profile"]).arg(&profile).arg("--output").arg(&out);
    let ended = Running::start(command.env("HOLDFAST_STATE_DIR", &state)).wait(Duration::from_mins(2)).expect_code(0);
    assert!(ended.stderr.contains("not run as root"), "{}", ended.stderr);
    let sealed = Collected::of(&ended);
    let items = Opened::at(&sealed.path).items();
    let item = |path: &std::path::Path| {
        let found = items.iter().find(|item| item["path"] == path.to_str().unwrap());
        found.unwrap_or_else(|| panic!("no item for {}", path.display())).clone()
    };
    assert_eq!(item(&lab.tree().join("open"))["status"], "ok");
    let denied = item(&secret);
    assert_eq!((&denied["status"], &denied["errno"]), (&"denied".into(), &13.into()), "{denied}");
    let denied = sealed.told["coverage"].as_array().unwrap().iter().map(|step| step["denied"].as_u64().unwrap());
    assert!(denied.clone().sum::<u64>() > 1, "processes of others are denied as well");
    lab.verify(&sealed.path).signers(&sealed.signers).run().expect_code(0);
}
