//! One open file of a simulated disk that is written in blocks.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::super::disk::Blocks;
use super::blocks::{BLOCK_BYTES, BlockFile};
use super::disk::State;
use super::faults::Operation;
use super::mount::Mount;
use super::tree::{Node, NodeNumber, View};

/// One open file. It can be used whatever becomes of its name, as long as its process lives.
#[derive(Debug)]
pub(in super::super) struct MemoryBlocks {
    mount: Mount,
    number: NodeNumber,
}

impl Mount {
    /// Makes a file, or empties the one that is there.
    pub(super) fn create_file_of_blocks(&self, path: &Path) -> io::Result<MemoryBlocks> {
        self.opened(Operation::Write, |state| {
            let Some(number) = state.tree.find(View::Now, path) else {
                return state.tree.create(path, Node::Blocks(Box::default()));
            };
            state.tree.blocks_of_mut(number).ok_or(ErrorKind::InvalidInput)?.empty();
            Ok(number)
        })
    }

    /// Opens one that is there.
    pub(super) fn open_file_of_blocks(&self, path: &Path) -> io::Result<MemoryBlocks> {
        self.opened(Operation::Read, |state| {
            state.tree.find(View::Now, path).ok_or_else(|| ErrorKind::NotFound.into())
        })
    }

    fn opened(
        &self,
        operation: Operation,
        find: impl FnOnce(&mut State) -> io::Result<NodeNumber>,
    ) -> io::Result<MemoryBlocks> {
        let number = self.perform(operation, |state| {
            let number = find(state)?;
            state.tree.blocks_of_mut(number).ok_or(ErrorKind::InvalidInput)?.open();
            Ok(number)
        })?;
        Ok(MemoryBlocks { mount: self.clone(), number })
    }
}

impl MemoryBlocks {
    fn file<'a>(&self, state: &'a mut State) -> io::Result<&'a mut BlockFile> {
        state.tree.blocks_of_mut(self.number).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Blocks for MemoryBlocks {
    /// # Panics
    /// These are not whole blocks.
    fn write_at(&self, at: u64, blocks: &[u8]) -> io::Result<()> {
        let bytes = blocks.len() as u64;
        assert!(at.is_multiple_of(BLOCK_BYTES), "a block does not begin at {at}");
        assert!(bytes.is_multiple_of(BLOCK_BYTES), "{bytes} bytes are not whole blocks");
        let operation = |state: &State| {
            let file = state.tree.blocks_of(self.number);
            Operation::Grow(file.map_or(0, |file| file.growth(at, bytes)))
        };
        self.mount.attempt_what(operation, |state, fails| {
            let room = state.free_bytes();
            let file = self.file(state)?;
            if fails {
                file.fail_to_write(at, blocks, room);
            } else {
                file.write(at, blocks);
            }
            Ok(())
        })
    }

    fn read_at(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        self.mount.perform(Operation::Read, |state| self.file(state)?.read(at, length))
    }

    fn sync(&self) -> io::Result<()> {
        self.mount.attempt(Operation::Sync, |state, fails| {
            let file = self.file(state)?;
            if fails {
                file.fail_to_sync();
            } else {
                file.sync();
            }
            Ok(())
        })
    }
}

impl Drop for MemoryBlocks {
    fn drop(&mut self) {
        self.mount.close(|state| {
            if let Ok(file) = self.file(state) {
                file.close();
            }
        });
    }
}
