//! Trees of HDF5 written, as a file of their own or behind another's objects: groups, datasets, attributes,
//! soft links and references to objects, which the writer of flat files does not know.
//!
//! Source: HDF5 File Format Specification, version 3.0: II.A (superblock), III.E (global heap),
//! IV.A (object headers). Nothing that was in a file is moved: what is new comes behind it, and then the
//! superblock leads to a new root.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use hdf5_reader::messages::attribute::AttributeMessage;
use hdf5_reader::messages::dataspace::DataspaceType;
use hdf5_writer::jenkins_lookup3;

/// "There is none", of an address.
const UNDEFINED: u64 = u64::MAX;
/// Smallest collection of the global heap.
const MIN_COLLECTION: usize = 4096;
/// Texts of one collection: their numbers have 16 bits.
const MAX_TEXTS: usize = 60_000;

/// Types of messages in an object header.
const DATASPACE: u8 = 1;
const LINK_INFO: u8 = 2;
const DATATYPE: u8 = 3;
const FILL_VALUE: u8 = 5;
const LINK: u8 = 6;
const LAYOUT: u8 = 8;
const GROUP_INFO: u8 = 10;
const ATTRIBUTE: u8 = 12;

/// A group.
#[derive(Debug, Default)]
pub(crate) struct GroupOut {
    pub(crate) attributes: Vec<(String, Value)>,
    /// Attributes of another group of the same file, with their types as stored.
    pub(crate) kept: Vec<(AttributeMessage, Vec<u8>)>,
    pub(crate) members: BTreeMap<String, MemberOut>,
}

/// What a link of a group leads to.
#[derive(Debug)]
pub(crate) enum MemberOut {
    Group(GroupOut),
    Dataset(DatasetOut),
    /// The path of an object, from the root.
    Soft(String),
    /// Another file and the path in it.
    External(String, String),
    /// An object that the file holds already.
    Kept(u64),
}

/// A dataset, contiguous.
#[derive(Debug)]
pub(crate) struct DatasetOut {
    /// No axes: one value.
    pub(crate) shape: Vec<usize>,
    pub(crate) value: Value,
    pub(crate) attributes: Vec<(String, Value)>,
}

/// Values of a dataset or attribute; an attribute of one number has no axes.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    Text(String),
    /// Along an axis, even if it is one.
    Texts(Vec<String>),
    /// To the object at this path.
    Reference(Target),
}

/// The object that a reference means.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// One that is written, by its path.
    New(String),
    /// One that the file holds already.
    Kept(u64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl GroupOut {
    /// The group at `path` below this one, made where it is missing.
    pub(crate) fn group(&mut self, path: &str) -> &mut GroupOut {
        let mut group = self;
        for name in path.split('/') {
            let member = group.members.entry(name.to_owned());
            let member = member.or_insert_with(|| MemberOut::Group(GroupOut::default()));
            if !matches!(member, MemberOut::Group(_)) {
                *member = MemberOut::Group(GroupOut::default());
            }
            let MemberOut::Group(next) = member else {
                unreachable!("it was made a group");
            };
            group = next;
        }
        group
    }
}

/// Writes the objects of the tree to `sink`, whose first byte is byte `start` of the file.
///
/// Returns the address of the root's header and the end of the file.
pub(crate) fn write(root: &GroupOut, sink: impl Write, start: u64) -> io::Result<(u64, u64)> {
    // Every address is known after a first pass that writes nothing; sizes do not depend on addresses.
    let mut texts = Vec::new();
    root.collect_texts(&mut texts);
    let heap = Heap::new(texts, start);
    let mut dry = Out::new(io::sink(), start, &heap, HashMap::new());
    dry.file(root)?;
    let addresses = dry.addresses;
    let mut out = Out::new(sink, start, &heap, addresses);
    let address = out.file(root)?;
    Ok((address, out.position))
}

/// A superblock of version 2, which leads to a root group.
pub(crate) fn superblock(root: u64, end: u64) -> Vec<u8> {
    let mut bytes = b"\x89HDF\r\n\x1a\n\x02\x08\x08\x00".to_vec();
    for word in [0, UNDEFINED, end, root] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(jenkins_lookup3(&bytes).to_le_bytes());
    bytes
}

/// Makes a file's superblock lead to another root and end; `None` for one that is laid out otherwise.
pub(crate) fn patch_superblock(head: &mut [u8], root: u64, end: u64) -> Option<()> {
    let put = |head: &mut [u8], place: usize, word: u64| {
        let to = head.get_mut(place..place + 8)?;
        to.copy_from_slice(&word.to_le_bytes());
        Some(())
    };
    match *head.get(8)? {
        version @ (0 | 1) => {
            let base = if version == 0 { 24 } else { 28 };
            put(head, base + 16, end)?;
            put(head, base + 40, root)?;
            // Nothing is cached of the new root.
            head.get_mut(base + 48..base + 72)?.fill(0);
        }
        2 | 3 => {
            put(head, 28, end)?;
            put(head, 36, root)?;
            let sum = jenkins_lookup3(head.get(..44)?);
            head.get_mut(44..48)?.copy_from_slice(&sum.to_le_bytes());
        }
        _ => return None,
    }
    Some(())
}

impl GroupOut {
    fn collect_texts<'a>(&'a self, found: &mut Vec<&'a str>) {
        let of_values = |values: &'a [(String, Value)], found: &mut Vec<&'a str>| {
            for (_, value) in values {
                value.collect_texts(found);
            }
        };
        of_values(&self.attributes, found);
        for member in self.members.values() {
            match member {
                MemberOut::Group(group) => group.collect_texts(found),
                MemberOut::Dataset(dataset) => {
                    of_values(&dataset.attributes, found);
                    dataset.value.collect_texts(found);
                }
                _ => {}
            }
        }
    }
}

