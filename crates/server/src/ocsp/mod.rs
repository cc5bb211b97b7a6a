//! Responders that are asked whether certificates of clients are revoked (OCSP), through the process that connects out.
//!
//! Who shows a certificate is asked about after TLS and before CONNACK, by threads that may wait (`asking`); what was
//! answered is held until it ends, and asked anew while somebody who showed it is connected (`refresh`). The address of a
//! responder is the operator's: one that stands in a certificate is never used.

mod held;
mod refresh;
mod responder;

use std::sync::Arc;

use motte_config::{Config, Listener, Ocsp, Purpose};
use motte_pki::fingerprint;
use motte_roles::{OutwardClient, SetId};
use motte_transport::{ServerTls, UNLIMITED};
use motte_wire::ReasonCode;
use rustls_pki_types::CertificateDer;

pub(crate) use held::Status;
pub(crate) use refresh::{Distrusted, begin, end};
pub(crate) use responder::{Judgement, Responder};

use crate::rules::Rules;

/// Why a certificate is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// For the client.
    pub(crate) reason: ReasonCode,
    /// For the log.
    pub(crate) cause: String,
}

/// A certificate that a connection showed, and who is asked about it. As long as it is held, it is asked about again.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) responder: Arc<Responder>,
    pub(crate) status: Arc<Status>,
}

impl Watch {
    /// Why the certificate may not be used, as far as that is known.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn holds(&self, now_s: u64) -> Result<(), String> {
        match self.responder.judge(&self.status, now_s) {
            Judgement::Refused(refused) => Err(refused.cause),
            Judgement::Permitted | Judgement::Open => Ok(()),
        }
    }
}

/// Who is asked at a listener.
#[derive(Debug, Clone, Default)]
pub(crate) struct Responders {
    /// By the name of an authority.
    named: Vec<(String, Arc<Responder>)>,
    /// About certificates of all others.
    general: Option<Arc<Responder>>,
}

impl Responders {
    /// As configured. Answers that the former rules hold of the same responder are held further.
    pub(crate) fn new(
        config: &Config,
        listener: &Listener,
        client: Option<&OutwardClient>,
        former: Option<&Rules>,
    ) -> Self {
        let Some(tls) = &listener.tls else { return Self::default() };
        let outward = config.outward();
        let former = former.and_then(|rules| rules.listener(&listener.name)).map(|rules| &rules.responders);
        let responder = |ocsp: &Ocsp| {
            let is_it = |one: &motte_config::Outward| one.purpose == Purpose::Ocsp && one.url == ocsp.url;
            let place = outward.iter().position(is_it).and_then(|place| u16::try_from(place).ok())?;
            let held = former.and_then(|former| former.all().find(|one| one.asks_as(ocsp)));
            let held = held.map(|former| former.held());
            Some(Arc::new(Responder::new(ocsp, (SetId::of(&outward), place), client.cloned(), held)))
        };
        let named = tls
            .authorities
            .iter()
            .filter_map(|authority| Some((authority.name.clone(), responder(authority.ocsp.as_ref()?)?)));
        Self { named: named.collect(), general: tls.ocsp.as_ref().and_then(responder) }
    }

    /// Whether nobody is asked.
    pub(crate) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.general.is_none()
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Responder>> {
        self.named.iter().map(|(_, responder)| responder).chain(&self.general)
    }

    /// Who is asked about a chain that TLS verified, and what is known so far; `None` when nobody is. What is not known is
    /// asked by itself `within_s` seconds, if nobody asks before.
    ///
    /// # Errors
    /// Its authority cannot be told, so nobody can be asked about it.
    pub(crate) fn watch(
        &self,
        tls: &ServerTls,
        chain: &[CertificateDer<'static>],
        now_s: u64,
        within_s: u64,
    ) -> Result<Option<Watch>, Refused> {
        let Some((leaf, rest)) = chain.split_first() else { return Ok(None) };
        let Some(responder) = self.responder(tls, chain, now_s) else { return Ok(None) };
        let key = fingerprint(leaf);
        let held = responder.held();
        let status = held
            .find(&key, now_s.saturating_add(within_s))
            .or_else(|| held.add(key, (leaf, rest, tls.client_ca()), now_s.saturating_add(within_s)));
        let status = status.ok_or_else(|| Refused {
            reason: ReasonCode::NOT_AUTHORIZED,
            cause: "the authority of the certificate cannot be told".to_owned(),
        })?;
        Ok(Some(Watch { responder: Arc::clone(responder), status }))
    }

    fn responder(
        &self,
        tls: &ServerTls,
        chain: &[CertificateDer<'static>],
        now_s: u64,
    ) -> Option<&Arc<Responder>> {
        if self.named.is_empty() {
            return self.general.as_ref();
        }
        let vouch = tls.authorities_of(chain, now_s);
        let vouch = |name: &String| name != UNLIMITED && vouch.contains(name);
        let named = self.named.iter().find(|(name, _)| vouch(name)).map(|(_, responder)| responder);
        named.or(self.general.as_ref())
    }
}
