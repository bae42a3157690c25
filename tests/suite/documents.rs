//! What README and its neighbours point at is there.

use std::fs;
use std::path::{Path, PathBuf};

/// Pages for people, and where their links start from.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let at_root = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|page| root.join(page));
    at_root.into_iter().chain(docs).collect()
}

/// What stands in a text between `open` and `close`.
fn between<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    text.match_indices(open).filter_map(move |(at, _)| text[at + open.len()..].split(close).next())
}

#[test]
fn links_lead_somewhere() {
    let mut found = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in between(&text, "](", ')').filter(|link| !link.contains("://")) {
            let path = link.split('#').next().unwrap();
            assert!(page.parent().unwrap().join(path).exists(), "{}: {link}", page.display());
            found += 1;
        }
    }
    assert!(found > 5, "only {found} links: looked in the wrong way?");
}

#[test]
fn files_that_are_named_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for folder in ["src/", "tests/", "docs/", "examples/", "benches/", ".ci/"] {
            let begin = format!("`{folder}");
            // `tests/raft/<theme>/…` stands for many.
            let names = between(&text, &begin, '`').filter(|name| !name.contains([' ', '<', '*']));
            for name in names {
                let path = root.join(folder).join(name);
                assert!(path.exists(), "{}: {folder}{name}", page.display());
                found += 1;
            }
        }
    }
    assert!(found > 20, "only {found} names of files: looked in the wrong way?");
}
