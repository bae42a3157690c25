//! A simulated disk as one process uses it: the calls of an operating system.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use super::super::disk::{Blocks, Files};
use super::super::engine::{Engine, Shape};
use super::super::error::StoreError;
use super::super::fatal::mark_of;
use super::disk::{MemoryDisk, State};
use super::faults::{Operation, Refusal, killed};
use super::tree::{File, Folder, Node, View};

/// A simulated disk as one process uses it.
#[derive(Clone, Debug)]
pub(in super::super) struct Mount {
    disk: MemoryDisk,
    process: u64,
}

impl MemoryDisk {
    /// The disk as the process that runs now uses it.
    pub(in super::super) fn mount(&self) -> Mount {
        let process = self.state().process;
        Mount { disk: self.clone(), process }
    }

    /// What a node's process does last when its running store turns out to be damaged: it marks the
    /// place, so that the next start is refused too. See [`super::super::end_at_damage`].
    pub fn mark_damage(&self, error: &StoreError) {
        if let StoreError::Damage { place, .. } = error {
            let mount = self.mount();
            let mark = mark_of(place);
            // As with a real disk: if this fails too, the damage itself speaks for itself.
            let _ = mount.create_mark(&mark).and_then(|()| mount.sync(&mark));
            let _ = mark.parent().map(|parent| mount.sync(parent));
        }
    }
}

impl Mount {
    /// The number of the process.
    pub(super) fn process(&self) -> u64 {
        self.process
    }

    /// Performs an operation, unless the process is dead or the operation is to fail.
    pub(super) fn perform<T>(
        &self,
        operation: Operation,
        action: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let state = &mut *self.disk.state();
        self.pass(state, operation)?;
        action(state)
    }

    /// Attempts an operation whose failure has consequences: the action is told whether it fails.
    pub(super) fn attempt(
        &self,
        operation: Operation,
        action: impl FnOnce(&mut State, bool) -> io::Result<()>,
    ) -> io::Result<()> {
        self.attempt_what(|_| operation, action)
    }

    /// Attempts an operation of which the state of the disk says what it is.
    pub(super) fn attempt_what(
        &self,
        operation: impl FnOnce(&State) -> Operation,
        action: impl FnOnce(&mut State, bool) -> io::Result<()>,
    ) -> io::Result<()> {
        let state = &mut *self.disk.state();
        let operation = operation(state);
        match self.pass(state, operation) {
            Ok(()) => action(state, false),
            Err(Refusal::Killed) => Err(killed()),
            Err(Refusal::Failed(error)) => {
                action(state, true)?;
                Err(error)
            }
        }
    }

    fn pass(&self, state: &mut State, operation: Operation) -> Result<(), Refusal> {
        if state.process == self.process {
            let needed = operation.needed_bytes();
            state.faults.is_full = needed > 0 && needed > state.free_bytes();
            state.faults.pass(operation)
        } else {
            Err(Refusal::Killed)
        }
    }

    /// Closes a database, if the process that opened it still lives.
    pub(super) fn close(&self, close: impl FnOnce(&mut State)) {
        let state = &mut *self.disk.state();
        if state.process == self.process {
            close(state);
        }
    }

    pub(super) fn create(&self, path: &Path, node: Node) -> io::Result<()> {
        self.perform(Operation::Write, |state| state.tree.create(path, node).map(drop))
    }
}

impl Files for Mount {
    // ---- looking ----

    /// Bytes that still fit.
    fn free_bytes(&self, _folder: &Path) -> io::Result<u64> {
        Ok(self.disk.state().free_bytes())
    }

    /// Bytes of a file.
    fn length(&self, path: &Path) -> io::Result<u64> {
        self.perform(Operation::Read, |state| match state.tree.node(path)? {
            Node::Data(data) => Ok(data.length()),
            Node::Blocks(file) => Ok(file.length()),
            Node::File(file) => Ok(file.contents.len() as u64),
            Node::Folder(_) => Err(ErrorKind::IsADirectory.into()),
        })
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.perform(Operation::Read, |state| Ok(state.tree.find(View::Now, path).is_some()))
    }

