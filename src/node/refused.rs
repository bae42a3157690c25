//! The mark of a folder whose node was refused by its peers, so that starting it again and again does
//! not wear out what they know it by.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// The mark, in the data folder. It holds the sentence with which the node ended.
const REFUSED_FILE: &str = "refused";

/// What to do about such a folder.
pub(super) const HINT: &str = "keep the folder. If its newest state is somewhere, put that in its place \
     and start again; if not, `annal node recover` has the others fill it anew. (A folder \
     that was refused has a file `refused`, and is not started while that is there)";

/// What was said when this folder was refused, if it was.
pub(super) fn earlier(data: &Path) -> Option<String> {
    let sentence = fs::read_to_string(data.join(REFUSED_FILE)).ok()?;
    Some(sentence.trim().to_owned())
}

/// Marks the folder. If that fails the next start is refused by the peers, as this one was.
pub(super) fn write(data: &Path, sentence: &str) {
    let mark = data.join(REFUSED_FILE);
    let written = File::create(&mark).and_then(|mut file| {
        writeln!(file, "{sentence}")?;
        file.sync_all()
    });
    if let Err(error) = written {
        tracing::warn!(file = %mark.display(), %error, "the folder cannot be marked");
    }
}

/// Removes the mark: what it speaks of is set aside. If that fails the next start is refused once more.
pub(super) fn remove(data: &Path) {
    let mark = data.join(REFUSED_FILE);
    match fs::remove_file(&mark) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(file = %mark.display(), %error, "a mark cannot be removed");
        }
        _ => {}
    }
}
