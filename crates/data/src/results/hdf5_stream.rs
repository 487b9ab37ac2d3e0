//! Traces that come one at a time into an HDF5 file.
//!
//! The writer of HDF5 wants the values of a dataset at once, so it is given none: it describes the datasets
//! as empty ones. Behind what it wrote come the chunks and, for each dataset, their index, a version-1
//! B-tree; the address of that root then goes into the dataset's object header. Formats and names are
//! those of the HDF5 File Format Specification, version 3.0: II.A (superblock), III.A.1 (B-trees),
//! IV.A.1.b (object headers), IV.A.2.i (data layout).

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use hdf5_writer::{AttributeBuilder, DatasetBuilder, Hdf5Builder, WriteOptions, jenkins_lookup3};

use super::arrays::{Arrays, CHUNK_BYTES, DEFLATE_LEVEL, compressed};
use super::sink::Sink;
use crate::Problem;
use crate::whole_file::{WholeFile, cannot_write, folder_of};

/// Fewest neurons of a chunk: what is read of one neuron wastes the rest.
const MIN_WIDTH: usize = 16;
/// Children of a B-tree node: 2K with the K of 32 that is understood where a file states none.
const NODE_CHILDREN: usize = 64;
/// Numbers in a chunk's place: trial, time, neuron, and one for the bytes of a number.
const N_OFFSETS: usize = 4;
/// Bytes of a key: size, filter mask and place of a chunk.
const KEY_BYTES: usize = 8 + 8 * N_OFFSETS;
/// Bytes of a node, whatever the number of its children.
const NODE_BYTES: usize = 24 + NODE_CHILDREN * 8 + (NODE_CHILDREN + 1) * KEY_BYTES;
/// "There is none", of an address.
const UNDEFINED: u64 = u64::MAX;
/// Where the first object header lies, behind the superblock.
const FIRST_HEADER: usize = 48;
/// Type of an object header's message about the layout of a dataset.
const DATA_LAYOUT: u8 = 8;

pub(crate) struct Hdf5Sink {
    arrays: Vec<Streamed>,
    /// Frames and neurons.
    shape: [usize; 2],
    /// Frames and neurons of a chunk.
    chunk: [usize; 2],
    /// Chunks of all arrays, compressed, as they came.
    chunks: BufWriter<File>,
    n_bytes: u64,
}

/// One array.
struct Streamed {
    name: String,
    unit: String,
    /// Traces that fill no chunk yet, end to end.
    pending: Vec<f32>,
    n_neurons_stored: usize,
    stored: Vec<Chunk>,
}

/// Where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Chunk {
    first_frame: u64,
    first_neuron: u64,
    /// From the first chunk of all.
    place: u64,
    n_bytes: u32,
}

impl Hdf5Sink {
    pub(crate) fn create(
        path: &Path,
        arrays: &[(&str, &str)],
        shape: [usize; 2],
    ) -> Result<Self, Problem> {
        let file = tempfile::tempfile_in(folder_of(path)).map_err(cannot_write)?;
        let begin = |&(name, unit): &(&str, &str)| Streamed {
            name: name.to_owned(),
            unit: unit.to_owned(),
            pending: Vec::new(),
            n_neurons_stored: 0,
            stored: Vec::new(),
        };
        let sink = Self {
            arrays: arrays.iter().map(begin).collect(),
            shape,
            chunk: chunk(shape),
            chunks: BufWriter::new(file),
            n_bytes: 0,
        };
        // A writer that lays out its headers in another way is found out before the work.
        let mut head = sink
            .describe(&Arrays::default())
            .map_err(Problem::unwritable)?;
        link(&mut head, &vec![Some(UNDEFINED); arrays.len()], UNDEFINED)?;
        Ok(sink)
    }

    /// Stores the pending traces of an array as chunks, padded with 0 to their full width.
    fn store(&mut self, array: usize) -> std::io::Result<()> {
        let n_bins = self.shape[0];
        let [length, width] = self.chunk;
        let array = &mut self.arrays[array];
        for first_frame in (0..n_bins).step_by(length) {
            let mut values = vec![0.0; length * width];
            for (neuron, trace) in array.pending.chunks_exact(n_bins).enumerate() {
                let frames = &trace[first_frame..(first_frame + length).min(n_bins)];
                for (frame, &value) in frames.iter().enumerate() {
                    values[frame * width + neuron] = value;
                }
            }
            let bytes = encode(&values)?;
            self.chunks.write_all(&bytes)?;
            array.stored.push(Chunk {
                first_frame: first_frame as u64,
                first_neuron: array.n_neurons_stored as u64,
                place: self.n_bytes,
                n_bytes: bytes.len() as u32,
            });
            self.n_bytes += bytes.len() as u64;
        }
        array.n_neurons_stored += array.pending.len() / n_bins.max(1);
        array.pending.clear();
        Ok(())
    }

