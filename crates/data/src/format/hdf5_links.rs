//! The links of an HDF5 group as they are stored, to whatever they lead.
//!
//! The reader lists a group's members by opening each, and so lists none where one uses a feature that it
//! does not know, such as a virtual dataset.

use hdf5_reader::btree_v1::collect_btree_v1_leaves_storage;
use hdf5_reader::btree_v2::{BTreeV2Header, BTreeV2Record, collect_btree_v2_records_storage};
use hdf5_reader::error::Error;
use hdf5_reader::fractal_heap::FractalHeap;
use hdf5_reader::group::Group;
use hdf5_reader::io::Cursor;
use hdf5_reader::local_heap::LocalHeap;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::link::{self, LinkMessage, LinkTarget};
use hdf5_reader::messages::link_info::LinkInfoMessage;
use hdf5_reader::messages::symbol_table_msg::SymbolTableMessage;
use hdf5_reader::object_header::ObjectHeader;
use hdf5_reader::symbol_table::{SymbolTableEntry, SymbolTableNode};

/// Longest object header that is parsed.
const MAX_HEADER: usize = 64 << 20;
/// What a symbol table's entry caches of a soft link.
const SOFT: u32 = 2;
/// Address that leads nowhere.
const UNDEFINED: u64 = u64::MAX;

/// Every link of a group: those in its header, in its symbol table and in its heap.
pub(crate) fn links(group: &Group) -> Result<Vec<LinkMessage>, Error> {
    let header = ObjectHeader::parse_at_storage_with_limit(
        group.storage(),
        group.address(),
        group.offset_size(),
        group.length_size(),
        MAX_HEADER,
    )?;
    let mut found = Vec::new();
    for message in &header.messages {
        match message {
            HdfMessage::Link(link) => found.push(link.clone()),
            HdfMessage::SymbolTable(table) => found.extend(in_table(group, table)?),
            HdfMessage::LinkInfo(info) if info.fractal_heap_address != UNDEFINED => {
                found.extend(in_heap(group, info)?);
            }
            _ => {}
        }
    }
    Ok(found)
}

fn in_table(group: &Group, table: &SymbolTableMessage) -> Result<Vec<LinkMessage>, Error> {
    let (storage, offset, length) = (group.storage(), group.offset_size(), group.length_size());
    let heap = LocalHeap::parse_at_storage(storage, table.heap_address, offset, length)?;
    let leaves = collect_btree_v1_leaves_storage(
        storage,
        table.btree_address,
        offset,
        length,
        None,
        &[],
        None,
    )?;
    let mut found = Vec::new();
    for (_, address) in leaves {
        let head = storage.read_range(address, 8)?;
        let &[.., low, high] = head.as_ref() else {
            return Err(Error::InvalidSymbolTableNodeSignature);
        };
        let n_entries = usize::from(u16::from_le_bytes([low, high]));
        let n_bytes = 8 + n_entries * (2 * usize::from(offset) + 24);
        let bytes = storage.read_range(address, n_bytes)?;
        let node = SymbolTableNode::parse(&mut Cursor::new(bytes.as_ref()), offset, length)?;
        for entry in node.entries {
            let text = |place| heap.get_string_storage(place, storage);
            found.push(LinkMessage {
                name: text(entry.link_name_offset)?,
                target: match entry {
                    SymbolTableEntry {
                        cache_type: SOFT,
                        scratch: [a, b, c, d, ..],
                        ..
                    } => LinkTarget::Soft {
                        path: text(u32::from_le_bytes([a, b, c, d]).into())?,
                    },
                    hard => LinkTarget::Hard {
                        address: hard.object_header_address,
                    },
                },
                creation_order: None,
            });
        }
    }
    Ok(found)
}

fn in_heap(group: &Group, info: &LinkInfoMessage) -> Result<Vec<LinkMessage>, Error> {
    let (storage, offset, length) = (group.storage(), group.offset_size(), group.length_size());
    let heap = FractalHeap::parse_at_storage(storage, info.fractal_heap_address, offset, length)?;
    let index =
        BTreeV2Header::parse_at_storage(storage, info.btree_name_index_address, offset, length)?;
    let records =
        collect_btree_v2_records_storage(storage, &index, offset, length, None, &[], None)?;
    let ids = records.iter().filter_map(|record| match record {
        BTreeV2Record::LinkNameHash { heap_id, .. } => Some(heap_id),
        _ => None,
    });
    ids.map(|id| {
        let bytes = heap.get_object_storage(id, storage, offset, length)?;
        link::parse(&mut Cursor::new(&bytes), offset, length, bytes.len())
    })
    .collect()
}
