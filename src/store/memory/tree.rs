//! Folders, files and their names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::super::installed::{INSTALLED, INSTALLING};
use super::blocks::BlockFile;
use super::data::{Cut, Data};

/// Where the node's folder of a simulated disk lies.
pub(in super::super) const ROOT: &str = "memory";

/// Stands for a file or folder, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeNumber(u64);

/// The node's folder.
pub(super) const ROOT_NUMBER: NodeNumber = NodeNumber(0);

/// A file or a folder.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Folder(Folder),
    /// A small file: a mark, sled's settings, a head.
    File(File),
    Data(Box<Data>),
    Blocks(Box<BlockFile>),
}

/// A small file, which is written as a whole.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) contents: Vec<u8>,
    /// Its contents are on the platter.
    pub(super) is_synced: bool,
    /// A sync failed: its contents will never be on the platter. The page cache has them.
    pub(super) is_failed: bool,
    /// Its contents were lost.
    pub(super) is_lost: bool,
}

type Names = BTreeMap<String, NodeNumber>;

impl Node {
    /// Bytes of a file: what a real disk would give for it, but for marks and the like.
    fn length(&self) -> u64 {
        match self {
            Self::Folder(_) | Self::File(_) => 0,
            Self::Data(data) => data.length(),
            Self::Blocks(file) => file.length(),
        }
    }

    fn sync(&mut self) {
        match self {
            Self::Folder(folder) => folder.sync(),
            Self::File(file) => file.sync(),
            Self::Data(data) => data.sync(),
            Self::Blocks(file) => file.sync(),
        }
    }

    /// Whether the process that runs has it open.
    fn is_open(&self) -> bool {
        match self {
            Self::Folder(_) | Self::File(_) => false,
            Self::Data(data) => data.holder().is_some(),
            Self::Blocks(file) => file.is_open(),
        }
    }
}

impl File {
    pub(super) fn of(contents: &[u8]) -> Self {
        Self { contents: contents.to_vec(), ..Self::default() }
    }

    /// Of contents that were lost a part is there.
    fn lose(&mut self) {
        self.is_lost = true;
        self.contents.truncate(self.contents.len() / 2);
    }

    fn sync(&mut self) {
        self.is_synced |= !self.is_failed;
    }

    /// What the page cache alone had is gone.
    fn forget_cached(&mut self) {
        if std::mem::take(&mut self.is_failed) {
            self.lose();
            self.is_synced = true;
        }
    }

    fn power_cut(&mut self, choose: &mut dyn FnMut(u64) -> u64) {
        self.forget_cached();
        if !self.is_synced {
            self.is_synced = true;
            if choose(2) == 0 {
                self.lose();
            }
        }
    }
}

/// The names in a folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Folder {
    now: Names,
    platter: Names,
    unsynced: Vec<NameChange>,
    /// Those whose sync failed: a later sync has nothing to write, unless a name is changed again.
    failed: Vec<NameChange>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create { name: String, node: NodeNumber },
    Remove { name: String, node: NodeNumber },
    Rename { from: String, to: String, node: NodeNumber },
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Create { name, node } => {
                names.insert(name.clone(), *node);
            }
            Self::Remove { name, node } => remove_if(names, name, *node),
            Self::Rename { from, to, node } => {
                remove_if(names, from, *node);
                names.insert(to.clone(), *node);
            }
        }
    }
}

/// Another of the same name may have been kept instead.
fn remove_if(names: &mut Names, name: &str, node: NodeNumber) {
    if names.get(name) == Some(&node) {
        names.remove(name);
    }
}

impl Folder {
    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.now);
        // The names of a folder are written side by side.
        let failed = std::mem::take(&mut self.failed);
        self.unsynced.splice(0..0, failed);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            change.apply(&mut self.platter);
        }
    }

    fn fail_to_sync(&mut self) {
        self.failed.append(&mut self.unsynced);
    }

    /// Returns how many changes were kept and lost.
    fn power_cut(&mut self, choose: &mut dyn FnMut(u64) -> u64) -> (u64, u64) {
        let (mut kept, mut lost) = (0, std::mem::take(&mut self.failed).len() as u64);
        for change in std::mem::take(&mut self.unsynced) {
            if choose(2) == 1 {
                change.apply(&mut self.platter);
                kept += 1;
            } else {
                lost += 1;
            }
        }
        self.now = self.platter.clone();
        (kept, lost)
    }
}

/// Which names count.
#[derive(Clone, Copy, Debug)]
pub(super) enum View {
    /// Those that a process sees.
    Now,
    /// Those that would survive.
    Platter,
}

/// All files and folders. What has no name any more is forgotten at the next start.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<NodeNumber, Node>,
    next: u64,
}

