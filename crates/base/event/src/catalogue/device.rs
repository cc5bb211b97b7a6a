//! Identities and their credentials.

events! { "device":
    authority_created "MOTTE-D-0001" Notice (file: &str = "certificate of the authority")
        "A private certificate authority was made in the state directory. Its key signs the certificates of the server and of devices."
        "Keep a copy of the key offline and give the certificate to every client.";
    server_certificate_issued "MOTTE-D-0002" Notice (names: &str = "names and addresses in it", file: &str = "certificate file")
        "A certificate for the server was issued by the private authority."
        "Start with `--name` for each further name under which clients reach the broker.";
    identity_created "MOTTE-D-0003" Notice (identity: &str = "the identity", role: &str = "its role")
        "An identity with a credential of its own was made."
        "Copy the credential to its device over a channel you trust, and nowhere else.";
    password_file_open "MOTTE-D-0042" Warning (file: &str = "the password file", cause: &str = "who can do what with it, and what to do")
        "Others than the broker's user and group can read the password file, or it belongs to somebody else. It was taken all the same."
        "Do what the cause says: `chmod o=` or `chown`.";
    password_exposed "MOTTE-D-0041" Warning (identity: &str = "the identity")
        "The password of an identity became known to others (`motte user expose`). Nobody comes in with it, whoever had come in goes, and the account is closed until it has another password."
        "Give it another password with `motte user passwd` and reload.";
}