impl Value {
    fn collect_texts<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::Text(text) => found.push(text),
            Self::Texts(texts) => found.extend(texts.iter().map(String::as_str)),
            _ => {}
        }
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Text(_) | Self::Reference(_) => 1,
        }
    }

    fn element_size(&self) -> usize {
        match self {
            Self::F32(_) => 4,
            Self::F64(_) | Self::I64(_) | Self::Reference(_) => 8,
            Self::Text(_) | Self::Texts(_) => 16,
        }
    }

    /// The message that describes one value.
    fn datatype(&self) -> Vec<u8> {
        let float = |size: u8, sign, exponent: [u8; 2], mantissa, bias: u32| {
            let mut bytes = vec![0x11, 0x20, sign, 0, size, 0, 0, 0, 0, 0, size * 8, 0];
            bytes.extend([exponent[0], exponent[1], 0, mantissa]);
            bytes.extend(bias.to_le_bytes());
            bytes
        };
        match self {
            Self::F32(_) => float(4, 31, [23, 8], 23, 127),
            Self::F64(_) => float(8, 63, [52, 11], 52, 1023),
            Self::I64(_) => vec![0x10, 8, 0, 0, 8, 0, 0, 0, 0, 0, 64, 0],
            // Texts of any length, UTF-8, up to a zero; each of characters of one byte.
            Self::Text(_) | Self::Texts(_) => {
                let mut bytes = vec![0x19, 1, 1, 0, 16, 0, 0, 0];
                bytes.extend([0x13, 0x10, 0, 0, 1, 0, 0, 0]);
                bytes
            }
            Self::Reference(_) => vec![0x17, 0, 0, 0, 8, 0, 0, 0],
        }
    }
}

/// Texts, each once, in collections of the global heap at the start of what is written.
struct Heap<'a> {
    /// Address of the collection, and number in it.
    places: HashMap<&'a str, (u64, u16)>,
    bytes: Vec<u8>,
}

impl<'a> Heap<'a> {
    fn new(mut texts: Vec<&'a str>, start: u64) -> Self {
        texts.sort_unstable();
        texts.dedup();
        let mut heap = Self {
            places: HashMap::new(),
            bytes: Vec::new(),
        };
        for group in texts.chunks(MAX_TEXTS) {
            heap.add(group, start);
        }
        heap
    }