/// A part of the store, by the names on the platter: that of one that is to take its place, if there is one.
pub(super) fn part(tree: &Tree, name: &str) -> Option<NodeNumber> {
    let names = tree.names(View::Platter, ROOT_NUMBER)?;
    let new = || names.get(&format!("{INSTALLING}{name}"));
    let installed = names.get(INSTALLED).and_then(|_| new());
    installed.or_else(|| names.get(name)).copied()
}

impl Tree {
    pub(super) fn new() -> Self {
        let nodes = BTreeMap::from([(ROOT_NUMBER, Node::Folder(Folder::default()))]);
        Self { nodes, next: 1 }
    }

    // ---- looking ----

    pub(super) fn find(&self, view: View, path: &Path) -> Option<NodeNumber> {
        let rest = path.strip_prefix(ROOT).ok()?;
        let mut number = ROOT_NUMBER;
        for part in rest.components() {
            number = *self.names(view, number)?.get(part.as_os_str().to_str()?)?;
        }
        Some(number)
    }

    pub(super) fn names(&self, view: View, folder: NodeNumber) -> Option<&Names> {
        match (self.nodes.get(&folder)?, view) {
            (Node::Folder(folder), View::Now) => Some(&folder.now),
            (Node::Folder(folder), View::Platter) => Some(&folder.platter),
            (Node::File(_) | Node::Data(_) | Node::Blocks(_), _) => None,
        }
    }

    pub(super) fn node(&self, path: &Path) -> io::Result<&Node> {
        let number = self.find(View::Now, path).ok_or(ErrorKind::NotFound)?;
        Ok(&self.nodes[&number])
    }

