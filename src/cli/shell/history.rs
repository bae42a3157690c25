//! Where the lines of earlier conversations are.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The file's folder below the one for what programs keep of their doings.
const FOLDER: &str = "annal";
/// The file in it.
const FILE: &str = "shell-history";

/// The file of this user; `None` where there is no home.
pub(super) fn file() -> Option<PathBuf> {
    file_with(|name| env::var_os(name).filter(|value| !value.is_empty()))
}

/// As the XDG base directory specification has it.
fn file_with(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let given = variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = given.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".local/state")))?;
    Some(state.join(FOLDER).join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_where_programs_keep_their_state() {
        let of = |pairs: &[(&str, &str)]| {
            file_with(|name| {
                let found = pairs.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        let home = ("HOME", "/home/me");
        let usual = Some(PathBuf::from("/home/me/.local/state/annal/shell-history"));
        assert_eq!(of(&[home]), usual);
        assert_eq!(
            of(&[home, ("XDG_STATE_HOME", "/state")]),
            Some("/state/annal/shell-history".into())
        );
        assert_eq!(of(&[home, ("XDG_STATE_HOME", "relative")]), usual, "as the specification says");
        assert_eq!(of(&[]), None);
    }
}
