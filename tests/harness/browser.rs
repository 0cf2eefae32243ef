//! A real Chromium, driven over WebDriver (W3C): what an analyst sees and clicks.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Running, until};

const DEADLINE: Duration = Duration::from_secs(30);
/// The key under which WebDriver hands over an element (W3C WebDriver, section 12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with a profile of its own, and one window.
pub struct Browser {
    driver: Option<Running>,
    session: String,
    client: reqwest::blocking::Client,
    folder: TempDir,
}

impl Browser {
    /// Starts it, in a window of this size.
    pub fn start(width: u32, height: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("holdfast-browser-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Running::start(Command::new("chromedriver").arg(format!("--port={port}")).arg("--silent"));
        let client = reqwest::blocking::Client::builder().timeout(DEADLINE).build().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        until("chromedriver answers", DEADLINE, || client.get(format!("{url}/status")).send().ok());
        let own = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
        let window = format!("--window-size={width},{height}");
        let mut options = json!({
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                "--disable-dev-shm-usage", "--no-first-run", window, format!("--user-data-dir={}", own("profile")),
            ],
            "prefs": {"download.default_directory": own("downloads"), "download.prompt_for_download": false},
        });
        // A window of a desktop is never as narrow as a phone.
        if width < 500 {
            options["mobileEmulation"] =
                json!({"deviceMetrics": {"width": width, "height": height, "pixelRatio": 2.0}});
        }
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "acceptInsecureCerts": true,
            "goog:chromeOptions": options,
        }}});
        let mut browser = Self { driver: Some(driver), session: url, client, folder };
        let begun = browser.post("/session", &capabilities);
        let id = begun["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {begun}"));
        browser.session = format!("{}/session/{id}", browser.session);
        browser
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.session));
        let request = request.header("content-type", "application/json").body(body.to_string());
        send(request).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        send(self.client.get(format!("{}{path}", self.session))).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Goes to an address.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// The address that it shows.
    pub fn url(&self) -> String {
        self.get("/url").as_str().unwrap().to_owned()
    }

    fn find(&self, css: &str) -> Option<String> {
        let request = self.client.post(format!("{}/element", self.session));
        let body = json!({"using": "css selector", "value": css}).to_string();
        let found = send(request.header("content-type", "application/json").body(body)).ok()?;
        found[ELEMENT].as_str().map(str::to_owned)
    }

    #[track_caller]
    fn element(&self, css: &str) -> String {
        until(&format!("{css} on the page"), DEADLINE, || self.find(css))
    }

    /// Clicks the first element that matches, once there is one.
    #[track_caller]
    pub fn click(&self, css: &str) {
        let element = self.element(css);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types into the first element that matches.
    #[track_caller]
    pub fn fill(&self, css: &str, text: &str) {
        let element = self.element(css);
        self.post(&format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// The text that is seen of the page.
    pub fn text(&self) -> String {
        let script = json!({"script": "return document.body.innerText", "args": []});
        self.post("/execute/sync", &script).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until something on the page matches.
    #[track_caller]
    pub fn await_element(&self, css: &str) {
        self.element(css);
    }

    /// Waits until the page shows this text, without loading it again.
    #[track_caller]
    pub fn await_text(&self, text: &str, deadline: Duration) {
        until(&format!("the page shows {text:?}"), deadline, || self.text().contains(text).then_some(()));
    }

    /// The width of the page beyond that of the window: what a phone would have to scroll sideways.
    pub fn overflow(&self) -> i64 {
        let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.post("/execute/sync", &json!({"script": script, "args": []})).as_i64().unwrap()
    }

    /// Keeps a picture of the window.
    pub fn screenshot(&self, path: &Path) {
        let picture = self.get("/screenshot");
        fs::write(path, BASE64_STANDARD.decode(picture.as_str().unwrap()).unwrap()).unwrap();
    }

    /// Waits until a file with this ending was downloaded.
    #[track_caller]
    pub fn downloaded(&self, ending: &str) -> PathBuf {
        until(&format!("a download *{ending}"), DEADLINE, || {
            let files = fs::read_dir(self.folder.path().join("downloads")).ok()?;
            files.flatten().map(|file| file.path()).find(|path| path.to_string_lossy().ends_with(ending))
        })
    }
}

fn send(request: reqwest::blocking::RequestBuilder) -> Result<Value, String> {
    let answer = request.send().map_err(|error| error.to_string())?;
    let (status, text) = (answer.status(), answer.text().map_err(|error| error.to_string())?);
    let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    if status.is_success() { Ok(answer["value"].clone()) } else { Err(answer["value"]["message"].to_string()) }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.client.delete(&self.session).send();
        if let Some(driver) = self.driver.take() {
            driver.signal(Signal::TERM);
            if !std::thread::panicking() {
                driver.wait(DEADLINE);
            }
        }
    }
}
