//! Every array of an HDF5 file, at any depth, whether or not all of the file can be read.

use std::collections::{HashMap, HashSet};

use hdf5_reader::group::Group;
use hdf5_reader::messages::link::LinkTarget;
use hdf5_reader::reference::read_object_references;
use hdf5_reader::{Dataset, Datatype, Hdf5File};
use ndarray::ArrayD;

use super::cells::Cells;
use super::hdf5::{self, Node, number_of, unreadable};
use super::hdf5_links::links;
use super::hdf5_table::Record;
use super::hdf5_values::read_dataset;
use super::tree::{Listed, Tree};
use crate::Problem;

/// Groups within groups that are looked into.
const MAX_DEPTH: usize = 24;
/// Objects that are looked at: a file of a million does not hang.
const MAX_OBJECTS: usize = 100_000;
/// What MATLAB keeps for itself.
const MATLAB_OWN: [&str; 2] = [CELLS, "#subsystem#"];
/// Where MATLAB keeps what is in cells.
const CELLS: &str = "#refs#";
/// An address in a file that MATLAB or h5py wrote.
const REFERENCE_BYTES: u8 = 8;
/// Where PyTables keeps what it sorted a table by.
const PYTABLES_OWN: &str = "_i_table";

/// The arrays of a file.
pub(crate) struct Hdf5Tree {
    file: Hdf5File,
    arrays: Vec<Listed>,
    left_out: Vec<String>,
    of_matlab: bool,
    /// Where the elements of cell arrays are, by their names: `trials{2}`.
    cells: HashMap<String, String>,
}

impl Hdf5Tree {
    /// Lists the arrays; those of MATLAB files have their axes as MATLAB shows them.
    ///
    /// # Errors
    /// [`Problem::Unreadable`] if the root group cannot be listed.
    pub(crate) fn new(file: Hdf5File, of_matlab: bool) -> Result<Self, Problem> {
        let root = file.root_group();
        let root = root.map_err(|e| unreadable("the root group", e))?;
        let mut tree = Self {
            file,
            arrays: Vec::new(),
            left_out: Vec::new(),
            of_matlab,
            cells: HashMap::new(),
        };
        let mut walk = Walk {
            seen: HashSet::from([root.address()]),
            n_objects: 0,
            in_cells: match of_matlab {
                true => by_address(&root),
                false => HashMap::new(),
            },
        };
        tree.list(&root, "", 0, &mut walk)
            .map_err(|e| unreadable("the root group", e))?;
        Ok(tree)
    }

    /// The dataset called so, with what errors call it.
    pub(crate) fn dataset(&self, name: &str) -> Result<Option<(Dataset, String)>, Problem> {
        if !self.arrays.iter().any(|listed| listed.name == name) {
            return Ok(None);
        }
        let object = self.object(name);
        match self.file.dataset(&self.path(name)) {
            Ok(dataset) => Ok(Some((dataset, object))),
            Err(e) => Err(unreadable(&object, e)),
        }
    }

