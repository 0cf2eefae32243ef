use std::sync::Arc;

use bundle::time::Instant;

use super::*;
use crate::host::FixedClock;
use crate::run::session::Message;
use crate::run::testing;

fn rows(record: &str, messages: &[Message]) -> Vec<serde_json::Value> {
    testing::rows(messages).into_iter().filter(|row| row["record"] == record).collect()
}

#[test]
fn a_tree_has_no_sockets_to_ask_for() {
    let tree = tempfile::tempdir().unwrap();
    let host = Host::at(tree.path(), FixedClock(Instant(0)));
    let messages = testing::collect(&HiddenSockets {}, Arc::new(host));
    assert!(testing::rows(&messages).is_empty());
    assert_eq!(testing::items(&messages)[0].status, Status::Skipped);
}

#[test]
fn sockets_of_this_process_agree() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let messages = testing::collect(&HiddenSockets {}, Arc::new(Host::live()));
    testing::assert_keys_sorted(&messages);
    assert!(matches!(messages.last(), Some(Message::Done(Ok(())))));
    assert!(rows("socket", &messages).iter().all(|row| row["local_port"] != port));
    let own = crate::host::netns::link_inode("/proc/self/ns/net").unwrap();
    let namespaces = rows("namespace", &messages);
    let here = namespaces.iter().find(|row| row["netns"] == own).unwrap();
    let tcp = here["tables"].as_array().unwrap().iter().find(|table| table["file"] == "tcp").unwrap();
    assert!(tcp["proc"].as_u64().unwrap() >= 1);
}

#[test]
fn a_socket_in_a_namespace_that_only_it_keeps_alive_is_told() {
    // Only root may make one.
    let Some((held, listener)) = crate::host::netns::testing::held_namespace() else {
        println!("skipped: a network namespace needs root");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let netns = crate::host::netns::link_inode(&crate::host::regular::fd_path(&held)).unwrap();
    drop(held);
    let messages = testing::collect(&HiddenSockets {}, Arc::new(Host::live()));
    let rows = rows("socket", &messages);
    let found = rows.iter().find(|row| row["local_port"] == port).unwrap();
    assert_eq!(found["disagreements"], serde_json::json!(["namespace_unreached"]));
    assert_eq!((&found["netns"], &found["owners"][0]["pid"]), (&netns.into(), &std::process::id().into()));
}