    /// What the file holds apart from the chunks and their indices.
    fn describe(&self, others: &Arrays) -> Result<Vec<u8>, hdf5_writer::Error> {
        let shape = [1, self.shape[0] as u64, self.shape[1] as u64];
        let chunk = vec![1, self.chunk[0] as u64, self.chunk[1] as u64];
        let mut file = Hdf5Builder::new();
        for array in &self.arrays {
            let empty = DatasetBuilder::typed::<f32>(&array.name, shape);
            let mut dataset = compressed(empty, chunk.clone()).fill_value(0_f32.to_le_bytes());
            if !array.unit.is_empty() {
                dataset = dataset.attribute(AttributeBuilder::fixed_string("unit", &array.unit));
            }
            file = file.dataset(dataset);
        }
        let plan = others.describe(file)?.into_plan()?;
        plan.encode(WriteOptions::default())
    }

    fn assemble(&mut self, path: &Path, others: &Arrays) -> Result<(), Problem> {
        let mut head = self.describe(others).map_err(Problem::unwritable)?;
        head.resize(head.len().next_multiple_of(8), 0);
        let first_chunk = head.len() as u64;
        let padding = (self.n_bytes.next_multiple_of(8) - self.n_bytes) as usize;
        let mut end = first_chunk + self.n_bytes.next_multiple_of(8);
        let mut indices = Vec::new();
        let mut places = Vec::new();
        for array in &mut self.arrays {
            array.stored.sort_unstable();
            places.push((!array.stored.is_empty()).then_some(end));
            let index = match array.stored[..] {
                [] => Vec::new(),
                _ => encode_index(&array.stored, self.chunk, first_chunk, end),
            };
            end += index.len() as u64;
            indices.extend(index);
        }
        link(&mut head, &places, end)?;
        self.write(path, [&head, &vec![0; padding], &indices])
            .map_err(cannot_write)
    }

    /// Writes the file whole or not at all.
    fn write(&mut self, path: &Path, [head, padding, indices]: [&[u8]; 3]) -> std::io::Result<()> {
        let mut target = WholeFile::create(path)?;
        target.write_all(head)?;
        self.chunks.flush()?;
        let chunks = self.chunks.get_mut();
        chunks.seek(SeekFrom::Start(0))?;
        std::io::copy(chunks, &mut target)?;
        target.write_all(padding)?;
        target.write_all(indices)?;
        target.finish()
    }
}

impl Sink for Hdf5Sink {
    fn append(&mut self, array: usize, trace: &[f32]) -> Result<(), Problem> {
        let streamed = &mut self.arrays[array];
        streamed.pending.extend(trace);
        let n_pending = streamed.pending.len() / self.shape[0].max(1);
        let is_last = streamed.n_neurons_stored + n_pending == self.shape[1];
        match n_pending == self.chunk[1] || is_last {
            true => self.store(array).map_err(cannot_write),
            false => Ok(()),
        }
    }

    fn finish(&mut self, path: &Path, others: &Arrays) -> Result<(), Problem> {
        self.assemble(path, others)
    }
}

/// Frames and neurons of a chunk of about [`CHUNK_BYTES`]: whole traces where so many fit.
fn chunk([n_bins, n_neurons]: [usize; 2]) -> [usize; 2] {
    let n_values = CHUNK_BYTES / size_of::<f32>();
    let width = (n_values / n_bins.max(1))
        .max(MIN_WIDTH)
        .min(n_neurons.max(1));
    // Of one length, so that the last is not mostly padding.
    let n_pieces = n_bins.div_ceil(n_values / width).max(1);
    [n_bins.div_ceil(n_pieces).max(1), width]
}

