//! Who is let in, by what a listener takes and what the password file says.

use base64::Engine as _;
use motte_seal::{HashParameters, PasswordHash};

use super::*;
use crate::account::{Account, Origin, Password};
use crate::second_factor::SecondFactor;
use crate::token::{TokenGroups, TokenRules};

fn authenticator() -> Authenticator {
    let cheap = HashParameters { memory_kib: 64, passes: 1, lanes: 1 };
    let mut file = PasswordFile::default();
    assert!(file.set("dev-1", PasswordHash::create(b"right", cheap).unwrap()));
    Authenticator::new(Arc::new(file), Arc::new(Learned::nothing(0)))
}

fn credentials(user: Option<&str>, password: Option<&str>, cn: Option<&str>) -> Credentials {
    Credentials {
        user_name: user.map(str::to_owned),
        password: password.map(|p| SecretBytes::new(p.as_bytes().to_vec())),
        certificate: cn
            .map(|cn| Arc::new(CertificateFacts { cn: Some(cn.into()), ..CertificateFacts::default() })),
        listener: Arc::from("main"),
        security: Security::Tls,
        address: None,
    }
}

fn wanted(any_of: Methods, all_of: Methods) -> Requirements {
    Requirements { any_of, all_of, certificates: Arc::default() }
}

fn verdict(step: Step) -> Result<(String, Methods), &'static str> {
    let verdict = match step {
        Step::Done(verdict) => verdict,
        Step::Ask(question) => Authenticator::finish(question.answer()),
        Step::Fetch(question) => question.refuse(),
    };
    match verdict {
        Verdict::Accepted(client) => Ok((client.identity.to_string(), client.methods)),
        Verdict::Refused { cause, .. } => Err(cause),
    }
}

#[test]
fn a_password_or_a_certificate_is_enough_where_either_is_taken() {
    let (a, either) =
        (authenticator(), wanted(Methods::PASSWORD.and(Methods::CERTIFICATE), Methods::default()));
    let ask = |user, password, cn| verdict(a.begin(credentials(user, password, cn), &either, 0));
    assert_eq!(ask(Some("dev-1"), Some("right"), None), Ok(("dev-1".into(), Methods::PASSWORD)));
    assert_eq!(ask(None, None, Some("dev-2")), Ok(("dev-2".into(), Methods::CERTIFICATE)));
    assert_eq!(ask(Some("dev-1"), Some("wrong"), None), Err("the password is wrong"));
    assert_eq!(ask(Some("dev-1"), None, None), Err("the password is wrong"));
    assert_eq!(ask(Some("nobody"), Some("right"), None), Err("there is no such identity"));
    assert_eq!(ask(None, None, None), Err("neither certificate nor user name was presented"));
    assert_eq!(ask(None, None, Some("#")), Err("the certificate has no usable name"));
}

#[test]
fn both_factors_must_name_the_same_identity_where_both_are_wanted() {
    let both = Methods::PASSWORD.and(Methods::CERTIFICATE);
    let (a, wanted) = (authenticator(), wanted(both, both));
    let ask = |user, password, cn| verdict(a.begin(credentials(user, password, cn), &wanted, 0));
    assert_eq!(ask(Some("dev-1"), Some("right"), Some("dev-1")), Ok(("dev-1".into(), both)));
    assert_eq!(ask(None, Some("right"), Some("dev-1")), Ok(("dev-1".into(), both)));
    assert_eq!(ask(Some("dev-1"), Some("right"), Some("dev-2")), Err("certificate and user name differ"));
    assert_eq!(ask(Some("dev-1"), Some("right"), None), Err("no client certificate was presented"));
    assert_eq!(ask(Some("dev-1"), Some("wrong"), Some("dev-1")), Err("the password is wrong"));
}

/// A file with an account of each kind, all but `gone` with the password `right`.
fn of_all_kinds() -> PasswordFile {
    let mut file = PasswordFile::default();
    let key = file.key_or_new().unwrap().clone();
    let cheap = HashParameters { memory_kib: 64, passes: 1, lanes: 1 };
    let argon2id = |password: &[u8]| StoredHash::from(PasswordHash::create(password, cheap).unwrap());
    let with =
        |hash| Account { passwords: vec![Password::new(hash, Origin::Person, 0)], ..Account::default() };
    assert!(file.insert("person", with(argon2id(b"right"))));
    assert!(file.insert("device", with(StoredHash::Keyed(key.keyed(b"right")))));
    let mut rotating = with(argon2id(b"old"));
    rotating.rotate(Password::new(argon2id(b"right"), Origin::Person, 0), 100);
    assert!(file.insert("rotating", rotating));
    let mut closed = with(argon2id(b"right"));
    closed.disabled = true;
    assert!(file.insert("closed", closed));
    let mut exposed = with(argon2id(b"right"));
    exposed.expose();
    assert!(file.insert("exposed", exposed));
    let mut ended = with(argon2id(b"right"));
    ended.expires_s = Some(50);
    assert!(file.insert("ended", ended));
    file
}

