//! The page of a node, in a real browser: Chromium without a window, spoken to over two pipes.
#![allow(clippy::print_stderr, reason = "what was left out")]

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{Cluster, HTTP_PORTS_AFTER, Kind, wait_for};

const PATIENCE: Duration = Duration::from_mins(1);

/// A browser with one page open.
struct Browser {
    child: Child,
    to: File,
    from: Receiver<Value>,
    last: u64,
    session: Option<String>,
    /// What it has said of itself: complaints among it.
    said: Vec<Value>,
    _folder: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    /// `None`: there is no Chromium on this machine.
    fn start() -> Option<Self> {
        let program =
            ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
                Command::new(name)
                    .arg("--version")
                    .output()
                    .is_ok_and(|output| output.status.success())
            })?;
        let folder = tempfile::tempdir().unwrap();
        let [to, from] = ["to", "from"].map(|name| folder.path().join(name));
        assert!(Command::new("mkfifo").args([&to, &from]).status().unwrap().success());
        let script = "exec \"$0\" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
                      --remote-debugging-pipe --user-data-dir=\"$1\" about:blank 3<\"$2\" 4>\"$3\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, program]).arg(folder.path().join("profile")).args([&to, &from]);
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let to = OpenOptions::new().write(true).open(&to).unwrap();
        let mut lines = BufReader::new(File::open(&from).unwrap());
        let (sender, from) = channel();
        thread::spawn(move || {
            let mut bytes = vec![];
            while lines.read_until(0, &mut bytes).is_ok_and(|count| count > 0) {
                let text = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
                if sender.send(serde_json::from_slice(text).unwrap()).is_err() {
                    return;
                }
                bytes.clear();
            }
        });
        let (session, said) = (None, vec![]);
        let mut browser = Self { child, to, from, last: 0, session, said, _folder: folder };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, &json!({}));
        }
        Some(browser)
    }

    #[track_caller]
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut text = message.to_string().into_bytes();
        text.push(0);
        self.to.write_all(&text).unwrap();
        loop {
            let mut answer = self.from.recv_timeout(PATIENCE).expect("the browser answers");
            if answer["id"] == self.last {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.said.push(answer);
        }
    }

    /// What an expression comes to on the page.
    #[track_caller]
    fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        let mut result = self.call("Runtime.evaluate", &params);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// Waits until the page has what is looked for.
    #[track_caller]
    fn wait_for_page(&mut self, what: &str, expression: &str) -> Value {
        wait_for(what, || {
            let value = self.evaluate(expression);
            let is_there = value != Value::Bool(false) && !value.is_null();
            is_there.then_some(value)
        })
    }

    /// The page took nothing from where it must not, and no program of it failed.
    #[track_caller]
    fn expect_no_complaint(&mut self) {
        self.evaluate("1");
        let is_bad = |said: &&Value| {
            said["method"] == "Runtime.exceptionThrown"
                || said.to_string().contains("Content Security Policy")
        };
        let bad: Vec<_> = self.said.iter().filter(is_bad).collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }
}

const LEADS: &str = "document.getElementById('leads').textContent";

