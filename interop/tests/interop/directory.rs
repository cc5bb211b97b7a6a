//! A real directory, OpenLDAP's slapd, on loopback with a configuration of its own: who comes in by it, with which rights, and
//! what happens when it is gone or is not who it should be.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use motte_testkit::{Broker, DEADLINE, finish, wait_until};
use tempfile::TempDir;

use crate::keys::shell;
use crate::site::need;

const SLAPD: &str = "/usr/sbin/slapd";
const BASE: &str = "dc=example,dc=org";
const GOOD: u8 = 0;
const BAD_LOGIN: u8 = 0x86;
const NOT_AUTHORIZED: u8 = 0x87;
const UNAVAILABLE: u8 = 0x88;

/// What slapd serves. A bind with a name and without a password is taken for nobody's and let in, as many directories do.
const SLAPD_CONF: &str = "include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile DIR/slapd.pid
TLSCACertificateFile DIR/ca.pem
TLSCertificateFile DIR/server.pem
TLSCertificateKeyFile DIR/server.key
allow bind_anon_cred bind_anon_dn
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact=\"cn=motte,dc=example,dc=org\" read by dn.exact=\"cn=admin,dc=example,dc=org\" write by self read by * auth
database mdb
suffix \"dc=example,dc=org\"
rootdn \"cn=admin,dc=example,dc=org\"
rootpw admin
directory DIR/db
overlay memberof
";

const PEOPLE: &str = "dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: cn=motte,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: motte
userPassword: of-the-account

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: uid=ann,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: A
userPassword: ann's

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: B
mail: twins@example.org
userPassword: bob's

dn: uid=o\\2ca,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: o,a
cn: O
sn: O
mail: twins@example.org
userPassword: o's

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: cn=operators,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: operators
member: uid=ann,ou=people,dc=example,dc=org
";

