//! What can be written behind `motte user` and `motte passwd`. A password cannot: it comes from a prompt, a file or standard
//! input.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What stands below the options of `motte user --help`.
const EXAMPLES: &str = "\
Examples:
  motte user add alice                      the password is asked for twice
  motte user add pump-17 --generate         it is generated, and printed once
  motte user passwd alice --scram           clients of MQTT 5.0 may prove it without sending it
  motte user rotate pump-17 --generate --grace 14d
  motte user expose alice                   others know it: nobody comes in with it any more
  motte user import devices.csv --generated

A running broker takes every change with a reload: kill -HUP PID";

/// Where accounts are, and the rules for their passwords.
#[derive(Debug, Args)]
pub(crate) struct AccountsArgs {
    /// The password file
    #[arg(long, global = true, default_value = "motte-state/passwords")]
    pub(crate) file: PathBuf,
    /// Take password file and rules from this configuration
    #[arg(long, global = true, conflicts_with = "file")]
    pub(crate) config: Option<PathBuf>,
    /// Rules for chosen passwords, in place of those of the configuration
    #[arg(long, global = true)]
    pub(crate) profile: Option<ProfileArg>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ProfileArg {
    /// 15 characters, none that are known or guessable
    Nist,
    /// 8 characters of four classes
    Classic,
}

/// Where a new password comes from.
#[derive(Debug, Args)]
pub(crate) struct NewPasswordArgs {
    /// File with the password, instead of the prompt; `-` is standard input
    #[arg(long, conflicts_with = "generate")]
    pub(crate) password_file: Option<PathBuf>,
    /// Generate a password and print it, once
    #[arg(long)]
    pub(crate) generate: bool,
    /// The password in the file was generated, with 112 bits or more: it is kept so that checking it costs next to nothing
    #[arg(long, requires = "password_file")]
    pub(crate) generated: bool,
    /// Keep it for SCRAM-SHA-256, so that clients of MQTT 5.0 can prove it without sending it
    #[arg(long)]
    pub(crate) scram: bool,
    /// Iterations of SCRAM, which the client computes at each login; 100000, or 4096 for a generated password
    #[arg(long, requires = "scram", value_parser = clap::value_parser!(u32).range(4_096..=1_000_000))]
    pub(crate) iterations: Option<u32>,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UserArgs {
    #[command(subcommand)]
    pub(crate) action: UserAction,
    #[command(flatten)]
    pub(crate) accounts: AccountsArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserAction {
    /// Make an account
    Add {
        /// The identity
        identity: String,
        #[command(flatten)]
        password: NewPasswordArgs,
        /// Day on which the account ends, as 2027-03-31 (midnight UTC)
        #[arg(long)]
        expires: Option<jiff::civil::Date>,
    },
    /// Give an account another password; who is connected stays
    Passwd {
        /// The identity
        identity: String,
        #[command(flatten)]
        password: NewPasswordArgs,
    },
    /// Give an account another password beside the present one, which ends after the grace
    Rotate {
        /// The identity
        identity: String,
        #[command(flatten)]
        password: NewPasswordArgs,
        /// How long the present password is still taken: 36h, 14d
        #[arg(long, default_value = "7d", value_parser = grace)]
        grace: u64,
    },
    /// Put hashes of mosquitto, and those by Argon2id with lower parameters, under Argon2id of today; passwords stay as they are,
    /// and who is connected by one of them logs in anew at the reload
    Strengthen,
    /// Close an account; who is connected goes at the reload
    Disable {
        /// The identity
        identity: String,
    },
    /// Open an account again
    Enable {
        /// The identity
        identity: String,
    },
    /// Remove an account; who is connected goes at the reload
    Delete {
        /// The identity
        identity: String,
    },
    /// Say that others know the password: it is not taken any more, who came in with it goes at the reload, and the account is
    /// closed until it has another
    Expose {
        /// The identities
        #[arg(required_unless_present = "leaked")]
        identities: Vec<String>,
        /// Whoever has one of the passwords in this file, one a line; `-` is standard input
        #[arg(long)]
        leaked: Option<PathBuf>,
    },
    /// The second factor of an account: codes of an authenticator (RFC 6238)
    Totp {
        #[command(subcommand)]
        action: TotpAction,
    },
    /// List accounts
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what is known of an account
    Show {
        /// The identity
        identity: String,
    },
    /// Take accounts from a file: lines of `identity,password`, `identity,hash`, or a password file of mosquitto
    Import {
        /// The file; `-` is standard input
        from: PathBuf,
        /// The passwords in it were generated, with 112 bits or more each
        #[arg(long)]
        generated: bool,
        /// Take passwords that the rules refuse, too
        #[arg(long)]
        weak: bool,
        /// Replace the passwords of accounts that are there already
        #[arg(long)]
        replace: bool,
        /// Leave weaker hashes as they are, and do not put them under Argon2id
        #[arg(long)]
        as_they_are: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TotpAction {
    /// Ask for codes from now on; prints a QR code for the authenticator and recovery codes, once
    Enrol {
        /// The identity
        identity: String,
        /// The name under which the authenticator shows it
        #[arg(long, default_value = "motte")]
        issuer: String,
        /// In place of the second factor that it has
        #[arg(long)]
        replace: bool,
    },
    /// Ask for the password alone
    Remove {
        /// The identity
        identity: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PasswdArgs {
    #[command(subcommand)]
    pub(crate) action: PasswdAction,
    #[command(flatten)]
    pub(crate) accounts: AccountsArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PasswdAction {
    /// Generate passwords and print them
    Gen {
        /// How many
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        count: u32,
        /// Print the bits of such a password instead
        #[arg(long)]
        entropy: bool,
        /// How they are written
        #[arg(long, default_value = "plain")]
        format: GenFormat,
        /// For this identity, in formats that name one; with more than one, its name gets a number
        #[arg(long = "for", default_value = "motte")]
        identity: String,
    },
    /// Say whether a password may be used, without using it; exit code 1 if not
    Check {
        /// File with the password, instead of the prompt; `-` is standard input
        #[arg(long)]
        password_file: Option<PathBuf>,
        /// For whom it would be
        #[arg(long = "for")]
        identity: Option<String>,
        /// A second factor would be asked for beside it
        #[arg(long)]
        second_factor: bool,
    },
    /// The same as `motte user expose`
    Expose {
        /// The identities
        #[arg(required_unless_present = "leaked")]
        identities: Vec<String>,
        /// Whoever has one of the passwords in this file, one a line; `-` is standard input
        #[arg(long)]
        leaked: Option<PathBuf>,
    },
    /// Set an identity's password, and make its account if there is none
    Set {
        /// The identity
        identity: String,
        #[command(flatten)]
        password: NewPasswordArgs,
    },
    /// The same as `motte user delete`
    Remove {
        /// The identity
        identity: String,
    },
    /// List identities
    List,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GenFormat {
    /// One a line
    Plain,
    /// For the CSV import of `KeePassXC`
    KeepassxcCsv,
    /// A JSON object for each
    Json,
}

/// Seconds of `36h` or `14d`.
fn grace(text: &str) -> Result<u64, String> {
    let told = || "write hours or days, as 36h or 14d, at most 366d".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(told)?;
    let number: u64 = number.parse().map_err(|_| told())?;
    let seconds = match unit {
        "h" => number.checked_mul(3_600),
        "d" => number.checked_mul(86_400),
        _ => None,
    };
    seconds.filter(|seconds| *seconds <= 366 * 86_400).ok_or_else(told)
}
