#![doc = include_str!("../README.md")]

pub mod assumption;
pub mod device;
pub mod machine;
pub mod memory;
pub mod progress;
pub mod store;
