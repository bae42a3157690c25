//! The simulated disk by itself, without a store on it.

use std::path::{Path, PathBuf};

use super::super::disk::{Blocks, Disk};
use super::*;
use crate::limits::JOURNAL_BLOCK_BYTES;

mod blocks;
mod platter;
mod rig;
mod rot;

const BLOCK: u64 = JOURNAL_BLOCK_BYTES as u64;

fn place(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

fn mounted(disk: &MemoryDisk) -> Disk {
    Disk::over(disk.mount())
}

/// Blocks, each full of one of these bytes.
fn blocks(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [*byte; JOURNAL_BLOCK_BYTES]).collect()
}

/// The first byte of each block, which is the same all through.
fn seen(bytes: &[u8]) -> Vec<u8> {
    let of_block = |block: &[u8]| {
        assert!(block.iter().all(|byte| byte == &block[0]), "a block that is not whole");
        block[0]
    };
    bytes.chunks(JOURNAL_BLOCK_BYTES).map(of_block).collect()
}

fn all_of(files: &Disk, name: &str) -> Vec<u8> {
    let length = usize::try_from(files.length(&place(name)).unwrap()).unwrap();
    let file = files.open_blocks(&place(name)).unwrap();
    seen(&file.read_at(0, length).unwrap())
}

/// A disk with a file of these blocks, synced, and who has it open.
fn with_file(bytes: &[u8]) -> (MemoryDisk, Disk, Box<dyn Blocks>) {
    let disk = MemoryDisk::new();
    let files = mounted(&disk);
    let file = files.create_blocks(&place("file")).unwrap();
    file.write_at(0, &blocks(bytes)).unwrap();
    file.sync().unwrap();
    files.sync_folder(Path::new(ROOT)).unwrap();
    (disk, files, file)
}

/// A generator of choices.
fn choices(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut number = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |bound| {
        number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (number >> 33) % bound
    }
}
