//! A line that loses packets: a network namespace for an agent, and one between it and us that passes its packets on.
//!
//! Where the kernel has netem, it loses and delays in one. Where it has not, nftables loses 5 % of all packets there,
//! which TCP cannot tell from a bad line, and the [`Cable`](crate::Cable) has to delay. Only for root.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::process::Running;

/// Packets that are lost, in each direction.
const LOSS_PERCENT: u32 = 5;
/// What a question and its answer take longer together.
const DELAY: Duration = Duration::from_millis(200);
const DEADLINE: Duration = Duration::from_secs(20);
/// Takes connections to addresses that are not its own (19: IP_TRANSPARENT, ip(7)).
const TAKE: &str = "
import socket, sys
takes = socket.socket()
takes.setsockopt(socket.SOL_IP, 19, 1)
takes.bind(('', int(sys.argv[1])))
takes.listen()
while True: takes.accept()[0].close()
";

/// See the module. It ends when this is dropped.
pub struct Line {
    /// Where the agent is.
    agent: String,
    /// What passes the packets on.
    between: String,
    near: Ipv4Addr,
    has_netem: bool,
}

impl Line {
    /// A line, good so far. `None`, with the reason on standard error, where the kernel lacks what it is made of.
    pub fn lay() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}n{number}", std::process::id());
        let (agent, between) = (format!("hf{id}a"), format!("hf{id}b"));
        // Two networks of four addresses each, of those that carriers use behind their own translation (RFC 6598).
        let network = 0x6440_0000 + ((std::process::id() % 8192) * 64 + number % 64) * 8;
        let address = |n: u32| Ipv4Addr::from(network + n);
        let (near, hop, gate, far) = (address(1), address(2), address(5), address(6));
        let mut line = Self { agent: agent.clone(), between: between.clone(), near, has_netem: false };
        let (out, inner) = (format!("hf{id}o"), format!("hf{id}i"));
        let steps = [
            format!("ip netns add {agent}"),
            format!("ip netns add {between}"),
            format!("ip link add {out} type veth peer name out netns {between}"),
            format!("ip addr add {near}/30 dev {out}"),
            format!("ip link set {out} up"),
            format!("ip -n {between} addr add {hop}/30 dev out"),
            format!("ip -n {between} link set out up"),
            format!("ip link add {inner} netns {between} type veth peer name eth netns {agent}"),
            format!("ip -n {between} link set {inner} name in"),
            format!("ip -n {between} addr add {gate}/30 dev in"),
            format!("ip -n {between} link set in up"),
            format!("ip -n {agent} addr add {far}/30 dev eth"),
            format!("ip -n {agent} link set eth up"),
            format!("ip -n {agent} link set lo up"),
            format!("ip -n {agent} route add default via {gate}"),
            format!("ip route add {far}/32 via {hop}"),
        ];
        let forward = ["netns", "exec", &between, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"];
        for step in
            steps
                .iter()
                .map(|step| step.split_whitespace().collect::<Vec<_>>())
                .chain([[&["ip"], &forward[..]].concat()])
        {
            if let Err(why) = run_words(&step) {
                let step = step.join(" ");
                let _ = writeln!(std::io::stderr(), "skipped: a line that loses packets: `{step}`: {}", why.trim());
                return None;
            }
        }
        line.has_netem = run(&format!("tc -n {between} qdisc add dev in root netem delay 0ms")).is_ok();
        if line.has_netem {
            run(&format!("tc -n {between} qdisc add dev out root netem delay 0ms")).unwrap();
        }
        Some(line)
    }

    /// The address at which the agent's side reaches ours.
    pub fn near(&self) -> Ipv4Addr {
        self.near
    }

    /// The address of the agent's side.
    pub fn far(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.near) + 5)
    }

    /// What lies between takes the connections to this port of the agent's side itself, from now on: whatever the agent's
    /// side does about the port cannot be seen from here.
    pub fn answer_instead(&self, port: u16) -> Running {
        let (between, far) = (&self.between, self.far());
        for step in [
            format!("ip -n {between} rule add priority 10 ipproto tcp dport {port} lookup 100"),
            format!("ip -n {between} route add local {far}/32 dev lo table 100"),
        ] {
            run(&step).unwrap();
        }
        let serve = ["netns", "exec", between, "python3", "-c", TAKE, &port.to_string()];
        Running::start(Command::new("ip").args(serve))
    }

    /// What a command line begins with that is to run at the agent's end.
    pub fn prefix(&self) -> [String; 2] {
        ["nsenter".to_owned(), format!("--net=/run/netns/{}", self.agent)]
    }

    /// Begins to lose packets; returns how long everything must be delayed elsewhere.
    pub fn worsen(&self) -> Duration {
        let between = &self.between;
        if self.has_netem {
            for device in ["in", "out"] {
                let one_way = DELAY.as_millis() / 2;
                let netem = format!("netem delay {one_way}ms loss {LOSS_PERCENT}%");
                run(&format!("tc -n {between} qdisc change dev {device} root {netem}")).unwrap();
            }
            return Duration::ZERO;
        }
        for step in [
            "add table ip line".to_owned(),
            "add chain ip line pass { type filter hook forward priority 0 ; }".to_owned(),
            format!("add rule ip line pass numgen random mod 100 < {LOSS_PERCENT} drop"),
        ] {
            run(&format!("ip netns exec {between} nft {step}")).unwrap();
        }
        DELAY
    }

    /// Loses none any more.
    pub fn better(&self) {
        let between = &self.between;
        if self.has_netem {
            for device in ["in", "out"] {
                run(&format!("tc -n {between} qdisc change dev {device} root netem delay 0ms")).unwrap();
            }
        } else {
            let _ = run(&format!("ip netns exec {between} nft delete table ip line"));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // With a namespace go its devices and their other ends.
        for namespace in [&self.agent, &self.between] {
            let _ = run(&format!("ip netns del {namespace}"));
        }
    }
}

/// Runs it; what it complained about when it failed.
fn run(words: &str) -> Result<(), String> {
    run_words(&words.split_whitespace().collect::<Vec<_>>())
}

fn run_words(words: &[&str]) -> Result<(), String> {
    let ended = Running::start(Command::new(words[0]).args(&words[1..])).wait(DEADLINE);
    if ended.code() == Some(0) { Ok(()) } else { Err(ended.said()) }
}
