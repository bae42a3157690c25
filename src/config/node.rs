//! `node.toml`: what one node has to know to take part.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::NODE_FILE;
use super::file::{
    ConfigError, ConfigFile, check_addresses, check_port, line, plain, push_addresses, quoted,
    quoted_names, quoted_path,
};
use super::http::{HttpConfig, RawHttp, push_http};
use crate::address::Address;
use crate::limits;
use crate::types::{ClusterId, NodeId};

/// What one node has to know to take part, from its `node.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its name.
    pub node: NodeId,
    /// The address it binds; of a name, the first address that can be had.
    pub listen: Address,
    /// The address at which the others reach it; the same as `listen` unless that is a wildcard.
    pub address: Address,
    /// The other nodes, and where they are reached. At most `limits::NODES_MAX - 1`.
    pub peers: BTreeMap<NodeId, Address>,
    /// The members that the cluster began with, if this node is none of them but joins; `None`: this node
    /// and its `peers`. At most `limits::NODES_MAX`.
    pub founders: Option<BTreeSet<NodeId>>,
    /// Where the registry is reached, if there is one.
    pub registry: Option<Address>,
    /// The time between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// The shortest election timeout; at least three heartbeats.
    pub election_timeout_min: Duration,
    /// The longest election timeout; longer than the shortest.
    pub election_timeout_max: Duration,
    /// Bytes of entries after which the log takes a new segment.
    pub segment_bytes: u64,
    /// What the node does when its store is lost.
    pub recover: Recover,
    /// In this time each sealed segment is read once, to find rot; never, if there is none.
    pub scrub: Option<Duration>,
    /// Whether the leader may be crashed on purpose: by an admin, or by whoever comes to a node's door
    /// for HTTP.
    pub fault_injection: bool,
    /// The folder with the certificates, if the file names one; the file's folder is put before it.
    pub certs: Option<PathBuf>,
    /// Its door for HTTP, if it has one.
    pub http: Option<HttpConfig>,
}

/// What a node does that finds its store damaged, or hears from its peers that it is not what it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recover {
    /// It sets aside what it has, and begins anew with a store that the others fill.
    #[default]
    Auto,
    /// It ends, and begins anew when somebody says so: `annal node recover`.
    Manual,
}

impl NodeConfig {
    /// Reads and checks `node.toml` in `data`.
    ///
    /// # Errors
    /// The file is missing, cannot be read, is not TOML, or a value is not of its form or range.
    pub fn load(data: &Path) -> Result<Self, ConfigError> {
        let file = ConfigFile::read(&data.join(NODE_FILE))?;
        let raw: RawNode = file.parse()?;
        raw.check(&file)
    }

    /// Every member with its address, this node among them.
    pub fn members(&self) -> BTreeMap<NodeId, Address> {
        let mut members = self.peers.clone();
        members.insert(self.node, self.address.clone());
        members
    }

    /// The members that the cluster began with.
    pub fn founders(&self) -> BTreeSet<NodeId> {
        self.founders.clone().unwrap_or_else(|| self.members().into_keys().collect())
    }