#[test]
fn a_refusal_costs_the_same_work_whoever_is_refused() {
    let a = Authenticator::new(Arc::new(of_all_kinds()), Arc::new(Learned::nothing(0)));
    let wanted = wanted(Methods::PASSWORD, Methods::default());
    for name in ["nobody", "person", "device", "rotating", "closed", "exposed", "ended", "", "a+b"] {
        for password in [Some("wrong"), None] {
            let Step::Ask(question) = a.begin(credentials(Some(name), password, None), &wanted, 60) else {
                panic!("{name} was answered at once")
            };
            let checks = question.candidates.iter().map(StoredHash::work).sum::<u64>();
            assert_eq!(checks + question.rest(checks), HashParameters::DEFAULT.work(), "{name}");
            assert!(matches!(
                Authenticator::finish(question.answer()),
                Verdict::Refused { refusal: Refusal::BadCredentials, .. }
            ));
        }
    }
}

#[test]
fn a_generated_password_is_known_at_once_and_others_are_asked_about() {
    let a = Authenticator::new(Arc::new(of_all_kinds()), Arc::new(Learned::nothing(0)));
    let wanted = wanted(Methods::PASSWORD, Methods::default());
    let begin = |name| a.begin(credentials(Some(name), Some("right"), None), &wanted, 60);
    assert!(matches!(begin("device"), Step::Done(Verdict::Accepted(_))));
    assert!(matches!(begin("person"), Step::Ask(_)));
    assert_eq!(verdict(begin("person")), Ok(("person".into(), Methods::PASSWORD)));
    assert_eq!(verdict(begin("closed")), Err("the identity is disabled"));
    assert_eq!(verdict(begin("ended")), Err("the identity has expired"));
    assert_eq!(verdict(begin("exposed")), Err("its password was exposed and has not been changed"));
}

#[test]
fn both_passwords_of_a_rotation_are_taken_until_the_old_one_ends() {
    let a = Authenticator::new(Arc::new(of_all_kinds()), Arc::new(Learned::nothing(0)));
    let wanted = wanted(Methods::PASSWORD, Methods::default());
    let ask = |password, now_s| {
        verdict(a.begin(credentials(Some("rotating"), Some(password), None), &wanted, now_s))
    };
    assert!(ask("old", 99).is_ok());
    assert_eq!(ask("old", 100), Err("the password is wrong"));
    assert!(ask("right", 100).is_ok());
}

#[test]
fn who_came_in_stays_after_a_change_and_goes_after_an_exposure() {
    let mut file = of_all_kinds();
    let wanted = wanted(Methods::PASSWORD, Methods::default());
    let enter = |file: &PasswordFile, name| {
        let a = Authenticator::new(Arc::new(file.clone()), Arc::new(Learned::nothing(0)));
        let step = a.begin(credentials(Some(name), Some("right"), None), &wanted, 0);
        let Verdict::Accepted(client) = (match step {
            Step::Done(verdict) => verdict,
            Step::Ask(question) => Authenticator::finish(question.answer()),
            Step::Fetch(question) => question.refuse(),
        }) else {
            panic!("{name} was refused")
        };
        client
    };
    let valid = |file: &PasswordFile, client: &ClientPrincipal| {
        Authenticator::new(Arc::new(file.clone()), Arc::new(Learned::nothing(0))).still_valid(client, 0)
    };
    for name in ["person", "device"] {
        let client = enter(&file, name);
        assert_eq!(valid(&file, &client), Ok(()));
        assert!(file.set(name, PasswordHash::decoy()), "the password is changed");
        assert_eq!(valid(&file, &client), Ok(()));
        file.account_mut(name).unwrap().disabled = true;
        assert!(valid(&file, &client).unwrap_err().contains("disabled"));
        let account = file.remove(name).unwrap();
        assert!(valid(&file, &client).unwrap_err().contains("gone"));
        assert!(file.set(name, PasswordHash::decoy()), "somebody else of that name");
        assert!(valid(&file, &client).unwrap_err().contains("an account that is gone"));
        file.remove(name);
        assert!(file.insert(name, Account { disabled: false, ..account }));
    }
    let client = enter(&file, "rotating");
    let account = file.account_mut("rotating").unwrap();
    account.expose();
    assert!(valid(&file, &client).unwrap_err().contains("exposed"));
    assert!(file.set("rotating", PasswordHash::decoy()));
    assert!(valid(&file, &client).unwrap_err().contains("exposed"), "a new password does not help the thief");
}

