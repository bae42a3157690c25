//! `annal init`: a new cluster's configuration and certificates.

use std::collections::BTreeMap;

use super::args;
use super::failure::{End, Failure};
use super::output::{Printer, talk};
use super::progress;
use super::quote::command_line;
use super::rows::{InitRow, PartRow};
use crate::address::Address;
use crate::node::init::{InitOptions, init};
use crate::node::ports;
use crate::types::NodeId;

/// Writes a cluster and says what comes next.
pub(super) fn run(args: &args::Init, printer: &mut Printer) -> Result<(), End> {
    let options = settings(args)?;
    let telling = (!options.backups.is_empty()).then(progress::spinner);
    let cluster = init(&options);
    if let Some(telling) = telling {
        telling.finish_and_clear();
    }
    let cluster = cluster?;
    if let Some(address) = ports::taken(&options) {
        let sentence =
            "is in use by another process now: until that ends, this cluster cannot start";
        talk(format_args!("{address} {sentence}"));
    }
    printer.print_now(&InitRow {
        cluster: cluster.cluster,
        dir: args.dir.display().to_string(),
        nodes: parts(&cluster.nodes),
        registry: cluster.registry.as_ref().map(ToString::to_string),
        fault_injection: options.fault_injection,
    })?;
    if !printer.is_json() {
        let dir = args.dir.to_string_lossy();
        let up = match dir.as_ref() {
            "." => command_line(["annal", "up"]),
            dir => command_line(["annal", "up", "--dir", dir]),
        };
        talk(format_args!("start it with: {up}"));
    }
    Ok(())
}

fn settings(args: &args::Init) -> Result<InitOptions, Failure> {
    let mut options = InitOptions::local(&args.dir, args.nodes, args.base_port)?;
    options.backups.clone_from(&args.from);
    options.fault_injection = !args.production;
    if args.production {
        // Whoever has an account on the machine would be heard at it.
        options.http.clear();
    }
    Ok(options)
}

/// Nodes as results show them.
pub(super) fn parts(nodes: &BTreeMap<NodeId, Address>) -> Vec<PartRow> {
    let part = |(node, address): (&NodeId, &Address)| PartRow {
        node: *node,
        address: address.to_string(),
    };
    nodes.iter().map(part).collect()
}
