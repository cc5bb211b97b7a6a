//! `motte user totp`: the second factor of an account.

use motte_identity::SecondFactor;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

use crate::cli::{AccountsArgs, TotpAction};
use crate::state::now_s;
use crate::verb::Fault;
use crate::verb::user::{RELOAD, open, unknown};

pub(super) fn run(args: &AccountsArgs, action: &TotpAction) -> Result<(), Fault> {
    match action {
        TotpAction::Enrol { identity, issuer, replace } => enrol(args, identity, issuer, *replace),
        TotpAction::Remove { identity } => remove(args, identity),
    }
}

fn enrol(args: &AccountsArgs, identity: &str, issuer: &str, replace: bool) -> Result<(), Fault> {
    let fault = |error: motte_seal::HashError| Fault::new(error.to_string());
    let mut accounts = open(args, false)?;
    let known = accounts.file.account(identity).ok_or_else(|| unknown(identity))?;
    if known.second.is_some() && !replace {
        let what = format!("`{identity}` has a second factor already");
        return Err(Fault::with_remedy(what, "use --replace: codes and recovery codes of the old one end"));
    }
    let (second, codes) =
        SecondFactor::generate(accounts.file.key_or_new().map_err(fault)?, now_s()).map_err(fault)?;
    let uri = second.secret.uri(identity, issuer);
    accounts.file.account_mut(identity).ok_or_else(|| unknown(identity))?.second = Some(second);
    accounts.save()?;
    println!("{uri}");
    // Too long for a QR code: then the line above has to do.
    if let Ok(code) = QrCode::new(uri.as_bytes()) {
        // Dark terminals: the light modules are drawn.
        println!(
            "{}",
            code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build()
        );
    }
    println!("recovery codes, each good once in place of a code; keep them apart from the device:");
    for code in &codes {
        println!("  {}", code.expose());
    }
    eprintln!(
        "from the reload on {identity} comes in with `password:code` wherever a password is taken; {RELOAD}"
    );
    Ok(())
}

fn remove(args: &AccountsArgs, identity: &str) -> Result<(), Fault> {
    let mut accounts = open(args, false)?;
    let account = accounts.file.account_mut(identity).ok_or_else(|| unknown(identity))?;
    if account.second.take().is_none() {
        let what = format!("`{identity}` has no second factor");
        return Err(Fault::with_remedy(what, "`motte user show` says what it has"));
    }
    accounts.save()?;
    eprintln!("{identity} comes in with the password alone; {RELOAD}");
    eprintln!(
        "a password that was set beside a second factor may be short: set it anew with `motte user passwd`"
    );
    Ok(())
}
