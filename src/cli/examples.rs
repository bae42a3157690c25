//! Examples at the end of each command's help.

use std::fmt::Write as _;

/// A line as it is typed, and what it does.
type Example = (&'static str, &'static str);

/// The examples of each command, by its words.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "",
        &[
            ("annal demo", "see it work, in five seconds"),
            ("annal up", "a cluster in this terminal"),
            ("annal shell", "a prompt, in another one"),
            ("annal append hello", "or without one"),
        ],
    ),
    ("demo", &[("annal demo", "all is removed in the end"), ("annal demo --keep", "or stays up")]),
    (
        "up",
        &[
            ("annal up", "the cluster of this folder, or a new one"),
            ("annal up --nodes 5 --dir five", "five nodes, in another folder"),
            ("annal up --restart", "what crashes comes back"),
            ("annal up --detach", "in the background, until `annal down`"),
        ],
    ),
    ("down", &[("annal down", "all acknowledged records are kept"), ("annal down --dir five", "")]),
    (
        "init",
        &[
            ("annal init", "three nodes on this machine"),
            ("annal init --nodes 5 --production", "five, that do not crash when asked to"),
            ("annal init --from all.backup", "three, with the logs of a backup"),
        ],
    ),
    (
        "cluster",
        &[
            ("annal cluster members", "who votes, and who is behind"),
            ("annal cluster add n4 --address node4:7101", "and it says how n4 is started"),
            ("annal cluster remove n2", "if the others can go on without"),
        ],
    ),
    ("cluster members", &[("annal cluster members --json", "for a program")]),
    (
        "cluster add",
        &[
            ("annal cluster add n4 --address node4:7101", "a fourth voter"),
            ("annal cluster add n5 --address node5:7101 --learner", "one that never votes"),
        ],
    ),
    ("cluster remove", &[("annal cluster remove n2", "it ends when it hears of it")]),
    (
        "cluster replace",
        &[("annal cluster replace n2 --with n5 --address node5:7101", "n2 may be dead")],
    ),
    (
        "cluster transfer",
        &[("annal cluster transfer", "whoever has most"), ("annal cluster transfer --to n3", "")],
    ),
    ("cluster address", &[("annal cluster address n2 node2:7201", "where it has moved to")]),
    ("node start", &[("annal node start --data ./data/n1", "a node, in the foreground")]),
    (
        "node inspect",
        &[
            ("annal node inspect --data ./data/n1", "what is in it, and any damage"),
            ("annal node inspect --data ./data/n1 --at 9", "the same up to entry 9"),
            ("annal node inspect --data ./data/n1 --from 5", "what is in entry 5 and behind"),
        ],
    ),
    (
        "verify",
        &[
            ("annal verify monday.backup", "every entry of a backup"),
            ("annal verify --data ./data/n1", "every entry that a stopped node has"),
        ],
    ),
    (
        "backup",
        &[
            ("annal client backup --out all.backup", "all logs, while in use"),
            ("annal client backup --out more --from all.backup", "what came since"),
        ],
    ),
    (
        "node set-term",
        &[("annal node set-term --data ./data/n1 all-nodes-are-stopped", "the lowest safe")],
    ),
    ("node recover", &[("annal node recover --data ./data/n1 begin-anew", "the others fill it")]),
    (
        "append",
        &[
            ("annal append hello", "one record"),
            ("annal append 'two words' more", "two records, in one request"),
            ("seq 1 1000 | annal append -", "a record a line"),
            ("annal append --file lines.txt", "each line of a file"),
            ("annal append --from-json --file dump", "what `read --json` has printed"),
            ("annal append --producer p --file lines.txt", "each once, also after a crash"),
            ("annal append --expect-offset 42 next", "only if the log ends at offset 42"),
            ("annal append --fence w2 next", "only if w2 is the log's fence"),
            ("annal append --log eu/orders shoes", "to another log than main"),
        ],
    ),
    (
        "read",
        &[
            ("annal read", "all records"),
            ("annal read --from 5 --limit 10", "ten, from offset 5 on"),
            ("annal read --since 2026-01-31 --until 2026-02-01", "those of a day"),
            ("annal read --since 10m -f", "ten minutes, and what comes"),
            ("annal read --format '%o %t %r\\n'", "offset, time and record"),
            ("annal read --from 5 --raw > record", "the bytes of one record"),
        ],
    ),
    (
        "tail",
        &[
            ("annal tail", "the last ten records"),
            ("annal tail -f", "and those to come; Ctrl-C ends it"),
            ("annal tail -f --from 42", "from offset 42 on, without a gap"),
            ("annal tail -n 1 --json", "the last one, with its offset and time"),
        ],
    ),
    (
        "log create",
        &[
            ("annal log create eu/orders", "or find that it is there"),
            ("annal log create eu/clicks --retention-age 7d", "what is older goes"),
            ("annal log create trial --fork-of eu/orders", "goes on alone from here"),
            ("annal append --log eu/orders hello", "its offsets are its own"),
        ],
    ),
    (
        "log list",
        &[("annal log list", "all of them"), ("annal log list --prefix eu/", "those of a kind")],
    ),
    ("log describe", &[("annal log describe eu/orders", "its next offset, and if it is closed")]),
    (
        "log configure",
        &[("annal log configure main --retention-bytes 10GB", "the newest are kept")],
    ),
    ("log close", &[("annal log close eu/orders", "what it has can still be read")]),
    (
        "log delete",
        &[
            ("annal log delete eu/orders", "asks for its name once more"),
            ("annal log delete eu/orders --yes", "does not ask"),
        ],
    ),
    ("trim", &[("annal trim --log eu/orders --before 1000", "the record at 1000 is the first")]),
    ("outcome", &[("annal outcome --producer p", "its epoch, its last seq and where that is")]),
    ("producers list", &[("annal producers list", "how far each is")]),
    (
        "producers forget",
        &[("annal producers forget p", "who opens p again begins with the first line")],
    ),
    (
        "cert issue",
        &[
            ("annal cert issue client app2", "goes to clients/app2"),
            ("annal cert issue client a --allow read --log 'eu/*'", "reads some logs"),
            ("annal cert issue node n1", "in place of a lost key"),
        ],
    ),
    (
        "cert renew",
        &[
            ("annal cert renew", "all that expire within 30 days"),
            ("annal cert renew app2 n1", "these, whenever they expire"),
        ],
    ),
    (
        "cert revoke",
        &[
            ("annal cert revoke 6a1f3c20-9f8e7d6c5b4a3f21", "by its id"),
            ("annal cert revoke clients/app2/certs/client.crt", "by its file"),
        ],
    ),
    (
        "cert show",
        &[
            ("annal cert show", "who has one, until when, and what it allows"),
            ("annal cert show certs/client.crt", "what is in a file"),
        ],
    ),
    (
        "token create",
        &[
            ("annal token create --log 'eu/*' --allow read,append", "for 30 days"),
            ("annal token create --log '*' --allow read --expires 1h", "for an hour"),
            ("annal token create --allow observe", "for a monitor: no log"),
        ],
    ),
    ("token show", &[("annal token show < token.txt", "what it allows, and until when")]),
    (
        "token revoke",
        &[
            ("annal token revoke 6a1f3c20-9f8e7d6c5b4a3f21", "by its id, which is no secret"),
            ("annal token revoke < token.txt", "the token itself"),
        ],
    ),
    ("token list-revoked", &[("annal token list-revoked", "those that expire first first")]),
    (
        "token new-key",
        &[
            ("annal token new-key", "then tokens.pub goes to each node"),
            ("annal token new-key --drop-former", "and no token holds any more"),
        ],
    ),
    (
        "fence",
        &[
            ("annal fence w2", "from now on appends with `--fence w1` are refused"),
            ("annal fence", "which there is"),
            ("annal fence --clear", "none"),
        ],
    ),
    (
        "status",
        &[
            ("annal status", "who leads, who follows, who does not answer"),
            ("annal status --watch", "again each second; Ctrl-C ends it"),
            ("annal status --json", ""),
        ],
    ),
    ("top", &[("annal top", "q or Ctrl-C ends it")]),
    ("leader", &[("annal leader", "by its own word"), ("annal leader --json", "")]),
    ("terms", &[("annal terms", "Leader_Term1, Leader_Term2, …")]),
    ("crash-leader", &[("annal crash-leader", "see how long the next one takes")]),
    ("shell", &[("annal shell", "`help` there has more")]),
    (
        "client",
        &[("annal client", "the prompt"), ("annal client append hello", "as `annal append hello`")],
    ),
    ("registry start", &[("annal registry start", "with ./data/registry")]),
    ("registry leader", &[("annal registry leader", "Leader_TermX, as it was announced")]),
    ("registry terms", &[("annal registry terms", "all of them, oldest first")]),
    ("registry forget", &[("annal registry forget --term 7 --and-later", "terms that never were")]),
    (
        "sim",
        &[
            ("annal sim --seed 7 --trace", "one run, and all that happens in it"),
            ("annal sim --seeds 100", "a hundred runs, judged by laws"),
        ],
    ),
    (
        "bench",
        &[
            ("annal bench", "a cluster made for this"),
            ("annal bench --size 1024 --inflight 256", ""),
            ("annal bench --here --dir .", "the cluster of this folder"),
        ],
    ),
    ("bench floor", &[("annal bench floor --data .", "the disk of this folder")]),
    ("bench failover", &[("annal bench failover --trials 20", "")]),
    ("bench logs", &[("annal bench logs --logs 10000", "")]),
    ("bench followers", &[("annal bench followers --readers 500 --rate 200", "")]),
    ("version", &[("annal version", ""), ("annal version --json", "")]),
    (
        "completions",
        &[
            ("annal completions bash > /etc/bash_completion.d/annal", ""),
            ("annal completions zsh > ~/.zfunc/_annal", ""),
            ("annal completions fish > ~/.config/fish/completions/annal.fish", ""),
        ],
    ),
    ("man", &[("annal man --out ~/.local/share/man/man1", "then `man annal-append`")]),
];

