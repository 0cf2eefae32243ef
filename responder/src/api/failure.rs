//! Answers that are none, as failures: what went wrong, in the server's words where it has some, and the next step.

use std::io::Read as _;

use anyhow::anyhow;
use reqwest::StatusCode;
use reqwest::blocking::Response;
use wire::api::ErrorBody;

use crate::commands::{Failure, INPUT, REFUSED, UNAVAILABLE};

/// Longer than any error of the server.
const ERROR_BYTES_MAX: u64 = 64 << 10;
/// What is shown of a text that comes from the network.
const TEXT_CHARS_MAX: usize = 1_000;

/// The server could not be asked.
pub fn no_answer(server: &str, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut texts = vec![error.to_string()];
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    let all = texts.join(": ");
    let (what, hint) = if all.contains("certificate") {
        let hint = "this is not the server of your login, or it has another CA now: ask for its digest (`holdfast-server \
                    ca show` on the server prints it) and holdfast login again";
        ("is not who it should be", hint)
    } else if error.is_timeout() {
        ("does not answer in time", "is it busy, or cut off? try again")
    } else {
        ("cannot be reached", "is holdfast-server running there, and may you reach that port?")
    };
    let last = texts.pop().unwrap_or_default();
    Failure::new(UNAVAILABLE, anyhow!("{server} {what}: {}", short(&last))).hint(hint)
}

/// The server answered with an error.
pub fn of_answer(server: &str, response: Response) -> Failure {
    let status = response.status();
    let mut body = Vec::new();
    let _ = response.take(ERROR_BYTES_MAX).read_to_end(&mut body);
    of_status(server, status, serde_json::from_slice(&body).ok())
}

fn of_status(server: &str, status: StatusCode, body: Option<ErrorBody>) -> Failure {
    let code = match status.as_u16() {
        401 | 403 => REFUSED,
        408 | 423 | 425 | 429 | 500.. => UNAVAILABLE,
        _ => INPUT,
    };
    let own_hint = match status.as_u16() {
        401 => Some("the token is not valid, or no more: holdfast login again"),
        403 => Some(
            "your token's role does not allow this; an administrator makes others: holdfast-server token add NAME \
             --role ROLE --data DIR",
        ),
        404 => Some("holdfast incident list, host list and evidence list show what there is"),
        429 => Some("wait a moment, then try again"),
        500.. => Some("the server's log says more; try again"),
        _ => None,
    };
    match body {
        Some(ErrorBody { hint, message, .. }) => {
            let failure = Failure::new(code, anyhow!("{}", short(&message)));
            match hint.as_deref().map(short).or_else(|| own_hint.map(str::to_owned)) {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        None => {
            let failure = Failure::new(code, anyhow!("{server} answered {status}"));
            failure.hint(own_hint.unwrap_or("is this a holdfast-server? GET /healthz says so"))
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Api;
    use super::super::fake::{Answer, Fake};
    use super::*;

    fn shown(failure: &Failure) -> (u8, String, &str) {
        (failure.code, failure.error.to_string(), failure.hint.as_deref().unwrap_or(""))
    }

    #[test]
    fn the_server_s_words_come_through_with_the_next_step() {
        let fake = Fake::serve(|request| match request.path.as_str() {
            "/409" => Answer::error(409, r#"{"code":"conflict","hint":"order again","message":"order x was seen"}"#),
            "/401" => Answer::error(401, r#"{"code":"unauthenticated","hint":null,"message":"no such token"}"#),
            "/403" => Answer::error(403, ""),
            "/302" => Answer::error(302, ""),
            _ => Answer::error(503, "<html>"),
        });
        let api = Api::of_test(&fake.url);
        let asked = |path: &str| api.get(path).unwrap_err();
        assert_eq!(shown(&asked("/409")), (65, "order x was seen".into(), "order again"));
        let token = "the token is not valid, or no more: holdfast login again";
        assert_eq!(shown(&asked("/401")), (77, "no such token".into(), token));
        let role = "your token's role does not allow this; an administrator makes others: holdfast-server token add NAME \
                    --role ROLE --data DIR";
        assert_eq!(shown(&asked("/403")), (77, format!("{} answered 403 Forbidden", fake.url), role));
        assert_eq!(shown(&asked("/302")).0, 65);
        let log = "the server's log says more; try again";
        assert_eq!(shown(&asked("/503")), (69, format!("{} answered 503 Service Unavailable", fake.url), log));
    }

    #[test]
    fn nobody_there_is_unavailable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let failure = Api::of_test(&format!("http://{address}")).get("/").unwrap_err();
        assert_eq!(failure.code, UNAVAILABLE);
        assert!(failure.error.to_string().starts_with(&format!("http://{address} cannot be reached: ")));
        assert_eq!(failure.hint.as_deref(), Some("is holdfast-server running there, and may you reach that port?"));
    }
}
