//! A store that speaks the S3 protocol, on loopback: moto, which others wrote in Python.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use crate::process::{Running, until};
use crate::programs::foreign;

const DEADLINE: Duration = Duration::from_mins(1);
/// What moto takes for a key and its secret: everything.
const KEY: &str = "s3-key-of-the-tests";

/// moto looks whether a request is signed, and never with which key.
const SIGNED: &str =
    "AWS4-HMAC-SHA256 Credential=tests/20261121/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// See the module. It forgets everything when it is dropped.
pub struct S3 {
    address: String,
    bucket: &'static str,
    _server: Running,
}

impl S3 {
    /// A store with one bucket; none, and a line that says so, where there is no moto.
    pub fn start() -> Option<Self> {
        let python = foreign("moto")?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let mut command = Command::new(python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port]);
        let address = format!("http://127.0.0.1:{port}");
        let s3 = Self { address, bucket: "evidence", _server: Running::start(&mut command) };
        let client = reqwest::blocking::Client::builder().timeout(DEADLINE).build().unwrap();
        until("moto has a bucket", DEADLINE, || {
            client.put(s3.at("")).send().ok().filter(|answer| answer.status().is_success())
        });
        Some(s3)
    }

    /// An address in the bucket.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}", self.bucket)
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{}/{path}", self.address, self.bucket)
    }

    /// What a process needs in its environment to use it.
    pub fn variables(&self) -> Vec<(String, String)> {
        [
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", KEY),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", &self.address),
            ("AWS_ALLOW_HTTP", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// An object as the store holds it; none when it is not there.
    pub fn object(&self, path: &str) -> Option<Vec<u8>> {
        let answer = send(reqwest::blocking::Client::new().get(self.at(path)));
        answer.status().is_success().then(|| answer.bytes().unwrap().to_vec())
    }

    /// The paths of the objects below a prefix.
    pub fn paths(&self, prefix: &str) -> Vec<String> {
        let url = self.at(&format!("?list-type=2&prefix={prefix}"));
        let listed = send(reqwest::blocking::Client::new().get(url)).text().unwrap();
        let keys = listed.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        keys.map(str::to_owned).collect()
    }

    /// Puts other bytes in the place of an object, as somebody does who has the keys.
    pub fn change(&self, path: &str, bytes: Vec<u8>) {
        let put = send(reqwest::blocking::Client::new().put(self.at(path)).body(bytes));
        assert!(put.status().is_success(), "{put:?}");
    }
}

fn send(request: reqwest::blocking::RequestBuilder) -> reqwest::blocking::Response {
    request.header("Authorization", SIGNED).send().unwrap()
}
