//! The log over HTTP, at any node's door.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use super::harness::{Cluster, HTTP_PORTS_AFTER, Kind, wait_for};

const MAIN: &str = "/v1/stream/main";
const BYTES: (&str, &str) = ("content-type", "application/octet-stream");

/// What a door says.
struct Said {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Said {
    fn header(&self, name: &str) -> Option<&str> {
        let line = |line: &str| line.to_ascii_lowercase().starts_with(&format!("{name}: "));
        let found = self.head.lines().find(|found| line(found))?;
        found.split_once(": ").map(|(_, value)| value)
    }

    fn next(&self) -> &str {
        self.header("stream-next-offset").unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn open(
    cluster: &Cluster,
    node: &str,
    line: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> BufReader<TcpStream> {
    let number: u16 = node.trim_start_matches('n').parse().unwrap();
    let port = cluster.base_port() + HTTP_PORTS_AFTER + number;
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok();
    let mut stream = wait_for(&format!("the door of {node}"), connect);
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut lines = vec![format!("{line} HTTP/1.1"), format!("host: 127.0.0.1:{port}")];
    lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.push(format!("connection: close\r\ncontent-length: {}\r\n\r\n", body.len()));
    let text = lines.join("\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    // A door that does not want it may have closed.
    let _ = stream.write_all(body);
    BufReader::new(stream)
}

fn head_of(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let count = stream.read_line(&mut head).unwrap();
        assert!(count > 0, "the answer ended: {head}");
    }
    head
}

#[track_caller]
fn ask(cluster: &Cluster, node: &str, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Said {
    let mut stream = open(cluster, node, line, headers, body);
    let head = head_of(&mut stream);
    let mut body = vec![];
    stream.read_to_end(&mut body).unwrap();
    let status = head[9..12].parse().unwrap();
    Said { status, head, body }
}

#[track_caller]
fn get(cluster: &Cluster, node: &str, query: &str) -> Said {
    ask(cluster, node, &format!("GET {MAIN}{query}"), &[], b"")
}

#[track_caller]
fn post(cluster: &Cluster, node: &str, body: &[u8]) -> Said {
    ask(cluster, node, &format!("POST {MAIN}"), &[BYTES], body)
}

fn others(cluster: &Cluster, leader: &str) -> Vec<String> {
    cluster.nodes().into_iter().filter(|node| node != leader).collect()
}

#[test]
fn what_is_appended_at_one_door_is_read_at_another() {
    let cluster = Cluster::started(Kind::default());
    let leader = cluster.leader();
    let other = &others(&cluster, &leader)[0];

    let empty = get(&cluster, other, "?offset=-1");
    assert_eq!((empty.status, empty.body.len()), (200, 0), "{}", empty.head);
    assert_eq!(empty.header("stream-up-to-date"), Some("true"));
    assert_eq!(empty.next(), "0000000000000000_0000000000000000");

    let first = post(&cluster, other, b"hello ");
    assert_eq!(first.status, 204, "{} {}", first.head, first.text());
    assert_eq!(first.next(), "0000000000000000_0000000000000001");
    let second = post(&cluster, &leader, b"world\xff");
    let read = get(&cluster, other, "?offset=-1");
    assert_eq!((read.body.as_slice(), read.next()), (&b"hello world\xff"[..], second.next()));
    assert_eq!(get(&cluster, &leader, &format!("?offset={}", first.next())).body, b"world\xff");
    // As lines, and as the program has them.
    let line = format!("GET {MAIN}?offset=-1");
    let lines = ask(&cluster, other, &line, &[("accept", "application/x-ndjson")], b"").text();
    assert!(lines.starts_with("{\"offset\":0,\"time_ms\":"), "{lines}");
    assert!(lines.ends_with("\"record_base64\":\"d29ybGT/\"}\n"), "{lines}");
    let records = cluster.client(["read", "--json"]).expect_code(0).json();
    assert_eq!(records[0]["record"], "hello ");

    // A reader that has it already is told so.
    let tag = read.header("etag").unwrap();
    let same = ask(&cluster, other, &line, &[("if-none-match", tag)], b"");
    assert_eq!((same.status, same.body.len()), (304, 0));
    // One that is larger than a record is several records.
    let large: Vec<u8> = (0..5 << 19).map(|at: u32| at.to_le_bytes()[0]).collect();
    assert_eq!(post(&cluster, other, &large).next(), "0000000000000000_0000000000000005");
    let (mut found, mut from): (Vec<u8>, _) = (vec![], second.next().to_owned());
    while found.len() < large.len() {
        let part = get(&cluster, other, &format!("?offset={from}"));
        assert!(part.body.len() <= 2 << 20, "{} bytes at once", part.body.len());
        found.extend(&part.body);
        from = part.next().to_owned();
    }
    assert!(found == large);
    let now = get(&cluster, other, "?offset=now");
    assert_eq!((now.body.len(), now.next(), now.header("etag")), (0, from.as_str(), None));
    let head = ask(&cluster, other, &format!("HEAD {MAIN}"), &[], b"");
    assert_eq!((head.status, head.next()), (200, from.as_str()));

    // On a condition.
    let expecting = |offset: &str| {
        let headers = [BYTES, ("stream-expect-offset", offset)];
        ask(&cluster, other, &format!("POST {MAIN}"), &headers, b"if")
    };
    let refused = expecting(first.next());
    assert_eq!((refused.status, refused.next()), (412, from.as_str()));
    assert_eq!(expecting(&from).status, 204);
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_nothing() {
    let cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    let post = format!("POST {MAIN}");
    let too_large = vec![0; (4 << 20) + 1];
    let with = |name, value| [BYTES, (name, value)];
    for (expected, headers, body) in [
        (400, &[][..], &b"of no type"[..]),
        (400, &[BYTES], b""),
        (409, &[("content-type", "application/json")], b"{}"),
        (413, &[BYTES], too_large.as_slice()),
        (400, &with("producer-id", "p"), b"x"),
        (400, &with("stream-seq", "a b"), b"x"),
        (409, &with("stream-closed", "true"), b"x"),
        (409, &with("stream-closed", "true"), b""),
        (400, &with("stream-expect-offset", "now"), b"x"),
        (410, &with("stream-expect-offset", "0000000000000007_0000000000000000"), b"x"),
        (403, &with("origin", "http://evil.example"), b"x"),
    ] {
        let said = ask(&cluster, "n1", &post, headers, body);
        assert_eq!(said.status, expected, "{headers:?}: {}", said.text());
        assert!(said.text().contains("\nhint: "), "{headers:?}: {}", said.text());
    }
    for (expected, line) in [
        (404, "GET /v1/stream/orders"),
        (404, "POST /v1/stream/orders"),
        (409, "DELETE /v1/stream/main"),
        (404, "DELETE /v1/stream/orders"),
        (405, "PATCH /v1/stream/main"),
        (204, "OPTIONS /v1/stream/main"),
        (400, "GET /v1/stream/main?offset="),
        (400, "GET /v1/stream/main?offset=3"),
        (400, "GET /v1/stream/main?offset=-1&offset=-1"),
        (400, "GET /v1/stream/main?live=sse"),
        (410, "GET /v1/stream/main?offset=0000000000000007_0000000000000000"),
        // A reader from nowhere must not decide where the others wait.
        (400, "GET /v1/stream/main?offset=0000000000000000_9999999999999999"),
        (400, "GET /v1/stream/main?offset=0000000000000000_9999999999999999&live=long-poll"),
        (400, "GET /v1/stream/../status"),
        (400, "GET /v1/stream/"),
    ] {
        let said = ask(&cluster, "n1", line, &[], b"");
        assert_eq!(said.status, expected, "{line}: {}", said.text());
    }
    // A browser may ask for whomever it likes; what it sends then for a page from elsewhere was refused above.
    let evil = [("origin", "http://evil.example"), ("access-control-request-method", "POST")];
    let asked = ask(&cluster, "n1", "OPTIONS /v1/stream/main", &evil, b"");
    assert_eq!(asked.status, 204);
    assert!(asked.header("access-control-allow-headers").unwrap().contains("if-none-match"));
    for (expected, header, body) in [
        (400, ("content-type", "json"), &b""[..]),
        (400, ("content-type", "application/json"), b"[1,]"),
        (400, ("stream-ttl", "-1"), b""),
        (404, ("stream-forked-from", "/v1/stream/nowhere"), b""),
        (400, ("stream-forked-from", "http://elsewhere/v1/stream/main"), b""),
        (400, ("stream-fork-offset", "now"), b""),
    ] {
        let said = ask(&cluster, "n1", "PUT /v1/stream/orders", &[header], body);
        assert_eq!(said.status, expected, "{header:?}: {}", said.text());
    }
    assert_eq!(ask(&cluster, "n1", "GET /v1/stream/orders", &[], b"").status, 404);
    assert_eq!(get(&cluster, "n1", "").next(), "0000000000000000_0000000000000000");
}

#[test]
fn logs_are_made_followed_closed_deleted_and_made_anew_at_any_door() {
    let cluster = Cluster::started(Kind::default());
    let leader = cluster.leader();
    let [first, second] = <[String; 2]>::try_from(others(&cluster, &leader)).unwrap();
    let path = "/v1/stream/eu/orders";
    let at = |node: &str, verb: &str, query: &str, headers: &[(&str, &str)], body: &[u8]| {
        ask(&cluster, node, &format!("{verb} {path}{query}"), headers, body)
    };
    let made = at(&first, "PUT", "", &[], b"");
    assert_eq!((made.status, made.next()), (201, "0000000000000001_0000000000000000"));
    assert!(made.header("location").unwrap().ends_with(path), "{}", made.head);
    assert_eq!(at(&second, "PUT", "", &[BYTES], b"").status, 200);
    let one = at(&first, "POST", "", &[BYTES], b"one ");
    assert_eq!((one.status, one.next()), (204, "0000000000000001_0000000000000001"));
    assert_eq!(at(&second, "POST", "", &[BYTES], b"two").status, 204);
    assert_eq!(at(&leader, "GET", "?offset=-1", &[], b"").text(), "one two");
    assert_eq!(get(&cluster, &leader, "?offset=-1").body, b"", "main is another");

    // Two who wait hear that there will be nothing more.
    let line = format!("GET {path}?offset=-1&live=sse");
    let mut events = open(&cluster, &first, &line, &[], b"");
    wait_for_event(&mut events, "\"upToDate\":true");
    let poll = format!("?live=long-poll&offset={}", "0000000000000001_0000000000000002");
    let waiting = thread::scope(|scope| {
        let waiting = scope.spawn(|| at(&second, "GET", &poll, &[], b""));
        let closed = at(&leader, "POST", "", &[("stream-closed", "true")], b"");
        assert_eq!((closed.status, closed.header("stream-closed")), (204, Some("true")));
        waiting.join().unwrap()
    });
    assert_eq!((waiting.status, waiting.header("stream-closed")), (204, Some("true")));
    wait_for_event(&mut events, "\"streamClosed\":true}");
    let mut rest = String::new();
    events.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "\r\n0\r\n\r\n", "the end, and no event more");
    for node in [&first, &second] {
        let refused = at(node, "POST", "", &[BYTES], b"three");
        assert_eq!((refused.status, refused.header("stream-closed")), (409, Some("true")));
        let read = at(node, "GET", "?offset=-1", &[], b"");
        assert_eq!((read.text().as_str(), read.header("stream-closed")), ("one two", Some("true")));
    }
    assert_eq!(at(&first, "PUT", "", &[], b"").status, 409);

    assert_eq!(at(&second, "DELETE", "", &[], b"").status, 204);
    assert_eq!(at(&first, "GET", "?offset=-1", &[], b"").status, 404);
    assert_eq!(at(&first, "POST", "", &[BYTES], b"x").status, 404);
    // Another of the same name: old offsets are not taken for its own, nor old numbers.
    assert_eq!(at(&leader, "PUT", "", &[], b"").status, 201);
    let gone = format!("?offset={}", one.next());
    assert_eq!(at(&first, "GET", &gone, &[], b"").status, 410);
    for node in [&first, &second, &leader] {
        assert_eq!(at(node, "POST", "", &[BYTES], b"new ").status, 204);
    }
    assert_eq!(at(&second, "GET", "", &[], b"").text(), "new new new ");
    cluster.client(["log", "describe", "eu/orders"]).expect_code(0);
}

#[test]
fn a_log_has_a_type_and_is_made_and_ended_in_one_step_each() {
    let cluster = Cluster::started(Kind::default());
    let leader = cluster.leader();
    let node = &others(&cluster, &leader)[0];
    let json = ("content-type", "application/json");
    let at = |line: &str, headers: &[(&str, &str)], body: &[u8]| {
        ask(&cluster, node, line, headers, body)
    };

    let made = at("PUT /v1/stream/j", &[json], b"[1, [2, 3]]");
    assert_eq!((made.status, made.next()), (201, "0000000000000001_0000000000000002"));
    assert_eq!(made.header("content-type"), Some("application/json"));
    let typed = ("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(at("PUT /v1/stream/j", &[typed], b"").status, 200);
    assert_eq!(at("PUT /v1/stream/j", &[BYTES], b"").status, 409);
    assert_eq!(at("POST /v1/stream/j", &[BYTES], b"1").status, 409);
    assert_eq!(at("POST /v1/stream/j", &[json], b"[]").status, 400);
    // What a program appends that knows nothing of types is shown as text.
    cluster.client(["append", "--log", "j", "no json"]).expect_code(0);
    assert_eq!(at("GET /v1/stream/j", &[], b"").text(), "[1,[2, 3],\"no json\"]");
    let listed = at("GET /v1/streams?limit=1", &[], b"").text();
    let row = "{\"name\":\"j\",\"content_type\":\"application/json\",\"next_offset\":\"0000000000000001_0000000000000003\",\"closed\":false}";
    assert_eq!(listed, format!("{{\"streams\":[{row}],\"after\":\"j\"}}"));
    let rest = at("GET /v1/streams?after=j", &[], b"").text();
    assert!(rest.contains("\"main\"") && !rest.contains("\"after\""), "{rest}");
    assert_eq!(at("GET /v1/streams?limit=0", &[], b"").status, 400);
    let described = cluster.client(["log", "describe", "j"]).expect_code(0).text();
    assert_eq!(described, "j: next offset 3, application/json\n");
    let last = [json, ("stream-closed", "true")];
    let ended = at("POST /v1/stream/j", &last, b"4");
    assert_eq!((ended.status, ended.header("stream-closed")), (204, Some("true")));
    let late = at("POST /v1/stream/j", &last, b"5");
    assert_eq!((late.status, late.next()), (409, ended.next()));
    let events = at("GET /v1/stream/j?offset=-1&live=sse", &[], b"").text();
    assert!(events.contains("event: data\ndata:[1,[2, 3],\"no json\",4]\n\n"), "{events}");

    let whole = [("content-type", "text/plain"), ("stream-closed", "TRUE")];
    let made = at("PUT /v1/stream/t", &whole, b"all");
    assert_eq!((made.status, made.header("stream-closed")), (201, Some("true")));
    assert_eq!(at("PUT /v1/stream/t", &whole, b"all").status, 200);
    assert_eq!(at("PUT /v1/stream/t", &whole[..1], b"").status, 409);
    assert_eq!(at("GET /v1/stream/t", &[], b"").text(), "all");
}

#[test]
fn who_repeats_a_request_is_told_that_it_is_there_whoever_leads() {
    let mut cluster = Cluster::started(Kind::default());
    let leader = cluster.leader();
    let [first, second] = <[String; 2]>::try_from(others(&cluster, &leader)).unwrap();
    let turn = |epoch, seq| {
        [BYTES, ("producer-id", "p"), ("producer-epoch", epoch), ("producer-seq", seq)]
    };
    let post = |cluster: &Cluster, node: &str, epoch, seq| {
        ask(
            cluster,
            node,
            &format!("POST {MAIN}"),
            &turn(epoch, seq),
            format!("{epoch}.{seq} ").as_bytes(),
        )
    };
    let gap = post(&cluster, &first, "0", "1");
    assert_eq!((gap.status, gap.header("producer-expected-seq")), (409, Some("0")));
    assert_eq!(post(&cluster, &first, "0", "0").status, 200);
    let next = post(&cluster, &second, "0", "1");
    assert_eq!((next.status, next.header("producer-seq")), (200, Some("1")));
    cluster.kill(&leader);
    let again = wait_for("another leader", || {
        Some(post(&cluster, &first, "0", "0")).filter(|said| said.status != 503)
    });
    assert_eq!((again.status, again.header("producer-seq")), (204, Some("1")));
    assert_eq!(post(&cluster, &first, "1", "1").status, 400);
    assert_eq!(post(&cluster, &first, "1", "0").status, 200);
    let fenced = post(&cluster, &second, "0", "2");
    assert_eq!((fenced.status, fenced.header("producer-epoch")), (403, Some("1")));
    let worded = |word| {
        ask(&cluster, &first, &format!("POST {MAIN}"), &[BYTES, ("stream-seq", word)], b"w ").status
    };
    assert_eq!(["09", "10", "10", "2"].map(worded), [204, 204, 409, 204]);
    assert_eq!(get(&cluster, &second, "").text(), "0.0 0.1 1.0 w w w ");
}

#[test]
fn a_log_expires_when_nobody_uses_it_whoever_leads() {
    let mut cluster = Cluster::started(Kind::default());
    let leader = cluster.leader();
    let node = &others(&cluster, &leader)[0];
    let ttl = |seconds| ("stream-ttl", seconds);
    let at = |cluster: &Cluster, line: &str, headers: &[(&str, &str)], body: &[u8]| {
        ask(cluster, node, line, headers, body)
    };
    assert_eq!(at(&cluster, "PUT /v1/stream/long", &[ttl("3600")], b"").status, 201);
    assert_eq!(at(&cluster, "PUT /v1/stream/long", &[ttl("3600")], b"").status, 200);
    assert_eq!(at(&cluster, "PUT /v1/stream/long", &[ttl("60")], b"").status, 409);
    let listed = cluster.client(["log", "describe", "long"]).expect_code(0).text();
    assert_eq!(listed, "long: next offset 0, expires when idle for 1h\n");
    let other = ["log", "create", "long", "--expire-at", "2126-01-31T12:00:00Z"];
    cluster.client(other).expect_complaint(4, "there is a log long already, with other settings");

    let made = at(&cluster, "PUT /v1/stream/short", &[ttl("1")], b"some");
    assert_eq!((made.status, made.header("stream-ttl")), (201, Some("1")));
    cluster.kill(&leader);
    // To look at it is not to use it.
    wait_for("a log that expires", || {
        let said = at(&cluster, "HEAD /v1/stream/short", &[], b"");
        (said.status == 404).then_some(())
    });
    assert_eq!(at(&cluster, "POST /v1/stream/short", &[BYTES], b"late").status, 404);
    let again = at(&cluster, "PUT /v1/stream/short", &[ttl("3600")], b"new");
    assert_eq!((again.status, again.next()), (201, "0000000000000003_0000000000000001"));
    let past = ("stream-expires-at", "2001-01-01T00:00:00Z");
    let made = at(&cluster, "PUT /v1/stream/past", &[past], b"");
    assert!(matches!(made.status, 201 | 503), "{} {}", made.status, made.text());
    wait_for("what is past to be gone", || {
        (at(&cluster, "GET /v1/stream/past", &[], b"").status == 404).then_some(())
    });
    assert_eq!(at(&cluster, "HEAD /v1/stream/long", &[], b"").header("stream-ttl"), Some("3600"));
}

/// Reads events until there was one with these words.
#[track_caller]
fn wait_for_event(stream: &mut BufReader<TcpStream>, words: &str) -> String {
    let mut text = String::new();
    while !(text.contains(words) && text.ends_with("\n\n")) {
        assert!(stream.read_line(&mut text).unwrap() > 0, "no {words} in {text}");
    }
    text
}

#[test]
fn readers_who_wait_hear_of_what_comes_through_a_leaders_death() {
    let mut cluster = Cluster::started(Kind::default());
    let leader = cluster.leader();
    let [first, second] = <[String; 2]>::try_from(others(&cluster, &leader)).unwrap();
    let start = "0000000000000000_0000000000000000";

    let mut events = open(&cluster, &first, &format!("GET {MAIN}?offset=-1&live=sse"), &[], b"");
    let head = head_of(&mut events);
    assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
    assert!(head.contains("stream-sse-data-encoding: base64"), "{head}");
    let begin = wait_for_event(&mut events, "event: control\n");
    assert!(
        begin.contains(&format!("data:{{\"streamNextOffset\":\"{start}\",\"streamCursor\":\""))
    );
    assert!(begin.contains("\"upToDate\":true}"), "{begin}");

    let waiting = thread::scope(|scope| {
        let poll = scope.spawn(|| get(&cluster, &second, "?offset=now&live=long-poll"));
        // Whether it waits already or not is nobody's business: it gets what comes after it began.
        wait_for("the reader to be woken", || {
            let _ = post(&cluster, &first, b"news");
            poll.is_finished().then_some(())
        });
        poll.join().unwrap()
    });
    assert_eq!(waiting.status, 200, "{}", waiting.head);
    assert!(waiting.text().starts_with("news") && waiting.header("stream-cursor").is_some());
    // `news`
    let told = wait_for_event(&mut events, "event: data\ndata:bmV3cw");
    assert!(!told.is_empty());

    cluster.kill(&leader);
    let appended = wait_for("an append at another leader", || {
        let said = post(&cluster, &first, b"the king is dead");
        (said.status == 204).then(|| said.next().to_owned())
    });
    // The same stream of events goes on.
    wait_for_event(&mut events, &appended);
    let all = get(&cluster, &second, "?offset=-1").text();
    assert!(all.contains("the king is dead"), "{all}");
    // Without a majority nothing is taken, and nobody is kept waiting for ever.
    cluster.kill(&second);
    let said = post(&cluster, &first, b"nobody");
    assert!(matches!(said.status, 503 | 504), "{} {}", said.status, said.text());
}
