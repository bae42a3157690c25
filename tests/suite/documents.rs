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

/// What stands behind `= ` where a source defines a constant.
fn constant(file: &str, name: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let definition = format!("const {name}: ");
    let found = between(&text, &definition, ';').next();
    let found = found.unwrap_or_else(|| panic!("{file} has no {name}"));
    found.split("= ").nth(1).unwrap().trim_matches('"').to_owned()
}

#[test]
fn the_numbers_of_formats_are_those_in_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let changes = fs::read_to_string(root.join("CHANGELOG.md")).unwrap();
    let newest = changes.split("- Formats: ").nth(1).unwrap();
    let newest = newest.split("\n\n").next().unwrap();
    let pages = fs::read_to_string(root.join("docs/formats.md")).unwrap();
    for (what, file, name) in [
        ("entry", "src/entry.rs", "VERSION"),
        ("frame", "src/wire/frame.rs", "VERSION"),
        ("`meta`", "src/store/meta.rs", "FORMAT"),
        ("registry", "src/store/disk_map.rs", "FORMAT"),
        ("registry", "src/registry/table.rs", "VERSION"),
    ] {
        let number = constant(file, name);
        assert!(newest.contains(&format!("{what} {number},")), "{what} {number}: {newest}");
    }
    let prefix = constant("src/client/token.rs", "PREFIX");
    assert!(newest.contains(&format!("`{prefix}`")) && pages.contains(&format!("`{prefix}`")));
    let protocols = fs::read_to_string(root.join("src/net/protocol.rs")).unwrap();
    let names: Vec<_> = between(&protocols, "b\"annal-", '"').collect();
    assert_eq!(names.len(), 4, "looked in the wrong way?");
    for name in names {
        assert!(newest.contains(&format!("`annal-{name}`")), "{name}: {newest}");
    }
}

#[test]
fn screens_fit_on_a_terminal_of_80_columns() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/screens.md");
    let text = fs::read_to_string(page).unwrap();
    let screens: Vec<&str> = between(&text, "```text", '`').collect();
    assert!(screens.len() > 4, "looked in the wrong way?");
    for line in screens.iter().flat_map(|screen| screen.lines()) {
        // A file has no width.
        assert!(line.chars().count() <= 80 || line.contains(" | 20"), "{line}");
    }
}