    pub(super) fn node_mut(&mut self, path: &Path) -> io::Result<&mut Node> {
        let number = self.find(View::Now, path).ok_or(ErrorKind::NotFound)?;
        self.nodes.get_mut(&number).ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// The file of a database.
    pub(super) fn data(&self, path: &Path) -> io::Result<&Data> {
        match self.node(path)? {
            Node::Data(data) => Ok(data),
            Node::Folder(_) | Node::File(_) | Node::Blocks(_) => {
                Err(ErrorKind::InvalidInput.into())
            }
        }
    }

    pub(super) fn data_of(&self, number: NodeNumber) -> Option<&Data> {
        match self.nodes.get(&number)? {
            Node::Data(data) => Some(data),
            Node::Folder(_) | Node::File(_) | Node::Blocks(_) => None,
        }
    }

    pub(super) fn data_of_mut(&mut self, number: NodeNumber) -> Option<&mut Data> {
        match self.nodes.get_mut(&number)? {
            Node::Data(data) => Some(data),
            Node::Folder(_) | Node::File(_) | Node::Blocks(_) => None,
        }
    }

    pub(super) fn file_of_mut(&mut self, number: NodeNumber) -> Option<&mut File> {
        match self.nodes.get_mut(&number)? {
            Node::File(file) => Some(file),
            Node::Folder(_) | Node::Data(_) | Node::Blocks(_) => None,
        }
    }

    /// A file that is written in blocks.
    pub(super) fn blocks_of(&self, number: NodeNumber) -> Option<&BlockFile> {
        match self.nodes.get(&number)? {
            Node::Blocks(file) => Some(file),
            Node::Folder(_) | Node::File(_) | Node::Data(_) => None,
        }
    }

    pub(super) fn blocks_of_mut(&mut self, number: NodeNumber) -> Option<&mut BlockFile> {
        match self.nodes.get_mut(&number)? {
            Node::Blocks(file) => Some(file),
            Node::Folder(_) | Node::File(_) | Node::Data(_) => None,
        }
    }

    /// Bytes of all files that have a name.
    pub(super) fn bytes(&self) -> u64 {
        let reachable = self.reachable();
        reachable.iter().filter_map(|number| self.nodes.get(number)).map(Node::length).sum()
    }

    // ---- changing ----

    fn folder_mut(&mut self, path: &Path) -> io::Result<&mut Folder> {
        match self.node_mut(path)? {
            Node::Folder(folder) => Ok(folder),
            Node::File(_) | Node::Data(_) | Node::Blocks(_) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn create(&mut self, path: &Path, node: Node) -> io::Result<NodeNumber> {
        let (parent, name) = split(path)?;
        let number = NodeNumber(self.next);
        let folder = self.folder_mut(parent)?;
        if folder.now.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        folder.change(NameChange::Create { name: name.to_owned(), node: number });
        self.next += 1;
        self.nodes.insert(number, node);
        Ok(number)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ((parent, old), (new_parent, new)) = (split(from)?, split(to)?);
        assert_eq!(parent, new_parent, "the store renames within a folder");
        let are_files = [from, to].iter().all(|path| matches!(self.node(path), Ok(Node::File(_))));
        let folder = self.folder_mut(parent)?;
        let node = *folder.now.get(old).ok_or(ErrorKind::NotFound)?;
        if folder.now.contains_key(new) && !are_files {
            return Err(ErrorKind::AlreadyExists.into());
        }
        folder.change(NameChange::Rename { from: old.to_owned(), to: new.to_owned(), node });
        Ok(())
    }

    /// Removes a file, or a folder that is empty.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        if let Node::Folder(folder) = self.node(path)?
            && !folder.now.is_empty()
        {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let (parent, name) = split(path)?;
        let folder = self.folder_mut(parent)?;
        let node = *folder.now.get(name).ok_or(ErrorKind::NotFound)?;
        folder.change(NameChange::Remove { name: name.to_owned(), node });
        Ok(())
    }

    pub(super) fn sync(&mut self, path: &Path) -> io::Result<()> {
        self.node_mut(path)?.sync();
        Ok(())
    }

    /// All of it.
    pub(super) fn sync_all(&mut self) {
        self.nodes.values_mut().for_each(Node::sync);
    }

    pub(super) fn fail_to_sync(&mut self, path: &Path) -> io::Result<()> {
        match self.node_mut(path)? {
            Node::Folder(folder) => folder.fail_to_sync(),
            Node::File(file) => file.is_failed |= !file.is_synced,
            Node::Data(data) => data.fail_to_sync(),
            Node::Blocks(file) => file.fail_to_sync(),
        }
        Ok(())
    }

    /// The page cache forgets a file.
    pub(super) fn forget_cached(&mut self, path: &Path) -> io::Result<()> {
        match self.node_mut(path)? {
            Node::Folder(_) => return Err(ErrorKind::IsADirectory.into()),
            Node::File(file) => file.forget_cached(),
            Node::Data(data) => data.forget_cached(),
            Node::Blocks(file) => file.forget_cached(),
        }
        Ok(())
    }

    /// A name vanishes, from the platter too.
    pub(super) fn lose(&mut self, path: &Path) {
        if let Ok((parent, name)) = split(path)
            && let Ok(folder) = self.folder_mut(parent)
        {
            folder.now.remove(name);
            folder.platter.remove(name);
        }
    }

    // ---- between two processes ----

    /// The power fails. Returns what it did to names (kept, lost) and to files.
    pub(super) fn power_cut(&mut self, choose: &mut dyn FnMut(u64) -> u64) -> (u64, u64, Vec<Cut>) {
        self.forget_nameless();
        let (mut kept, mut lost, mut cuts) = (0, 0, vec![]);
        for node in self.nodes.values_mut() {
            match node {
                Node::Folder(folder) => {
                    let (more_kept, more_lost) = folder.power_cut(choose);
                    (kept, lost) = (kept + more_kept, lost + more_lost);
                }
                Node::File(file) => file.power_cut(choose),
                Node::Data(data) => cuts.push(data.power_cut(choose)),
                Node::Blocks(file) => cuts.push(file.power_cut(choose)),
            }
        }
        self.forget_nameless();
        (kept, lost, cuts)
    }

    /// The process is gone, the machine is not.
    pub(super) fn restart(&mut self) {
        for node in self.nodes.values_mut() {
            match node {
                Node::Data(data) => data.restart(),
                Node::Blocks(file) => file.restart(),
                Node::Folder(_) | Node::File(_) => (),
            }
        }
        self.forget_nameless();
    }

    /// Forgets what has no name, not even one that a power cut would bring back.
    pub(super) fn forget_nameless(&mut self) {
        let reachable = self.reachable();
        self.nodes.retain(|number, node| node.is_open() || reachable.contains(number));
    }

    fn reachable(&self) -> BTreeSet<NodeNumber> {
        let mut found = BTreeSet::new();
        let mut open = vec![ROOT_NUMBER];
        while let Some(number) = open.pop() {
            if !found.insert(number) {
                continue;
            }
            if let Some(Node::Folder(folder)) = self.nodes.get(&number) {
                let changes =
                    folder.failed.iter().chain(&folder.unsynced).map(|change| match change {
                        NameChange::Create { node, .. }
                        | NameChange::Remove { node, .. }
                        | NameChange::Rename { node, .. } => node,
                    });
                let named = folder.now.values().chain(folder.platter.values());
                open.extend(named.chain(changes).copied());
            }
        }
        found
    }
}

fn split(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    path.parent().zip(name).ok_or_else(|| ErrorKind::InvalidInput.into())
}