    /// The group called so; the root has no name.
    pub(crate) fn node(&self, group: &str) -> Result<Option<Node>, Problem> {
        let mut node = Node::root(&self.file)?;
        let path = self.path(group);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            match node.child(name)? {
                Some(child) => node = child,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    fn object(&self, name: &str) -> String {
        let kind = if self.of_matlab {
            "variable"
        } else {
            "dataset"
        };
        format!("{kind} `{name}`")
    }

    /// Where in the file that is which has this name.
    fn path(&self, name: &str) -> String {
        if !self.of_matlab {
            return name.to_owned();
        }
        // What lies in an element of a cell array lies where the element does.
        let ends = name.match_indices('.').map(|(end, _)| end);
        let element = std::iter::once(name.len()).chain(ends).find_map(|end| {
            let path = self.cells.get(&name[..end])?;
            Some(format!("{path}{}", name[end..].replace('.', "/")))
        });
        element.unwrap_or_else(|| name.replace('.', "/"))
    }

    fn list(
        &mut self,
        group: &Group,
        prefix: &str,
        depth: usize,
        walk: &mut Walk,
    ) -> Result<(), hdf5_reader::error::Error> {
        let mut links = links(group)?;
        // As they were made where that is known, else by name, as h5py lists them.
        links.sort_by(|a, b| (a.creation_order, &a.name).cmp(&(b.creation_order, &b.name)));
        for link in links {
            if MATLAB_OWN.contains(&link.name.as_str()) || link.name == PYTABLES_OWN {
                continue;
            }
            walk.n_objects += 1;
            if walk.n_objects > MAX_OBJECTS {
                self.left_out
                    .push(format!("what follows the first {MAX_OBJECTS} objects"));
                return Ok(());
            }
            let name = self.join(prefix, &link.name);
            if let Ok(inner) = group.group(&link.name) {
                // A group that contains itself, or is linked to twice, is listed once.
                if depth < MAX_DEPTH && walk.seen.insert(inner.address()) {
                    let listed = self.list(&inner, &name, depth + 1, walk);
                    listed.unwrap_or_else(|e| self.left_out.push(format!("`{name}` ({e})")));
                }
                continue;
            }
            match group.dataset(&link.name) {
                Ok(dataset) if self.of_matlab && is_cells(&dataset) => {
                    self.list_cells(&dataset, &name, depth, walk);
                }
                // What two links lead to is listed once.
                Ok(dataset) if walk.seen.insert(dataset.address()) => self.add(name, &dataset),
                Ok(_) => {}
                Err(e) => self.left_out.push(why_not(&name, &link.target, &e)),
            }
        }
        Ok(())
    }

    /// The elements of a cell array, `name{1}` and so on, each as what it is.
    fn list_cells(&mut self, cells: &Dataset, name: &str, depth: usize, walk: &mut Walk) {
        let Ok(bytes) = cells.read_raw_bytes() else {
            self.left_out
                .push(format!("`{name}` (cells that cannot be read)"));
            return;
        };
        let addresses = read_object_references(&bytes, REFERENCE_BYTES).unwrap_or_default();
        for (place, address) in addresses.into_iter().enumerate() {
            walk.n_objects += 1;
            // An element that holds itself is listed as deep as groups are.
            if walk.n_objects > MAX_OBJECTS || depth >= MAX_DEPTH {
                return;
            }
            let Some(inside) = walk.in_cells.get(&address) else {
                continue;
            };
            let path = format!("{CELLS}/{inside}");
            let element = format!("{name}{{{}}}", place + 1);
            self.cells.insert(element.clone(), path.clone());
            if let Ok(group) = self.file.group(&path) {
                let listed = self.list(&group, &element, depth + 1, walk);
                listed.unwrap_or_else(|e| self.left_out.push(format!("`{element}` ({e})")));
            } else if let Ok(dataset) = self.file.dataset(&path) {
                match is_cells(&dataset) {
                    true => self.list_cells(&dataset, &element, depth + 1, walk),
                    false => self.add(element, &dataset),
                }
            }
        }
    }

    fn add(&mut self, name: String, dataset: &Dataset) {
        let mut shape: Vec<usize> = dataset.shape().iter().map(|&n| n as usize).collect();
        if let (Some(record), [_]) = (Record::of(dataset.dtype()), &shape[..]) {
            shape.push(record.columns().len());
            self.arrays.push(Listed { name, shape });
            return;
        }
        if number_of(dataset.dtype(), &name).is_err() {
            return;
        }
        if self.of_matlab && dataset.attribute("MATLAB_object_decode").is_ok() {
            // What is stored is the place of an object, and says nothing without MATLAB.
            self.left_out.extend(object(&name, dataset));
            return;
        }
        if self.of_matlab {
            // Text is stored as integers too, and an empty array as its shape.
            let class = dataset.attribute("MATLAB_class");
            let class = class.and_then(|a| a.read_string()).unwrap_or_default();
            let is_text = matches!(
                class.as_str(),
                "char" | "cell" | "struct" | "function_handle"
            );
            if is_text || dataset.attribute("MATLAB_empty").is_ok() {
                return;
            }
            shape.reverse();
        }
        self.arrays.push(Listed { name, shape });
    }
}

/// Where a walk through a file has been.
struct Walk {
    /// Addresses of groups.
    seen: HashSet<u64>,
    n_objects: usize,
    /// Names of what MATLAB keeps in cells, by address.
    in_cells: HashMap<u64, String>,
}

/// The texts and numbers of a list that Python pickled as text, as PyTables keeps pandas' names of columns.
fn pickled_texts(pickle: &str) -> Vec<String> {
    let items = pickle.lines().filter_map(|line| {
        let line = line.trim_start_matches(['(', 'a']);
        line.strip_prefix('V').or_else(|| line.strip_prefix('I'))
    });
    items.map(str::to_owned).collect()
}

/// An object of MATLAB's that may be what is meant, as a line; strings are not.
fn object(name: &str, dataset: &Dataset) -> Option<String> {
    let class = dataset.attribute("MATLAB_class");
    let class = class.and_then(|a| a.read_string()).unwrap_or_default();
    let remedy = match class.as_str() {
        "string" => return None,
        "table" => format!("save its numbers in MATLAB: x = {name}{{:,:}}"),
        "timetable" => {
            format!("save its numbers in MATLAB: x = {name}{{:,:}}, and its times in seconds")
        }
        _ => "save its numbers in MATLAB as a matrix".to_owned(),
    };
    Some(format!(
        "`{name}` (an object of MATLAB's, {class}; {remedy})"
    ))
}

/// Whether these are cells of MATLAB: references to what is in them.
fn is_cells(dataset: &Dataset) -> bool {
    matches!(dataset.dtype(), Datatype::Reference { size, .. } if *size == REFERENCE_BYTES)
}

fn by_address(root: &Group) -> HashMap<u64, String> {
    let listed = root.group(CELLS).and_then(|cells| links(&cells));
    let named = listed.unwrap_or_default().into_iter();
    named
        .filter_map(|link| match link.target {
            LinkTarget::Hard { address } => Some((address, link.name)),
            _ => None,
        })
        .collect()
}

fn why_not(name: &str, target: &LinkTarget, error: &hdf5_reader::error::Error) -> String {
    let reason = match target {
        LinkTarget::External { filename, .. } => {
            format!("a link to {filename}, which is not there; put that file into the same folder")
        }
        LinkTarget::Soft { path } => format!("a link to {path}, which is not there"),
        LinkTarget::Hard { .. } if hdf5::is_virtual(error) => {
            "a virtual dataset, put together of others; copy it into one of its own".to_owned()
        }
        LinkTarget::Hard { .. } => error.to_string(),
    };
    format!("`{name}` ({reason})")
}

impl Tree for Hdf5Tree {
    fn separator(&self) -> char {
        if self.of_matlab { '.' } else { '/' }
    }

    fn arrays(&self) -> &[Listed] {
        &self.arrays
    }

    fn left_out(&self) -> &[String] {
        &self.left_out
    }

    fn values(&self, name: &str) -> Result<Option<ArrayD<f32>>, Problem> {
        let Some((dataset, object)) = self.dataset(name)? else {
            return Ok(None);
        };
        let most_bytes = hdf5::most_bytes(&self.file);
        if let Some(record) = Record::of(dataset.dtype()) {
            let stored = record.read(&dataset, &object, most_bytes, |x| x as f32)?;
            return stored.into_array(&object).map(Some);
        }
        let values =
            read_dataset(&dataset, &object, most_bytes, |x| x as f32)?.into_array(&object)?;
        Ok(Some(match self.of_matlab {
            true => values.reversed_axes(),
            false => values,
        }))
    }

    fn numbers(&self, name: &str) -> Result<Option<Vec<f64>>, Problem> {
        let Some((dataset, object)) = self.dataset(name)? else {
            return Ok(None);
        };
        let most_bytes = hdf5::most_bytes(&self.file);
        let stored = match Record::of(dataset.dtype()) {
            Some(record) => record.read(&dataset, &object, most_bytes, |x| x),
            None => read_dataset(&dataset, &object, most_bytes, |x| x),
        };
        stored.map(|stored| Some(stored.values))
    }

    fn rows(&self, name: &str) -> Result<Option<Cells>, Problem> {
        let Some((dataset, object)) = self.dataset(name)? else {
            return Ok(None);
        };
        let Some(record) = Record::of(dataset.dtype()) else {
            return Ok(None);
        };
        let rows = record.rows(&dataset, &object, hdf5::most_bytes(&self.file));
        rows.map(Some)
    }

    fn columns(&self, name: &str) -> Option<Vec<String>> {
        let (dataset, _) = self.dataset(name).ok()??;
        let names_of = |field: &str| {
            let text = dataset.attribute(&format!("{field}_kind")).ok()?;
            Some(pickled_texts(&text.read_string().ok()?))
        };
        Record::of(dataset.dtype()).map(|record| record.named_columns(names_of))
    }

    fn scalar(&self, group: &str, name: &str) -> Result<Option<f64>, Problem> {
        if let Some((dataset, _)) = self.dataset(group)? {
            return Ok(dataset
                .attribute(name)
                .ok()
                .and_then(|a| a.read_as_f64().ok()));
        }
        match self.node(group)? {
            Some(node) => hdf5::scalar(&node, name),
            None => Ok(None),
        }
    }

    fn text(&self, group: &str, name: &str) -> Option<String> {
        if let Ok(Some((dataset, _))) = self.dataset(group) {
            return dataset.attribute(name).ok()?.read_string().ok();
        }
        let node = self.node(group).ok()??;
        if let Some(attribute) = node.attribute(name) {
            return attribute.read_string().ok();
        }
        node.dataset(name, name).ok()??.read_string().ok()
    }

    fn texts(&self, name: &str) -> Option<Vec<String>> {
        self.file
            .dataset(&self.path(name))
            .ok()?
            .read_strings()
            .ok()
    }
}