#[test]
fn an_old_password_is_warned_about_then_refused_and_a_generated_one_never_is() {
    const DAY: u64 = 86_400;
    let mut file = of_all_kinds();
    for name in ["person", "device"] {
        file.account_mut(name).unwrap().passwords[0].created_s = DAY;
    }
    file.account_mut("device").unwrap().passwords[0].origin = Origin::Generated;
    let wanted = wanted(Methods::PASSWORD, Methods::default());
    let classic = Ageing { max_age_s: 90 * DAY, grace_s: 14 * DAY };
    let a = Authenticator::new(Arc::new(file), Arc::new(Learned::nothing(0)));
    let enter = |a: &Authenticator, name: &str, day: u64| {
        let step = a.begin(credentials(Some(name), Some("right"), None), &wanted, day * DAY);
        let verdict = match step {
            Step::Done(verdict) => verdict,
            Step::Ask(question) => Authenticator::finish(question.answer()),
            Step::Fetch(question) => question.refuse(),
        };
        match verdict {
            Verdict::Accepted(client) => Ok(a.ageing_days(&client, day * DAY)),
            Verdict::Refused { cause, .. } => Err(cause),
        }
    };
    assert_eq!(enter(&a, "person", 10_000), Ok(None), "without an age nothing ends");
    let a = a.with_ageing(Some(classic));
    assert_eq!(enter(&a, "person", 90), Ok(None));
    assert_eq!(enter(&a, "person", 91), Ok(Some(14)));
    assert_eq!(enter(&a, "person", 104), Ok(Some(1)));
    assert_eq!(enter(&a, "person", 105), Err("its password is too old and has not been changed"));
    assert_eq!(enter(&a, "device", 10_000), Ok(None));
}

fn with_second_factor(learned: Learned) -> (Authenticator, SecondFactor, Vec<motte_seal::SecretString>) {
    let mut file = of_all_kinds();
    let (second, codes) = SecondFactor::generate(file.key().unwrap(), 0).unwrap();
    for name in ["person", "device"] {
        file.account_mut(name).unwrap().second = Some(second.clone());
    }
    (Authenticator::new(Arc::new(file), Arc::new(learned)), second, codes)
}

#[test]
fn a_second_factor_is_wanted_wherever_the_password_is() {
    let (a, second, codes) = with_second_factor(Learned::nothing(0));
    let wanted_one = wanted(Methods::PASSWORD, Methods::default());
    let both = Methods::PASSWORD.and(Methods::TOTP);
    let wanted_both = wanted(both, both);
    let ask = |name: &str, password: &str, wanted: &Requirements| {
        verdict(a.begin(credentials(Some(name), Some(password), None), wanted, 1_000))
    };
    let code = second.secret.code(1_000);
    assert_eq!(ask("person", "right", &wanted_one), Err("the code is missing: password:code"));
    assert_eq!(ask("person", &format!("wrong:{code}"), &wanted_one), Err("the password is wrong"));
    assert_eq!(ask("person", "right:000", &wanted_one), Err("the code is wrong"));
    for name in ["person", "device"] {
        assert_eq!(ask(name, &format!("right:{code}"), &wanted_both), Ok((name.into(), both)));
        assert_eq!(ask(name, &format!("right:{code}"), &wanted_both), Err("the code was used already"));
    }
    let told = ask("rotating", "right", &wanted_both);
    assert_eq!(told, Err("a second factor is wanted, and the identity has none"));
    let recovery = format!("right:{}", codes[0].expose());
    assert!(ask("person", &recovery, &wanted_both).unwrap_err().contains("state_dir"), "nothing keeps it");
}