/// The command, with examples at the end of its help and of that of each below it.
pub(super) fn added(command: clap::Command) -> clap::Command {
    with_examples(command, "", &|line| Some(line.to_owned()))
}

/// The same for lines that are typed at the prompt: without the program, and without other programs.
pub(super) fn added_for_prompt(command: clap::Command) -> clap::Command {
    let is_alone = |line: &&str| !line.contains(" > ");
    with_examples(command, "", &|line| {
        line.strip_prefix("annal ").filter(is_alone).map(ToOwned::to_owned)
    })
}

fn with_examples(
    command: clap::Command,
    path: &str,
    typed: &dyn Fn(&str) -> Option<String>,
) -> clap::Command {
    // The verbs under `client` are those above it.
    let known = EXAMPLES.iter().find(|(known, _)| *known == path.trim_start_matches("client "));
    let before = command.get_after_help().map(ToString::to_string);
    let command = match known.map(|(_, examples)| text(examples, typed)) {
        Some(text) => {
            let end = before.map(|before| format!("\n\n{before}")).unwrap_or_default();
            command.after_help(format!("{}{end}", text.trim_end()))
        }
        None => command,
    };
    command.mut_subcommands(|inner| {
        let path = format!("{path} {}", inner.get_name());
        with_examples(inner, path.trim_start(), typed)
    })
}

fn text(examples: &[Example], typed: &dyn Fn(&str) -> Option<String>) -> String {
    let lines: Vec<_> =
        examples.iter().filter_map(|(line, what)| Some((typed(line)?, what))).collect();
    let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    let mut text = "Examples:\n".to_owned();
    for (line, what) in lines {
        // Writing into a String does not fail.
        let _ = writeln!(text, "  {}", format!("{line:<width$}  {what}").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_fit_on_a_terminal_and_none_is_in_vain() {
        for (path, examples) in EXAMPLES {
            let text = text(examples, &|line| Some(line.to_owned()));
            assert!(text.lines().all(|line| line.chars().count() < 80), "{path}: {text}");
        }
        let mut paths: Vec<_> = EXAMPLES.iter().map(|(path, _)| path).collect();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), EXAMPLES.len());
    }
}