#[test]
fn a_person_sees_elections_records_and_a_crash_on_a_telephone_and_in_the_dark() {
    let Some(mut browser) = Browser::start() else {
        eprintln!("note: the page is not looked at: there is no Chromium");
        return;
    };
    let cluster = Cluster::started(Kind::default());
    let leader = cluster.leader();
    let other = cluster.nodes().into_iter().find(|node| *node != leader).unwrap();
    let port = cluster.base_port() + HTTP_PORTS_AFTER + other[1..].parse::<u16>().unwrap();
    browser.call("Page.navigate", &json!({ "url": format!("http://127.0.0.1:{port}/") }));

    browser.wait_for_page("the page", "!!document.getElementById('events')");
    let led =
        browser.wait_for_page("a leader", &format!("{LEADS}.includes(' leads term ') && {LEADS}"));
    assert!(led.as_str().unwrap().starts_with(&leader), "{led} and {leader}");
    browser.wait_for_page("three nodes", "document.querySelectorAll('.node').length === 3");
    browser.wait_for_page("a turn", "document.querySelectorAll('#strip span').length >= 1");
    cluster.append(&["one", "two", "three"]);
    let records = "document.getElementById('records').textContent === '3'";
    browser.wait_for_page("three records", records);
    // It follows the log from when it began to.
    let tail = "document.getElementById('tail').textContent";
    wait_for("a record in the tail", || {
        cluster.append(&["one <b>more</b>"]);
        (browser.evaluate(&format!("{tail}.includes('one <b>more</b>')")) == true).then_some(())
    });

    let size = json!({ "width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": true });
    browser.call("Emulation.setDeviceMetricsOverride", &size);
    let width = browser.evaluate("document.documentElement.scrollWidth").as_u64().unwrap();
    assert!(width <= 400, "{width} pixels wide on a screen of 400");
    let ground = "getComputedStyle(document.body).backgroundColor";
    let light = browser.evaluate(ground);
    let dark = json!([{ "name": "prefers-color-scheme", "value": "dark" }]);
    browser.call("Emulation.setEmulatedMedia", &json!({ "features": dark }));
    assert_ne!(browser.evaluate(ground), light);

    let button = "document.getElementById('crash')";
    browser.wait_for_page("a button", &format!("!{button}.hidden"));
    browser.evaluate(&format!("{button}.click(), {button}.click()"));
    let crashed =
        format!("document.getElementById('events').textContent.includes('{leader}, leader of')");
    browser.wait_for_page("the crash", &crashed);
    let next = format!("{LEADS}.includes(' leads term ') && !{LEADS}.startsWith('{leader} ')");
    browser.wait_for_page("another leader", &next);
    browser.wait_for_page("who is gone", "document.querySelectorAll('.node .bad').length === 1");
    browser.expect_no_complaint();
}

#[test]
fn where_its_door_asks_for_a_token_the_page_does_too_and_shows_nothing_before() {
    let Some(mut browser) = Browser::start() else {
        eprintln!("note: the page is not looked at: there is no Chromium");
        return;
    };
    let mut cluster = Cluster::started(Kind { nodes: 1, ..Kind::default() });
    cluster.stop("n1");
    cluster.change_config("n1", "long_poll_ms", "tokens = true\nlong_poll_ms");
    cluster.start("n1");
    let line = cluster.wait_for_line("n1", "whoever on this machine has a token");
    let address = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap();
    let words = ["token", "create", "--log", "main", "--allow", "read,observe"];
    let token = cluster.run(words).expect_code(0).text().trim().to_owned();
    browser.call("Page.navigate", &json!({ "url": address }));
    let gate = "document.getElementById('gate')";
    browser.wait_for_page("the page", &format!("!!{gate}"));
    browser.wait_for_page("a field for the token", &format!("!{gate}.hidden"));
    assert_eq!(browser.evaluate("document.querySelectorAll('.node').length"), 0);
    let enter = |text: &str| {
        format!("document.getElementById('token').value = '{text}', {gate}.requestSubmit()")
    };
    browser.evaluate(&enter("annal1_nonsense"));
    let trouble = "document.getElementById('trouble').textContent";
    browser.wait_for_page("a refusal", &format!("{trouble}.includes('no token of this cluster')"));
    browser.evaluate(&enter(&token));
    browser.wait_for_page("a leader", &format!("{LEADS}.includes('n1 leads term ')"));
    browser.wait_for_page("no field", &format!("{gate}.hidden"));
    let tail = "document.getElementById('tail').textContent";
    wait_for("a record in the tail", || {
        cluster.append(&["seen"]);
        (browser.evaluate(&format!("{tail}.includes('seen')")) == true).then_some(())
    });
    assert_eq!(browser.evaluate("document.getElementById('crash').hidden"), true);
    browser.expect_no_complaint();
}