/// A chunk's bytes: first all lowest bytes, …, last all highest ones (shuffle), then deflate.
fn encode(values: &[f32]) -> std::io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(DEFLATE_LEVEL));
    for byte in 0..size_of::<f32>() {
        let bytes: Vec<u8> = values.iter().map(|v| v.to_le_bytes()[byte]).collect();
        encoder.write_all(&bytes)?;
    }
    encoder.finish()
}

/// The nodes of the B-tree, root first, that will lie at `address`; `chunks` are in order.
fn encode_index(
    chunks: &[Chunk],
    [length, width]: [usize; 2],
    first_chunk: u64,
    address: u64,
) -> Vec<u8> {
    // Above the last chunk, and so above all.
    let end = chunks.last().map_or([0; N_OFFSETS], |last| {
        let next = |first: u64, step: usize| first + step as u64;
        [
            1,
            next(last.first_frame, length),
            next(last.first_neuron, width),
            0,
        ]
    });
    let end = key(0, end);
    // Levels from the leaves up: first key and address of each child.
    let mut children: Vec<_> = chunks
        .iter()
        .map(|chunk| {
            let place = [0, chunk.first_frame, chunk.first_neuron, 0];
            (key(chunk.n_bytes, place), first_chunk + chunk.place)
        })
        .collect();
    let mut widths = vec![children.len().div_ceil(NODE_CHILDREN)];
    while widths[widths.len() - 1] > 1 {
        widths.push(widths[widths.len() - 1].div_ceil(NODE_CHILDREN));
    }
    let mut levels = Vec::new();
    for (level, &n_nodes) in widths.iter().enumerate() {
        let n_above: usize = widths[level + 1..].iter().sum();
        let address_of = |node: usize| address + ((n_above + node) * NODE_BYTES) as u64;
        let mut nodes = Vec::with_capacity(n_nodes * NODE_BYTES);
        let mut parents = Vec::with_capacity(n_nodes);
        for (node, group) in children.chunks(NODE_CHILDREN).enumerate() {
            let left = node.checked_sub(1).map_or(UNDEFINED, address_of);
            let right = Some(node + 1).filter(|&next| next < n_nodes);
            let above = children.get((node + 1) * NODE_CHILDREN);
            nodes.extend(b"TREE");
            nodes.extend([1, level as u8]);
            nodes.extend((group.len() as u16).to_le_bytes());
            nodes.extend(left.to_le_bytes());
            nodes.extend(right.map_or(UNDEFINED, address_of).to_le_bytes());
            for (key, child) in group {
                nodes.extend(key);
                nodes.extend(child.to_le_bytes());
            }
            nodes.extend(above.map_or(&end, |(key, _)| key));
            nodes.resize((node + 1) * NODE_BYTES, 0);
            parents.push((group[0].0, address_of(node)));
        }
        levels.push(nodes);
        children = parents;
    }
    levels.into_iter().rev().flatten().collect()
}

/// A key: size of the chunk, no filter left out, and its place.
fn key(n_bytes: u32, place: [u64; N_OFFSETS]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..4].copy_from_slice(&n_bytes.to_le_bytes());
    for (bytes, offset) in key[8..].chunks_exact_mut(8).zip(place) {
        bytes.copy_from_slice(&offset.to_le_bytes());
    }
    key
}

/// A version-2 object header in a file.
#[derive(Clone, Copy, Debug)]
struct ObjectHeader {
    start: usize,
    /// First message.
    messages: usize,
    /// Behind the last message: the checksum.
    end: usize,
}

fn object_header(file: &[u8], start: usize) -> Result<ObjectHeader, Problem> {
    let parse = || {
        let header = file.get(start..)?;
        // Nothing but signature, version and flags, which give the width of the length.
        let [b'O', b'H', b'D', b'R', 2, flags @ 0..=3, ..] = *header else {
            return None;
        };
        let width = 1 << flags;
        let mut length = [0; 8];
        length[..width].copy_from_slice(header.get(6..6 + width)?);
        let messages = start + 6 + width;
        let end = messages.checked_add(u64::from_le_bytes(length) as usize)?;
        file.get(end..end + 4)?;
        Some(ObjectHeader {
            start,
            messages,
            end,
        })
    };
    parse().ok_or_else(unexpected)
}

impl ObjectHeader {
    /// Where the next one begins.
    fn next(self) -> usize {
        (self.end + 4).next_multiple_of(8)
    }

