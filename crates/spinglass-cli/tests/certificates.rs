//! Certificates and rules as a user handles them, and openssl's beside ours.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A folder of this test's own, in which commands run; it is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("spinglass-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    fn run(&self, program: &str, arguments: &str) -> Output {
        let mut command = Command::new(program);
        // No setting of the machine's reaches openssl.
        command.args(arguments.split_whitespace()).env("OPENSSL_CONF", "/dev/null");
        let output = command.current_dir(&self.0).stdin(Stdio::null()).output();
        output.unwrap_or_else(|error| panic!("{program} {arguments}: {error}"))
    }

    /// Runs our command, which must end with this code; returns all that it said.
    fn ours(&self, arguments: &str, code: i32) -> String {
        self.check(env!("CARGO_BIN_EXE_spinglass"), arguments, code)
    }

    fn openssl(&self, arguments: &str) -> String {
        self.check("openssl", arguments, 0)
    }

    fn check(&self, program: &str, arguments: &str, code: i32) -> String {
        let output = self.run(program, arguments);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(output.status.code(), Some(code), "{program} {arguments}: {said}");
        said
    }

    fn json(&self, arguments: &str, code: i32) -> Value {
        let said = self.ours(&format!("{arguments} --json"), code);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("it was written")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("it can be written");
    }

    fn bundle(&self, name: &str, parts: &[&str]) {
        let text: String = parts.iter().map(|part| self.read(part)).collect();
        self.write(name, &text);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// A root, a certifier of /usa, and a member n1 below it.
fn our_chain(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.ours("ca init example.org --dir ca", 0);
    folder.ours("ca certify-zone /usa --ca ca --dir usa", 0);
    folder.ours("ca issue /usa/ithaca/n1 --ca usa --out n1", 0);
    folder
}

/// What openssl is told of extensions, as docs/security.md shows it.
const CONFIG: &str = "\
[req]
distinguished_name = nothing
[nothing]
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
subjectAltName = URI:spiffe://example.org
[zone]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = URI:spiffe://example.org/usa
[elsewhere]
basicConstraints = critical, CA:TRUE
subjectAltName = URI:spiffe://example.org/asia
[member]
keyUsage = critical, digitalSignature
authorityKeyIdentifier = keyid
subjectAltName = URI:spiffe://example.org/usa/ithaca/n1
[stray]
keyUsage = critical, digitalSignature
subjectAltName = URI:spiffe://example.org/asia/n1
[nameless]
keyUsage = critical, digitalSignature
subjectAltName = DNS:n1.example.org
[twice]
subjectAltName = URI:spiffe://example.org/usa/n1, URI:spiffe://example.org/usa/n2
[foreign]
subjectAltName = URI:spiffe://example.com/usa/n1
[crl]
authorityKeyIdentifier = keyid
[ca]
default_ca = usa
[usa]
database = index.txt
crlnumber = crlnumber
default_md = default
default_crl_days = 30
certificate = usa.crt
private_key = usa.key
";

/// The same chain as openssl makes it: root.crt, usa.crt, n1.crt, and n1.pem with both.
fn openssl_chain(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.write("openssl.cnf", CONFIG);
    for key in ["root", "usa", "n1"] {
        folder.openssl(&format!("genpkey -algorithm ed25519 -out {key}.key"));
    }
    folder.openssl(
        "req -x509 -new -key root.key -subj /CN=root -days 3650 -config openssl.cnf \
         -extensions root -out root.crt",
    );
    sign(&folder, "usa", "root", "zone", "usa");
    sign(&folder, "n1", "usa", "member", "n1");
    folder.bundle("n1.pem", &["n1.crt", "usa.crt"]);
    folder
}

/// Has openssl certify a key as a section of the configuration says.
fn sign(folder: &Folder, key: &str, issuer: &str, section: &str, out: &str) {
    folder.openssl(&format!(
        "req -new -key {key}.key -subj /CN={key} -config openssl.cnf -out {out}.csr"
    ));
    folder.openssl(&format!(
        "x509 -req -in {out}.csr -CA {issuer}.crt -CAkey {issuer}.key -CAcreateserial -days 7 \
         -extfile openssl.cnf -extensions {section} -out {out}.crt"
    ));
}

#[test]
fn our_chain_holds_with_us_and_with_openssl_until_it_is_revoked() {
    let folder = our_chain("ours");
    let report = folder.json("ca verify n1.crt --root ca/ca.crt", 0);
    assert_eq!(report["name"], "spiffe://example.org/usa/ithaca/n1");
    assert_eq!(report["scope"], "spiffe://example.org/usa");
    folder.openssl("verify -x509_strict -CAfile ca/ca.crt -untrusted n1.crt n1.crt");
    for key in ["ca/ca.key", "usa/ca.key", "n1.key"] {
        assert_eq!(mode(&folder.path(key)), 0o600);
        folder.openssl(&format!("pkey -in {key} -noout"));
    }
    let said = folder.ours("ca revoke n1.crt --ca usa", 0);
    assert!(said.contains("1 in all"), "{said}");
    let said = folder.ours("ca verify n1.crt --root ca/ca.crt --revoked usa/revoked.crl", 1);
    assert!(said.contains("revoked"), "{said}");
    let crl = "verify -crl_check -CRLfile usa/revoked.crl -CAfile ca/ca.crt -untrusted n1.crt";
    let said = folder.check("openssl", &format!("{crl} n1.crt"), 2);
    assert!(said.contains("certificate revoked"), "{said}");
    folder.ours("ca issue /usa/ithaca/n2 --ca usa --out n2", 0);
    folder.ours("ca verify n2.crt --root ca/ca.crt --revoked usa/revoked.crl", 0);
    folder.openssl(&format!("{crl} n2.crt"));
    folder.ours("ca revoke n2.crt --serial 0A:0b --ca usa", 0);
    let shown = folder.json("ca show usa/revoked.crl", 0);
    assert_eq!(shown[0]["revocations"]["revoked"].as_array().map(Vec::len), Some(3), "{shown}");
    let said = folder.ours("ca revoke n1.crt --ca ca", 1);
    assert!(said.contains("only that authority can revoke it"), "{said}");
}

#[test]
fn the_chain_of_openssl_holds_with_us_until_it_is_revoked() {
    let folder = openssl_chain("openssl");
    let report = folder.json("ca verify n1.pem --root root.crt", 0);
    assert_eq!(report["name"], "spiffe://example.org/usa/ithaca/n1");
    assert_eq!(report["scope"], "spiffe://example.org/usa");
    let said = folder.ours("ca verify n1.crt --root root.crt", 1);
    assert!(said.contains("add the missing certifiers"), "{said}");
    // A bundle as step writes it, with the root at its end and words between.
    folder.write("words", "Certificate of n1, issued to run the grid:\n");
    folder.bundle("bundle.pem", &["words", "n1.crt", "usa.crt", "root.crt"]);
    folder.ours("ca verify bundle.pem --root root.crt", 0);
    // Its authority in our folder's shape issues with our command.
    fs::create_dir(folder.path("usa")).expect("a folder");
    folder.bundle("usa/ca.crt", &["usa.crt"]);
    folder.bundle("usa/ca.key", &["usa.key"]);
    let said = folder.ours("ca issue /usa/n2 --ca usa --out n2", 1);
    assert!(said.contains("chmod 600"), "{said}");
    fs::set_permissions(folder.path("usa/ca.key"), fs::Permissions::from_mode(0o600)).expect("own");
    folder.ours("ca issue /usa/n2 --ca usa --out n2", 0);
    folder.ours("ca verify n2.crt --root root.crt", 0);
    folder.openssl("verify -CAfile root.crt -untrusted n2.crt n2.crt");
    // And openssl's list of revocations counts with us.
    folder.write("index.txt", "");
    folder.write("crlnumber", "01\n");
    folder.openssl("ca -config openssl.cnf -revoke n1.crt");
    folder.openssl("ca -config openssl.cnf -gencrl -crlexts crl -out usa.crl");
    let said = folder.ours("ca verify n1.pem --root root.crt --revoked usa.crl", 1);
    assert!(said.contains("revoked"), "{said}");
    folder.ours("ca verify n2.crt --root root.crt --revoked usa.crl", 0);
}

#[test]
fn what_openssl_issued_against_our_rules_is_refused_for_its_reason() {
    let folder = openssl_chain("refused");
    let refused = |file: &str, root: &str, reason: &str| {
        let said = folder.ours(&format!("ca verify {file} --root {root}"), 1);
        assert!(said.contains(reason), "{file}: {said}");
    };
    for (section, reason) in [
        ("stray", "outside its certifier's zone"),
        ("nameless", "exactly one URI"),
        ("twice", "exactly one URI"),
        ("foreign", "another trust domain"),
    ] {
        sign(&folder, "n1", "usa", section, section);
        folder.bundle("bad.pem", &[&format!("{section}.crt"), "usa.crt"]);
        refused("bad.pem", "root.crt", reason);
    }
    folder.openssl("ecparam -name prime256v1 -genkey -noout -out ec.key");
    sign(&folder, "ec", "usa", "member", "ec");
    folder.bundle("bad.pem", &["ec.crt", "usa.crt"]);
    refused("bad.pem", "root.crt", "not Ed25519");
    refused("usa.crt", "root.crt", "a member's comes first");
    // A certifier of another zone than its issuer's, and a member that certifies.
    folder.openssl("genpkey -algorithm ed25519 -out asia.key");
    sign(&folder, "asia", "usa", "elsewhere", "asia");
    sign(&folder, "n1", "asia", "stray", "n2");
    folder.bundle("bad.pem", &["n2.crt", "asia.crt", "usa.crt"]);
    refused("bad.pem", "root.crt", "outside its certifier's zone");
    sign(&folder, "asia", "n1", "member", "n3");
    folder.bundle("bad.pem", &["n3.crt", "n1.crt", "usa.crt"]);
    refused("bad.pem", "root.crt", "must not issue");
    let late = folder.ours("ca verify n1.pem --root root.crt --at 4000000000", 1);
    assert!(late.contains("expired"), "{late}");
}

#[test]
fn keys_stay_with_members_and_certificates_are_renewed() {
    let folder = our_chain("renewal");
    folder.ours("keygen --identity me.key --public me.pub", 0);
    folder.ours("ca issue /usa/me --ca usa --public-key me.pub --out me --hours 2", 0);
    assert!(folder.read("me.key").starts_with("spinglass-identity-key"), "the member's own");
    let first = folder.json("ca verify me.crt --root ca/ca.crt", 0);
    let said = folder.ours("ca issue /usa/me --ca usa --identity me.key --out me", 1);
    assert!(said.contains("--force"), "{said}");
    folder.ours("ca issue /usa/me --ca usa --identity me.key --out me --force", 0);
    let second = folder.json("ca verify me.crt --root ca/ca.crt", 0);
    assert!(second["not_after"].as_u64() > first["not_after"].as_u64(), "{first} {second}");
    // A change of roots: both are trusted for a while.
    folder.ours("ca init example.org --dir next", 0);
    folder.ours("ca issue /usa/me --ca next --identity me.key --out next-me", 0);
    for file in ["me.crt", "next-me.crt"] {
        folder.ours(&format!("ca verify {file} --root ca/ca.crt --root next/ca.crt"), 0);
    }
    folder.ours("ca verify me.crt --root next/ca.crt", 1);
}

#[test]
fn an_authority_names_what_it_may_and_overwrites_nothing() {
    let folder = our_chain("limits");
    let (key, root) = (folder.read("ca/ca.key"), folder.read("ca/ca.crt"));
    for command in [
        "ca init example.org --dir ca",
        "ca certify-zone /usa --ca ca --dir usa",
        "ca issue /usa/ithaca/n1 --ca usa --out n1",
    ] {
        let said = folder.ours(command, 1);
        assert!(said.contains("exists: choose another name"), "{said}");
    }
    assert_eq!((folder.read("ca/ca.key"), folder.read("ca/ca.crt")), (key, root));
    let said = folder.ours("ca issue /asia/n1 --ca usa --out n2", 1);
    assert!(said.contains("outside spiffe://example.org/usa"), "{said}");
    let said = folder.ours("ca certify-zone / --ca usa --dir all", 1);
    assert!(said.contains("outside spiffe://example.org/usa"), "{said}");
    let said = folder.ours("ca issue n1 --ca usa --out n2", 1);
    assert!(said.contains("write /ZONE/NODE"), "{said}");
    let said = folder.ours("ca issue /usa/n1 --ca nowhere --out n2", 1);
    assert!(said.contains("spinglass ca init"), "{said}");
    let said = folder.ours("ca init Example.org --dir other", 1);
    assert!(said.contains("a-z"), "{said}");
    assert!(!folder.path("n2.key").exists() && !folder.path("all").exists());
    let shown = folder.json("ca show n1.crt ca/ca.crt", 0);
    let kinds: Vec<_> = [(0, 0), (0, 1), (1, 0)]
        .map(|(file, at)| shown[file]["certificates"][at]["kind"].clone())
        .into();
    assert_eq!(kinds, ["member", "certifier", "root"]);
    assert!(!shown.to_string().contains("PRIVATE"));
}

#[test]
fn a_policy_explains_its_decisions() {
    let folder = Folder::new("policy");
    folder.write(
        "policy.toml",
        "[[rule]]\nwho = \"spiffe://example.org/usa/bad\"\ndeny = \"publish **\"\n\n\
         [[rule]]\nwho = \"spiffe://example.org/usa/**\"\n\
         allow = [\"publish grid/**\", \"join /usa/**\"]\n",
    );
    let check = |who: &str, action: &str| {
        let program = env!("CARGO_BIN_EXE_spinglass");
        let mut command = Command::new(program);
        command.args(["policy", "check", "--policy", "policy.toml", "--json", "--who", who]);
        let output = command.args(["--action", action]).current_dir(&folder.0).output();
        let output = output.expect("the program that cargo built runs");
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).ok())
    };
    let rule = |report: Option<Value>| {
        let report = report.expect("a report");
        (report["rule"]["rule"].as_u64(), report["rule"]["line"].as_u64())
    };
    let (code, report) = check("spiffe://example.org/usa/ithaca/n1", "publish grid/ny");
    assert_eq!((code, rule(report)), (Some(0), (Some(2), Some(5))));
    let (code, report) = check("spiffe://example.org/usa/bad", "publish grid/ny");
    assert_eq!((code, rule(report)), (Some(1), (Some(1), Some(1))));
    let (code, report) = check("spiffe://example.org/asia/n1", "publish grid/ny");
    assert_eq!((code, rule(report)), (Some(1), (None, None)));
    assert_eq!(check("n1", "publish grid/ny").0, Some(1));
    assert_eq!(check("spiffe://example.org/usa/n1", "dance").0, Some(1));
    let shown = folder.ours("policy show --policy policy.toml", 0);
    assert!(shown.contains("rule 2 (line 5)") && shown.contains("allow  join /usa/**"), "{shown}");
    folder.write("bad.toml", "[[rule]]\nwho = \"spiffe://example.org/**\"\nallow = \"dance\"\n");
    let said = folder.ours("policy show --policy bad.toml", 1);
    assert!(said.contains("bad.toml, line 3") && said.contains("subscribe TOPIC"), "{said}");
}

/// The text of a document's blocks of one kind, one after the other.
fn blocks(document: &str, kind: &str) -> String {
    let fence = format!("```{kind}\n");
    let parts = document.split(&fence).skip(1).filter_map(|part| part.split("```").next());
    parts.collect()
}

#[test]
fn documented_commands_run() {
    let folder = Folder::new("documents");
    let document = include_str!("../../../docs/security.md");
    folder.write("openssl.cnf", &blocks(document, "ini"));
    folder.write("policy.toml", &blocks(document, "toml"));
    let program = Path::new(env!("CARGO_BIN_EXE_spinglass"));
    let ours = program.parent().expect("a program lies in a folder").display();
    let script = format!("set -ex\nPATH={ours}:$PATH\n{}", blocks(document, "sh"));
    assert!(script.matches("spinglass ").count() > 20, "the document has commands");
    folder.write("commands.sh", &script);
    let said = folder.check("sh", "commands.sh", 0);
    assert!(said.contains("allowed: spiffe://example.org/usa/ithaca/n2 publish grid/ny"), "{said}");
}
