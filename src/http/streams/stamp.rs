//! What a request says of itself: which one of whose it is.

use hyper::StatusCode;
use hyper::header::HeaderMap;

use super::super::answer::complaint;
use super::header;
use super::refusal::Refusal;
use crate::command::{Stamp, Turn};
use crate::limits::TURN_MAX;

/// The stamp of a request with these headers.
pub(super) fn stamp(headers: &HeaderMap) -> Result<Stamp, Refusal> {
    let word = header::word(headers, &header::SEQUENCE).map(str::parse).transpose();
    let word = word.map_err(|error| bad(format!("that is no sequence word: {error}")))?;
    Ok(Stamp { word, turn: turn(headers)? })
}

/// All of three headers, or none of them.
fn turn(headers: &HeaderMap) -> Result<Option<Turn>, Refusal> {
    let names = [header::PRODUCER, header::PRODUCER_EPOCH, header::PRODUCER_SEQ];
    let [producer, epoch, seq] = names.each_ref().map(|name| header::word(headers, name));
    let (producer, epoch, seq) = match (producer, epoch, seq) {
        (None, None, None) => return Ok(None),
        (Some(producer), Some(epoch), Some(seq)) => (producer, epoch, seq),
        _ => return Err(bad("a producer says its id, its epoch and its request's number".into())),
    };
    let producer = producer.parse();
    let producer = producer.map_err(|error| bad(format!("that is no producer's id: {error}")))?;
    Ok(Some(Turn { producer, epoch: number(epoch)?, seq: number(seq)? }))
}

fn number(text: &str) -> Result<u64, Refusal> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| is_plain && *number <= TURN_MAX);
    number.ok_or_else(|| bad(format!("a producer counts with whole numbers up to {TURN_MAX}")))
}

fn bad(sentence: String) -> Refusal {
    let hint = "stream-seq is a word; producer-id, producer-epoch and producer-seq come together";
    complaint(StatusCode::BAD_REQUEST, sentence, hint).into()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    fn stamped(said: &[(&'static str, &'static str)]) -> Option<Stamp> {
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        stamp(&headers).ok()
    }

    #[test]
    fn a_producer_says_three_things_or_nothing() {
        let all = |epoch, seq| {
            stamped(&[("producer-id", "p"), ("producer-epoch", epoch), ("producer-seq", seq)])
        };
        let turn = all("0", "9007199254740991").unwrap().turn.unwrap();
        assert_eq!((turn.producer.as_str(), turn.epoch, turn.seq), ("p", 0, TURN_MAX));
        for bad in ["", "-1", "+1", "1.0", "1e3", "x", " 1", "9007199254740992"] {
            assert_eq!((all(bad, "0"), all("0", bad)), (None, None), "{bad:?}");
        }
        assert_eq!(stamped(&[]), Some(Stamp::default()));
        assert_eq!(stamped(&[("producer-id", "p"), ("producer-seq", "0")]), None);
        let empty = [("producer-id", ""), ("producer-epoch", "0"), ("producer-seq", "0")];
        assert_eq!(stamped(&empty), None);
        assert_eq!(stamped(&[("stream-seq", "b2")]).unwrap().word, "b2".parse().ok());
        assert_eq!(stamped(&[("stream-seq", "")]), None);
    }
}