    fn add(&mut self, texts: &[&'a str], start: u64) {
        let address = start + self.bytes.len() as u64;
        let mut objects = Vec::new();
        for (place, text) in texts.iter().enumerate() {
            let number = place as u16 + 1;
            objects.extend(number.to_le_bytes());
            objects.extend([1, 0, 0, 0, 0, 0]);
            objects.extend((text.len() as u64).to_le_bytes());
            objects.extend(text.as_bytes());
            objects.resize(objects.len().next_multiple_of(8), 0);
            self.places.insert(text, (address, number));
        }
        // Object 0 is the room that is left, its own 16 bytes with it.
        let size = (16 + objects.len() + 16).max(MIN_COLLECTION);
        let left = size - 16 - objects.len();
        self.bytes.extend(b"GCOL\x01\0\0\0");
        self.bytes.extend((size as u64).to_le_bytes());
        self.bytes.extend(objects);
        self.bytes.extend([0; 8]);
        self.bytes.extend((left as u64).to_le_bytes());
        self.bytes.resize(self.bytes.len() + left - 16, 0);
    }
}

/// A file as far as it is written.
struct Out<'a, W> {
    sink: W,
    position: u64,
    heap: &'a Heap<'a>,
    /// Where the objects are, by their paths.
    addresses: HashMap<String, u64>,
}

impl<'a, W: Write> Out<'a, W> {
    fn new(sink: W, position: u64, heap: &'a Heap<'a>, addresses: HashMap<String, u64>) -> Self {
        Self {
            sink,
            position,
            heap,
            addresses,
        }
    }

    /// Heap and objects; the root's address.
    fn file(&mut self, root: &GroupOut) -> io::Result<u64> {
        self.put(&self.heap.bytes)?;
        self.group(root, "")
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let start = self.position;
        self.sink.write_all(bytes)?;
        let padding = bytes.len().next_multiple_of(8) - bytes.len();
        self.sink.write_all(&[0; 8][..padding])?;
        self.position += (bytes.len() + padding) as u64;
        Ok(start)
    }

    fn group(&mut self, group: &GroupOut, path: &str) -> io::Result<u64> {
        let mut links = Vec::new();
        for (name, member) in &group.members {
            let path = format!("{path}/{name}");
            let target = match member {
                MemberOut::Group(inner) => (0, self.group(inner, &path)?.to_le_bytes().to_vec()),
                MemberOut::Dataset(dataset) => {
                    (0, self.dataset(dataset, &path)?.to_le_bytes().to_vec())
                }
                MemberOut::Kept(address) => (0, address.to_le_bytes().to_vec()),
                MemberOut::Soft(path) => (1, with_length(path.as_bytes())),
                MemberOut::External(file, path) => {
                    (64, with_length(format!("\0{file}\0{path}\0").as_bytes()))
                }
            };
            links.push((LINK, link(name, target)));
        }
        let mut messages = vec![
            (LINK_INFO, [&[0, 0][..], &[0xff; 16]].concat()),
            (GROUP_INFO, vec![0, 0]),
        ];
        messages.extend(links);
        for (attribute, datatype) in &group.kept {
            messages.push((ATTRIBUTE, kept_attribute(attribute, datatype)));
        }
        messages.extend(self.attributes(&group.attributes));
        self.object(path, &messages)
    }

    fn dataset(&mut self, dataset: &DatasetOut, path: &str) -> io::Result<u64> {
        let n_bytes = (dataset.value.len() * dataset.value.element_size()) as u64;
        let address = self.values(&dataset.value)?;
        let address = if n_bytes == 0 { UNDEFINED } else { address };
        let mut layout = vec![3, 1];
        layout.extend(address.to_le_bytes());
        layout.extend(n_bytes.to_le_bytes());
        let mut messages = vec![
            (DATASPACE, dataspace(&dataset.shape)),
            (DATATYPE, dataset.value.datatype()),
            // Room when the dataset is made, no value of one's own to fill it.
            (FILL_VALUE, vec![3, 0x09]),
            (LAYOUT, layout),
        ];
        messages.extend(self.attributes(&dataset.attributes));
        self.object(path, &messages)
    }

    /// The values, in pieces: they may be many.
    fn values(&mut self, value: &Value) -> io::Result<u64> {
        const PIECE: usize = 1 << 16;
        let start = self.position;
        match value {
            Value::F32(values) => {
                for piece in values.chunks(PIECE) {
                    let bytes: Vec<u8> = piece.iter().flat_map(|v| v.to_le_bytes()).collect();
                    self.put(&bytes)?;
                }
            }
            small => {
                let bytes = self.encode(small);
                self.put(&bytes)?;
            }
        }
        Ok(start)
    }