    /// The file that says this, with a comment at each line.
    pub fn to_toml(&self) -> String {
        let mut text = String::from(
            "# A node of an annal cluster. Paths are relative to this file.\n\
             # Beside this file lies the node's data: keep the two together.\n\n",
        );
        line(&mut text, "cluster", &quoted(self.cluster), "the cluster this node belongs to");
        line(&mut text, "node", &quoted(self.node), "this node's name");
        if let Some(founders) = &self.founders {
            let names = quoted_names(founders);
            line(&mut text, "founders", &names, "this node joins the cluster that these began");
        }
        line(&mut text, "listen", &quoted(&self.listen), "the address it binds");
        if self.address != self.listen {
            line(&mut text, "address", &quoted(&self.address), "where the others reach it");
        }
        if let Some(registry) = &self.registry {
            line(&mut text, "registry", &quoted(registry), "where leaders announce themselves");
        }
        if let Some(certs) = &self.certs {
            line(&mut text, "certs", &quoted_path(certs), "the folder with the certificates");
        }
        text.push('\n');
        let number = |duration: Duration| duration.as_millis().to_string();
        line(&mut text, "heartbeat_ms", &number(self.heartbeat), "between two heartbeats");
        let (min, max) = (number(self.election_timeout_min), number(self.election_timeout_max));
        let timeout = format!("{{ min = {min}, max = {max} }}");
        line(&mut text, "election_timeout_ms", &timeout, "drawn between these each time");
        let segment = self.segment_bytes.to_string();
        line(&mut text, "segment_bytes", &segment, "the log takes a new segment after so many");
        let scrub = self.scrub.map_or(0, |scrub| scrub.as_secs()).to_string();
        line(
            &mut text,
            "scrub_seconds",
            &scrub,
            "what is sealed is read once in so many; 0: never",
        );
        let allowed = self.fault_injection.to_string();
        line(
            &mut text,
            "fault_injection",
            &allowed,
            "whether the leader may be crashed on purpose",
        );
        let recover = match self.recover {
            Recover::Auto => "auto",
            Recover::Manual => "manual",
        };
        line(
            &mut text,
            "recover",
            &quoted(recover),
            "whether it begins anew when its data is lost",
        );
        push_http(&mut text, self.http.as_ref());
        push_addresses(&mut text, "peers", &self.peers);
        text
    }
}

/// `node.toml` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    cluster: ClusterId,
    node: Spanned<NodeId>,
    founders: Option<Spanned<BTreeSet<NodeId>>>,
    listen: Spanned<Address>,
    address: Option<Spanned<Address>>,
    registry: Option<Spanned<Address>>,
    certs: Option<PathBuf>,
    heartbeat_ms: Option<Spanned<u64>>,
    election_timeout_ms: Option<Spanned<RawRange>>,
    segment_bytes: Option<Spanned<u64>>,
    scrub_seconds: Option<Spanned<u64>>,
    #[serde(default)]
    recover: Recover,
    #[serde(default)]
    fault_injection: bool,
    http: Option<RawHttp>,
    peers: Spanned<BTreeMap<NodeId, Spanned<Address>>>,
}

/// The two ends of a range of milliseconds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRange {
    min: u64,
    max: u64,
}

impl RawNode {
    fn check(self, file: &ConfigFile) -> Result<NodeConfig, ConfigError> {
        let (heartbeat, (election_timeout_min, election_timeout_max)) = self.check_timing(file)?;
        let segment_bytes = self.check_segment(file)?;
        let scrub = self.check_scrub(file)?;
        self.check_peers(file)?;
        let address = self.check_own_address(file)?;
        let http = self.http.as_ref().map(|http| http.check(file)).transpose()?.flatten();
        Ok(NodeConfig {
            cluster: self.cluster,
            node: self.node.into_inner(),
            listen: self.listen.into_inner(),
            address,
            peers: plain(self.peers.into_inner()),
            founders: self.founders.map(Spanned::into_inner),
            registry: self.registry.map(Spanned::into_inner),
            heartbeat,
            election_timeout_min,
            election_timeout_max,
            segment_bytes,
            recover: self.recover,
            scrub,
            fault_injection: self.fault_injection,
            certs: self.certs.map(|certs| file.relative(&certs)),
            http,
        })
    }

