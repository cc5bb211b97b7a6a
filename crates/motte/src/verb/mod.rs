//! The verbs.

mod acl;
mod answer;
mod audit;
mod bench;
mod check;
pub(crate) mod connecting;
mod control;
mod dev;
mod device;
mod explain;
mod findings;
mod harden;
mod import;
mod init;
mod kept;
mod key;
mod passwd;
mod publish;
pub(crate) mod serve;
mod store;
mod subscribe;
mod tunnel;
mod up;
mod user;
mod vault;

use std::process::ExitCode;

use crate::cli::Verb;

/// Why a verb failed: what happened, and what to do next.
#[derive(Debug)]
pub(crate) struct Fault(String);

impl Fault {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// Another process of this broker said already what is wrong.
    pub(crate) fn told() -> Self {
        Self(String::new())
    }

    /// Whether it was said already.
    pub(crate) fn is_told(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn with_remedy(what: impl std::fmt::Display, remedy: &str) -> Self {
        Self(format!("{what}\n  remedy: {remedy}"))
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs a verb to its end.
pub(crate) fn run(verb: Verb) -> Result<ExitCode, Fault> {
    let done = match verb {
        // Its exit codes say more than that it went well.
        Verb::Acl(args) => return Ok(acl::run(&args)),
        Verb::Audit(args) => return Ok(audit::run(&args)),
        Verb::Store(args) => return store::run(&args),
        Verb::Vault(args) => vault::run(&args),
        Verb::Up(args) => up::run(&args),
        Verb::Init(args) => init::run(&args),
        Verb::Serve(args) => serve::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Dev(args) => dev::run(&args),
        Verb::Status(args) => control::status::run(&args),
        Verb::Reload(args) => control::reload::run(&args),
        Verb::Stop(args) => control::stop::run(&args),
        Verb::Clients(args) => control::clients::run(&args),
        Verb::Bans(args) => control::bans::run(&args),
        Verb::Pub(args) => publish::run(&args),
        Verb::Sub(args) => subscribe::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Device(args) => device::run(&args),
        Verb::Passwd(args) => passwd::run(&args),
        Verb::Key(args) => key::run(&args),
        Verb::User(args) => user::run(&args),
        Verb::Harden(args) => harden::run(&args),
        Verb::Import(args) => import::run(&args),
        Verb::Tunnel(args) => tunnel::run(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Role(args) => crate::role::run(&args),
    };
    done.map(|()| ExitCode::SUCCESS)
}
