//! Where people leave traces: visible tables of globs below every home.

use crate::host::shell_history::Format;

/// Histories: the program, how it writes, where.
pub const HISTORIES: [(&str, Format, &str); 15] = [
    ("bash", Format::Lines, "~/.bash_history*"),
    ("zsh", Format::Lines, "~/{.zsh_history*,.zhistory*,.histfile,.zsh/history}"),
    ("fish", Format::Fish, "~/.local/share/fish/*_history"),
    (
        "sh",
        Format::Lines,
        "~/{.sh_history,.ash_history,.dash_history,.history,.ksh_history,.mksh_history,.osh_history}",
    ),
    ("tcsh", Format::Lines, "~/{.tcsh_history,.csh_history}"),
    ("powershell", Format::Lines, "~/.local/share/powershell/PSReadLine/*_history.txt"),
    ("python", Format::Lines, "~/{.python_history*,.ipython/profile_*/history.sqlite}"),
    ("mysql", Format::Lines, "~/{.mysql_history,.mariadb_history}"),
    ("psql", Format::Lines, "~/{.psql_history*,.pgadmin_histoqueries}"),
    ("sqlite", Format::Lines, "~/.sqlite_history"),
    ("redis", Format::Lines, "~/{.rediscli_history,.valkeycli_history}"),
    ("mongo", Format::Lines, "~/{.dbshell,.mongodb/mongosh/mongosh_repl_history}"),
    (
        "other",
        Format::Lines,
        "~/{.node_repl_history,.php_history,.irb_history,.lftp/rl_history,.gdb_history,.nano_history,.local/share/nano/search_history}",
    ),
    ("vim", Format::Vim, "~/{.viminfo,.vim/viminfo,.local/state/vim/viminfo}"),
    ("less", Format::Less, "~/{.lesshst,.local/state/lesshst}"),
];

/// Files that are only taken.
pub const FILES: [&str; 4] = [
    "~/.{wget-hsts,selected_editor,xsession-errors,rhosts}",
    "~/.local/share/{gvfs-metadata,zeitgeist}/**",
    "~/.config/{gtk-3.0/bookmarks,user-dirs.dirs,monitors.xml}",
    "~/.local/share/nvim/shada/*",
];

/// Lists of recent documents.
pub const RECENT: &str =
    "~/{.local/share/recently-used.xbel,.recently-used.xbel,.local/share/RecentDocuments/*.desktop}";

/// What trashed files leave: the homes' trash, and that of other file systems.
pub const TRASH: &str = "{~/.local/share/Trash/info/*,/.Trash-*/info/*,/home/.Trash-*/info/*,/mnt/*/.Trash-*/info/*,/media/*/*/.Trash-*/info/*,/media/*/.Trash-*/info/*}";

/// Scripts that shells read when they start, in which their history is set.
pub const STARTUP: [&str; 2] = [
    "~/.{bashrc,bash_profile,bash_login,profile,zshrc,zshenv,zprofile,kshrc,mkshrc,bash_logout,zlogout,config/fish/config.fish}",
    "/etc/{profile,profile.d/*,bash.bashrc,bashrc,zsh/*,zshrc,zshenv,environment,security/pam_env.conf}",
];

/// Browsers of the Chromium family: where their profiles lie.
pub const CHROMIUM: [(&str, &str); 7] = [
    (
        "chrome",
        "~/{.config,.var/app/com.google.Chrome/config}/google-chrome{,-beta,-unstable}/{Default,Profile *,Guest Profile}",
    ),
    (
        "chromium",
        "~/{.config/chromium,snap/chromium/common/chromium,.var/app/org.chromium.Chromium/config/chromium}/{Default,Profile *}",
    ),
    ("edge", "~/{.config,.var/app/com.microsoft.Edge/config}/microsoft-edge{,-beta,-dev}/{Default,Profile *}"),
    (
        "brave",
        "~/{.config,snap/brave/*/.config,.var/app/com.brave.Browser/config}/BraveSoftware/Brave-Browser{,-Beta}/{Default,Profile *}",
    ),
    ("vivaldi", "~/.config/vivaldi{,-snapshot}/{Default,Profile *}"),
    ("opera", "~/{.config/opera{,-beta},snap/opera/*/.config/opera}"),
    ("opera", "~/.config/opera{,-beta}/Default"),
];

