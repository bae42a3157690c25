//! `annal init`: a new cluster's configuration and certificates.

use std::collections::BTreeMap;
use std::path::Path;

use super::args;
use super::escape::escaped;
use super::failure::{End, Failure};
use super::output::{Printer, talk};
use super::progress;
use super::quote::command_line;
use super::rows::{InitRow, PartRow};
use crate::address::Address;
use crate::config::{CERTS_FOLDER, HOSTS_FOLDER};
use crate::node::init::{InitOptions, Layout, check_vacant, init};
use crate::node::ports;
use crate::outcome::Outcome;
use crate::types::NodeId;

/// What `BindError::InUse` says of an address.
pub(super) const IN_USE: &str = "is in use by another process";

/// Writes a cluster and says what comes next.
pub(super) fn run(args: &args::Init, printer: &mut Printer) -> Result<(), End> {
    let options = settings(args)?;
    let telling = (!options.backups.is_empty()).then(progress::spinner);
    let cluster = init(&options);
    if let Some(telling) = telling {
        telling.finish_and_clear();
    }
    let cluster = cluster?;
    if let Some(sentence) = ports::why_others(&options).filter(|_| args.base_port.is_none()) {
        talk(sentence);
    }
    printer.print_now(&InitRow {
        cluster: cluster.cluster,
        dir: args.dir.display().to_string(),
        nodes: parts(&cluster.nodes),
        registry: cluster.registry.as_ref().map(ToString::to_string),
        fault_injection: options.fault_injection,
    })?;
    if !printer.is_json() {
        match options.layout {
            Layout::OneMachine => talk_of_up(&args.dir),
            Layout::Machines { .. } => talk_of_hosts(&args.dir),
        }
    }
    Ok(())
}

fn talk_of_up(dir: &Path) {
    let up = if dir == Path::new(".") {
        command_line(["annal", "up"])
    } else {
        command_line(["annal", "up", "--dir", &dir.to_string_lossy()])
    };
    talk(format_args!("start it with: {up}"));
}

fn talk_of_hosts(dir: &Path) {
    let [hosts, certs] =
        [HOSTS_FOLDER, CERTS_FOLDER].map(|name| dir.join(name).display().to_string());
    talk(format_args!(
        "copy each folder of {} to its machine and start the unit in it; {} stays with you",
        escaped(&hosts),
        escaped(&certs)
    ));
}

/// What is to be written, at addresses of this machine that nobody uses now.
fn settings(args: &args::Init) -> Result<InitOptions, End> {
    let mut options = match (args.hosts.as_slice(), args.base_port) {
        ([], None) => ports::local_at_free_ports(&args.dir, args.nodes)?,
        ([], Some(base_port)) => InitOptions::local(&args.dir, args.nodes, base_port)?,
        (hosts, _) => machines(args, hosts)?,
    };
    check_vacant(&args.dir)?;
    if !args.hosts.is_empty() || args.base_port.is_some() {
        options = at_free(options)?;
    }
    options.backups.clone_from(&args.from);
    options.fault_injection &= !args.production;
    if args.production {
        // Whoever has an account on the machine would be heard at it.
        options.http.clear();
    }
    Ok(options)
}

fn machines(args: &args::Init, hosts: &[(NodeId, Address)]) -> Result<InitOptions, End> {
    let mut nodes = BTreeMap::new();
    for (node, address) in hosts {
        if nodes.insert(*node, address.clone()).is_some() {
            let sentence = format!("--node says twice where {node} is");
            let hint = "once for each node, as --node n1=node1.example.org:7101";
            return Err(Failure::new(Outcome::Usage, sentence, hint).into());
        }
    }
    let clients = args.clients.iter().cloned().collect();
    Ok(InitOptions::machines(&args.dir, nodes, args.registry.clone(), clients)?)
}

/// A cluster whose ports were asked for, if they can be had now.
pub(super) fn at_free(options: InitOptions) -> Result<InitOptions, Failure> {
    let Some(address) = ports::taken(&options) else { return Ok(options) };
    let sentence = format!("{address} {IN_USE}; nothing was written");
    let hint = match options.layout {
        Layout::OneMachine => "choose another --base-port, or none: free ones are then found",
        Layout::Machines { .. } => "choose another port, or stop that process",
    };
    Err(Failure::new(Outcome::Failed, sentence, hint))
}

/// Nodes as results show them.
pub(super) fn parts(nodes: &BTreeMap<NodeId, Address>) -> Vec<PartRow> {
    let part = |(node, address): (&NodeId, &Address)| PartRow {
        node: *node,
        address: address.to_string(),
    };
    nodes.iter().map(part).collect()
}
