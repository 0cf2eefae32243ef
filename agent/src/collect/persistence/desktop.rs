//! Desktop sessions: autostart entries, X and display managers' scripts, window managers' start files (Desktop Entry
//! and Autostart specifications of freedesktop.org, Xsession(5), startx(1)).

use super::formats::{code_lines, content, executable, lines_that_begin_with, settings, sourced};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::Found;

pub(super) static FAMILY: Family = Family::of(&[
    Mechanism {
        name: "xdg_autostart",
        globs: &[
            "/etc/xdg/autostart/*",
            "/etc/xdg/*/autostart/*",
            "{/usr/share,/usr/local/share}/{autostart,gnome/autostart}/*",
            "~/.config/autostart/*",
            "~/.local/share/autostart/*",
        ],
        read: entry,
    },
    Mechanism {
        name: "desktop_entry",
        globs: &[
            "~/.local/share/applications/**",
            "~/{Desktop,.local/share/kservices5,.local/share/kio/servicemenus}/*.desktop",
            "/usr/local/share/applications/*",
        ],
        read: entry,
    },
    Mechanism {
        name: "autostart_script",
        globs: &[
            "~/.config/autostart-scripts/*",
            "~/.{kde,kde4}/Autostart/*",
            "~/.config/plasma-workspace/{env,shutdown}/*",
            "~/.config/{openbox,labwc,lxsession/LXDE,awesome,qtile}/{autostart,autostart.sh,rc.lua,config.py}",
            "/etc/xdg/{openbox,labwc,lxsession/*}/autostart",
        ],
        read: sourced,
    },
    Mechanism {
        name: "x_session",
        globs: &[
            "/etc/X11/{Xsession,Xreset,xinit/**,xdm/**,Xsession.d/*,Xreset.d/*}",
            "/etc/{xprofile,xinitrc}",
            "/etc/{gdm,gdm3}/{Init,PostLogin,PreSession,PostSession,Xsession}{,/*}",
            "/usr/share/sddm/scripts/*",
            "~/.{xinitrc,xsession,xsessionrc,xprofile,xserverrc,Xclients,Xsession,dmrc}",
        ],
        read: sourced,
    },
    Mechanism {
        name: "display_manager_script",
        globs: &[
            "/etc/lightdm/*.conf",
            "{/etc,/usr/share}/lightdm/lightdm.conf.d/*",
            "/etc/sddm.conf",
            "/etc/sddm.conf.d/*",
        ],
        read: display_manager,
    },
    Mechanism {
        name: "window_manager_exec",
        globs: &[
            "{/etc/i3,/etc/sway,/etc/xdg/i3,~/.i3,~/.config/i3,~/.config/sway,~/.config/hypr}/**",
            "~/.config/{bspwm/bspwmrc,herbstluftwm/autostart}",
        ],
        read: window_manager,
    },
    Mechanism {
        name: "gnome_extension",
        globs: &["~/.local/share/gnome-shell/extensions/*/{extension.js,metadata.json}"],
        read: super::formats::present,
    },
    Mechanism { name: "nautilus_script", globs: &["~/.local/share/{nautilus,nemo,caja}/scripts/**"], read: executable },
]);

fn entry(found: &Found, drafts: &mut Drafts) {
    let mut draft = Draft::of(drafts.mechanism);
    for setting in settings(content(found)) {
        match (setting.section, setting.key) {
            (b"Desktop Entry", b"Exec") => draft.run(&setting.value),
            (b"Desktop Entry", b"Name") => draft.name = Some(setting.value),
            (b"Desktop Entry", b"Hidden") => draft.enabled = Some(setting.value != b"true"),
            (b"Desktop Entry", b"OnlyShowIn" | b"NotShowIn") => {
                draft.schedule = Some([setting.key, b"=", setting.value.as_slice()].concat());
            }
            (_, b"Exec" | b"TryExec") => draft.runs.push(setting.value),
            _ => {}
        }
    }
    drafts.push(draft);
}

fn display_manager(found: &Found, drafts: &mut Drafts) {
    for setting in settings(content(found)) {
        let key = setting.key.to_ascii_lowercase();
        if key.ends_with(b"-script") || key.ends_with(b"command") || key == b"autologin-user" || key == b"user" {
            let name = Some(setting.key.to_vec());
            let text = [setting.key, b"=", setting.value.as_slice()].concat();
            let draft = Draft { name, ..Draft::at(drafts.mechanism, setting.line, &text) };
            drafts.push(if key.ends_with(b"user") {
                Draft { sets: vec![text], ..draft }
            } else {
                draft.running(&setting.value)
            });
        }
    }
}

fn window_manager(found: &Found, drafts: &mut Drafts) {
    lines_that_begin_with(found, drafts, &["exec", "exec_always", "exec-once"]);
    if found.path.ends_with(b"rc") || found.path.ends_with(b"autostart") {
        let lines = code_lines(content(found)).map(|(_, line)| line.to_vec()).collect();
        drafts.push(Draft { runs: lines, targets: vec![found.path.clone()], ..Draft::of(drafts.mechanism) });
    }
}
