#![doc = include_str!("../README.md")]

pub mod assumption;
pub mod device;
pub mod interrupt;
pub mod lock;
pub mod machine;
pub mod memory;
pub mod output;
pub mod progress;
pub mod store;
pub mod terminal;