    fn is_file(&self, path: &Path) -> io::Result<bool> {
        self.perform(Operation::Read, |state| match state.tree.node(path) {
            Ok(node) => Ok(!matches!(node, Node::Folder(_))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        })
    }

    fn names_in(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.perform(Operation::Read, |state| {
            let number = state.tree.find(View::Now, folder).ok_or(ErrorKind::NotFound)?;
            let names = state.tree.names(View::Now, number).ok_or(ErrorKind::NotADirectory)?;
            Ok(names.keys().cloned().collect())
        })
    }

    fn hash_file(
        &self,
        path: &Path,
        hasher: &mut blake3::Hasher,
        _rest: &dyn Fn(Duration),
    ) -> io::Result<()> {
        self.perform(Operation::Read, |state| {
            match state.tree.node(path)? {
                Node::Data(data) => data.hash(hasher),
                Node::Blocks(file) => file.hash(hasher),
                Node::File(file) => {
                    hasher.update(&[u8::from(file.is_lost)]).update(&file.contents);
                }
                Node::Folder(_) => return Err(ErrorKind::IsADirectory.into()),
            }
            Ok(())
        })
    }

    /// Whoever closes a database here has closed it at once.
    fn wait_until_released(&self, file: &Path) -> io::Result<()> {
        self.perform(Operation::Read, |state| match state.tree.data(file)?.holder() {
            None => Ok(()),
            Some(_) => Err(ErrorKind::WouldBlock.into()),
        })
    }

    // ---- changing ----

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.create(folder, Node::Folder(Folder::default()))
    }

    fn create_mark(&self, path: &Path) -> io::Result<()> {
        match self.create(path, Node::File(File::default())) {
            // As with a real file, one that is there already is written over.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            outcome => outcome,
        }
    }

    fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.perform(Operation::Read, |state| match state.tree.node(path)? {
            Node::File(file) => Ok(file.contents.clone()),
            Node::Blocks(file) => Ok(file.contents()),
            Node::Folder(_) | Node::Data(_) => Err(ErrorKind::InvalidInput.into()),
        })
    }

    fn write_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.perform(Operation::Write, |state| {
            if state.tree.find(View::Now, path).is_none() {
                return state.tree.create(path, Node::File(File::of(bytes))).map(drop);
            }
            match state.tree.node_mut(path)? {
                Node::File(file) => *file = File::of(bytes),
                Node::Folder(_) | Node::Data(_) | Node::Blocks(_) => {
                    return Err(ErrorKind::InvalidInput.into());
                }
            }
            Ok(())
        })
    }

    fn create_folder_of_copy(&self, folder: &Path) -> io::Result<()> {
        self.create_folder(folder)
    }

    /// What is copied is what is shown, if it was forgotten before.
    fn copy(&self, from: &Path, to: &Path) -> io::Result<bool> {
        self.perform(Operation::Write, |state| {
            let copy = match state.tree.node(from)? {
                Node::Data(data) => Node::Data(Box::new(data.copy())),
                Node::File(file) => {
                    Node::File(File { is_lost: file.is_lost, ..File::of(&file.contents) })
                }
                Node::Folder(_) | Node::Blocks(_) => return Err(ErrorKind::InvalidInput.into()),
            };
            state.tree.create(to, copy).map(|_| true)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.perform(Operation::Change, |state| state.tree.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.perform(Operation::Change, |state| state.tree.remove(path))
    }

    /// Removes a folder and all in it, name by name.
    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        for name in self.names_in(folder)? {
            let path = folder.join(name);
            if self.is_file(&path)? { self.remove_file(&path)? } else { self.remove_folder(&path)? }
        }
        self.remove_file(folder)?;
        self.perform(Operation::Read, |state| {
            state.tree.forget_nameless();
            Ok(())
        })
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.attempt(Operation::Sync, |state, fails| {
            if fails { state.tree.fail_to_sync(path) } else { state.tree.sync(path) }
        })
    }

    /// Writes what is not written yet of a file, and then lets the page cache forget it.
    fn forget_cached(&self, path: &Path) -> io::Result<()> {
        self.sync(path)?;
        self.perform(Operation::Read, |state| state.tree.forget_cached(path))
    }

    fn create_blocks(&self, path: &Path) -> io::Result<Box<dyn Blocks>> {
        Ok(Box::new(self.create_file_of_blocks(path)?))
    }

    fn open_blocks(&self, path: &Path) -> io::Result<Box<dyn Blocks>> {
        Ok(Box::new(self.open_file_of_blocks(path)?))
    }

    fn read_past_cache(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.perform(Operation::Read, |state| match state.tree.node(path)? {
            Node::Blocks(file) => Ok(file.read_past_cache()),
            Node::File(file) => Ok(file.contents.clone()),
            Node::Folder(_) | Node::Data(_) => Err(ErrorKind::InvalidInput.into()),
        })
    }

    fn open_database(&self, folder: &Path, _shape: Shape) -> Result<Box<dyn Engine>, StoreError> {
        let opened = self.open(folder).map_err(|error| StoreError::sled("open", folder, error))?;
        Ok(Box::new(opened))
    }

    fn opening_bytes(&self, _sled_segment_bytes: usize) -> u64 {
        0
    }

    /// The model does not panic over its contents.
    fn may_panic(&self) -> bool {
        false
    }

    /// The model knows no blobs.
    fn check_no_blobs(&self, _folder: &Path) -> Result<(), StoreError> {
        Ok(())
    }
}
