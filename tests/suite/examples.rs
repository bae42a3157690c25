//! The programs in `examples/` do what they say, and use nothing but what is promised.

use std::fs;
use std::path::{Path, PathBuf};

use annal::{
    AppendError, AppendOptions, Bytes, Client, Consistency, Offset, ProducerName, ReadFrom,
    ReadOptions, Settings, Timestamp,
};

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
#[expect(dead_code, reason = "its `main` reads the command line, and the rest is here")]
#[path = "../../examples/producer.rs"]
mod producer;
#[expect(dead_code, reason = "its `main` reads the command line, and the rest is here")]
#[path = "../../examples/tail.rs"]
mod tail;

/// A file of numbers, a line each, and what they are as records.
fn lines_in(directory: &Path) -> (PathBuf, Vec<Bytes>) {
    let input = directory.join("lines");
    let lines: Vec<String> = (0..250).map(|number| number.to_string()).collect();
    fs::write(&input, lines.join("\n")).unwrap();
    (input, lines.into_iter().map(Bytes::from).collect())
}

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
    let mut tailed = vec![];
    tail::run(directory, 2, Some(2), &mut tailed).await.unwrap();
    assert_eq!(text(&tailed), "1: b\n2: c\n");
    leader_watch::run(directory, 1, &mut watched).await.unwrap();
    assert!(text(&watched).starts_with("n1 leads term"), "{}", text(&watched));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_killed_in_between_appends_each_line_once() {
    let cluster = OneNode::start();
    let directory = cluster.directory();
    let (input, lines) = lines_in(directory);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_was_killed_goes_on_where_it_was_and_is_told_so() {
    let cluster = OneNode::start();
    let directory = cluster.directory();
    let (input, lines) = lines_in(directory);
    // A process that was killed when its first words were in the log, and is it still.
    let client = Client::connect(Settings::from_dir(directory).unwrap()).unwrap();
    let name: ProducerName = "numbers".parse().unwrap();
    let mut killed = client.producer(name, &AppendOptions::default()).await.unwrap();
    killed.send(lines[..30].to_vec()).await.unwrap();
    killed.next().await.unwrap().unwrap();

    let mut said = vec![];
    for _ in 0..2 {
        producer::run(directory, name, &input, &mut said).await.unwrap();
        assert_eq!(read_all(&client).await, lines);
    }
    let expected = "process 2 of numbers: 30 lines are in the log\n220 more\n\
                    process 3 of numbers: 250 lines are in the log\n0 more\n";
    assert_eq!(text(&said), expected);
    killed.send(vec!["late".into()]).await.unwrap();
    let refused = killed.next().await.unwrap_err();
    assert_eq!(refused, AppendError::Superseded { producer: name, epoch: 3 });
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_is_not_waited_for_loses_nothing_and_a_time_is_found() {
    let cluster = OneNode::start();
    let client = Client::connect(Settings::from_dir(cluster.directory()).unwrap()).unwrap();
    client.append(vec!["0".into(), "1".into(), "2".into()]).await.unwrap();
    let from = ReadFrom::Last(2);
    let mut tail = client.tail(ReadOptions { from, limit: Some(4), ..ReadOptions::default() });
    let (mut found, mut was_dropped, mut is_appended) = (vec![], 0, false);
    loop {
        tokio::select! {
            biased;
            next = tail.next() => match next.unwrap() {
                Some(record) => found.push(record),
                None => break,
            },
            () = tokio::task::yield_now() => was_dropped += 1,
        }
        if found.len() == 2 && !is_appended {
            is_appended = true;
            client.append(vec!["3".into(), "4".into()]).await.unwrap();
        }
    }
    let texts: Vec<_> = found.iter().map(|record| text(&record.bytes)).collect();
    assert_eq!(texts, ["1", "2", "3", "4"]);
    assert!(was_dropped > 0, "it was waited for");
    assert_eq!(tail.next().await, Ok(None), "it stays at its end");

    let since = |time| client.first_since(time, Consistency::Linearizable);
    assert_eq!(since(Timestamp::new(0)).await, Ok(Offset::ZERO));
    assert!(since(found[3].time).await.unwrap() <= found[3].offset);
    assert_eq!(since(Timestamp::new(u64::MAX)).await, Ok(Offset::new(5)));
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
