//! Methods of authentication, by their names.

/// A method of authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// Client certificate.
    Certificate,
    /// User name and password.
    Password,
    /// A code beside a password; only where all of several are wanted.
    Totp,
    /// The word of the service of `[auth.http]`.
    Http,
    /// The word of the directory of `[auth.ldap]`.
    Ldap,
    /// A token of the issuer of `[auth.jwt]`.
    Jwt,
}

impl AuthMethod {
    const ALL: [Self; 6] = [Self::Certificate, Self::Password, Self::Totp, Self::Http, Self::Ldap, Self::Jwt];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Password => "password",
            Self::Totp => "totp",
            Self::Http => "http",
            Self::Ldap => "ldap",
            Self::Jwt => "jwt",
        }
    }

    /// The method of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}
