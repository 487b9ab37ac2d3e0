#![doc = include_str!("../README.md")]

pub mod device;
pub mod machine;
pub mod progress;
pub mod store;
