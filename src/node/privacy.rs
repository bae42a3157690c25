//! Nobody else reads what is kept here: the records, the log of votes, and the keys.
//!
//! Whoever runs a command of this program makes files with [`keep_private`] in force, so that those
//! of sled are private as well. What was made wider, by an older version or by hand, is left as it
//! is: a start says so.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::Mode;

/// What others may do with a file.
const OTHERS: u32 = 0o077;

/// Lets this process make files and folders for its own user alone: 0600 and 0700.
pub fn keep_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Makes a folder for this user alone.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// As [`create_folder`], with those above it; a folder that is there is fine.
pub(super) fn create_folders(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)
}

/// Warns of a folder of data or of certificates that others may read.
pub fn warn_of_others(data: &Path, certs: &Path) {
    if is_wide(data) {
        warn_of(data);
    }
    if is_wide(certs) && holds_wide_files(certs) {
        warn_of(certs);
    }
}

fn warn_of(folder: &Path) {
    let folder = folder.display();
    tracing::warn!("other users of this machine may read {folder}: chmod -R go= {folder}");
}

/// Whether others may do anything with it, as far as can be told.
fn is_wide(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & OTHERS != 0)
}

/// Hidden files, as `.gitignore`, do not count.
fn holds_wide_files(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let shown = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    shown.into_iter().any(|entry| is_wide(&entry.path()))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn what_others_may_read_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (certs, key) = (folder.path().join("a/certs"), folder.path().join("a/certs/n1.key"));
        create_folders(&certs).unwrap();
        create_folder(&folder.path().join("a/data")).unwrap();
        for made in ["a", "a/certs", "a/data"] {
            assert!(!is_wide(&folder.path().join(made)), "{made}");
        }
        let allow = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        allow(&certs, 0o755);
        fs::write(certs.join(".gitignore"), "*").unwrap();
        fs::write(&key, "key").unwrap();
        allow(&key, 0o600);
        assert!(is_wide(&certs) && !holds_wide_files(&certs), "a name is no secret");
        allow(&key, 0o640);
        assert!(holds_wide_files(&certs));
        assert!(!is_wide(&certs.join("nothing")));
    }
}
