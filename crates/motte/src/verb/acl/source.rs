//! Where the policy comes from, and the listeners and certificates that belong to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use motte_access::analysis::{ListenerFacts, World};
use motte_access::{CompiledPolicy, Methods, Policy, PolicyError, PolicyGeneration, Security};
use motte_config::{AuthMethod, CertificateIdentity, Config, Kind, Listener};

use crate::cli::PolicyArgs;
use crate::state::State;
use crate::verb::Fault;
use crate::verb::connecting::read;
use crate::verb::serve::load;

/// Why there is no world to look at.
pub(super) enum Unreadable {
    /// A policy is not valid.
    Policy(PolicyError),
    /// Something else.
    Other(Fault),
}

impl From<Fault> for Unreadable {
    fn from(fault: Fault) -> Self {
        Self::Other(fault)
    }
}

impl From<Unreadable> for Fault {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Policy(error) => Self::new(error.to_string()),
            Unreadable::Other(fault) => fault,
        }
    }
}

/// Texts that stand in place of those of files.
pub(super) type Texts = BTreeMap<PathBuf, String>;

/// The policy that is asked about.
pub(super) fn world(args: &PolicyArgs) -> Result<World, Unreadable> {
    world_with(args, &Texts::new())
}

/// The policy that is asked about, as it would be with other texts in its files.
pub(super) fn world_with(args: &PolicyArgs, texts: &Texts) -> Result<World, Unreadable> {
    let mut world = if let Some(path) = &args.config {
        of_config_with(&load(path)?, texts)?
    } else if !args.policy.is_empty() {
        World::of_policy(compile_with(&args.policy, &[], texts)?)
    } else {
        of_state(&args.state, texts)?
    };
    if args.any_certificate {
        world.assume_any_certificate();
    }
    Ok(world)
}

/// The files of the policy that is asked about, each once.
pub(super) fn files(args: &PolicyArgs) -> Result<Vec<PathBuf>, Fault> {
    let mut files = match &args.config {
        Some(path) => {
            let config = load(path)?;
            let own = config.listeners.iter().filter_map(|listener| listener.policy_files.as_ref()).flatten();
            config.policy_files.iter().chain(own).cloned().collect()
        }
        None if args.policy.is_empty() => vec![State::at(&args.state).path("policy.toml")],
        None => args.policy.clone(),
    };
    files.sort();
    files.dedup();
    Ok(files)
}

/// The policy of a state directory, behind the listener that `motte up` opens.
fn of_state(dir: &Path, texts: &Texts) -> Result<World, Unreadable> {
    let state = State::at(dir);
    let policy = state.path("policy.toml");
    if !policy.exists() {
        let what = format!("there is no policy at {}", policy.display());
        let remedy =
            "give --policy FILE, --config motte.toml, or the state directory of `motte up` with --state";
        return Err(Fault::with_remedy(what, remedy).into());
    }
    let listener = ListenerFacts {
        name: "tls".into(),
        security: vec![Security::Tls],
        methods: vec![Methods::CERTIFICATE, Methods::PASSWORD, Methods::PASSWORD.and(Methods::TOTP)],
        identity_is_cn: true,
        token_roles: Vec::new(),
        group_roles: Vec::new(),
    };
    let mut world = World::new(compile_with(&[policy], &[], texts)?, vec![listener]);
    know_certificates(&mut world, &state);
    Ok(world)
}

/// The policies of a configuration, behind its listeners.
pub(super) fn of_config(config: &Config) -> Result<World, Unreadable> {
    of_config_with(config, &Texts::new())
}

fn of_config_with(config: &Config, texts: &Texts) -> Result<World, Unreadable> {
    let own: Vec<(String, Vec<PathBuf>)> = config
        .listeners
        .iter()
        .filter_map(|listener| Some((listener.name.clone(), listener.policy_files.clone()?)))
        .collect();
    let policy = compile_with(&config.policy_files, &own, texts)?;
    let mut world = World::new(policy, listeners(config));
    if let Some(dir) = &config.state_dir {
        know_certificates(&mut world, &State::at(dir));
    }
    Ok(world)
}

/// Services that are asked, and what their word is called.
const SERVICES: [(AuthMethod, Methods); 2] =
    [(AuthMethod::Http, Methods::HTTP), (AuthMethod::Ldap, Methods::LDAP)];

/// What the analyzer must know of a configuration's listeners.
pub(super) fn listeners(config: &Config) -> Vec<ListenerFacts> {
    config.listeners.iter().map(|listener| listener_facts(listener, config)).collect()
}

