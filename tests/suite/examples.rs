//! The programs in `examples/` do what they say, and use nothing but what is promised.

use std::fs;
use std::path::Path;

use annal::{Bytes, Client, Offset, ReadOptions, Settings};

use crate::one_node::OneNode;

#[expect(dead_code, reason = "its `main` reads the command line, and the rest is here")]
#[path = "../../examples/append.rs"]
mod append;
#[expect(dead_code, reason = "its `main` reads the command line, and the rest is here")]
#[path = "../../examples/exactly_once.rs"]
mod exactly_once;
#[expect(dead_code, reason = "its `main` reads the command line, and the rest is here")]
#[path = "../../examples/follow.rs"]
mod follow;
#[expect(dead_code, reason = "its `main` reads the command line, and the rest is here")]
#[path = "../../examples/leader_watch.rs"]
mod leader_watch;

fn text(output: &[u8]) -> &str {
    std::str::from_utf8(output).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_is_followed_and_somebody_leads() {
    let cluster = OneNode::start();
    let directory = cluster.directory();
    let (mut appended, mut followed, mut watched) = (vec![], vec![], vec![]);
    append::run(directory, "a\nb\nc\n".as_bytes(), &mut appended).await.unwrap();
    assert_eq!(text(&appended).lines().count(), 3);
    assert!(text(&appended).starts_with("offset 0 is on the disks"), "{}", text(&appended));
    follow::run(directory, Offset::new(1), Some(2), &mut followed).await.unwrap();
    assert_eq!(text(&followed), "1: b\n2: c\n");
    leader_watch::run(directory, 1, &mut watched).await.unwrap();
    assert!(text(&watched).starts_with("n1 leads term"), "{}", text(&watched));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_killed_in_between_appends_each_line_once() {
    let cluster = OneNode::start();
    let directory = cluster.directory();
    let input = directory.join("lines");
    let lines: Vec<String> = (0..250).map(|number| number.to_string()).collect();
    fs::write(&input, lines.join("\n")).unwrap();
    let lines: Vec<Bytes> = lines.into_iter().map(Bytes::from).collect();
    // A process that was killed after its second batch was sent and before it had an answer.
    let client = Client::connect(Settings::from_dir(directory).unwrap()).unwrap();
    client.append(lines[..100].to_vec()).await.unwrap();
    let token = client.prepare(&lines[100..200]).await.unwrap();
    fs::write(directory.join("lines.state"), format!("100 {token}\n")).unwrap();
    let mut killed = client.resume(token);
    killed.send(lines[100..200].to_vec()).await.unwrap();
    killed.next().await.unwrap().unwrap();

    for _ in 0..2 {
        exactly_once::run(directory, &input).await.unwrap();
        assert_eq!(read_all(&client).await, lines);
    }
    cluster.stop().await;
}

async fn read_all(client: &Client) -> Vec<Bytes> {
    let mut reader = client.read(ReadOptions::default());
    let mut records = vec![];
    while let Some(batch) = reader.next().await.unwrap() {
        records.extend(batch.into_iter().map(|record| record.bytes));
    }
    records
}

/// What stands at the root of the crate is promised; the modules under it are not.
#[test]
fn examples_use_nothing_but_what_is_promised() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("annal::") {
            let next = text[at + "annal::".len()..].chars().next();
            let is_type = next.is_some_and(|c| c == '{' || c.is_uppercase());
            assert!(is_type, "{}: {:?}", path.display(), text[at..].lines().next());
        }
    }
}
