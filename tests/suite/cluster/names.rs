//! Names instead of addresses, and names that nobody has.

use std::fs;

use super::harness::{Cluster, Kind, free_ports, wait_for};

/// A name that never has an address (RFC 6761).
const NOBODY: &str = "nobody.invalid:7103";

impl Cluster {
    /// Replaces addresses in the files of the cluster: where everybody is told to find a part.
    fn rename(&self, from: &str, to: &str) {
        for file in ["certs/cluster.toml", "data/n1/node.toml", "data/n2/node.toml"] {
            let path = self.path(file);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, text.replace(from, to)).unwrap();
        }
    }
}

#[test]
fn a_node_whose_own_file_says_another_port_is_found_where_the_others_have_it() {
    let mut cluster = Cluster::prepared(Kind::default());
    let (told, port) = (cluster.base_port() + 3, free_ports(0));
    cluster.change_config("n3", &format!("{told}"), &format!("{port}"));
    for node in cluster.nodes() {
        cluster.start(&node);
    }
    let address = format!("127.0.0.1:{port}");
    wait_for("n3 to be found", || {
        let status = cluster.status();
        let node = &status["nodes"][2];
        (node["reachable"] == true && node["address"] == *address).then_some(())
    });
    cluster.append(&["by all three"]);
    cluster.wait_until_caught_up();
    cluster.stop_all();
}

#[test]
fn a_name_that_is_not_found_keeps_nobody_from_the_majority() {
    let mut cluster = Cluster::prepared(Kind::default());
    let at = |number: u16| format!("\"127.0.0.1:{}\"", cluster.base_port() + number);
    let named = |number: u16| format!("\"localhost:{}\"", cluster.base_port() + number);
    // n1 even listens on a name; n3 and the registry have names that nobody has.
    cluster.rename(&at(1), &named(1));
    cluster.rename(&at(2), &named(2));
    cluster.rename(&at(3), &format!("\"{NOBODY}\""));
    cluster.rename(&at(0), "\"registry.invalid:7100\"");
    cluster.start("n1");
    cluster.start("n2");
    cluster.leader();
    cluster.append(&["by the names in the files"]);
    cluster.wait_for_line("n1", "the name nobody.invalid is not found");

    let nodes = format!("{NOBODY},localhost:{}", cluster.base_port() + 1);
    let line = ["append", "by typed names", "--nodes", &nodes, "--timeout", "30s"];
    cluster.client(line).expect_code(0);
    // An append may be served before it comes to that name; who asks for all comes to it.
    let output = cluster.client(["status", "--nodes", &nodes]).expect_code(0);
    assert!(output.stderr.contains("the name nobody.invalid is not found"), "{}", output.stderr);
    assert_eq!(cluster.records(), ["by the names in the files", "by typed names"]);

    // Nothing but such a name: nobody answers. What is no name is a mistake in the words.
    let nobody = ["append", "x", "--nodes", NOBODY, "--timeout", "500ms"];
    let registry = ["--registry", "registry.invalid:7100"];
    let output = cluster.client(nobody.into_iter().chain(registry));
    output.expect_complaint(3, "none of the");
    let output = cluster.client(["append", "x", "--nodes", "no body:7103"]);
    output.expect_complaint(2, "'no body:7103' is no address");
    let output = cluster.client(["status", "--registry", "127.0.0.1"]);
    output.expect_complaint(2, "'127.0.0.1' is no address");
}
