//! What the planted processes do: each only sleeps, listens or holds something. They say `ready` and then wait to be killed.

use std::ffi::CString;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use nix::sys::personality::{self, Persona};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};

/// ETH_P_ALL (linux/if_ether.h), in the byte order of the network.
const ALL_PACKETS: u16 = 3_u16.to_be();

pub fn run(words: &[String]) -> anyhow::Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["sleep"] => wait(()),
        ["named", name] => {
            rustix::thread::set_name(&CString::new(*name)?)?;
            wait(())
        }
        ["listen", port] => {
            let port: u16 = port.parse()?;
            let tcp = TcpListener::bind(("0.0.0.0", port))?;
            let udp = UdpSocket::bind(("0.0.0.0", port))?;
            wait((tcp, udp))
        }
        ["sniff"] => {
            let protocol = NonZeroU32::new(ALL_PACKETS.into()).map(Protocol::from_raw);
            let packets = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
            let icmp = NonZeroU32::new(1).map(Protocol::from_raw);
            let raw = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, icmp)?;
            wait((packets, raw))
        }
        ["hold", path] => {
            let mut file = std::fs::File::create(path)?;
            file.write_all(b"staged by the validation\n")?;
            std::fs::remove_file(path)?;
            wait(file)
        }
        ["trace", pid] => {
            let pid = nix::unistd::Pid::from_raw(pid.parse()?);
            nix::sys::ptrace::seize(pid, nix::sys::ptrace::Options::empty())?;
            wait(())
        }
        ["memory-file"] => {
            // Without CLOEXEC: execve(2) opens it by its number.
            let file = rustix::fs::memfd_create("validation", rustix::fs::MemfdFlags::empty())?;
            let mut into = std::fs::File::from(file);
            std::io::copy(&mut std::fs::File::open("/proc/self/exe")?, &mut into)?;
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&into));
            let mut next = Command::new(path);
            Err(next.arg0("/usr/sbin/validation-daemon").args(["validate", "act", "sleep"]).exec().into())
        }
        ["writable-code"] => {
            // From then on every mapping that may be read may be executed: so is this one, which malloc(3) maps. An execve(2)
            // would clear it again (arch/x86/kernel/process_64.c).
            personality::set(personality::get()? | Persona::READ_IMPLIES_EXEC)?;
            wait(vec![1_u8; 4 << 20])
        }
        ["remote-shell"] => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let near = TcpStream::connect(listener.local_addr()?)?;
            let (far, _) = listener.accept()?;
            let out = near.try_clone()?;
            let shell = Command::new("/bin/sh").stdin(OwnedFd::from(near)).stdout(OwnedFd::from(out)).spawn()?;
            println!("{}", shell.id());
            wait((far, shell))
        }
        other => bail!("no act `{}`", other.join(" ")),
    }
}

/// Keeps what it was given until somebody kills this process.
fn wait<T>(held: T) -> anyhow::Result<()> {
    println!("ready");
    std::io::stdout().flush()?;
    let _held = held;
    loop {
        std::thread::park();
    }
}

/// Starts an act and waits until it is ready. Returns the process, and what it said before.
pub fn start(program: &str, arg0: Option<&str>, words: &[&str]) -> anyhow::Result<(std::process::Child, Vec<String>)> {
    use std::io::BufRead as _;
    let mut command = Command::new(program);
    if let Some(arg0) = arg0 {
        command.arg0(arg0);
    }
    command.args(["validate", "act"]).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| program.to_owned())?;
    let mut said = Vec::new();
    let mut lines = std::io::BufReader::new(child.stdout.take().context("no output")?).lines();
    loop {
        match lines.next() {
            Some(line) => match line?.as_str() {
                "ready" => return Ok((child, said)),
                other => said.push(other.to_owned()),
            },
            None => bail!("`{}` ended before it was ready: {}", words.join(" "), child.wait()?),
        }
    }
}
