//! Where applications log, beside what `auth_log`, `web_logs` and the package collectors read: a visible table.

/// Application and globs.
pub const LOGS: [(&str, &str); 50] = [
    ("mysql", "{/var/log/mysql*/**,/var/log/mysqld.log*,/var/log/mariadb/**,/var/lib/mysql/*.{err,log}}"),
    ("postgresql", "{/var/log/postgresql/**,/var/lib/pgsql/**/{log,pg_log}/**,/var/lib/postgresql/**/{log,pg_log}/**}"),
    ("mongodb", "/var/log/mongodb/**"),
    ("redis", "/var/log/{redis,valkey}*/**"),
    ("elasticsearch", "/{var/log/elasticsearch/**,usr/share/elasticsearch/logs/**}"),
    ("opensearch", "/{var/log/opensearch/**,usr/share/opensearch/logs/**}"),
    ("kibana", "/var/log/kibana/**"),
    ("logstash", "/var/log/logstash/**"),
    ("cassandra", "/var/log/cassandra/**"),
    ("clickhouse", "/var/log/clickhouse-server/**"),
    ("rabbitmq", "/var/log/rabbitmq/**"),
    ("kafka", "/{var/log/kafka/**,opt/kafka*/logs/*.log*}"),
    ("zookeeper", "/{var/log/zookeeper/**,opt/zookeeper*/logs/**}"),
    ("haproxy", "/var/log/haproxy*{,/**}"),
    ("squid", "/var/log/squid*/**"),
    ("varnish", "/var/log/varnish/**"),
    ("envoy", "/var/log/envoy/**"),
    ("bind", "/var/log/{named,bind}/**"),
    ("dnsmasq", "/var/log/dnsmasq*"),
    ("openvpn", "/var/log/openvpn*{,/**}"),
    ("strongswan", "/var/log/{charon,strongswan}*"),
    (
        "jenkins",
        "/{var/log/jenkins/**,var/lib/jenkins/config.xml,var/lib/jenkins/logs/**,var/lib/jenkins/jobs/*/config.xml,var/lib/jenkins/jobs/*/builds/*/{build.xml,log}}",
    ),
    ("gitlab", "/var/log/gitlab/**"),
    ("gitea", "/{var/lib/gitea/log/**,var/log/gitea/**}"),
    ("teamcity", "/opt/{teamcity,TeamCity}*/logs/**"),
    ("confluence", "/{opt,var}/atlassian/**/logs/**"),
    ("nextcloud", "/{var/www,srv/www,usr/share}/nextcloud/data/nextcloud.log*"),
    ("wordpress", "/{var/www,srv/www}/**/wp-content/debug.log"),
    ("mail", "/var/log/{mail*,maillog*,exim*/**,exim*,postfix*,dovecot*,sendmail*/**}"),
    ("vsftpd", "/var/log/{vsftpd*,xferlog*,proftpd/**,pure-ftpd/**}"),
    ("samba", "/var/log/samba/**"),
    ("nfs", "/var/lib/nfs/{etab,rmtab,xtab}"),
    ("cups", "/var/log/cups/**"),
    ("fail2ban", "{/var/log/fail2ban.log*,/var/lib/fail2ban/fail2ban.sqlite3}"),
    ("firewall", "/var/log/{ufw.log*,firewalld*,iptables*,ulog/**,ulogd*}"),
    ("suricata", "/var/log/{suricata,snort,zeek,bro}/**"),
    ("clamav", "/var/log/clamav/**"),
    ("wazuh", "/var/ossec/logs/**"),
    ("falcon", "/{var/log/falcon*,opt/CrowdStrike/*.{log,txt}}"),
    ("mdatp", "/var/log/microsoft/mdatp/**"),
    ("sentinelone", "/opt/sentinelone/log/**"),
    ("sophos", "/{var/log/sophos*/**,opt/sophos*/log/**}"),
    ("falco", "/var/log/falco*{,/**}"),
    ("osquery", "/var/log/osquery/**"),
    ("aws", "/var/log/{amazon/**,aws*/**,cfn-*.log*,eks/**}"),
    ("azure", "/var/{log/azure/**,log/waagent.log*,lib/waagent/run-command/download/**}"),
    ("google", "/var/log/google*{,/**}"),
    ("cloud_init", "/var/log/cloud-init*.log*"),
    ("cpanel", "/usr/local/cpanel/logs/**"),
    ("virtualisation", "/var/log/{libvirt/**,xen/**,pve/**,vmware*.log*}"),
];

/// Dumps of crashed programs: their names and what lies beside them, never the dump.
pub const DUMPS: &str = "{/var/lib/systemd/coredump/*,/var/crash/**,/var/spool/abrt/**,/var/lib/apport/coredump/*,/var/cache/abrt/**,/core,/core.*,/var/core/*,/cores/*}";

/// Recorded sessions of sudo (sudoers(5), `log_output`).
pub const SUDO_SESSIONS: &str = "/var/log/sudo-io/**/{log,log.json}";