    /// Makes the dataset's chunks those of the B-tree at `address`.
    fn set_index(self, file: &mut [u8], address: u64) -> Result<(), Problem> {
        let mut place = self.messages;
        while place + 4 <= self.end {
            let length = usize::from(u16::from_le_bytes([file[place + 1], file[place + 2]]));
            // Version 3, chunked, a number of axes, then the address.
            if file[place] == DATA_LAYOUT && file[place + 4..].starts_with(&[3, 2]) {
                file[place + 7..place + 15].copy_from_slice(&address.to_le_bytes());
                let checksum = jenkins_lookup3(&file[self.start..self.end]);
                file[self.end..self.end + 4].copy_from_slice(&checksum.to_le_bytes());
                return Ok(());
            }
            place += 4 + length;
        }
        Err(unexpected())
    }
}

/// Gives the datasets, in their order, the B-trees at these places, and the file its length.
fn link(head: &mut [u8], indices: &[Option<u64>], end: u64) -> Result<(), Problem> {
    // The root group comes first.
    let mut header = object_header(head, FIRST_HEADER)?;
    for &index in indices {
        header = object_header(head, header.next())?;
        if let Some(address) = index {
            header.set_index(head, address)?;
        }
    }
    set_end_of_file(head, end)
}

/// Makes the superblock say how long the file is.
fn set_end_of_file(file: &mut [u8], end: u64) -> Result<(), Problem> {
    // Signature, version 2, addresses of eight bytes.
    if !file.starts_with(b"\x89HDF\r\n\x1a\n\x02\x08") || file.len() < FIRST_HEADER {
        return Err(unexpected());
    }
    file[28..36].copy_from_slice(&end.to_le_bytes());
    let checksum = jenkins_lookup3(&file[..44]);
    file[44..48].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

fn unexpected() -> Problem {
    let found = "its writer lays out object headers in another way than expected".to_owned();
    Problem::unwritable(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_whole_traces_or_sixteen_neurons() {
        assert_eq!(chunk([1000, 300]), [1000, 262]);
        assert_eq!(chunk([100_000, 10_000]), [14_286, 16]);
        assert_eq!(chunk([100_000, 3]), [50_000, 3]);
        assert_eq!(chunk([0, 0]), [1, 1]);
    }

    #[test]
    fn an_index_of_three_levels_leads_to_every_chunk() {
        const FIRST_CHUNK: u64 = 5000;
        const ADDRESS: u64 = 1 << 20;
        let chunks: Vec<Chunk> = (0..=64 * 64)
            .map(|i| Chunk {
                first_frame: i / 3 * 10,
                first_neuron: i % 3 * 16,
                place: 100 * i,
                n_bytes: 100,
            })
            .collect();
        let index = encode_index(&chunks, [10, 16], FIRST_CHUNK, ADDRESS);
        // 65 leaves, 2 nodes above them, the root.
        assert_eq!(index.len(), 68 * NODE_BYTES);
        let word = |place: usize| u64::from_le_bytes(index[place..place + 8].try_into().unwrap());
        let place_of = |address: u64| (address - ADDRESS) as usize;
        let mut level = vec![ADDRESS];
        for depth in [2, 1, 0] {
            let mut below = Vec::new();
            for (at, &node) in level.iter().enumerate() {
                let start = place_of(node);
                assert_eq!(&index[start..start + 6], [b'T', b'R', b'E', b'E', 1, depth]);
                let left = at.checked_sub(1).map_or(UNDEFINED, |left| level[left]);
                let right = level.get(at + 1).copied().unwrap_or(UNDEFINED);
                assert_eq!((word(start + 8), word(start + 16)), (left, right));
                let n_children = u16::from_le_bytes([index[start + 6], index[start + 7]]);
                for child in 0..usize::from(n_children) {
                    let key = start + 24 + child * (KEY_BYTES + 8);
                    let address = word(key + KEY_BYTES);
                    // A key is that of the first chunk below.
                    let mut first = address;
                    for _ in 0..depth {
                        first = word(place_of(first) + 24 + KEY_BYTES);
                    }
                    let chunk = chunks[((first - FIRST_CHUNK) / 100) as usize];
                    assert_eq!(word(key + 16), chunk.first_frame);
                    assert_eq!(word(key + 24), chunk.first_neuron);
                    below.push(address);
                }
            }
            level = below;
        }
        let places = chunks.iter().map(|chunk| FIRST_CHUNK + chunk.place);
        assert!(level.into_iter().eq(places));
    }
}