/// What is taken of a profile of theirs. Cookies and passwords are withheld by their names, and digested.
pub const CHROMIUM_FILES: &str = "{History{,-journal},Bookmarks,Preferences,Secure Preferences,Top Sites,Shortcuts,Cookies,Network/Cookies,Login Data{, For Account},Web Data,Sessions/*,Extensions/*/*/manifest.json}";

/// Firefox: where its profiles lie.
pub const FIREFOX: (&str, &str) = (
    "firefox",
    "~/{.mozilla/firefox,.config/mozilla/firefox,snap/firefox/common/.mozilla/firefox,.var/app/org.mozilla.firefox/.mozilla/firefox}/*.*",
);

/// What is taken of a profile of Firefox.
pub const FIREFOX_FILES: &str = "{places.sqlite{,-wal},downloads.sqlite,formhistory.sqlite,extensions.json,addons.json,prefs.js,permissions.sqlite,cookies.sqlite,key4.db,logins.json,sessionstore.jsonlz4,sessionstore-backups/*}";

/// Folders within a profile, which are not the profile.
pub const WITHIN_PROFILE: [&[u8]; 3] = [b"Network", b"Sessions", b"sessionstore-backups"];

/// Programs whose presence is a fact: name, kind, where they leave something.
pub const APPLICATIONS: [(&str, &str, &str); 31] = [
    ("anydesk", "remote_access", "{~/.anydesk,/etc/anydesk,/opt/anydesk}"),
    (
        "teamviewer",
        "remote_access",
        "{~/.config/teamviewer,~/.local/share/teamviewer*,/opt/teamviewer,/etc/teamviewer}",
    ),
    ("rustdesk", "remote_access", "~/.config/rustdesk"),
    ("splashtop", "remote_access", "{~/.config/Splashtop*,/opt/splashtop*}"),
    ("screenconnect", "remote_access", "{/opt/connectwisecontrol-*,/opt/screenconnect*}"),
    ("simplehelp", "remote_access", "{/opt/JWrapper*,~/.JWrapper}"),
    ("thinlinc", "remote_access", "{~/.thinlinc,/opt/thinlinc}"),
    ("nomachine", "remote_access", "{~/.nx,/usr/NX}"),
    ("atera", "remote_access", "/opt/atera*"),
    ("meshagent", "remote_access", "{/usr/local/mesh*,/opt/mesh*}"),
    ("vnc", "remote_access", "~/.vnc"),
    ("remmina", "remote_access", "~/.local/share/remmina"),
    ("ngrok", "tunnel", "{~/.config/ngrok,~/.ngrok2}"),
    ("cloudflared", "tunnel", "{~/.cloudflared,/etc/cloudflared}"),
    ("tailscale", "tunnel", "/var/lib/tailscale"),
    ("zerotier", "tunnel", "/var/lib/zerotier-one"),
    ("tor", "tunnel", "{~/.tor,~/.local/share/torbrowser,/var/lib/tor}"),
    ("rclone", "sync", "~/.config/rclone"),
    ("megacmd", "sync", "~/.megaCmd"),
    ("dropbox", "sync", "~/.dropbox"),
    ("syncthing", "sync", "~/{.config/syncthing,.local/state/syncthing}"),
    ("nextcloud", "sync", "~/.config/Nextcloud"),
    ("filezilla", "sync", "~/{.filezilla,.config/filezilla}"),
    ("restic", "sync", "~/.cache/restic"),
    ("thunderbird", "mail", "~/{.thunderbird,snap/thunderbird/common/.thunderbird}"),
    ("evolution", "mail", "~/.local/share/evolution"),
    ("signal", "chat", "~/.config/Signal"),
    ("telegram", "chat", "~/.local/share/TelegramDesktop"),
    ("slack", "chat", "~/.config/Slack"),
    ("discord", "chat", "~/.config/discord"),
    ("teams", "chat", "~/.config/{Microsoft/Microsoft Teams,teams-for-linux}"),
];

/// Logs of programs of remote access, which say who came when and from where.
pub const APPLICATION_LOGS: [&str; 4] = [
    "~/.anydesk/{*.trace,*.txt}",
    "/var/log/{anydesk*,teamviewer*/*}",
    "~/.local/share/{teamviewer*/logfiles/*,logs/RustDesk/**}",
    "/opt/teamviewer/logfiles/**",
];
