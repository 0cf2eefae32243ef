//! The commands that check a bundle with ssh-keygen, sha256sum, jq and unzip alone (FORMAT.md, "Verifying by hand").

use maud::{Markup, html};
use wire::api::{EvidenceState, EvidenceView};

use crate::ui::parts::command;
use crate::ui::text::is_shell_word;

/// The section. Names that are no plain words stay out of the commands: they come from the bundle.
pub fn section(evidence: &EvidenceView) -> Markup {
    let name = Some(evidence.name.as_str()).filter(|name| is_shell_word(name)).unwrap_or(if evidence.encrypted {
        "bundle.evidence.zip.age"
    } else {
        "bundle.evidence.zip"
    });
    let zip = name.strip_suffix(".age").unwrap_or(name);
    let principal = evidence.signer_principal.as_deref().filter(|name| is_shell_word(name)).unwrap_or("agent:NAME");
    html! {
        section #by-hand aria-labelledby="h-by-hand" {
            h2 #h-by-hand { "Verify it yourself" }
            p { "With the bundle, stream.jsonl and a list of keys that you trust, in one folder:" }
            @if evidence.encrypted {
                (command(&format!("holdfast evidence open {name} --identity KEY --signers allowed_signers --output {zip}")))
            } @else {
                (command(&format!("holdfast verify {name} --signers allowed_signers")))
            }
            p { "Without any software of ours:" }
            (command(&stream_commands(name, principal, evidence.state)))
            @if evidence.encrypted {
                p { "Then decrypt it, with the key of one whom it is encrypted to:" }
                (command(&decrypt_commands(name, zip, evidence.state)))
            }
            @if evidence.state == EvidenceState::Sealed {
                p { "Then its content, in a container (symbolic links are real):" }
                (command(&content_commands(zip, principal)))
            }
            p.quiet {
                "The " code { "allowed_signers" }
                " of this server is its own word. Compare the key with one that came another way, "
                "for instance from the host's console: a forger would supply both the bundle and the list."
            }
        }
    }
}

/// Of a bundle that was cut, the last line whose offset is a boundary counts: up to there it is an ordinary ZIP file.
fn stream_commands(name: &str, principal: &str, state: EvidenceState) -> String {
    let last = if state == EvidenceState::Sealed { "" } else { "map(select(.zip_boundary)) | " };
    format!(
        "B={name}\n\
         jq -rs '{last}.[-1].signed_b64' $B.stream.jsonl | base64 -d > sc.json\n\
         jq -rs '{last}.[-1].sig_ssh' $B.stream.jsonl > sc.sig\n\
         ssh-keygen -Y verify -f allowed_signers -I {principal} -n holdfast-bundle -s sc.sig < sc.json\n\
         head -c $(jq .offset sc.json) $B | sha256sum; jq -r .sha256 sc.json   # must be equal"
    )
}

/// Of a file that was cut, age gives what it can and then says that it was.
fn decrypt_commands(name: &str, zip: &str, state: EvidenceState) -> String {
    if state == EvidenceState::Sealed {
        format!("age -d -i KEY {name} > {zip}")
    } else {
        format!("age -d -i KEY {name} | head -c $(jq .zip_offset sc.json) > {zip}")
    }
}

fn content_commands(name: &str, principal: &str) -> String {
    format!(
        "unzip -q {name} -d D && cd D\n\
         ssh-keygen -Y verify -f ../allowed_signers -I {principal} -n holdfast-bundle \\\n  \
         -s tagmanifest-sha256.txt.sig < tagmanifest-sha256.txt\n\
         sha256sum -c --quiet --strict manifest-sha256.txt tagmanifest-sha256.txt"
    )
}
