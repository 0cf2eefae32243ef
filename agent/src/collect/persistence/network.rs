//! Hooks of the network: ifupdown, NetworkManager, dhclient, networkd-dispatcher, ppp, OpenVPN, WireGuard
//! (interfaces(5), NetworkManager-dispatcher(8), dhclient-script(8), pppd(8), openvpn(8), wg-quick(8)).

use super::formats::{executable, lines_that_begin_with, sourced};
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::{Found, Keep};

pub(super) static FAMILY: Family = Family::of(&[
    Mechanism {
        name: "ifupdown_hook",
        globs: &["/etc/network/{if-up.d,if-down.d,if-pre-up.d,if-post-down.d}/*"],
        read: executable,
    },
    Mechanism {
        name: "ifupdown_command",
        globs: &["/etc/network/interfaces", "/etc/network/interfaces.d/**"],
        read: interfaces,
    },
    Mechanism {
        name: "network_script",
        globs: &[
            "/sbin/if{up,down}-{local,pre-local}",
            "/etc/sysconfig/network-scripts/{ifup,ifdown}*",
            "/etc/netctl/hooks/*",
        ],
        read: executable,
    },
    Mechanism {
        name: "networkmanager_dispatcher",
        globs: &["{/etc,/usr/lib,/lib,/run}/NetworkManager/dispatcher.d/**"],
        read: executable,
    },
    Mechanism {
        name: "dhclient_hook",
        globs: &[
            "/etc/dhcp/dhclient-{enter,exit}-hooks",
            "/etc/dhcp/dhclient-{enter,exit}-hooks.d/*",
            "/etc/dhcp/dhclient.d/*",
            "/etc/dhcp3/dhclient-{enter,exit}-hooks.d/*",
            "/etc/dhclient-*-hooks",
            "{/etc,/usr/lib,/lib,/usr/libexec}/dhcpcd/dhcpcd-hooks/*",
            "/etc/dhcpcd.{enter,exit}-hook",
            "/etc/udhcpc/*",
            "/usr/share/udhcpc/default.script",
        ],
        read: sourced,
    },
    Mechanism {
        name: "networkd_dispatcher",
        globs: &["{/etc,/usr/lib,/lib}/networkd-dispatcher/**"],
        read: executable,
    },
    Mechanism {
        name: "ppp_hook",
        globs: &["/etc/ppp/{ip-up,ip-down,ipv6-up,ipv6-down,ip-pre-up,auth-up,auth-down}{,.d/*,.local}"],
        read: executable,
    },
    Mechanism {
        name: "resolvconf_hook",
        globs: &["/etc/resolvconf/{update.d,update-libc.d}/*", "/usr/lib/resolvconf/*"],
        read: executable,
    },
    Mechanism { name: "openvpn_command", globs: &["/etc/openvpn/**/*.{conf,ovpn}"], read: openvpn },
    Mechanism {
        name: "wpa_hook",
        globs: &["/etc/wpa_supplicant/*.sh", "/etc/ifplugd/action.d/*", "/etc/hostapd/*.sh"],
        read: executable,
    },
]);

/// Apart from the others: these files hold private keys, and of them only the lines that run something are read.
pub(super) static WIREGUARD: Family = Family {
    mechanisms: &[Mechanism { name: "wireguard_command", globs: &["/etc/wireguard/*.conf"], read: wireguard }],
    keep: Keep::FilesAndParseSecrets,
    finish: |_, _| {},
};

fn interfaces(found: &Found, drafts: &mut Drafts) {
    lines_that_begin_with(found, drafts, &["up", "down", "pre-up", "post-up", "pre-down", "post-down"]);
}

fn openvpn(found: &Found, drafts: &mut Drafts) {
    const WORDS: [&str; 12] = [
        "up",
        "down",
        "ipchange",
        "route-up",
        "route-pre-down",
        "client-connect",
        "client-disconnect",
        "learn-address",
        "auth-user-pass-verify",
        "tls-verify",
        "tls-crypt-v2-verify",
        "plugin",
    ];
    lines_that_begin_with(found, drafts, &WORDS);
}

fn wireguard(found: &Found, drafts: &mut Drafts) {
    lines_that_begin_with(found, drafts, &["PreUp", "PostUp", "PreDown", "PostDown"]);
}
