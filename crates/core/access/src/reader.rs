//! Reading one policy file: words into rules, faults with place and remedy.

use std::sync::Arc;

use ipnet::IpNet;
use toml::Spanned;

use crate::action::{Actions, WORDS};
use crate::client_id::ClientIdPattern;
use crate::error::{PolicyError, place};
use crate::permissive::PermissiveUntil;
use crate::policy::{Conditions, Rule, RuleId, RulePlace, Wildcards};
use crate::principal::{Methods, Security};
use crate::template::Template;
use crate::written::RuleWritten;

/// One file while it is read.
pub(crate) struct Reader<'a> {
    pub(crate) text: &'a str,
    pub(crate) file: &'a str,
}

impl Reader<'_> {
    pub(crate) fn fault(&self, at: usize, what: impl Into<String>, remedy: impl Into<String>) -> PolicyError {
        PolicyError::at(self.file, self.text, at, what, remedy)
    }

    /// The place of something that a role says, or of the role.
    pub(crate) fn place(&self, role: &str, at: usize) -> RulePlace {
        RulePlace { file: Arc::from(self.file), line: place(self.text, at).0, role: Arc::from(role) }
    }

    pub(crate) fn unknown<'k>(
        &self,
        name: &Spanned<String>,
        kind: &str,
        known: impl Iterator<Item = &'k String>,
    ) -> PolicyError {
        let known: Vec<&str> = known.map(String::as_str).collect();
        let remedy = if known.is_empty() {
            format!("define it with [{kind}.{}]", name.get_ref())
        } else {
            format!("define it with [{kind}.{}], or use one of: {}", name.get_ref(), known.join(", "))
        };
        self.fault(name.span().start, format!("there is no {kind} `{}`", name.get_ref()), remedy)
    }

    pub(crate) fn wildcards(&self, written: Option<&Spanned<String>>) -> Result<Wildcards, PolicyError> {
        match written.map(|word| (word.get_ref().as_str(), word.span().start)) {
            None | Some(("scoped", _)) => Ok(Wildcards::Scoped),
            Some(("deny", _)) => Ok(Wildcards::Deny),
            Some(("allow", _)) => Ok(Wildcards::Allow),
            Some((other, at)) => Err(self.fault(
                at,
                format!("wildcards = \"{other}\" is not known"),
                "use deny, scoped or allow",
            )),
        }
    }

    pub(crate) fn permissive_until(
        &self,
        written: Option<&Spanned<String>>,
    ) -> Result<Option<PermissiveUntil>, PolicyError> {
        let Some(written) = written else { return Ok(None) };
        let until = PermissiveUntil::parse(written.get_ref()).ok_or_else(|| {
            let what = format!("permissive_until = \"{}\" is not a date", written.get_ref());
            self.fault(written.span().start, what, "write its last day, in UTC, as \"2027-03-31\"")
        })?;
        Ok(Some(until))
    }

    pub(crate) fn client_ids(
        &self,
        written: Option<&[Spanned<String>]>,
    ) -> Result<Option<Vec<ClientIdPattern>>, PolicyError> {
        let Some(written) = written else { return Ok(None) };
        let parse = |one: &Spanned<String>| {
            ClientIdPattern::parse(one.get_ref())
                .map_err(|(what, remedy)| self.fault(one.span().start, what, remedy))
        };
        written.iter().map(parse).collect::<Result<_, _>>().map(Some)
    }

    pub(crate) fn rule(
        &self,
        role: &str,
        written: &Spanned<RuleWritten>,
        places: &mut Vec<RulePlace>,
        rules: &mut Vec<Rule>,
    ) -> Result<(), PolicyError> {
        let at = written.span().start;
        let body = written.get_ref();
        let (allows, words) = match (&body.allow, &body.deny) {
            (Some(words), None) => (true, words),
            (None, Some(words)) => (false, words),
            _ => {
                let what = "a rule needs either `allow` or `deny`";
                return Err(self.fault(at, what, "write one of them; for both, write two rules"));
            }
        };
        let actions = self.actions(words, allows)?;
        if body.topics.is_empty() || words.is_empty() {
            let what = "a rule without actions or topics does nothing";
            return Err(self.fault(at, what, "name at least one action and one topic, or remove the rule"));
        }
        let conditions = self.conditions(body)?;
        let place = self.place(role, at);
        for topic in &body.topics {
            let id = RuleId(u32::try_from(places.len()).unwrap_or(u32::MAX - 1));
            places.push(place.clone());
            let template = Template::parse(topic.get_ref())
                .map_err(|(what, remedy)| self.fault(topic.span().start, what, remedy))?;
            rules.push(Rule {
                id,
                allows,
                actions,
                fixed: template.fixed(),
                topic: template,
                narrow: body.narrow,
                conditions: conditions.clone(),
                wildcards: Wildcards::Deny,
            });
        }
        Ok(())
    }

    fn actions(&self, words: &[Spanned<String>], allows: bool) -> Result<Actions, PolicyError> {
        let mut actions = Actions::default();
        for word in words {
            let one =
                if allows { Actions::allowed_by(word.get_ref()) } else { Actions::denied_by(word.get_ref()) };
            actions = actions.union(one.ok_or_else(|| {
                let what = format!("`{}` is not an action", word.get_ref());
                self.fault(word.span().start, what, format!("use one of: {}", WORDS.join(", ")))
            })?);
        }
        Ok(actions)
    }

    fn conditions(&self, body: &RuleWritten) -> Result<Conditions, PolicyError> {
        let mut conditions = Conditions {
            payload_bytes_max: body.payload_bytes_max,
            listeners: body.listener.clone(),
            ..Conditions::default()
        };
        if let Some(qos) = &body.qos_max {
            if *qos.get_ref() > 2 {
                return Err(self.fault(qos.span().start, "qos_max is above 2", "use 0, 1 or 2"));
            }
            conditions.qos_max = Some(*qos.get_ref());
        }
        if let Some(words) = &body.security {
            let parse = |word: &Spanned<String>| match word.get_ref().as_str() {
                "tls" => Ok(Security::Tls),
                "plain" => Ok(Security::Plain),
                "local" => Ok(Security::Local),
                other => Err(self.fault(
                    word.span().start,
                    format!("security `{other}` is not known"),
                    "use tls, plain or local",
                )),
            };
            conditions.security = Some(words.iter().map(parse).collect::<Result<_, _>>()?);
        }
        if let Some(words) = &body.method {
            let mut methods = Methods::default();
            for word in words {
                methods = methods.and(match word.get_ref().as_str() {
                    "certificate" => Methods::CERTIFICATE,
                    "password" => Methods::PASSWORD,
                    "totp" => Methods::TOTP,
                    "anonymous" => Methods::ANONYMOUS,
                    "token" => Methods::TOKEN,
                    "http" => Methods::HTTP,
                    "ldap" => Methods::LDAP,
                    other => {
                        let what = format!("method `{other}` is not known");
                        return Err(self.fault(
                            word.span().start,
                            what,
                            "use certificate, password, totp, token, http, ldap or anonymous",
                        ));
                    }
                });
            }
            conditions.methods = Some(methods);
        }
        conditions.from = body.from.as_deref().map(|nets| self.nets(nets)).transpose()?;
        Ok(conditions)
    }

    fn nets(&self, written: &[Spanned<String>]) -> Result<Vec<IpNet>, PolicyError> {
        let parse = |net: &Spanned<String>| {
            net.get_ref().parse::<IpNet>().map_err(|_| {
                let what = format!("`{}` is not an address range", net.get_ref());
                self.fault(net.span().start, what, "write it as 10.0.0.0/8 or 2001:db8::/32")
            })
        };
        written.iter().map(parse).collect()
    }

    /// The addresses that an identity comes from.
    pub(crate) fn sources(
        &self,
        written: Option<&Spanned<Vec<Spanned<String>>>>,
    ) -> Result<Option<Vec<IpNet>>, PolicyError> {
        let Some(written) = written else { return Ok(None) };
        if written.get_ref().is_empty() {
            let what = "`from` names no address range, so that the identity could come from nowhere";
            let remedy = "name one, as 10.77.0.2/32, or remove the key: then it may come from everywhere";
            return Err(self.fault(written.span().start, what, remedy));
        }
        self.nets(written.get_ref()).map(Some)
    }
}

/// A fault that the TOML reader found.
pub(crate) fn syntax_error(file: &str, text: &str, error: &toml::de::Error) -> PolicyError {
    let at = error.span().map_or(0, |span| span.start);
    let what = error.message().to_owned();
    let remedy = if what.contains("unknown field") {
        "remove or rename the key; the keys of a policy are in docs/policy.md"
    } else {
        "correct the TOML at this place"
    };
    PolicyError::at(file, text, at, what, remedy)
}
