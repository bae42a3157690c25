//! The prompt, on a terminal.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::harness::{Cluster, Kind, wait_for};
use super::pty::Terminal;
use crate::program::run;

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const UP: &str = "\x1b[A";
const RIGHT: &str = "\x1b[C";

/// Who leads, and in which term.
fn leading(cluster: &Cluster) -> (String, u64) {
    wait_for("a leader", || {
        let status = cluster.status();
        Some((status["leader"].as_str()?.to_owned(), status["term"].as_u64()?))
    })
}

#[test]
fn the_prompt_obeys_shows_who_leads_and_outlives_what_it_runs() {
    let mut cluster = Cluster::started(Kind::default());
    let (leader, term) = leading(&cluster);
    let prompt = format!("annal {leader}@{term}> ");
    let mut shell = Terminal::run(cluster.folder(), &["client"]);
    shell.expect("Ctrl-D leaves");
    shell.expect(&prompt);

    // The words of the Python project, exactly as typed.
    shell.type_line("send_command(\"hello, log\")");
    shell.expect(&format!("@{term}, acknowledged by {leader}"));
    shell.expect(&prompt);
    shell.type_line("append 'two words' three");
    shell.expect("offsets 1 to 2 in entry");
    shell.expect(&prompt);
    shell.type_line("read --json --limit 1 --from 1");
    shell.expect("\"record\":\"two words\"}");
    shell.expect(&prompt);
    shell.type_line("leader");
    shell.expect(&format!("{leader} leads term {term}, at 127.0.0.1:"));
    shell.type_line("terms");
    shell.expect(&format!("Leader_Term{term}  {leader}"));
    shell.type_line("status");
    shell.expect(&format!("{leader} leads term {term}, 3 records in main\n"));
    shell.expect("registry: Leader_Term");
    shell.type_line("status --watch");
    shell.expect(", 3 records in main\n");
    cluster.append(&["seen"]);
    shell.expect(", 4 records in main\n");
    shell.press(CTRL_C);
    shell.expect(&prompt);

    // Ctrl-C ends what runs, and what was typed, and not the shell.
    shell.type_line("tail -f -n 1");
    shell.expect("seen\n");
    cluster.append(&["from elsewhere"]);
    shell.expect("from elsewhere\n");
    shell.press(CTRL_C);
    shell.expect(&prompt);
    shell.press("append never");
    shell.expect("append never");
    shell.press(CTRL_C);
    shell.expect(&prompt);

    // What is wrong is said, and the next line is read.
    shell.type_line("appendd x");
    shell.expect("error: there is no command `appendd`");
    shell.type_line("append 'open");
    shell.expect("error: a quote is open");
    shell.type_line("append -");
    shell.expect("error: `-` stands for standard input, which is this prompt");

    shell.type_line("stop_leader()");
    let said = shell.expect(" leads term ");
    assert!(said.contains(&format!("{leader}, leader of term {term}, crashed")), "{said}");
    cluster.wait_for_end(&leader);
    let (next, next_term) = leading(&cluster);
    shell.expect(&format!("annal {next}@{next_term}> "));

    // A change from elsewhere is told above the prompt, which shows it.
    cluster.start(&leader);
    cluster.wait_until_caught_up();
    shell.press("append half");
    cluster.stop(&next);
    let (third, third_term) = leading(&cluster);
    shell.expect(&format!("{third} leads term {third_term}\n"));
    shell.expect(&format!("annal {third}@{third_term}> append half"));
    shell.type_line(" typed");
    shell.expect(&format!("acknowledged by {third}"));

    // Without a majority there is nobody to take over, and nobody has to wait for that.
    let others = cluster.nodes().into_iter().filter(|node| *node != third).collect::<Vec<_>>();
    cluster.kill(&others[0]);
    cluster.kill(&others[1]);
    for line in ["append perhaps", "read", "leader", "stop_leader()"] {
        shell.expect("> ");
        shell.type_line(line);
        shell.expect(&format!("{line}\n"));
        shell.press(CTRL_C);
        shell.expect("error: ");
        shell.expect("hint: ");
    }
    shell.expect("> ");
    shell.press(CTRL_D);
    assert_eq!(shell.expect_end(), Some(0), "{}", shell.text());
    cluster.start(&others[0]);
    cluster.start(&others[1]);

    let records = ["hello, log", "two words", "three", "seen", "from elsewhere", "half", "typed"];
    let mut found = cluster.records();
    found.pop_if(|last| last == "perhaps");
    assert_eq!(found, records);
    cluster.stop_all();
}