#[test]
fn a_wrong_code_costs_what_a_wrong_password_costs() {
    let (a, ..) = with_second_factor(Learned::nothing(0));
    let wanted = wanted(Methods::PASSWORD, Methods::default());
    for (name, password) in
        [("person", "right:1"), ("device", "right:1"), ("device", "right"), ("person", "wrong")]
    {
        let step = a.begin(credentials(Some(name), Some(password), None), &wanted, 1_000);
        assert!(matches!(step, Step::Ask(_)), "{name} was answered at once");
        assert!(verdict(step).is_err());
    }
}

#[test]
fn the_old_password_of_a_rotation_ends_when_the_new_one_is_used() {
    let a = Authenticator::new(Arc::new(of_all_kinds()), Arc::new(Learned::nothing(0)));
    let wanted = wanted(Methods::PASSWORD, Methods::default());
    let ask =
        |password| verdict(a.begin(credentials(Some("rotating"), Some(password), None), &wanted, 1)).is_ok();
    assert!(ask("old") && ask("old"));
    assert!(ask("right"));
    assert!(!ask("old") && ask("right"));
}

#[test]
fn nothing_that_is_wanted_is_left_out_whatever_else_is_wanted() {
    let (a, any) = (authenticator(), Methods::CERTIFICATE.and(Methods::PASSWORD));
    for (all, cause) in [
        (Methods::CERTIFICATE.and(Methods::HTTP), "there is no service that could be asked"),
        (Methods::CERTIFICATE.and(Methods::TOTP), "a second factor is wanted, and the identity has none"),
    ] {
        let step = a.begin(credentials(None, Some("right"), Some("dev-1")), &wanted(any, all), 0);
        assert_eq!(verdict(step), Err(cause));
    }
}

#[test]
fn a_service_does_not_speak_for_accounts_of_the_file() {
    let a = authenticator();
    let accepted = |identity: &str| {
        let none = Requirements::anonymous();
        let step = a.begin(credentials(Some("guest"), None, None), &none, 0);
        let Step::Done(Verdict::Accepted(mut client)) = step else { panic!("anonymous") };
        (client.identity, client.methods) = (Arc::from(identity), Methods::HTTP);
        verdict(Step::Done(a.beside_accounts(Verdict::Accepted(client))))
    };
    assert_eq!(accepted("dev-1"), Err("the service names an identity of the password file"));
    assert_eq!(accepted("guest-1"), Ok(("guest-1".into(), Methods::HTTP)));
}

#[test]
fn a_login_is_charged_to_the_name_that_it_claims() {
    let rules = TokenRules {
        issuer: "test".into(),
        audience: vec!["motte".into()],
        identities: vec!["*".into()],
        identity_claim: "/user/name".into(),
        roles_claim: None,
        roles: std::collections::BTreeSet::new(),
        groups_claim: None,
        groups: TokenGroups::default(),
        topics_claim: None,
        leeway_s: 30,
        lifetime_s_max: 3_600,
        keys: HeldKeys::to_fetch(),
        revoked: std::collections::BTreeSet::new(),
    };
    let a = authenticator().with_tokens(TokenIssuers::new(vec![rules]));
    let any = Methods::CERTIFICATE.and(Methods::PASSWORD).and(Methods::TOKEN);
    let all = wanted(any, Methods::default());
    let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let token =
        |claims: &str| format!("{}.{}.{}", part("{\"alg\":\"ES256\"}"), part(claims), part("not signed"));
    let of = token("{\"iss\":\"test\",\"user\":{\"name\":\"dev-1\"}}");
    let name = |user, password, cn| a.claimed_name(&credentials(user, password, cn), &all);
    assert_eq!(name(Some("ann"), Some(&of), Some("dev-2")), "ann");
    assert_eq!(name(Some(""), Some(&of), None), "dev-1");
    assert_eq!(name(None, Some(&of), None), "dev-1");
    assert_eq!(name(None, Some(&of), Some("dev-2")), "dev-2", "what TLS verified is better");
    let elsewhere = token("{\"iss\":\"else\",\"user\":{\"name\":\"dev-1\"}}");
    let unusable = token("{\"iss\":\"test\",\"user\":{\"name\":\"a/#\"}}");
    for nobody in [elsewhere.as_str(), &unusable, "eyJ.eyJ.eyJ", "password"] {
        assert_eq!(name(None, Some(nobody), None), "", "{nobody}");
    }
    let passwords = wanted(Methods::PASSWORD, Methods::default());
    assert_eq!(a.claimed_name(&credentials(None, Some(&of), None), &passwords), "", "no token there");
}
