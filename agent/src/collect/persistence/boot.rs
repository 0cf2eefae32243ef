//! What starts before init: the boot loader's configuration and scripts, the hooks that go into an initramfs, and the
//! files of `/boot` by metadata and digest (grub-mkconfig(8), initramfs-tools(7), dracut(8), mkinitcpio(8)).

use super::formats::{code_lines, content, executable, present, sides, sourced};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::{Found, Keep};

pub(super) static FAMILY: Family = Family::of(&[
    Mechanism { name: "grub_script", globs: &["/etc/grub.d/**"], read: executable },
    Mechanism {
        name: "grub_settings",
        globs: &["/etc/default/grub", "/etc/default/grub.d/*", "/etc/sysconfig/grub"],
        read: grub_settings,
    },
    Mechanism {
        name: "boot_entry",
        globs: &[
            "/boot/{grub,grub2}/*.cfg",
            "/boot/{loader,efi/loader}/{loader.conf,entries/*.conf}",
            "/boot/efi/EFI/*/grub.cfg",
            "/efi/loader/{loader.conf,entries/*.conf}",
            "/boot/{extlinux,syslinux}/*.{conf,cfg}",
            "/boot/{cmdline.txt,config.txt,boot.scr,uEnv.txt,armbianEnv.txt}",
        ],
        read: entry,
    },
    Mechanism {
        name: "initramfs_hook",
        globs: &[
            "{/etc,/usr/share}/initramfs-tools/{hooks,scripts}/**",
            "{/etc,/usr/lib}/initcpio/{hooks,install,post}/*",
            "/usr/lib/dracut/modules.d/*/*.sh",
            "/etc/mkinitfs/features.d/*",
        ],
        read: sourced,
    },
    Mechanism {
        name: "initramfs_settings",
        globs: &[
            "/etc/initramfs-tools/{*.conf,conf.d/*,update-initramfs.conf}",
            "/etc/dracut.conf",
            "{/etc,/usr/lib}/dracut.conf.d/*",
            "/etc/mkinitcpio.conf",
            "/etc/mkinitcpio.{conf.d,d}/*",
            "/etc/mkinitfs/mkinitfs.conf",
        ],
        read: initramfs_settings,
    },
]);

/// Kernels and initial file systems are long, and are known by their digest.
pub(super) static IMAGES: Family = Family {
    mechanisms: &[Mechanism {
        name: "boot_file",
        globs: &["/boot/*", "/boot/efi/EFI/*/*", "/boot/{grub,grub2}/{i386-pc/core.img,*-efi/*.efi}"],
        read: present,
    }],
    keep: Keep::Digests,
    finish: |_, _| {},
};

fn grub_settings(found: &Found, drafts: &mut Drafts) {
    let sets = code_lines(content(found)).map(|(_, line)| line.to_vec()).collect();
    drafts.push(Draft { sets, ..Draft::of(drafts.mechanism) });
}

/// The lines that boot a kernel: `init=`, `rd.break` and the like stand there.
fn entry(found: &Found, drafts: &mut Drafts) {
    let mut any = false;
    for (n, line) in code_lines(content(found)) {
        let (word, rest) = super::formats::first_word(line);
        let is_kernel = matches!(
            word,
            b"linux"
                | b"linux16"
                | b"linuxefi"
                | b"options"
                | b"append"
                | b"APPEND"
                | b"kernel"
                | b"initrd"
                | b"chainloader"
        );
        if is_kernel || found.path.ends_with(b"cmdline.txt") {
            let mut draft = Draft { kind: Some(word.to_vec()), ..Draft::at(drafts.mechanism, n, line) };
            draft.arguments =
                rest.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).map(<[u8]>::to_vec).collect();
            let init = draft.arguments.iter().find_map(|argument| argument.strip_prefix(b"init=")).map(<[u8]>::to_vec);
            if let Some(init) = init {
                draft.run(&init);
            }
            drafts.push(draft);
            any = true;
        }
    }
    if !any {
        drafts.push(Draft::of(drafts.mechanism));
    }
}

fn initramfs_settings(found: &Found, drafts: &mut Drafts) {
    let lines = code_lines(content(found)).filter(|(_, line)| sides(line, b'=').is_some());
    let sets = lines.map(|(_, line)| line.to_vec()).collect();
    drafts.push(Draft { sets, ..Draft::of(drafts.mechanism) });
}