#[test]
fn lines_are_kept_between_conversations_and_pasted_ones_are_asked_about() {
    let mut cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    let mut shell = Terminal::run(cluster.folder(), &["shell"]);
    shell.expect("annal n1@1> ");
    shell.type_line("append kept");
    shell.expect("offset 0 in entry");
    shell.type_line(" append secret");
    shell.expect("offset 1 in entry");
    shell.type_line("exit");
    assert_eq!(shell.expect_end(), Some(0), "{}", shell.text());
    let path = cluster.path(".local/state/annal/shell-history");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&path).unwrap().contains("secret"));

    let mut shell = Terminal::run(cluster.folder(), &["shell"]);
    shell.expect("annal n1@1> ");
    // `exit`, and the line before it.
    shell.press(&format!("{UP}{UP}\r"));
    shell.expect("offset 2 in entry");
    shell.expect("annal n1@1> ");

    shell.paste_line("append one\ntwo 'quoted\n\nfour\n");
    shell.expect("append these 4 lines, each as a record? [y/N] ");
    shell.type_line("n");
    shell.expect("nothing was done");
    shell.expect("annal n1@1> ");
    shell.paste_line("append one\ntwo 'quoted\n\nfour\n");
    shell.expect("[y/N] ");
    shell.type_line("y");
    shell.expect("offsets 3 to 6 in entry");
    shell.paste_line("append five\nread --from 7\n");
    shell.expect("run these 2 lines? [y/N] ");
    shell.type_line("y");
    shell.expect("offset 7 in entry");
    shell.expect("five\n");
    // What follows a line that could not be done may rest on it.
    shell.paste_line("append six --expect-offset 99\nappend seven\n");
    shell.expect("run these 2 lines? [y/N] ");
    shell.type_line("y");
    shell.expect("1 of 2 lines were run");

    // Tab completes verbs and flags, and the right arrow takes what was typed before.
    shell.expect("annal n1@1> ");
    shell.press("rea\t--lim\t1\r");
    shell.expect("kept\n");
    shell.expect("annal n1@1> ");
    shell.press(&format!("append k{RIGHT}\r"));
    shell.expect("offset 8 in entry");

    // A signal leaves the terminal as it was, and is an orderly end.
    shell.expect("annal n1@1> ");
    shell.signal("TERM");
    assert_eq!(shell.expect_end(), Some(0), "{}", shell.text());
    let records = ["kept", "secret", "kept", "one", "two 'quoted", "", "four", "five", "kept"];
    assert_eq!(cluster.records(), records);
    cluster.stop_all();
}

#[test]
fn a_prompt_without_a_terminal_says_so() {
    let folder = tempfile::tempdir().unwrap();
    for words in [&["client"][..], &["shell"]] {
        let said = run(folder.path(), words).expect_complaint(2, "this is no terminal");
        assert!(
            said.stderr
                .contains("append, read, tail, fence, log, trim, outcome, producers, status, top, leader, terms, crash-leader")
        );
        assert!(said.stdout.is_empty());
    }
}

#[test]
fn top_is_a_screen_that_leaves_the_terminal_as_it_was() {
    let cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    cluster.append(&["one", "two"]);
    for leave in ["q", "\x03"] {
        let mut top = Terminal::run(cluster.folder(), &["top"]);
        top.expect("n1 leads term 1");
        // What is a space already is not drawn.
        top.expect("main,");
        top.press(leave);
        assert_eq!(top.expect_end(), Some(0));
        assert!(top.has_its_own_screen_again(), "{}", top.text());
    }
    let mut top = Terminal::run(cluster.folder(), &["client", "top"]);
    top.expect("n1 leads term 1");
    top.signal("TERM");
    assert_eq!(top.expect_end(), Some(0));
    assert!(top.has_its_own_screen_again(), "{}", top.text());

    // One that hangs in a write to a terminal that is held ends all the same.
    let mut held = Terminal::run(cluster.folder(), &["top"]);
    held.expect("n1 leads term 1");
    held.stop_output();
    held.signal("TERM");
    assert_eq!(held.expect_end(), Some(1));

    // Where the window was closed there is no terminal to give back, and nobody to wait for.
    for word in ["top", "shell"] {
        let mut left = Terminal::run(cluster.folder(), &[word]);
        left.expect("n1");
        left.hang_up();
    }

    cluster.run(["top"]).expect_complaint(2, "this is no terminal");
}