    /// Heartbeat, and shortest and longest election timeout.
    fn check_timing(
        &self,
        file: &ConfigFile,
    ) -> Result<(Duration, (Duration, Duration)), ConfigError> {
        let heartbeat = match &self.heartbeat_ms {
            None => limits::HEARTBEAT_DEFAULT,
            Some(value) => {
                let (min, max) = (limits::HEARTBEAT_MIN, limits::HEARTBEAT_MAX);
                let heartbeat = Duration::from_millis(*value.get_ref());
                if !(min..=max).contains(&heartbeat) {
                    let (min, max) = (min.as_millis(), max.as_millis());
                    let sentence = format!("heartbeat_ms must lie between {min} and {max}");
                    return Err(file.invalid(value.span().start, sentence));
                }
                heartbeat
            }
        };
        let timeouts = match &self.election_timeout_ms {
            None => (limits::ELECTION_TIMEOUT_MIN_DEFAULT, limits::ELECTION_TIMEOUT_MAX_DEFAULT),
            Some(range) => {
                let RawRange { min, max } = *range.get_ref();
                (Duration::from_millis(min), Duration::from_millis(max))
            }
        };
        match timing_complaint(heartbeat, timeouts) {
            None => Ok((heartbeat, timeouts)),
            Some(sentence) => {
                let at = self.election_timeout_ms.as_ref().map(|range| range.span().start);
                let at = at.or(self.heartbeat_ms.as_ref().map(|value| value.span().start));
                Err(file.invalid(at.unwrap_or(0), sentence))
            }
        }
    }

    fn check_segment(&self, file: &ConfigFile) -> Result<u64, ConfigError> {
        let Some(value) = &self.segment_bytes else {
            return Ok(limits::SEGMENT_BYTES_DEFAULT);
        };
        let (min, max) = (limits::SEGMENT_BYTES_MIN, limits::SEGMENT_BYTES_MAX);
        if (min..=max).contains(value.get_ref()) {
            return Ok(*value.get_ref());
        }
        let sentence = format!("segment_bytes must lie between {min} and {max}");
        Err(file.invalid(value.span().start, sentence))
    }

    fn check_scrub(&self, file: &ConfigFile) -> Result<Option<Duration>, ConfigError> {
        let Some(value) = &self.scrub_seconds else { return Ok(Some(limits::SCRUB_DEFAULT)) };
        let scrub = Duration::from_secs(*value.get_ref());
        if scrub > limits::SCRUB_MAX {
            let sentence = format!("scrub_seconds must be at most {}", limits::SCRUB_MAX.as_secs());
            return Err(file.invalid(value.span().start, sentence));
        }
        Ok(Some(scrub).filter(|scrub| !scrub.is_zero()))
    }

    fn check_peers(&self, file: &ConfigFile) -> Result<(), ConfigError> {
        let peers = self.peers.get_ref();
        if let Some(own) = peers.get(self.node.get_ref()) {
            let sentence = format!("{} is listed as a peer of itself", self.node.get_ref());
            return Err(file.invalid(own.span().start, sentence));
        }
        if peers.len() >= limits::NODES_MAX {
            let sentence = format!("a cluster has at most {} nodes", limits::NODES_MAX);
            return Err(file.invalid(self.peers.span().start, sentence));
        }
        if let Some(founders) = &self.founders
            && !(1..=limits::NODES_MAX).contains(&founders.get_ref().len())
        {
            let sentence = format!("a cluster began with 1 to {} nodes", limits::NODES_MAX);
            return Err(file.invalid(founders.span().start, sentence));
        }
        let own = self.address.as_ref().unwrap_or(&self.listen);
        check_addresses(file, [own].into_iter().chain(peers.values()).chain(&self.registry))
    }

    /// Where others reach this node, which must be one address and not a wildcard.
    fn check_own_address(&self, file: &ConfigFile) -> Result<Address, ConfigError> {
        check_port(file, &self.listen)?;
        let address = self.address.as_ref().unwrap_or(&self.listen);
        if address.get_ref().is_wildcard() {
            let sentence = format!(
                "{} is no address that others can reach; say in `address` where they do",
                address.get_ref()
            );
            return Err(file.invalid(address.span().start, sentence));
        }
        Ok(address.get_ref().clone())
    }
}