    fn encode(&self, value: &Value) -> Vec<u8> {
        match value {
            Value::F32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Value::F64(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Value::I64(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Value::Text(text) => self.text(text).to_vec(),
            Value::Texts(texts) => texts.iter().flat_map(|text| self.text(text)).collect(),
            Value::Reference(Target::Kept(address)) => address.to_le_bytes().to_vec(),
            Value::Reference(Target::New(path)) => {
                let address = self.addresses.get(path).copied().unwrap_or_default();
                address.to_le_bytes().to_vec()
            }
        }
    }

    /// Length and place of a text.
    fn text(&self, text: &str) -> [u8; 16] {
        let (address, number) = self.heap.places.get(text).copied().unwrap_or_default();
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&(text.len() as u32).to_le_bytes());
        bytes[4..12].copy_from_slice(&address.to_le_bytes());
        bytes[12..].copy_from_slice(&u32::from(number).to_le_bytes());
        bytes
    }

    fn attributes(&self, attributes: &[(String, Value)]) -> Vec<(u8, Vec<u8>)> {
        let encode = |(name, value): &(String, Value)| {
            let shape: &[usize] = match value {
                Value::Texts(texts) => &[texts.len()],
                one if one.len() == 1 => &[],
                several => &[several.len()],
            };
            let (datatype, values) = (value.datatype(), self.encode(value));
            let dataspace = dataspace(shape);
            (ATTRIBUTE, attribute(name, &datatype, &dataspace, &values))
        };
        attributes.iter().map(encode).collect()
    }

    /// An object header of version 2; its address.
    fn object(&mut self, path: &str, messages: &[(u8, Vec<u8>)]) -> io::Result<u64> {
        let mut body = Vec::new();
        for (kind, message) in messages {
            let length = u16::try_from(message.len()).map_err(|_| {
                io::Error::other(format!("{} bytes of metadata at {path}", message.len()))
            })?;
            body.push(*kind);
            body.extend(length.to_le_bytes());
            body.push(0);
            body.extend(message);
        }
        let mut header = b"OHDR\x02\x02".to_vec();
        header.extend((body.len() as u32).to_le_bytes());
        header.extend(body);
        header.extend(jenkins_lookup3(&header).to_le_bytes());
        let address = self.put(&header)?;
        self.addresses.insert(path.to_owned(), address);
        Ok(address)
    }
}

fn dataspace(shape: &[usize]) -> Vec<u8> {
    let mut bytes = vec![2, shape.len() as u8, 0, u8::from(!shape.is_empty())];
    bytes.extend(shape.iter().flat_map(|&n| (n as u64).to_le_bytes()));
    bytes
}

fn link(name: &str, (kind, target): (u8, Vec<u8>)) -> Vec<u8> {
    // Type, character set (UTF-8) and a length of four bytes are stated.
    let mut bytes = vec![1, 0x1a, kind, 1];
    bytes.extend((name.len() as u32).to_le_bytes());
    bytes.extend(name.as_bytes());
    bytes.extend(target);
    bytes
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u16).to_le_bytes();
    [&length, bytes].concat()
}

fn attribute(name: &str, datatype: &[u8], dataspace: &[u8], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![3, 0];
    for length in [name.len() + 1, datatype.len(), dataspace.len()] {
        bytes.extend((length as u16).to_le_bytes());
    }
    // UTF-8.
    bytes.push(1);
    bytes.extend(name.as_bytes());
    bytes.push(0);
    for part in [datatype, dataspace, values] {
        bytes.extend(part);
    }
    bytes
}

/// An attribute as it was, its values (places in the global heap among them) untouched.
fn kept_attribute(kept: &AttributeMessage, datatype: &[u8]) -> Vec<u8> {
    let shape: Vec<usize> = kept.dataspace.dims.iter().map(|&n| n as usize).collect();
    let mut space = dataspace(&shape);
    if kept.dataspace.dataspace_type == DataspaceType::Null {
        space = vec![2, 0, 0, 2];
    }
    attribute(&kept.name, datatype, &space, &kept.raw_data)
}
