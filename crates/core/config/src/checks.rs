//! What holds between listeners, and between them and the rest.

use std::collections::HashSet;

use toml::Spanned;

use crate::error::Faults;
use crate::meant::Config;
use crate::method::AuthMethod;
use crate::written::ListenerWritten;

/// As many workers as written, within bounds.
pub(crate) fn workers(written: Option<&Spanned<u16>>, faults: &mut Faults<'_>) -> u16 {
    let Some(workers) = written else { return Config::default().workers };
    if *workers.get_ref() > 64 {
        faults.add(workers.span().start, "more than 64 workers", "write 0 for one a core, or at most 64");
    }
    *workers.get_ref()
}

/// Names and addresses that two listeners have.
pub(crate) fn check_names(listeners: &[toml::Spanned<ListenerWritten>], faults: &mut Faults<'_>) {
    let (mut names, mut binds) = (HashSet::new(), HashSet::new());
    for listener in listeners {
        let name = &listener.get_ref().name;
        if !names.insert(name.get_ref().as_str()) {
            let what = format!("two listeners are called `{}`", name.get_ref());
            faults.add(name.span().start, what, "give each a name of its own");
        }
        for bind in &listener.get_ref().bind {
            if !bind.get_ref().ends_with(":0") && !binds.insert(bind.get_ref().as_str()) {
                let what = format!("{} is bound twice", bind.get_ref());
                faults.add(bind.span().start, what, "give each listener an address of its own");
            }
        }
    }
}

/// A listener that takes the word of a service needs one, and no more than one.
pub(crate) fn check_services(
    written: &[toml::Spanned<ListenerWritten>],
    config: &Config,
    faults: &mut Faults<'_>,
) {
    for listener in &config.listeners {
        let uses =
            |method| listener.methods.iter().chain(&listener.all_of).any(|one: &AuthMethod| *one == method);
        let (http, ldap) = (uses(AuthMethod::Http), uses(AuthMethod::Ldap));
        let named = written.iter().find(|one| *one.get_ref().name.get_ref() == listener.name);
        let at = named.map_or(0, |one| one.get_ref().name.span().start);
        let name = &listener.name;
        if http && config.auth_http.is_none() {
            let what = format!("listener {name} takes method http, and there is no service to ask");
            faults.add(at, what, "add [auth.http] with url = \"https://…\"");
        }
        if ldap && config.auth_ldap.is_none() {
            let what = format!("listener {name} takes method ldap, and there is no directory to ask");
            faults.add(at, what, "add [auth.ldap] with url = \"ldaps://…\" and bind_as");
        }
        if http && ldap {
            let what = format!("listener {name} takes http and ldap, and both are asked about one password");
            faults.add(at, what, "keep one of them, or give each a listener of its own");
        }
    }
}