/// What is wrong with a heartbeat and a shortest and longest election timeout, if anything.
fn timing_complaint(heartbeat: Duration, timeouts: (Duration, Duration)) -> Option<String> {
    let (min, max) = timeouts;
    let highest = limits::ELECTION_TIMEOUT_MAX;
    if min < heartbeat * limits::HEARTBEATS_PER_ELECTION_TIMEOUT_MIN {
        let (times, heartbeat) =
            (limits::HEARTBEATS_PER_ELECTION_TIMEOUT_MIN, heartbeat.as_millis());
        return Some(format!(
            "the shortest election timeout must be at least {times} heartbeats of {heartbeat} ms"
        ));
    }
    if max <= min {
        return Some("the longest election timeout must exceed the shortest".to_owned());
    }
    if max > highest {
        let highest = highest.as_millis();
        return Some(format!("the longest election timeout must be at most {highest} ms"));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{CLUSTER_FILE, ClusterConfig, REGISTRY_FILE, RegistryConfig};
    use super::*;

    fn example() -> NodeConfig {
        NodeConfig {
            cluster: ClusterId::new(7),
            node: "n1".parse().unwrap(),
            listen: "127.0.0.1:7101".parse().unwrap(),
            address: "127.0.0.1:7101".parse().unwrap(),
            peers: [("n2", "127.0.0.1:7102"), ("n10", "127.0.0.1:7110")]
                .into_iter()
                .map(|(node, address)| (node.parse().unwrap(), address.parse().unwrap()))
                .collect(),
            founders: Some(["n1", "n3"].into_iter().map(|node| node.parse().unwrap()).collect()),
            registry: Some("127.0.0.1:7100".parse().unwrap()),
            heartbeat: limits::HEARTBEAT_DEFAULT,
            election_timeout_min: limits::ELECTION_TIMEOUT_MIN_DEFAULT,
            election_timeout_max: limits::ELECTION_TIMEOUT_MAX_DEFAULT,
            segment_bytes: limits::SEGMENT_BYTES_DEFAULT,
            recover: Recover::Manual,
            scrub: Some(limits::SCRUB_DEFAULT),
            fault_injection: true,
            certs: Some(PathBuf::from("../../certs")),
            http: Some(HttpConfig::at("127.0.0.1:7181".parse().unwrap())),
        }
    }

    fn load(text: &str) -> Result<NodeConfig, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NODE_FILE), text).unwrap();
        NodeConfig::load(folder.path())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NODE_FILE), example().to_toml()).unwrap();
        let certs = Some(folder.path().join("../../certs"));
        assert_eq!(NodeConfig::load(folder.path()).unwrap(), NodeConfig { certs, ..example() });

        let cluster = ClusterConfig {
            cluster: ClusterId::new(7),
            registry: None,
            founders: Some(example().founders()),
            nodes: example().members(),
        };
        fs::write(folder.path().join(CLUSTER_FILE), cluster.to_toml()).unwrap();
        assert_eq!(ClusterConfig::load(folder.path()).unwrap(), cluster);

        let registry = RegistryConfig { listen: "[::1]:7100".parse().unwrap(), certs: None };
        fs::write(folder.path().join(REGISTRY_FILE), registry.to_toml()).unwrap();
        assert_eq!(RegistryConfig::load(folder.path()).unwrap(), registry);
    }

    #[test]
    fn a_scrub_that_is_off_is_none_and_one_that_is_not_spoken_of_is_the_usual() {
        let off = NodeConfig { scrub: None, ..example() }.to_toml();
        assert_eq!(load(&off).unwrap().scrub, None);
        let text = example().to_toml();
        let without: Vec<_> = text.lines().filter(|line| !line.starts_with("scrub")).collect();
        assert_eq!(load(&without.join("\n")).unwrap().scrub, Some(limits::SCRUB_DEFAULT));
    }

    #[test]
    fn a_wildcard_needs_an_address_for_the_others() {
        let text = example().to_toml().replacen("listen = \"127.0.0.1", "listen = \"0.0.0.0", 1);
        let message = load(&text).unwrap_err().to_string();
        assert!(message.contains("others can reach"), "{message}");
        let config = load(&format!("address = \"10.0.0.1:7101\"\n{text}")).unwrap();
        assert_eq!(config.address, "10.0.0.1:7101".parse().unwrap());
    }

    #[test]
    fn a_door_that_is_off_or_not_spoken_of_is_none() {
        let text = example().to_toml();
        let off = NodeConfig { http: None, ..example() }.to_toml();
        assert!(off.contains("listen = \"off\""), "{off}");
        let (begin, end) = (text.find("[http]").unwrap(), text.find("[peers]").unwrap());
        for without in [off, format!("{}{}", &text[..begin], &text[end..])] {
            assert_eq!(load(&without).unwrap().http, None);
        }
        assert!(load(&text).unwrap().http.is_some());
    }

    #[test]
    fn a_door_that_can_be_reached_from_elsewhere_asks_for_tokens() {
        let text = example().to_toml().replacen("127.0.0.1:7181", "0.0.0.0:7181", 1);
        let http = load(&text).unwrap().http.unwrap();
        assert!(http.tokens && http.has_tls());
        let open = text.replacen("[http]", "[http]\ntokens = false", 1);
        let message = load(&open).unwrap_err().to_string();
        assert!(message.contains("can be reached from elsewhere"), "{message}");
        let origins = vec!["https://app.example.org".to_owned(), "http://[::1]:80".to_owned()];
        let listen = "127.0.0.1:7181".parse().unwrap();
        let http = HttpConfig { tokens: true, origins, ..HttpConfig::at(listen) };
        let text = NodeConfig { http: Some(http.clone()), ..example() }.to_toml();
        assert_eq!(load(&text).unwrap().http, Some(http));
    }

    #[test]
    fn a_complaint_says_where_and_what() {
        let good = example().to_toml();
        let cases = [
            ("heartbeat_ms = 25", "heartbeat_ms = 0", "heartbeat_ms must lie between"),
            ("min = 150", "min = 70", "at least 3 heartbeats of 25 ms"),
            ("max = 300", "max = 150", "the longest election timeout must exceed the shortest"),
            ("max = 300", "max = 9000000", "must be at most"),
            ("max = 300", "maximum = 300", "unknown field `maximum`"),
            ("segment_bytes = 67108864", "segment_bytes = 12", "segment_bytes must lie between"),
            (
                "scrub_seconds = 604800",
                "scrub_seconds = 999999999",
                "scrub_seconds must be at most",
            ),
            ("n2 = \"127.0.0.1:7102\"", "n2 = \"127.0.0.1:7101\"", "is used twice"),
            ("n2 = ", "n1 = ", "n1 is listed as a peer of itself"),
            ("n2 = ", "x2 = ", "'x2' is not a node's name"),
            ("n2 = \"127.0.0.1:7102\"", "n2 = \"nowhere\"", "'nowhere' is no address"),
            ("7101\"", "0\"", "an address needs a port"),
            ("long_poll_ms = 20000", "origins = [\"*\"]", "no origin as browsers say it"),
            ("127.0.0.1:7181", "localhost:7181", "neither an address with a port nor"),
            ("127.0.0.1:7181", "127.0.0.1:0", "a port other than 0"),
            ("long_poll_ms = 20000", "long_poll_ms = 1", "long_poll_ms must lie between"),
            ("fault_injection = true", "fault_injection = 1", "invalid type"),
            ("fault_injection", "fault_injektion", "unknown field"),
            ("cluster = ", "cluster ", "expected"),
        ];
        for (from, to, expected) in cases {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good, "{from}");
            let line = text.lines().position(|line| line.contains(to)).unwrap() + 1;
            match load(&text).unwrap_err() {
                ConfigError::Invalid { line: found, column, sentence, .. } => {
                    assert!(sentence.contains(expected), "{to}: {sentence}");
                    assert_eq!(found, line, "{to}: {sentence}");
                    assert!(column >= 1);
                }
                other => panic!("{to}: {other}"),
            }
        }
    }

    #[test]
    fn a_missing_file_and_bytes_that_are_no_text_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        assert!(NodeConfig::load(folder.path()).unwrap_err().is_missing());
        fs::write(folder.path().join(NODE_FILE), b"cluster = \"\xff\"").unwrap();
        let message = NodeConfig::load(folder.path()).unwrap_err().to_string();
        assert!(message.ends_with(":1:12: this is not UTF-8 text"), "{message}");
    }
}
