//! What a pickled dictionary holds, without running the pickle; and a small one written.
//!
//! A pickle is a program that can call any function, so nothing of it is ever called: its
//! instructions build a tree in which a call is only noted down. Of NumPy's arrays and scalars the
//! note says enough to read their numbers.

use super::number::{Kind, Number};
use super::pickle_code::{decimal, line, little_endian, number, step};

/// Place of a value in the tree.
type Id = usize;

/// A value that a pickle describes.
#[derive(Debug)]
enum Value<'a> {
    Number(f64),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// Lists, tuples and sets.
    Items(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A call that was not made, or a name: what is called, with what, and the state put in then.
    Object {
        name: &'a [u8],
        arguments: Option<Id>,
        state: Option<Id>,
    },
    /// None, marks and all that holds no numbers.
    Other,
}

/// The tree of a pickle.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Follows the instructions to the end; `None` if they are cut short or make no sense.
    ///
    /// Handles protocols 0 to 5.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut machine = Machine {
            values: vec![Value::Other],
            stack: Vec::new(),
            memo: Vec::new(),
        };
        let mut rest = bytes;
        loop {
            let (opcode, argument);
            (opcode, argument, rest) = step(rest)?;
            if opcode == b'.' {
                let root = machine.pop()?;
                let values = machine.values;
                return Some(Self { values, root });
            }
            machine.run(opcode, argument)?;
        }
    }

    /// The number under a path of keys, if there is one: plain, or a scalar of NumPy's.
    pub(crate) fn number(&self, path: &[&str]) -> Option<f64> {
        match self.numbers(path)?[..] {
            [number] => Some(number),
            _ => None,
        }
    }

    /// The numbers under a path of keys: of an array of NumPy's, or of a list.
    pub(crate) fn numbers(&self, path: &[&str]) -> Option<Vec<f64>> {
        let mut place = self.contents(self.root);
        for key in path {
            place = self.item(place, key)?;
        }
        self.numbers_at(place)
    }

    /// What an array without axes, as `numpy.save` makes one of a dictionary, holds.
    fn contents(&self, place: Id) -> Id {
        let items = self
            .array_state(place)
            .and_then(|state| match self.values[*state.get(4)?] {
                Value::Items(ref items) => items.first().copied(),
                _ => None,
            });
        items.unwrap_or(place)
    }

    fn item(&self, place: Id, key: &str) -> Option<Id> {
        let Value::Dict(items) = &self.values[place] else {
            return None;
        };
        let is_it = |id: Id| matches!(self.values[id], Value::Text(text) if text == key.as_bytes());
        let found = items.iter().rev().find(|(k, _)| is_it(*k));
        found.map(|(_, value)| *value)
    }

    fn items(&self, place: Id) -> Option<&[Id]> {
        match &self.values[place] {
            Value::Items(items) => Some(items),
            _ => None,
        }
    }

    fn plain(&self, place: Id) -> Option<f64> {
        match self.values[place] {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    fn numbers_at(&self, place: Id) -> Option<Vec<f64>> {
        match &self.values[place] {
            Value::Number(number) => Some(vec![*number]),
            Value::Items(items) => items.iter().map(|&item| self.plain(item)).collect(),
            Value::Object {
                name, arguments, ..
            } => {
                if let Some(state) = self.array_state(place) {
                    // Version, shape, type, Fortran order, bytes.
                    return self.decode(*state.get(2)?, *state.get(4)?);
                }
                let arguments = self.items((*arguments)?)?;
                match *name {
                    b"scalar" => self.decode(*arguments.first()?, *arguments.get(1)?),
                    b"_frombuffer" => self.decode(*arguments.get(1)?, *arguments.first()?),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The state that `_reconstruct` was given.
    fn array_state(&self, place: Id) -> Option<&[Id]> {
        match self.values[place] {
            Value::Object {
                name: b"_reconstruct",
                state: Some(state),
                ..
            } => self.items(state),
            _ => None,
        }
    }

    /// Bytes of a type of NumPy's.
    fn decode(&self, dtype: Id, bytes: Id) -> Option<Vec<f64>> {
        let Value::Bytes(bytes) = self.values[bytes] else {
            return None;
        };
        let Value::Object {
            name: b"dtype",
            arguments: Some(arguments),
            state,
        } = self.values[dtype]
        else {
            return None;
        };
        let Value::Text(code) = self.values[*self.items(arguments)?.first()?] else {
            return None;
        };
        let order = state.and_then(|state| self.items(state)?.get(1).copied());
        let big_endian = order.is_some_and(|o| matches!(self.values[o], Value::Text(b">")));
        let (kind, size) = code.split_at_checked(1)?;
        let kind = match kind {
            b"f" => Kind::Float,
            b"i" => Kind::Signed,
            b"u" | b"b" => Kind::Unsigned,
            _ => return None,
        };
        let size = std::str::from_utf8(size).ok()?.parse().ok()?;
        Some(Number::known(kind, size, big_endian)?.decode(bytes, |x| x))
    }
}

/// What has been built so far.
struct Machine<'a> {
    values: Vec<Value<'a>>,
    stack: Vec<Slot>,
    memo: Vec<Option<Id>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Value(Id),
    Mark,
}

impl<'a> Machine<'a> {
    fn push(&mut self, value: Value<'a>) {
        self.stack.push(Slot::Value(self.values.len()));
        self.values.push(value);
    }

    fn pop(&mut self) -> Option<Id> {
        match self.stack.pop()? {
            Slot::Value(id) => Some(id),
            Slot::Mark => None,
        }
    }

    fn top(&self) -> Option<Id> {
        match self.stack.last()? {
            Slot::Value(id) => Some(*id),
            Slot::Mark => None,
        }
    }

    fn pop_n(&mut self, n: usize) -> Option<Vec<Id>> {
        let mut found = (0..n).map(|_| self.pop()).collect::<Option<Vec<_>>>()?;
        found.reverse();
        Some(found)
    }

    /// All above the last mark, which goes too.
    fn pop_to_mark(&mut self) -> Option<Vec<Id>> {
        let mark = self.stack.iter().rposition(|slot| *slot == Slot::Mark)?;
        let above = self.stack.split_off(mark);
        let ids = above.into_iter().filter_map(|slot| match slot {
            Slot::Value(id) => Some(id),
            Slot::Mark => None,
        });
        Some(ids.collect())
    }

    fn remember(&mut self, place: usize) -> Option<()> {
        // Every place was written by an instruction of at least one byte.
        if place > self.values.len() {
            return None;
        }
        if place >= self.memo.len() {
            self.memo.resize(place + 1, None);
        }
        self.memo[place] = Some(self.top()?);
        Some(())
    }

    fn recall(&mut self, place: usize) -> Option<()> {
        let id = (*self.memo.get(place)?)?;
        self.stack.push(Slot::Value(id));
        Some(())
    }

    fn extend(&mut self, more: Vec<Id>) -> Option<()> {
        let top = self.top()?;
        if let Value::Items(items) = &mut self.values[top] {
            items.extend(more);
        }
        Some(())
    }

    fn set(&mut self, more: &[Id]) -> Option<()> {
        let top = self.top()?;
        if let Value::Dict(items) = &mut self.values[top] {
            items.extend(more.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        }
        Some(())
    }

    /// Notes a call down.
    fn call(&mut self) -> Option<()> {
        let arguments = self.pop()?;
        let callee = self.pop()?;
        let name: &'a [u8] = match self.values[callee] {
            Value::Object { name, .. } => name,
            _ => b"",
        };
        self.push(Value::Object {
            name,
            arguments: Some(arguments),
            state: None,
        });
        Some(())
    }

    fn name(&mut self, name: &'a [u8]) {
        self.push(Value::Object {
            name,
            arguments: None,
            state: None,
        });
    }

    fn run(&mut self, opcode: u8, argument: &'a [u8]) -> Option<()> {
        match opcode {
            // PROTO, FRAME and buffers' marks.
            0x80 | 0x95 | 0x98 => {}
            b'(' => self.stack.push(Slot::Mark),
            b'0' => drop(self.stack.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => self.stack.push(Slot::Value(self.top()?)),
            0x88 => self.push(Value::Number(1.0)),
            0x89 => self.push(Value::Number(0.0)),
            b'X' | 0x8c | 0x8d | b'U' | b'T' => self.push(Value::Text(argument)),
            b'S' | b'V' => self.push(Value::Text(line(argument).trim_ascii())),
            b'B' | b'C' | 0x8e | 0x96 => self.push(Value::Bytes(argument)),
            b']' | b')' | 0x8f => self.push(Value::Items(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b'a' => {
                let item = self.pop_n(1)?;
                self.extend(item)?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.extend(items)?;
            }
            b't' | b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Value::Items(items));
            }
            0x85..=0x87 => {
                let items = self.pop_n(usize::from(opcode - 0x84))?;
                self.push(Value::Items(items));
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dict(Vec::new()));
                self.set(&items)?;
            }
            b's' => {
                let items = self.pop_n(2)?;
                self.set(&items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set(&items)?;
            }
            b'q' | b'r' => self.remember(little_endian(argument)?)?,
            b'p' => self.remember(decimal(argument)?)?,
            0x94 => self.remember(self.memo.len())?,
            b'h' | b'j' => self.recall(little_endian(argument)?)?,
            b'g' => self.recall(decimal(argument)?)?,
            b'c' => self.name(line(argument.splitn(2, |b| *b == b'\n').nth(1)?)),
            0x93 => {
                let name = self.pop()?;
                self.pop()?;
                match self.values[name] {
                    Value::Text(name) => self.name(name),
                    _ => self.push(Value::Other),
                }
            }
            b'R' | 0x81 => self.call()?,
            b'b' => {
                let given = self.pop()?;
                let top = self.top()?;
                if let Value::Object { state, .. } = &mut self.values[top] {
                    *state = Some(given);
                }
            }
            b'i' | b'o' => {
                self.pop_to_mark()?;
                self.push(Value::Other);
            }
            0x92 => {
                self.pop_n(3)?;
                self.push(Value::Other);
            }
            b'Q' => {
                self.pop()?;
                self.push(Value::Other);
            }
            // NONE, PERSID, extensions and buffers from elsewhere.
            b'N' | b'P' | 0x82..=0x84 | 0x97 => self.push(Value::Other),
            _ => self.push(Value::Number(number(opcode, argument)?)),
        }
        Some(())
    }
}

/// What `numpy.save` pickles for a dictionary of floats: an object array without axes.
///
/// Protocol 3, which every NumPy since 1.4 loads with `allow_pickle=True`.
pub(crate) fn dictionary(entries: &[(&str, f64)]) -> Vec<u8> {
    let mut pickle = b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n".to_vec();
    // The array: _reconstruct(ndarray, (0,), b"b"), then its state: version 1, shape (), …
    pickle.extend(b"K\x00\x85C\x01b\x87R(K\x01)");
    // … dtype("O8", False, True) with its own state, C order, …
    pickle.extend(b"cnumpy\ndtype\nX\x02\x00\x00\x00O8\x89\x88\x87R");
    pickle.extend(b"(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89");
    // … and a list of one dictionary.
    pickle.extend(b"]}(");
    for (key, value) in entries {
        pickle.push(b'X');
        pickle.extend((key.len() as u32).to_le_bytes());
        pickle.extend(key.as_bytes());
        pickle.push(b'G');
        pickle.extend(value.to_be_bytes());
    }
    pickle.extend(b"uatb.");
    pickle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found() {
        let pickle = dictionary(&[("fs", 30.5), ("neucoeff", 0.6)]);
        let pickle = Pickle::parse(&pickle).unwrap();
        let number = |key| pickle.number(&[key]);
        assert_eq!(
            (number("fs"), number("neucoeff"), number("tau")),
            (Some(30.5), Some(0.6), None)
        );
    }
}
