use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::fake::{Fake, dead_address, incarnation, n, strangers, text};
use super::*;
use crate::net::testing::soon;
use crate::types::{LogNumber, Offset, Term};

const SHORT: Duration = Duration::from_millis(400);
/// Generous: the machine may be busy.
const BOUND: Duration = Duration::from_secs(5);

fn records(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

/// What the appender acknowledges until it ends, and why it ended.
async fn acknowledgements(receiver: &mut AppendReceiver) -> (Vec<u64>, Option<AppendError>) {
    let mut offsets = vec![];
    loop {
        match soon(receiver.next()).await {
            Ok(Some(appended)) => offsets.push(appended.offset.get()),
            Ok(None) => return (offsets, None),
            Err(error) => return (offsets, Some(error)),
        }
    }
}

async fn read_all(reader: &mut Reader, count: usize) -> Vec<Record> {
    let mut all = vec![];
    while all.len() < count {
        all.extend(soon(reader.next()).await.unwrap().unwrap());
    }
    all
}

fn numbers(count: u64) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn one_address_is_enough_even_under_a_wrong_name() {
    let fake = Fake::start();
    let nodes = vec![(n(1), fake.nodes()[1].1.clone())];
    let client = Client::connect(Settings { nodes, ..fake.settings() }).unwrap();
    let appended = soon(client.append(records("a"))).await.unwrap();
    assert_eq!((appended.offset, appended.leader), (Offset::ZERO, n(1)));
    let appended = soon(client.append(records("b"))).await.unwrap();
    assert_eq!(appended.offset, Offset::new(1));
    assert_eq!(fake.texts(), ["a", "b"]);
    assert_eq!(fake.change(|world| world.handed.len()), 2, "only the leader was troubled");
}

#[tokio::test]
async fn requests_follow_the_leader_and_keep_their_numbers() {
    let fake = Fake::start();
    let (mut sender, mut receiver) = fake.client().appender().split();
    for number in 0..30u64 {
        if number % 10 == 9 {
            fake.elect(u16::try_from(number / 10).unwrap() + 1);
        }
        sender.send(records(&number.to_string())).await.unwrap();
    }
    sender.finish();
    let (offsets, error) = acknowledgements(&mut receiver).await;
    assert_eq!((offsets, error), ((0..30).collect(), None));
    assert_eq!(fake.texts(), numbers(30));
    assert_eq!((receiver.acknowledged(), receiver.acknowledged_records()), (30, 30));
}

#[tokio::test]
async fn a_leader_that_falls_silent_with_requests_is_left_behind_and_nothing_is_taken_twice() {
    let fake = Fake::start();
    let (mut sender, mut receiver) = fake.client().appender().split();
    sender.send(records("0")).await.unwrap();
    soon(receiver.next()).await.unwrap().unwrap();
    fake.change(|world| world.silent.insert(n(1)));
    let began = Instant::now();
    for number in 1..20 {
        sender.send(records(&number.to_string())).await.unwrap();
    }
    sleep(Duration::from_millis(50)).await;
    fake.elect(3);
    sender.finish();
    let (offsets, error) = acknowledgements(&mut receiver).await;
    assert_eq!((offsets, error), ((1..20).collect(), None));
    assert_eq!(fake.texts(), numbers(20));
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    let clients = fake.change(|world| world.handed.iter().map(|handed| handed.1).max());
    assert!(fake.change(|world| world.handed.iter().all(|handed| Some(handed.1) == clients)));
}

#[tokio::test]
async fn what_stands_behind_an_append_to_a_closed_log_is_asked_again() {
    let fake = Fake::start();
    let client = fake.client();
    let mut appends = JoinSet::new();
    for number in 0..60u32 {
        // A log that is closed, or `main`.
        let log = LogNumber::new(u32::from(number % 3 == 0) * (1 + number / 30));
        let client = client.about(log);
        appends.spawn(async move { (log, client.append(records(&number.to_string())).await) });
    }
    let mut closed = 0;
    while let Some(appended) = soon(appends.join_next()).await {
        match appended.unwrap() {
            (LogNumber::MAIN, appended) => drop(appended.unwrap()),
            (_, refused) => {
                assert_eq!(refused, Err(AppendError::LogClosed));
                closed += 1;
            }
        }
    }
    let mut texts = fake.texts();
    texts.sort_by_key(|text| text.parse::<u64>().unwrap());
    let expected: Vec<_> =
        numbers(60).into_iter().enumerate().filter(|(n, _)| n % 3 != 0).collect();
    assert_eq!((closed, texts), (20, expected.into_iter().map(|(_, text)| text).collect()));

    // It is not asked again what became of such a log.
    let before = fake.change(|world| world.handed.len());
    let refused = soon(client.about(LogNumber::new(1)).append(records("again"))).await;
    assert_eq!(refused, Err(AppendError::LogClosed));
    assert_eq!(fake.change(|world| world.handed.len()), before);
}

#[tokio::test]
async fn without_a_leader_nothing_is_taken_for_certain() {
    let fake = Fake::start();
    fake.change(|world| (world.leader, world.rumour) = (None, Some(n(2))));
    let began = Instant::now();
    let error = soon(fake.client_for(SHORT).append(records("a"))).await.unwrap_err();
    let unavailable = Unavailable::NoLeader { answered: 3, known: 3 };
    assert_eq!(error, AppendError::Unavailable(unavailable));
    assert_eq!(error.outcome().exit_code(), 3);
    assert!(began.elapsed() >= SHORT && began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert!(fake.texts().is_empty());

    fake.change(|world| world.silent.extend([n(2), n(3)]));
    let error = soon(fake.client_for(SHORT * 3).append(records("a"))).await.unwrap_err();
    let leading = Leading { term: Term::new(1), node: n(2) };
    let unavailable = Unavailable::OutOfReach { leading, by: vec![n(1)] };
    assert_eq!(error, AppendError::Unavailable(unavailable));

    fake.change(|world| world.rumour = None);
    let error = soon(fake.client_for(SHORT * 3).append(records("a"))).await.unwrap_err();
    let unavailable = Unavailable::NoQuorum { answered: 1, known: 3 };
    assert_eq!(error, AppendError::Unavailable(unavailable));
}

#[tokio::test]
async fn without_any_node_nothing_is_taken_for_certain() {
    let fake = Fake::start();
    let (_socket, nowhere) = dead_address();
    let settings = Settings {
        nodes: vec![(n(1), nowhere.clone())],
        registry: Some(nowhere),
        timeout: SHORT,
        ..fake.settings()
    };
    let client = Client::connect(settings).unwrap();
    let began = Instant::now();
    let error = soon(client.append(records("a"))).await.unwrap_err();
    assert_eq!(error, AppendError::Unavailable(Unavailable::Unreachable { known: 1 }));
    assert_eq!(error.outcome().exit_code(), 3);
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    // The next try is as good as the first.
    let error = soon(client.append(records("b"))).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NoLeader);
}

#[tokio::test]
async fn what_a_leader_took_is_unknown_until_its_token_settles_it() {
    let fake = Fake::start();
    fake.change(|world| world.commits_max = 0);
    let client = fake.client_for(SHORT);
    let error = soon(client.append(records("a"))).await.unwrap_err();
    assert_eq!(error.outcome().exit_code(), 5);
    let token: Token = error.token().unwrap().to_string().parse().unwrap();
    assert!(error.hint().contains(&token.to_string()));

    fake.change(|world| world.commits_max = usize::MAX);
    fake.elect(2);
    for _ in 0..2 {
        let mut again = client.resume(token);
        let other = again.send(records("b")).await.unwrap_err();
        assert_eq!(other, AppendError::OtherRecords { expected: 1 });
        again.send(records("a")).await.unwrap();
        let appended = soon(again.next()).await.unwrap().unwrap();
        assert_eq!(appended.offset, Offset::ZERO);
    }
    assert_eq!(fake.texts(), ["a"]);
    let appended = soon(client.append(records("c"))).await.unwrap();
    assert_eq!(appended.offset, Offset::new(1), "the client goes on under another name");
}

#[tokio::test]
async fn the_first_failure_ends_a_pipeline_after_a_prefix() {
    let fake = Fake::start();
    fake.change(|world| world.commits_max = 3);
    let (mut sender, mut receiver) = fake.client_for(SHORT).appender().split();
    for number in 0..6 {
        sender.send(records(&number.to_string())).await.unwrap();
    }
    let (offsets, error) = acknowledgements(&mut receiver).await;
    assert_eq!(offsets, [0, 1, 2]);
    let token = error.unwrap().token().unwrap();
    assert_eq!(token.seq().get(), 4);
    assert_eq!(receiver.acknowledged(), 3);
    assert_eq!(soon(receiver.next()).await, Ok(None));
    assert_eq!(soon(sender.send(records("6"))).await, Err(AppendError::Ended));
}

/// Its refusal was the next one's failure.
#[tokio::test]
async fn an_append_that_is_not_waited_for_any_more_fails_nobody_else() {
    let fake = Fake::start();
    let client = fake.client();
    let expecting = |offset| AppendOptions {
        expect_offset: Some(Offset::new(offset)),
        ..AppendOptions::default()
    };
    soon(client.append_with(records("a"), &expecting(0))).await.unwrap();
    // Its answer does not come before the other one is asked for.
    fake.change(|world| world.silent.insert(n(1)));
    let (left, wrong) = (client.clone(), expecting(9));
    let dropped = tokio::spawn(async move { left.append_with(records("b"), &wrong).await });
    while fake.change(|world| world.handed.len()) < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    dropped.abort();
    let (right, next) = (expecting(1), client.clone());
    let next = tokio::spawn(async move { next.append_with(records("c"), &right).await });
    tokio::task::yield_now().await;
    fake.change(|world| world.silent.clear());
    assert_eq!(soon(next).await.unwrap().unwrap().offset, Offset::new(1));
    assert_eq!(fake.texts(), ["a", "c"]);
}

/// Each would have waited for all before it.
#[tokio::test]
async fn a_line_of_conditional_appends_that_nobody_takes_ends_in_time() {
    let fake = Fake::start();
    fake.change(|world| world.leader = None);
    let client = Client::connect(Settings { timeout: SHORT, ..fake.settings() }).unwrap();
    let began = Instant::now();
    let mut line = JoinSet::new();
    for _ in 0..50 {
        let (client, options) = (client.clone(), AppendOptions::default());
        line.spawn(async move { client.append_with(records("x"), &options).await.unwrap_err() });
    }
    for error in soon(line.join_all()).await {
        assert_eq!(error.outcome(), Outcome::NoLeader, "{error}");
    }
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_was_sent_and_never_looked_at_is_not_taken_for_acknowledged() {
    let fake = Fake::start();
    let client = fake.client();
    for _ in 0..20 {
        let mut appender = client.appender();
        // The task that sends has not run yet, and may look first at whether it is given up.
        appender.send(records("a")).await.unwrap();
        client.give_up();
        let error = soon(appender.next()).await.unwrap_err();
        assert!(matches!(error, AppendError::GivenUp | AppendError::Ended), "{error:?}");
        assert_eq!(soon(appender.next()).await, Ok(None), "that was the end");
    }
    assert!(fake.texts().is_empty());
}

#[tokio::test]
async fn a_busy_leader_is_given_time_and_has_taken_nothing() {
    let fake = Fake::start();
    fake.change(|world| world.busy = 3);
    soon(fake.client().append(records("a"))).await.unwrap();
    assert_eq!(fake.texts(), ["a"]);

    fake.change(|world| world.busy = u32::MAX);
    let error = soon(fake.client_for(SHORT).append(records("b"))).await.unwrap_err();
    assert_eq!(error, AppendError::Unavailable(Unavailable::Busy { node: n(1) }));
    assert_eq!(error.outcome().exit_code(), 3);
    assert_eq!(fake.texts(), ["a"]);
}

#[tokio::test]
async fn a_slow_leader_is_not_left_as_long_as_it_leads() {
    let fake = Fake::start();
    fake.change(|world| world.commits_max = 0);
    let client = fake.client();
    let pending = tokio::spawn(async move { client.append(records("a")).await });
    sleep(Duration::from_millis(500)).await;
    fake.change(|world| world.commits_max = 1);
    let appended = soon(pending).await.unwrap().unwrap();
    assert_eq!(appended.leader, n(1));
    assert_eq!(fake.change(|world| world.handed.len()), 1, "sent once");
}

#[tokio::test]
async fn a_definite_refusal_leaves_no_doubt() {
    let fake = Fake::start();
    fake.change(|world| world.refuses = true);
    let error = soon(fake.client_for(SHORT).append(records("a"))).await.unwrap_err();
    assert_eq!(error.outcome().exit_code(), 3);
    let handed = fake.change(|world| world.handed.len());
    assert!((1..30).contains(&handed), "{handed} tries");
}

#[tokio::test]
async fn leaders_come_and_go_and_every_record_is_there_once() {
    let fake = Fake::start();
    let client = fake.client();
    let (mut sender, mut receiver) = client.appender().split();
    let mut tail = client.read(ReadOptions { follow: true, ..ReadOptions::default() });
    let count = 300u64;
    let sending = async {
        for number in 0..count {
            sender.send(records(&number.to_string())).await.unwrap();
            sleep(Duration::from_millis(4)).await;
        }
        sender.finish();
    };
    let storm = async {
        for round in 0..8u16 {
            let (old, new) = (round % 3 + 1, (round + 1) % 3 + 1);
            sleep(Duration::from_millis(150)).await;
            if round % 2 == 0 {
                fake.change(|world| world.silent.insert(n(old)));
            }
            sleep(Duration::from_millis(30)).await;
            fake.change(|world| world.silent.remove(&n(new)));
            fake.elect(new);
        }
    };
    let receiving = acknowledgements(&mut receiver);
    let tailing = read_all(&mut tail, usize::try_from(count).unwrap());
    let (acknowledged, seen, (), ()) = tokio::join!(receiving, tailing, sending, storm);
    assert_eq!(acknowledged, ((0..count).collect(), None));
    assert_eq!(fake.texts(), numbers(count));
    let seen: Vec<String> = seen.iter().map(|record| text(&record.bytes)).collect();
    assert_eq!(seen, numbers(count));
}

#[tokio::test]
async fn a_prepared_append_is_the_same_whoever_sends_it() {
    let fake = Fake::start();
    let token = soon(fake.client().prepare(&records("a"))).await.unwrap();
    assert!(fake.texts().is_empty(), "only a name was made");
    // Two processes that both hold the token, the second of which knows nothing of the first.
    for _ in 0..2 {
        let mut process = fake.client().resume(token);
        process.send(records("a")).await.unwrap();
        let appended = soon(process.next()).await.unwrap().unwrap();
        assert_eq!(appended.offset, Offset::ZERO);
    }
    assert_eq!(fake.texts(), ["a"]);
    let other = fake.client().resume(token).send(records("b")).await.unwrap_err();
    assert_eq!(other, AppendError::OtherRecords { expected: 1 });
}

#[tokio::test]
async fn a_forgotten_client_takes_a_new_name_by_itself() {
    let fake = Fake::start();
    let client = fake.client();
    soon(client.append(records("a"))).await.unwrap();
    // The table forgets everybody who began before now.
    let forgotten = fake.change(|world| {
        world.floor = 1;
        let forgotten = world.log[0].client;
        world.log[0].client = crate::types::ClientId::new(0);
        forgotten
    });
    let appended = soon(client.append(records("b"))).await.unwrap();
    assert_eq!(appended.offset, Offset::new(1));
    assert_eq!(fake.texts(), ["a", "b"]);
    assert_ne!(fake.change(|world| world.log[1].client), forgotten);
}

#[tokio::test]
async fn limits_are_checked_before_anything_is_sent() {
    let fake = Fake::start();
    let client = fake.client();
    assert_eq!(client.append(vec![]).await, Err(AppendError::Empty));
    let large = Bytes::from(vec![0; crate::limits::RECORD_BYTES_MAX + 1]);
    let error = client.append(vec![Bytes::new(), large.clone()]).await.unwrap_err();
    assert_eq!(error, AppendError::RecordTooLarge { number: 2, bytes: large.len() });
    let error = client.append(vec![Bytes::new(); 4097]).await.unwrap_err();
    assert_eq!(error, AppendError::TooManyRecords { count: 4097 });
    let error = client.append(vec![large.slice(1..); 5]).await.unwrap_err();
    assert_eq!(error, AppendError::RequestTooLarge { bytes: 5 << 20 });
    assert_eq!(error.outcome().exit_code(), 1);
    assert!(fake.change(|world| world.handed.is_empty()));
}

#[tokio::test]
async fn strangers_learn_at_once_that_they_are_refused() {
    let fake = Fake::start();
    let others = strangers();
    let certs = others.folder.path().to_owned();
    let settings = Settings { certs, cluster: None, ..fake.settings() };
    let wrong = Settings { cluster: fake.settings().cluster, ..settings.clone() };
    assert!(matches!(Client::connect(wrong), Err(SetupError::OtherCluster { .. })));
    let client = Client::connect(settings).unwrap();
    let began = Instant::now();
    let error = soon(client.append(records("a"))).await.unwrap_err();
    let refused = matches!(error, AppendError::Unavailable(Unavailable::Refused { .. }));
    assert!(refused, "{error}");
    assert_eq!(error.outcome(), Outcome::Failed);
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
}

#[tokio::test]
async fn reads_give_what_was_asked_for() {
    let fake = Fake::start();
    let client = fake.client();
    let texts = numbers(7);
    let all: Vec<Bytes> = texts.iter().map(|text| Bytes::from(text.clone())).collect();
    soon(client.append(all)).await.unwrap();
    let stale = Consistency::Stale { node: Some(n(3)) };
    let any = Consistency::Stale { node: None };
    let whole = ReadOptions::default();
    for (options, expected) in [
        (whole, 0..7),
        (ReadOptions { limit: Some(3), ..whole }, 0..3),
        (ReadOptions { limit: Some(0), ..whole }, 0..0),
        (ReadOptions { from: ReadFrom::Offset(Offset::new(5)), ..whole }, 5..7),
        (ReadOptions { from: ReadFrom::Offset(Offset::new(50)), ..whole }, 0..0),
        (ReadOptions { from: ReadFrom::Last(3), ..whole }, 4..7),
        (ReadOptions { consistency: stale, ..whole }, 0..7),
        (ReadOptions { consistency: any, limit: Some(1), ..whole }, 0..1),
    ] {
        let mut reader = client.read(options);
        let mut read = vec![];
        while let Some(batch) = soon(reader.next()).await.unwrap() {
            read.extend(batch);
        }
        assert!(read.iter().all(|record| text(&record.bytes) == record.offset.to_string()));
        assert_eq!(read.iter().map(|record| record.offset.get()).collect::<Vec<_>>(), {
            expected.collect::<Vec<u64>>()
        });
    }
}

#[tokio::test]
async fn a_tail_goes_on_at_the_next_leader_without_gap_or_repetition() {
    let fake = Fake::start();
    let client = fake.client();
    for number in 0..5 {
        soon(client.append(records(&number.to_string()))).await.unwrap();
    }
    let options = ReadOptions { from: ReadFrom::Last(4), follow: true, ..ReadOptions::default() };
    let mut tail = client.read(options);
    let mut seen = read_all(&mut tail, 4).await;
    // The leader falls silent, and the next one takes more.
    fake.change(|world| world.silent.insert(n(1)));
    fake.elect(2);
    for number in 5..9 {
        soon(client.append(records(&number.to_string()))).await.unwrap();
    }
    seen.extend(read_all(&mut tail, 4).await);
    // This one steps down and says so.
    fake.elect(3);
    soon(client.append(records("9"))).await.unwrap();
    seen.extend(read_all(&mut tail, 1).await);
    let texts: Vec<String> = seen.iter().map(|record| text(&record.bytes)).collect();
    assert_eq!(texts, numbers(10)[1..]);
    assert_eq!(tail.position(), Some(Offset::new(10)));
    // With nothing new it waits, longer than any other wait would last.
    assert!(tokio::time::timeout(Duration::from_millis(700), tail.next()).await.is_err());
}

#[tokio::test]
async fn a_tail_from_the_end_skips_nothing_if_its_node_fails_before_the_first_record() {
    let fake = Fake::start();
    let client = fake.client();
    soon(client.append(records("0"))).await.unwrap();
    let options = ReadOptions { from: ReadFrom::Last(0), follow: true, ..ReadOptions::default() };
    let mut tail = client.read(options);
    let wait = Duration::from_millis(100);
    assert!(tokio::time::timeout(wait, tail.next()).await.is_err(), "there is nothing yet");
    assert_eq!(tail.position(), Some(Offset::new(1)));
    fake.change(|world| world.silent.insert(n(1)));
    fake.elect(2);
    soon(client.append(records("1"))).await.unwrap();
    soon(client.append(records("2"))).await.unwrap();
    let seen = read_all(&mut tail, 2).await;
    assert_eq!(seen.iter().map(|record| text(&record.bytes)).collect::<Vec<_>>(), ["1", "2"]);
}

#[tokio::test]
async fn a_tail_without_a_leader_ends_after_its_timeout() {
    let fake = Fake::start();
    let client = fake.client_for(SHORT);
    let mut tail = client.read(ReadOptions { follow: true, ..ReadOptions::default() });
    assert!(tokio::time::timeout(SHORT * 2, tail.next()).await.is_err(), "idle is no trouble");
    fake.change(|world| world.leader = None);
    let error = soon(tail.next()).await.unwrap_err();
    assert_eq!(error.outcome().exit_code(), 3);
    fake.elect(3);
    soon(client.append(records("0"))).await.unwrap();
    assert_eq!(read_all(&mut tail, 1).await.len(), 1, "it goes on where it was");
}

#[tokio::test]
async fn a_tail_outlives_any_time_without_a_leader_and_says_so_once() {
    let fake = Fake::start();
    let client = fake.client_for(SHORT);
    let mut tail = client.read(ReadOptions { follow: true, ..ReadOptions::default() });
    assert!(tokio::time::timeout(SHORT * 2, tail.step()).await.is_err(), "idle is no trouble");
    fake.change(|world| world.leader = None);
    let said = soon(tail.step()).await.unwrap().unwrap();
    let unavailable = Unavailable::NoLeader { answered: 3, known: 3 };
    assert_eq!(said, Step::Waits(ReadError::Unavailable(unavailable)));
    assert!(tokio::time::timeout(SHORT * 3, tail.step()).await.is_err(), "it is said once");
    fake.elect(3);
    assert_eq!(soon(tail.step()).await.unwrap(), Some(Step::GoesOn));
    soon(client.append(records("0"))).await.unwrap();
    let Some(Step::Records(read)) = soon(tail.step()).await.unwrap() else { panic!("no records") };
    assert_eq!(read.len(), 1);
}

#[tokio::test]
async fn a_client_that_is_far_away_needs_time_and_nothing_else() {
    // A round trip takes longer than the first attempt may.
    let fake = Fake::behind(Duration::from_millis(270));
    let client = fake.client();
    let appended = soon(client.append(records("a"))).await.unwrap();
    assert_eq!((appended.offset, appended.leader), (Offset::ZERO, n(1)));
    let mut reader = client.read(ReadOptions::default());
    assert_eq!(read_all(&mut reader, 1).await.len(), 1);
    assert_eq!(soon(reader.next()).await, Ok(None));
}

#[tokio::test]
async fn a_connection_that_dies_without_a_word_holds_nobody() {
    let fake = Fake::behind(Duration::ZERO);
    let client = fake.client();
    let mut tail = client.read(ReadOptions { follow: true, ..ReadOptions::default() });
    soon(client.append(records("a"))).await.unwrap();
    assert_eq!(read_all(&mut tail, 1).await.len(), 1);
    for relay in &fake.relays {
        relay.shut_out();
    }
    // The leader never changes: it is reached over another connection, from another port.
    soon(client.append(records("b"))).await.unwrap();
    assert_eq!(read_all(&mut tail, 1).await.len(), 1);
    assert_eq!(fake.texts(), ["a", "b"]);
    let handed = fake.change(|world| world.handed.clone());
    assert!(handed.iter().all(|(node, client, _)| (*node, *client) == (n(1), handed[0].1)));
}

#[tokio::test]
async fn a_client_that_does_not_reach_the_leader_goes_by_way_of_the_others() {
    let fake = Fake::behind(Duration::ZERO);
    let to_the_leader = &fake.relays[0];
    to_the_leader.set_silent(true);
    let client = fake.client();
    let appended = soon(client.append(records("a"))).await.unwrap();
    assert_eq!(appended.leader, n(1));
    let mut tail = client.read(ReadOptions { follow: true, ..ReadOptions::default() });
    assert_eq!(read_all(&mut tail, 1).await.len(), 1);
    let status = soon(client.status()).await;
    assert_eq!(status.leader, None);
    let leading = Leading { term: Term::new(1), node: n(1) };
    let by = vec![n(2), n(3)];
    assert_eq!(status.unavailable, Some(Unavailable::OutOfReach { leading, by }));
    // It is reached, and then not any more, with a request on its way.
    to_the_leader.set_silent(false);
    let other = fake.client();
    soon(other.append(records("b"))).await.unwrap();
    to_the_leader.set_silent(true);
    soon(other.append(records("c"))).await.unwrap();
    assert_eq!(read_all(&mut tail, 2).await.len(), 2);
    assert_eq!(fake.texts(), ["a", "b", "c"]);
}

#[tokio::test]
async fn nodes_that_take_no_more_connections_are_said_to_refuse() {
    let fake = Fake::start();
    fake.change(|world| world.crowded = true);
    let error = soon(fake.client_for(SHORT).append(records("a"))).await.unwrap_err();
    assert_eq!(error, AppendError::Unavailable(Unavailable::Crowded));
    assert_eq!(
        error.to_string(),
        "the nodes take no more connections: they have too many, or are being stopped"
    );
    assert_eq!(error.outcome().exit_code(), 3);
}

#[tokio::test]
async fn reads_end_when_nobody_serves_them() {
    let fake = Fake::start();
    fake.change(|world| world.leader = None);
    let mut reader = fake.client_for(SHORT).read(ReadOptions::default());
    let error = soon(reader.next()).await.unwrap_err();
    assert_eq!(error.outcome().exit_code(), 3);
    // A node that does not answer is no quorum's fault.
    fake.change(|world| world.silent.insert(n(2)));
    let consistency = Consistency::Stale { node: Some(n(2)) };
    let mut reader =
        fake.client_for(SHORT).read(ReadOptions { consistency, ..ReadOptions::default() });
    let began = Instant::now();
    assert_eq!(soon(reader.next()).await.unwrap_err().outcome().exit_code(), 124);
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_dead_registry_and_a_dead_node_slow_nobody_down() {
    let fake = Fake::start();
    let (_socket, nowhere) = dead_address();
    fake.change(|world| world.silent.insert(n(3)));
    let settings = Settings { registry: Some(nowhere), ..fake.settings() };
    let client = Client::connect(settings).unwrap();
    let began = Instant::now();
    soon(client.append(records("a"))).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    let began = Instant::now();
    let status = soon(client.status()).await;
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert_eq!(status.leader, Some(Leading { term: Term::new(1), node: n(1) }));
    assert_eq!(status.nodes.len(), 3);
    assert!(status.nodes[0].said.is_ok() && status.nodes[1].said.is_ok());
    assert!(status.nodes[2].said.is_err());
    assert_eq!(status.lag(&status.nodes[1]), Some(0));
    assert_eq!(status.lag(&status.nodes[2]), None);
    assert!(status.registry.unwrap().said.is_err());
    assert_eq!(status.unavailable, None);

    fake.change(|world| world.leader = None);
    let status = soon(client.status()).await;
    assert_eq!(status.leader, None);
    let unavailable = Unavailable::NoLeader { answered: 2, known: 3 };
    assert_eq!(status.unavailable, Some(unavailable));
    assert_eq!(status.outcome().exit_code(), 3);
    let began = Instant::now();
    client.close().await;
    assert!(began.elapsed() < SHORT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_crashed_leader_is_timed_to_its_successor() {
    let fake = Fake::start();
    fake.change(|world| world.heir = Some(n(3)));
    let settings = Settings { name: "admin".to_owned(), ..fake.settings() };
    let admin = Client::connect(settings).unwrap();
    soon(admin.append(records("a"))).await.unwrap();
    // The cached leader no longer leads.
    fake.elect(2);
    let crashed = soon(admin.crash_leader()).await.unwrap();
    assert_eq!((crashed.node, crashed.term), (n(2), Term::new(2)));
    assert_eq!(crashed.incarnation, incarnation(n(2)));
    assert_eq!((crashed.new_leader, crashed.new_term), (n(3), Term::new(3)));
    assert!(crashed.failover >= Duration::from_millis(55), "{:?}", crashed.failover);
    assert!(crashed.failover < BOUND, "{:?}", crashed.failover);
    soon(admin.append(records("b"))).await.unwrap();
    assert_eq!(fake.texts(), ["a", "b"]);
}

#[tokio::test]
async fn a_crash_without_a_successor_and_one_without_the_right_end_in_time() {
    let fake = Fake::start();
    let error = soon(fake.client().crash_leader()).await.unwrap_err();
    assert_eq!(error, CrashError::NotAdmin);
    let settings = Settings { name: "admin".to_owned(), timeout: SHORT, ..fake.settings() };
    let admin = Client::connect(settings).unwrap();
    let began = Instant::now();
    let error = soon(admin.crash_leader()).await.unwrap_err();
    let after = SHORT;
    assert_eq!(error, CrashError::NoSuccessor { node: n(1), term: Term::new(1), after });
    assert_eq!(error.outcome().exit_code(), 124);
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_stopped_leader_is_noticed_at_once() {
    let fake = Fake::start();
    let client = fake.client();
    soon(client.append(records("a"))).await.unwrap();
    fake.stop(1);
    fake.elect(2);
    let appended = soon(client.append(records("b"))).await.unwrap();
    assert_eq!(appended.leader, n(2));
    assert_eq!(fake.texts(), ["a", "b"]);
}
