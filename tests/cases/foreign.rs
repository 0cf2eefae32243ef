//! Programs that others wrote speak to the server: tuspy uploads, schemathesis reads the API's own description.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use harness::{Lab, Running, Site, foreign, until};
use serde_json::json;

const UPLOAD: &str = r#"
import os, sys
from tusclient import client
url, file, bundle, incident = sys.argv[1:]
headers = {"Authorization": "Bearer " + os.environ["TOKEN"]}
def uploader(**more):
    return client.TusClient(f"{url}/api/v1/uploads", headers=headers).uploader(
        file, chunk_size=1 << 20, verify_tls_cert=False, metadata={"bundle": bundle, "incident": incident, "name": os.path.basename(file)}, **more)
first = uploader()
first.upload(stop_at=(1 << 20) + 1)
assert 0 < first.offset < os.path.getsize(file), first.offset
second = uploader(url=first.url)
assert second.offset == first.offset, (second.offset, first.offset)
second.upload()
assert second.offset == os.path.getsize(file)
print(second.url)
"#;

fn script(lab: &Lab, text: &str) -> PathBuf {
    let path = lab.path("script.py");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn tuspy_uploads_and_resumes() {
    let Some(python) = foreign("tuspy") else { return };
    let (site, lab) = (Site::new(), Lab::new());
    let incident = site.alert("edr", &json!({"event_type": "malware", "host": "web-1", "details": "one"}));
    let sealed = lab.sealed();
    let mut upload = Command::new(python);
    upload.arg("-W").arg("ignore").arg(script(&lab, UPLOAD)).arg(site.url()).arg(&sealed.path);
    upload.arg(sealed.told["bundle"].as_str().unwrap()).arg(&incident);
    upload.env("TOKEN", fs::read_to_string(site.path("responder.token")).unwrap().trim());
    Running::start(&mut upload).wait(Duration::from_mins(1)).expect_code(0);
    let bundle = until("the server has looked at it", Duration::from_mins(1), || {
        let bundle = site.api(&format!("evidence?incident={incident}"))["items"][0].clone();
        (bundle["state"].is_string() && bundle["state"] != "receiving").then_some(bundle)
    });
    assert_eq!(bundle["sha256"], sealed.told["sha256"], "{bundle}");
    // It brought no transport checkpoints: the content verifies, and the server says that this is all it knows.
    assert_eq!(bundle["state"], "unverified", "{bundle}");
}

#[test]
fn schemathesis_finds_the_api_as_it_describes_itself() {
    let Some(python) = foreign("schemathesis") else { return };
    let site = Site::new();
    site.alert("edr", &json!({"event_type": "malware", "host": "web-1", "details": "one"}));
    let token = fs::read_to_string(site.path("responder.token")).unwrap();
    let mut run = Command::new(python.with_file_name("schemathesis"));
    let api = harness::root().join("tests/api");
    run.arg("--config-file").arg(api.join("schemathesis.toml"));
    run.env("PYTHONPATH", &api).env("SCHEMATHESIS_HOOKS", "hooks").env("PYTHONDONTWRITEBYTECODE", "1");
    run.args(["run", &format!("{}/api/v1/openapi.json", site.url()), "--tls-verify=false"]);
    run.args(["--max-examples=10", "--seed=1", "--header", &format!("Authorization: Bearer {}", token.trim())]);
    Running::start(run.current_dir(site.path(""))).wait(Duration::from_mins(5)).expect_code(0);
}
