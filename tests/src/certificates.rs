//! Certificates of an authority of a test's own, made by the openssl program.

use std::path::PathBuf;

use crate::Cluster;

/// Let a server that is not started yet speak TLS, with a certificate for `localhost`. In the
/// cluster's directory there are then `ca.crt`, which it is proved by; `other.crt`, which it is
/// not; `client.crt` with `client.key` for a role, of the server's user; and `self.crt`, which
/// [`sign_itself`] has the server use.
pub fn give_certificates(cluster: &Cluster, role: &str) {
    let script = r#"
        key() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "$@"; }
        sign() { openssl x509 -req -days 2 -CA ca.crt -CAkey ca.key -CAcreateserial "$@"; }
        key -x509 -subj /CN=test-ca -keyout ca.key -out "$1/ca.crt"
        cp "$1/ca.crt" .
        key -x509 -subj /CN=other -keyout other.key -out "$1/other.crt"
        key -subj /CN=server -keyout server.key -out server.csr
        printf 'subjectAltName=DNS:localhost' > san
        sign -in server.csr -extfile san -out server.crt
        key -subj /CN=localhost -keyout self.key -out self.csr
        openssl x509 -req -days 2 -in self.csr -signkey self.key -out self.crt
        cp self.crt "$1"
        key -subj "/CN=$2" -keyout "$1/client.key" -out client.csr
        sign -in client.csr -out "$1/client.crt"
        chmod 600 server.key self.key "$1/client.key"; chmod 644 "$1"/*.crt"#;
    let mut openssl = cluster.run_as("bash");
    openssl.args(["-ec", script, "certificates"]).arg(cluster.dir()).arg(role);
    let made = openssl.current_dir(cluster.data_dir()).output().expect("run openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    set(cluster, [("ssl", "on"), ("ssl_ca_file", "ca.crt")]);
}

/// Let a server with certificates take one that it signed itself: for `localhost` too, of the first
/// version of certificates, so without a word on what it may be used for. As of a reload.
pub fn sign_itself(cluster: &Cluster) {
    set(cluster, [("ssl_cert_file", "self.crt"), ("ssl_key_file", "self.key")]);
}

fn set<const N: usize>(cluster: &Cluster, settings: [(&str, &str); N]) {
    cluster.write_settings(&settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

/// A file that [`give_certificates`] made.
pub fn certificate(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.dir().join(name)
}
