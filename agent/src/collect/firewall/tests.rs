//! Against the kernel: rules that are put into a namespace of the test's own come back.

use std::sync::Arc;

use super::*;
use crate::host::FixedClock;
use crate::host::netns::{link_inode, testing::held_namespace};
use crate::host::regular::fd_path;
use crate::run::testing::{assert_keys_sorted, collect, inside, items, rows};
use bundle::time::Instant;

#[test]
fn a_tree_has_no_firewall() {
    let tree = tempfile::tempdir().unwrap();
    let messages = collect(&Firewall {}, Arc::new(Host::at(tree.path(), FixedClock(Instant(0)))));
    assert_eq!(items(&messages)[0].reason.as_deref(), Some("only on a live host"));
}

const RULES: &str = "table inet fx_t {
  set bad { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.7 } }
  chain d { }
  chain c { type filter hook input priority 100; policy accept;
    tcp dport 31337 counter accept
    ip saddr @bad drop comment \"hi\"
    ct state established,related accept
    udp dport { 53, 5353 } jump d
    ip saddr 192.0.2.0/24 tcp sport 1000-2000 meta skuid 1000 drop
    iifname \"lo\" log prefix \"x: \" limit rate 5/second
    tcp dport vmap { 22 : accept, 80 : drop }
    meta mark set 0x5 tcp flags syn reject with tcp reset
  }
}
table ip fx_nat {
  chain pre { type nat hook prerouting priority -100; policy accept;
    tcp dport 80 dnat to 10.0.0.1:8080
  }
}
";

#[test]
fn rules_of_nf_tables_come_back_as_they_were_written() {
    let Some((held, _listener)) = held_namespace() else {
        println!("not tested: only root may make a network namespace");
        return;
    };
    if !inside(&held, "nft", &["-f", "-"], RULES) {
        return;
    }
    let own = link_inode(&fd_path(&held)).unwrap();
    let messages = collect(&Firewall {}, Arc::new(Host::live()));
    assert_keys_sorted(&messages);
    let rows = rows(&messages);
    let of =
        |record: &str| rows.iter().filter(|row| row["record"] == record && row["netns"] == own).collect::<Vec<_>>();
    let texts: Vec<&str> = of("nft_rule").iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert_eq!(
        texts,
        [
            "tcp dport 31337 counter packets 0 bytes 0 accept",
            "ip saddr @bad drop",
            "ct state established,related accept",
            "udp dport { 53, 5353 } jump d",
            "ip saddr 192.0.2.0/24 tcp sport 1000-2000 meta skuid 1000 drop",
            "iifname \"lo\" log prefix \"x: \" level warn limit rate 5/second burst 5",
            "tcp dport vmap { 22 : accept, 80 : drop }",
            "meta mark set 0x5 tcp flags syn reject with tcp reset",
            "tcp dport 80 dnat to 10.0.0.1:8080",
        ]
    );
    assert_eq!((&of("nft_rule")[1]["comment"], &of("nft_rule")[0]["number"]), (&"hi".into(), &1.into()));
    assert!(of("nft_rule").iter().all(|row| row.get("undecoded").is_none()));
    let keys: Vec<&str> =
        of("nft_element").iter().filter(|row| row["set"] == "bad").map(|row| row["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["10.0.0.0/8", "192.0.2.7"]);
    let chain = of("nft_chain").into_iter().find(|row| row["name"] == "c").unwrap();
    assert_eq!(
        (&chain["hook"], &chain["priority"], &chain["policy"]),
        (&"input".into(), &100.into(), &"accept".into())
    );
    assert!(items(&messages).iter().any(|item| item.path == format!("netlink/nf_tables/{own}").as_bytes()));
}

#[test]
fn rules_of_the_older_iptables_and_ip_sets_come_back() {
    let Some((held, _listener)) = held_namespace() else {
        println!("not tested: only root may make a network namespace");
        return;
    };
    let own = link_inode(&fd_path(&held)).unwrap();
    let saved = "*filter\n:INPUT DROP [0:0]\n:own - [0:0]\n\
        -A INPUT -s 192.0.2.0/24 -i eth+ -p tcp -m tcp --dport 31337 -m comment --comment hello -j ACCEPT\n\
        -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j own\n-A own -j REJECT\nCOMMIT\n\
        *nat\n-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1:8080\nCOMMIT\n";
    let has_rules = inside(&held, "iptables-legacy-restore", &[], saved);
    let has_rules6 = inside(&held, "ip6tables-legacy", &["-A", "INPUT", "-s", "fe80::/10", "-j", "DROP"], "");
    let has_sets = inside(&held, "ipset", &["restore"], "create s hash:ip,port\nadd s 192.0.2.7,tcp:80\n");
    let messages = collect(&Firewall {}, Arc::new(Host::live()));
    assert_keys_sorted(&messages);
    let rows = rows(&messages);
    let of =
        |record: &str| rows.iter().filter(|row| row["record"] == record && row["netns"] == own).collect::<Vec<_>>();
    let texts: Vec<(&str, &str)> =
        of("iptables_rule").iter().map(|row| (row["chain"].as_str().unwrap(), row["text"].as_str().unwrap())).collect();
    if has_rules {
        for rule in [
            ("INPUT", "-s 192.0.2.0/24 -i eth+ -p tcp -m tcp --dport 31337 -m comment --comment \"hello\" -j ACCEPT"),
            ("INPUT", "-m conntrack --ctstate ESTABLISHED,RELATED -j own"),
            ("own", "-j REJECT --reject-with icmp-port-unreachable"),
            ("PREROUTING", "-p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1:8080"),
        ] {
            assert!(texts.contains(&rule), "{rule:?} of {texts:?}");
        }
        let input = of("iptables_chain").into_iter().find(|row| row["name"] == "INPUT" && row["table"] == "filter");
        assert_eq!(input.unwrap()["policy"], "DROP");
    }
    if has_rules6 {
        assert!(texts.contains(&("INPUT", "-s fe80::/10 -j DROP")), "{texts:?}");
    }
    if has_sets {
        assert_eq!(
            (&of("ipset")[0]["type"], &of("ipset_element")[0]["element"]),
            (&"hash:ip,port".into(), &"192.0.2.7,tcp:80".into())
        );
    }
    // What nobody asked for was not made: asking for a table by name would make it.
    let listed = of("firewall_subsystem").into_iter().find(|row| row["name"] == "ip_tables");
    assert!(listed.is_none_or(|row| row["tables"].as_u64() <= Some(if has_rules { 2 } else { 0 })));
}
