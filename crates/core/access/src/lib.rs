//! Who may do what: principals, policy, decisions and the Gate.