const POLICY: &str = "version = 1
[role.operator]
rules = [{ allow = [\"publish\"], topics = [\"plant/#\"], method = [\"ldap\"] }]
[role.reader]
rules = [{ allow = [\"subscribe\"], topics = [\"plant/#\"] }]
[authenticated]
roles = [\"reader\"]
";

const SEARCH: &str = "search_base = \"ou=people,dc=example,dc=org\"
search_filter = \"(&(objectClass=inetOrgPerson)(uid={user}))\"
bind_dn = \"cn=motte,dc=example,dc=org\"
bind_password_file = \"account.password\"
";

const TEMPLATE: &str = "bind_as = \"uid={user},ou=people,dc=example,dc=org\"\n";

const MEMBER_OF: &str = "group_attribute = \"memberOf\"\n";
const MEMBERS: &str = "group_base = \"ou=groups,dc=example,dc=org\"\ngroup_filter = \"(member={dn})\"\n";

/// A directory in a directory.
struct Slapd {
    dir: TempDir,
    child: Child,
    plain: u16,
    tls: u16,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it is bound").port()
}

fn spawn(dir: &Path, plain: u16, tls: u16) -> Child {
    let urls = format!("ldap://127.0.0.1:{plain} ldaps://127.0.0.1:{tls}");
    let mut command = Command::new(SLAPD);
    command.current_dir(dir).args(["-d", "0", "-f", "slapd.conf", "-h", &urls]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it is there");
    wait_until("slapd listens", || TcpStream::connect(("127.0.0.1", tls)).is_ok());
    child
}

impl Slapd {
    fn start() -> Self {
        need(Path::new(SLAPD));
        let dir = tempfile::tempdir().expect("a temporary directory");
        let conf = SLAPD_CONF.replace("DIR", dir.path().to_str().expect("text"));
        std::fs::write(dir.path().join("slapd.conf"), conf).expect("ours");
        std::fs::write(dir.path().join("people.ldif"), PEOPLE).expect("ours");
        shell(
            dir.path(),
            "umask 077; mkdir db; printf of-the-account > account.password
             for ca in ca other; do
               openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $ca.key -out $ca.pem \\
                 -subj /CN=$ca -days 5 -addext basicConstraints=critical,CA:TRUE
             done
             openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=localhost
             printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\nextendedKeyUsage=serverAuth\\n' > ext
             openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 5 -extfile ext -out server.pem",
        );
        let (plain, tls) = (free_port(), free_port());
        let own = Self { child: spawn(dir.path(), plain, tls), dir, plain, tls };
        let mut add = Command::new("ldapadd");
        let url = format!("ldap://127.0.0.1:{plain}");
        add.args(["-x", "-H", &url, "-D", "cn=admin,dc=example,dc=org", "-w", "admin", "-f"]);
        let (good, text) = finish(add.arg(own.dir.path().join("people.ldif")));
        assert!(good, "{text}");
        own
    }

    fn stop(&mut self) {
        // By its own process id, which nobody else has before it was waited for.
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    fn start_again(&mut self) {
        self.child = spawn(self.dir.path(), self.plain, self.tls);
    }

    fn ldaps(&self) -> String {
        format!("url = \"ldaps://localhost:{}\"\nca = [\"ca.pem\"]\n", self.tls)
    }

    fn start_tls(&self) -> String {
        format!("url = \"ldap://127.0.0.1:{}\"\nca = [\"ca.pem\"]\n", self.plain)
    }

    fn in_the_clear(&self) -> String {
        format!("url = \"ldap://127.0.0.1:{}\"\nplaintext = true\n", self.plain)
    }

    /// A broker in the same directory of files that asks it so.
    fn broker(&self, ldap: &str) -> Broker {
        std::fs::write(self.dir.path().join("policy.toml"), POLICY).expect("ours");
        Broker::serve(self.dir.path(), &config(ldap, "methods = [\"ldap\"]\n"))
    }
}

fn config(ldap: &str, auth: &str) -> String {
    let state = next_state();
    format!(
        "state_dir = \"{state}\"\n[log]\nformat = \"json\"\n[sandbox]\nmode = \"required\"\n[policy]\nfiles = [\"policy.toml\"]\n\
         [[listener]]\nname = \"main\"\nkind = \"tcp\"\nbind = [\"127.0.0.1:0\"]\n[listener.auth]\n{auth}\
         [auth.attempts]\nfree = 100\nlockout_after = 200\n[auth.ldap]\n{ldap}\
         [auth.ldap.groups]\n\"CN=Operators, OU=groups,{BASE}\" = [\"operator\"]\n"
    )
}

fn next_state() -> String {
    thread_local!(static NEXT: Cell<u32> = const { Cell::new(0) });
    NEXT.set(NEXT.get() + 1);
    format!("state-{}", NEXT.get())
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn put(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend(u16::try_from(bytes.len()).expect("short").to_be_bytes());
    body.extend(bytes);
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let low = u8::try_from(length % 128).expect("seven bits");
    let head = if length < 128 {
        vec![first, low]
    } else {
        vec![first, low | 0x80, u8::try_from(length / 128).expect("short")]
    };
    [head, body.to_vec()].concat()
}

fn reason(stream: &mut TcpStream, at: usize) -> u8 {
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("an answer");
    let mut body = vec![0; usize::from(head[1])];
    stream.read_exact(&mut body).expect("all of it");
    body.get(at).copied().unwrap_or(0)
}

/// Connects with MQTT 5.0; the Reason Code.
fn connect(broker: &Broker, user: &str, password: Option<&str>) -> (TcpStream, u8) {
    let flags = if password.is_some() { 0xc2 } else { 0x82 };
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, flags, 0, 60, 0];
    put(&mut body, b"");
    put(&mut body, user.as_bytes());
    if let Some(password) = password {
        put(&mut body, password.as_bytes());
    }
    let mut stream = TcpStream::connect(broker.address("main")).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.write_all(&packet(0x10, &body)).expect("CONNECT");
    let code = reason(&mut stream, 1);
    (stream, code)
}

fn login(broker: &Broker, user: &str, password: &str) -> u8 {
    connect(broker, user, Some(password)).1
}

/// What becomes of a PUBLISH with QoS 1 to `plant/valve`.
fn publish(stream: &mut TcpStream) -> u8 {
    let mut body = Vec::new();
    put(&mut body, b"plant/valve");
    body.extend([0, 1, 0]);
    stream.write_all(&packet(0x32, &body)).expect("PUBLISH");
    reason(stream, 2)
}

/// What holds whichever way the directory is asked.
fn everything_holds(broker: &Broker, way: &str) {
    let (mut ann, code) = connect(broker, "ann", Some("ann's"));
    let failed = || {
        broker.events("gate.login_service_failed").iter().map(|one| one.field("cause")).collect::<Vec<_>>()
    };
    assert_eq!(code, GOOD, "{way}: {:?}", failed());
    let code = publish(&mut ann);
    assert!(code == GOOD || code == 0x10, "{way}: an operator by a group: {code:#x}");
    let (mut bob, code) = connect(broker, "bob", Some("bob's"));
    assert_eq!((code, publish(&mut bob)), (GOOD, NOT_AUTHORIZED), "{way}: bob is in no group");
    assert_eq!(login(broker, "o,a", "o's"), GOOD, "{way}: a name that must be escaped");
    for (user, password) in [
        ("ann", "bob's"),
        ("nobody", "ann's"),
        ("ann", ""),
        // Another spelling of a name is another identity for a policy.
        ("Ann", "ann's"),
        ("ann ", "ann's"),
        ("*", "ann's"),
        ("*)(uid=*", "ann's"),
        ("ann)(|(uid=*", "ann's"),
        ("ann,ou=people", "ann's"),
        ("ann\\2cou=people", "ann's"),
        ("a*", "ann's"),
        ("\\61nn", "ann's"),
    ] {
        assert_eq!(login(broker, user, password), BAD_LOGIN, "{way}: {user} {password}");
    }
    assert_eq!(connect(broker, "ann", None).1, BAD_LOGIN, "{way}: no password at all");
    assert_eq!(login(broker, "", "ann's"), NOT_AUTHORIZED, "{way}: no name");
    let causes: Vec<String> =
        broker.events("gate.login_failed").iter().map(|event| event.field("cause")).collect();
    assert!(causes.iter().any(|cause| cause == "the password is empty"), "{way}: {causes:?}");
    assert!(failed().is_empty(), "{way}: nobody's outage: {:?}", failed());
}

#[test]
fn users_of_a_directory_come_in_with_the_rights_of_their_groups() {
    let slapd = Slapd::start();
    let ways = [
        ("a search over TLS", slapd.ldaps() + SEARCH + MEMBER_OF),
        ("a search with StartTLS", slapd.start_tls() + SEARCH + MEMBERS),
        ("a name with StartTLS", slapd.start_tls() + TEMPLATE + MEMBER_OF),
        ("a search in the clear", slapd.in_the_clear() + SEARCH + MEMBERS),
    ];
    for (way, ldap) in ways {
        let broker = slapd.broker(&ldap);
        everything_holds(&broker, way);
        assert!(broker.terminate(), "{way}");
    }
}

#[test]
fn one_name_for_two_entries_lets_nobody_in() {
    let slapd = Slapd::start();
    let by_mail = SEARCH.replace("(uid={user})", "(mail={user})");
    let broker = slapd.broker(&(slapd.ldaps() + &by_mail + MEMBER_OF));
    assert_eq!(login(&broker, "twins@example.org", "bob's"), BAD_LOGIN);
    let causes = broker.event("gate.login_failed").field("cause");
    assert!(causes.contains("more than one entry"), "{causes}");
    assert!(broker.terminate());
}

#[test]
fn a_directory_that_is_gone_is_an_outage_and_no_refusal() {
    let mut slapd = Slapd::start();
    let limits = "cache_s = 0\nfailures = 3\npause_ms = 200\ntimeout_ms = 2000\n";
    let broker = slapd.broker(&(slapd.ldaps() + SEARCH + MEMBER_OF + limits));
    let (mut live, code) = connect(&broker, "ann", Some("ann's"));
    assert_eq!(code, GOOD);
    slapd.stop();
    for _ in 0..3 {
        assert_eq!(login(&broker, "ann", "ann's"), UNAVAILABLE);
    }
    assert_eq!(login(&broker, "ann", "wrong"), UNAVAILABLE, "it does not say that the password is wrong");
    broker.event("gate.login_service_failed");
    broker.event("gate.login_service_paused");
    assert!(publish(&mut live) < 0x80, "who is in stays in");
    slapd.start_again();
    wait_until("it is asked again", || login(&broker, "ann", "ann's") == GOOD);
    broker.event("gate.login_service_back");
    assert_eq!(login(&broker, "ann", "wrong"), BAD_LOGIN);

    // Who was let in lately comes in from memory, with another password nobody does; a reload forgets.
    let remembering = config(&(slapd.ldaps() + SEARCH + MEMBER_OF), "methods = [\"ldap\"]\n");
    assert!(broker.terminate());
    let broker = Broker::serve(slapd.dir.path(), &remembering);
    assert_eq!(login(&broker, "ann", "ann's"), GOOD);
    slapd.stop();
    let (mut ann, code) = connect(&broker, "ann", Some("ann's"));
    assert_eq!(code, GOOD, "remembered");
    assert!(publish(&mut ann) < 0x80, "with its roles");
    assert_eq!(login(&broker, "ann", "wrong"), UNAVAILABLE);
    assert_eq!(login(&broker, "bob", "bob's"), UNAVAILABLE);
    broker.hang_up();
    broker.event("life.reloaded");
    assert_eq!(login(&broker, "ann", "ann's"), UNAVAILABLE, "a reload forgets");
    assert!(broker.terminate());
}

#[test]
fn a_directory_with_a_certificate_of_others_hears_no_password() {
    let slapd = Slapd::start();
    for url in [slapd.ldaps(), slapd.start_tls()] {
        let broker = slapd.broker(&(url.replace("\"ca.pem\"", "\"other.pem\"") + SEARCH + MEMBER_OF));
        assert_eq!(login(&broker, "ann", "ann's"), UNAVAILABLE);
        let cause = broker.event("gate.login_service_failed").field("cause");
        assert!(cause.contains("UnknownIssuer"), "{cause}");
        assert!(broker.terminate());
    }
    // An account that the directory does not let in is the operator's fault and nobody else's.
    std::fs::write(slapd.dir.path().join("account.password"), "another\n").expect("ours");
    let broker = slapd.broker(&(slapd.ldaps() + SEARCH + MEMBER_OF));
    assert_eq!(login(&broker, "ann", "ann's"), UNAVAILABLE);
    let cause = broker.event("gate.login_service_failed").field("cause");
    assert!(cause.contains("the account that searches is not let in: result code 49"), "{cause}");
    assert!(broker.terminate());
}

#[test]
fn guesses_at_a_directory_are_held_as_others_are_and_its_secrets_stay_where_they_belong() {
    let slapd = Slapd::start();
    let text = config(&(slapd.ldaps() + SEARCH + MEMBER_OF), "methods = [\"password\", \"ldap\"]\n");
    let text = text.replace("free = 100\nlockout_after = 200\n", "free = 2\nlockout_after = 4\n");
    std::fs::write(slapd.dir.path().join("policy.toml"), POLICY).expect("ours");
    let broker = Broker::serve(slapd.dir.path(), &text);
    assert_eq!(login(&broker, "ann", "ann's"), GOOD);
    assert!(!crate::keys::in_memory(broker.role("core"), &[b"of-the-account"]).contains(&true));
    assert!(
        crate::keys::in_memory(broker.role("egress"), &[b"of-the-account"]).contains(&true),
        "where it should be"
    );
    wait_until("guesses are held", || {
        let code = login(&broker, "bob", "guess");
        assert!(code == BAD_LOGIN || code == 0x9f, "{code:#x}");
        code == 0x9f
    });
    broker.event("gate.login_held");

    // What groups give is taken back at a reload.
    let (mut live, code) = connect(&broker, "ann", Some("ann's"));
    assert_eq!(code, GOOD);
    let less = text.replace("\"CN=Operators, OU=groups,", "\"cn=others,ou=groups,");
    std::fs::write(slapd.dir.path().join("motte.toml"), less).expect("ours");
    broker.hang_up();
    assert_eq!(reason(&mut live, 0), NOT_AUTHORIZED, "it is disconnected");
    let (mut ann, code) = connect(&broker, "ann", Some("ann's"));
    assert_eq!((code, publish(&mut ann)), (GOOD, NOT_AUTHORIZED));
    assert!(broker.terminate());
}
