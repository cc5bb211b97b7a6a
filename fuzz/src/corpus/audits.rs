//! What an audit of a host reads, good and nearly good; the first byte says what it is.

use super::Input;

/// All of them.
pub(super) fn all() -> Vec<Input> {
    let of = |kind: u8, text: &str| [&[kind], text.as_bytes()].concat();
    let head = "date = \"2026-01-01\"\nsource = \"s\"\nbranch = [{ name = \"3.0\", ends = \"2026-09-07\" }]\n\
        suite = [{ name = \"bookworm\", number = 12, ends = \"2028-06-30\" }]\n";
    let cve = "{ id = \"CVE-2025-0001\", severity = \"high\", published = \"2025-01-01\", affected = [\"3.0.0..3.0.9\", \"1.1.1..1.1.1zb\"], debian = { bookworm = \"3.0.8-1~deb12u2\" } }";
    vec![
        (
            "conf_of_windows",
            of(
                1,
                ".include /etc/ssl/conf.d\n.include\n.pragma = x\n[s]\nMinProtocol = TLSv1\r\n1.Options = -a,+b",
            ),
        ),
        (
            "status_of_two",
            of(
                0,
                "package: a\nstatus: hold ok installed\nversion: 0~\n \t\nPackage: b\nStatus: purge ok not-installed\nVersion: 1-1+deb12u3\n",
            ),
        ),
        ("banner", of(4, "\u{7f}ELF\0OpenSSL 3.0.1 14 Dec 2021\0")),
        ("banner_of_1_0_2", of(4, "OpenSSL 1.0.2k-fips  26 Jan 2017\0OpenSSL 3")),
        (
            "conf",
            of(1, "openssl_conf = init # x\n[ init ]\nssl_conf = \"a b\"\nx::y = $z\n.include = /etc/a\n"),
        ),
        ("conf_broken", of(1, "[open\n[]\n= 1\na = b \\\nc\\\n\\\\\n'\n")),
        (
            "maps",
            of(3, "7f-80 r-xp 00000000 08:01 4  /usr/lib/libssl.so.3 (deleted)\n7f [heap]\n//libcrypto.so\n"),
        ),
        (
            "status",
            of(
                0,
                "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:3.0.19-1~deb12u2\n Version: 2\n\n",
            ),
        ),
        (
            "status_broken",
            of(0, "Package: ../x\nStatus: a installed\nVersion: 1\n\n::\nPackage\n\n\nversion: -\n"),
        ),
        ("table", of(2, &format!("{head}cve = [{cve}]\n"))),
        ("table_twice", of(2, &format!("{head}cve = [{cve}, {cve}]\n"))),
    ]
}
