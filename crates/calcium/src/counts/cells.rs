//! States of the calcium that no datum can tell apart share a cell.

use super::dynamics::{CalciumDynamics, State};

/// Most cells of one frame.
pub(super) const MAX_CELLS: usize = 512;
/// Places of the hash table, a power of two.
const N_PLACES: usize = 4 * MAX_CELLS;
const FREE: u32 = u32::MAX;

/// The width of cells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Of the calcium c_t.
    per_calcium: f64,
    /// Of c_t − r c_{t−1}, what is behind the rise r; its effect on later calcium has the height of the response.
    per_drive: f64,
    rise: f64,
}

impl Grid {
    /// Cells so narrow that calcium now or later is the same to within `resolution`.
    pub fn new<const P: usize>(calcium: &CalciumDynamics<P>, resolution: f64) -> Self {
        let [_, rise] = calcium.roots();
        Self {
            per_calcium: 1.0 / resolution,
            per_drive: calcium.peak() / resolution,
            rise,
        }
    }

    /// Cells twice as wide.
    #[must_use]
    pub fn coarser(self) -> Self {
        Self {
            per_calcium: 0.5 * self.per_calcium,
            per_drive: 0.5 * self.per_drive,
            ..self
        }
    }

    /// The cell of a state.
    fn cell<const P: usize>(&self, state: &State<P>) -> [i64; 2] {
        let before = state.get(1).copied().unwrap_or(0.0);
        let drive = state[0] - self.rise * before;
        [
            floor(state[0] * self.per_calcium),
            floor(drive * self.per_drive),
        ]
    }
}

/// The greatest integer not above `x`; `f64::floor` is a call where the processor may lack the instruction.
fn floor(x: f64) -> i64 {
    let whole = x as i64;
    whole.saturating_sub(i64::from(whole as f64 > x))
}

/// The cells of one frame's states, numbered in the order in which they are met.
#[derive(Debug)]
pub(super) struct Cells {
    table: Vec<u32>,
    keys: Vec<[i64; 2]>,
    slots: Vec<usize>,
    places: Vec<u32>,
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            table: vec![FREE; N_PLACES],
            keys: Vec::new(),
            slots: Vec::new(),
            places: Vec::new(),
        }
    }
}

impl Cells {
    /// Cells in use.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The cell of each state.
    pub fn places(&self) -> &[u32] {
        &self.places
    }

    /// Finds the cell of each state; false if there are more than `most`, of at most [`MAX_CELLS`].
    pub fn place<'a, const P: usize>(
        &mut self,
        grid: &Grid,
        states: impl Iterator<Item = &'a State<P>>,
        most: usize,
    ) -> bool {
        for slot in self.slots.drain(..) {
            self.table[slot] = FREE;
        }
        self.keys.clear();
        self.places.clear();
        for state in states {
            let key = grid.cell(state);
            let slot = self.slot(key);
            if self.table[slot] == FREE {
                if self.keys.len() == most {
                    return false;
                }
                self.table[slot] = self.keys.len() as u32;
                self.keys.push(key);
                self.slots.push(slot);
            }
            self.places.push(self.table[slot]);
        }
        true
    }

    /// Where the key is in the table, or the free place where it belongs.
    fn slot(&self, key: [i64; 2]) -> usize {
        // Fibonacci hashing (Knuth 1998, section 6.4).
        let mixed = (key[0] as u64)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(key[1] as u64)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut slot = (mixed >> 48) as usize % N_PLACES;
        while self.table[slot] != FREE && self.keys[self.table[slot] as usize] != key {
            slot = (slot + 1) % N_PLACES;
        }
        slot
    }
}
