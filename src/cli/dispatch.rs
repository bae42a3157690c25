//! From the arguments to the exit code.

use std::env;
use std::process::ExitCode;

use super::args::{Arguments, ClientVerb, Command, Node, Registry, Shared};
use super::failure::{End, complain, complain_to_programs};
use super::logs::{self, LogSettings};
use super::output::{Printer, print_usage};
use super::rows::VersionRow;
use super::{
    bench, certs, client, cluster, demo, down, init, node, paper, parent, registry, shell, sim,
    suggest, tokens, up, usage, verify,
};
use crate::node::privacy::keep_private;
use crate::outcome::Outcome;

/// Runs the command that the process was started with. Returns its exit code.
pub fn main() -> ExitCode {
    keep_private();
    let arguments = match Arguments::of_process() {
        Ok(arguments) => arguments,
        Err(usage) => return ended_by(&usage),
    };
    if arguments.shared.json {
        complain_to_programs();
    }
    ended(run(arguments), 0)
}

/// The exit code where the words are not understood, or ask for help.
fn ended_by(usage: &clap::Error) -> ExitCode {
    let for_programs = usage::asks_for_json(env::args_os(), env::var_os("ANNAL_JSON"));
    if for_programs {
        complain_to_programs();
    }
    let words = env::args_os().skip(1).filter_map(|word| word.into_string().ok());
    if let Some(failure) = suggest::unknown_in(usage, words, &Arguments::grammar()) {
        return ended(Err(failure.into()), 0);
    }
    if for_programs && usage.use_stderr() {
        return ended(Err(usage::failure_of(usage).into()), 0);
    }
    let code = if usage.use_stderr() { Outcome::Usage.exit_code() } else { 0 };
    ended(print_usage(usage).map_err(End::from), code)
}

/// The exit code of what has ended, complaints said; `code` if there are none.
fn ended(result: Result<(), End>, code: u8) -> ExitCode {
    match result {
        Ok(()) | Err(End::Unheard) => ExitCode::from(code),
        Err(End::Failed(failure)) => {
            complain(&failure);
            parent::tell(&failure.word());
            ExitCode::from(failure.outcome.exit_code())
        }
    }
}

fn run(Arguments { shared, command }: Arguments) -> Result<(), End> {
    let mut printer = Printer::new(shared.json);
    match command {
        // Servers log under a name of their own.
        Command::Node(Node::Start(args)) => return node::start(&args, &shared),
        Command::Registry(Registry::Start(args)) => return registry::start(&args, &shared),
        _ => install_client_logs(&shared)?,
    }
    match command {
        Command::Demo(args) => demo::run(&args, &mut printer),
        Command::Up(args) => up::run(&args, &shared, &mut printer),
        Command::Down(args) => down::run(&args, &mut printer),
        Command::Init(args) => init::run(&args, &mut printer),
        Command::Completions(args) => paper::completions(args.shell, Arguments::grammar()),
        Command::Man(args) => paper::man(&args.out, Arguments::grammar(), &mut printer),
        Command::Version => {
            Ok(printer.print_now(&VersionRow { version: env!("CARGO_PKG_VERSION") })?)
        }
        Command::Bench(args) => bench::run(&args, &mut printer),
        Command::Sim(args) => sim::run(&args, &mut printer),
        Command::Node(Node::Inspect(args)) => node::inspect(&args, &mut printer),
        Command::Node(Node::SetTerm(args)) => node::set_term(&args, &mut printer),
        Command::Verify(args) => verify::run(&args, &mut printer),
        Command::Node(Node::Recover(args)) => node::recover(&args, &mut printer),
        Command::Append(args) => client::run(args.client(ClientVerb::Append), &mut printer),
        Command::Read(args) => client::run(args.client(ClientVerb::Read), &mut printer),
        Command::Tail(args) => client::run(args.client(ClientVerb::Tail), &mut printer),
        Command::Fence(args) => client::run(args.client(ClientVerb::Fence), &mut printer),
        Command::Log(args) => client::run(args.client(ClientVerb::Log), &mut printer),
        Command::Trim(args) => client::run(args.client(ClientVerb::Trim), &mut printer),
        Command::Outcome(args) => client::run(args.client(ClientVerb::Outcome), &mut printer),
        Command::Producers(args) => client::run(args.client(ClientVerb::Producers), &mut printer),
        Command::Status(args) => client::run(args.client(ClientVerb::Status), &mut printer),
        Command::Top(args) => client::run(args.client(ClientVerb::Top), &mut printer),
        Command::Leader(args) => client::run(args.client(ClientVerb::Leader), &mut printer),
        Command::Terms(args) => client::run(args.client(ClientVerb::Terms), &mut printer),
        Command::Cert(args) => certs::run(args, &mut printer),
        Command::Token(args) => tokens::run(args, &mut printer),
        Command::Shell(args) => shell::run(&args, "annal shell", &mut printer),
        Command::CrashLeader(args) => {
            client::run(args.client(ClientVerb::CrashLeader), &mut printer)
        }
        Command::Cluster(args) => cluster::run(&args, &mut printer),
        Command::Client(args) => client::run(args, &mut printer),
        Command::Registry(Registry::Leader(args)) => registry::leader(&args, &mut printer),
        Command::Registry(Registry::Terms(args)) => registry::terms(&args, &mut printer),
        Command::Registry(Registry::Forget(args)) => registry::forget(&args, &mut printer),
        Command::Node(Node::Start(_)) | Command::Registry(Registry::Start(_)) => {
            unreachable!("started above")
        }
    }
}

fn install_client_logs(shared: &Shared) -> Result<(), End> {
    Ok(logs::install(LogSettings {
        format: shared.log_format,
        filter: shared.log_filter.as_deref(),
        default_filter: logs::CLIENT_FILTER,
        name: "client".to_owned(),
        named_by_parent: false,
    })?)
}