fn listener_facts(listener: &Listener, config: &Config) -> ListenerFacts {
    let methods = methods(listener);
    let takes = |method| methods.iter().any(|methods| methods.has(method));
    let by_token = config.tokens.iter().filter(|_| takes(Methods::TOKEN));
    let by_group = config.auth_ldap.iter().filter(|_| takes(Methods::LDAP)).flat_map(|ldap| &ldap.groups);
    let group_roles: BTreeSet<&String> = by_group.flat_map(|(_, roles)| roles).collect();
    let token_roles = by_token.map(|issuer| issuer.all_roles().into_iter().cloned().collect()).collect();
    ListenerFacts {
        name: listener.name.clone(),
        security: vec![match listener.kind {
            Kind::Unix => Security::Local,
            Kind::Tls | Kind::Wss => Security::Tls,
            Kind::Tcp | Kind::Ws => Security::Plain,
        }],
        methods,
        identity_is_cn: listener.certificate_identity == CertificateIdentity::Cn,
        token_roles,
        group_roles: group_roles.into_iter().cloned().collect(),
    }
}

/// The sets of methods that let a client in: a certificate goes before a password, and either may be demanded.
fn methods(listener: &Listener) -> Vec<Methods> {
    if listener.anonymous {
        return vec![Methods::ANONYMOUS];
    }
    let demands = |method| listener.all_of.contains(&method);
    let takes = |method| listener.methods.contains(&method) || demands(method);
    let both = Methods::CERTIFICATE.and(Methods::PASSWORD);
    let mut found = Vec::new();
    if let Some((_, proved)) = SERVICES.into_iter().find(|(method, _)| demands(*method)) {
        // The service, with whatever is demanded beside it.
        let beside = if demands(AuthMethod::Certificate) { Methods::CERTIFICATE } else { Methods::default() };
        return vec![proved.and(beside)];
    }
    if takes(AuthMethod::Certificate) && !demands(AuthMethod::Jwt) {
        found.push(if demands(AuthMethod::Password) { both } else { Methods::CERTIFICATE });
    }
    if takes(AuthMethod::Password) && !demands(AuthMethod::Certificate) {
        found.push(Methods::PASSWORD);
    }
    // An account with a second factor gives it wherever a password is taken.
    let with_code: Vec<Methods> =
        found.iter().filter(|one| one.has(Methods::PASSWORD)).map(|one| one.and(Methods::TOTP)).collect();
    if demands(AuthMethod::Totp) {
        found.clear();
    }
    found.extend(with_code);
    if takes(AuthMethod::Jwt) {
        let certificate =
            if demands(AuthMethod::Certificate) { Methods::CERTIFICATE } else { Methods::default() };
        found.push(Methods::TOKEN.and(certificate));
        // A token counts also beside a certificate that would be enough.
        if takes(AuthMethod::Certificate) && listener.all_of.is_empty() {
            found.push(Methods::TOKEN.and(Methods::CERTIFICATE));
        }
    }
    if listener.all_of.is_empty() {
        found.extend(SERVICES.into_iter().filter(|(method, _)| takes(*method)).map(|(_, proved)| proved));
    }
    found
}

/// Reads and compiles policies: the general one, and those of listeners.
pub(super) fn compile(
    general: &[PathBuf],
    own: &[(String, Vec<PathBuf>)],
) -> Result<CompiledPolicy, Unreadable> {
    compile_with(general, own, &Texts::new())
}

fn compile_with(
    general: &[PathBuf],
    own: &[(String, Vec<PathBuf>)],
    texts: &Texts,
) -> Result<CompiledPolicy, Unreadable> {
    let general = policy(general, texts)?;
    let own: Vec<(String, Policy)> = own
        .iter()
        .map(|(listener, files)| Ok((listener.clone(), policy(files, texts)?)))
        .collect::<Result<_, Unreadable>>()?;
    let compiled = CompiledPolicy::compile_all(&general, &own, PolicyGeneration(1));
    for role in compiled.permissive_roles() {
        let (name, until) = (&role.name, role.until.day());
        eprintln!(
            "motte: {}:{}: the role {name} is permissive until {until}; what is said here holds after that day",
            role.file, role.line
        );
    }
    Ok(compiled)
}

fn policy(files: &[PathBuf], texts: &Texts) -> Result<Policy, Unreadable> {
    let mut policy = Policy::default();
    for path in files {
        let text = texts.get(path).map_or_else(|| read(path), |text| Ok(text.clone()))?;
        policy.read(&text, &path.display().to_string()).map_err(Unreadable::Policy)?;
    }
    Ok(policy)
}

/// Tells the certificates that lie in a state directory.
fn know_certificates(world: &mut World, state: &State) {
    let Ok(entries) = std::fs::read_dir(state.path("identities")) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pem = std::fs::read_to_string(state.identity(&name).0).ok();
        let chain = pem.and_then(|pem| motte_pki::certificates(&pem).ok());
        let facts = chain.and_then(|chain| motte_identity::facts(chain.first()?));
        if let Some(facts) = facts {
            world.know_certificate(facts.cn.clone().unwrap_or(name), facts);
        }
    }
}
