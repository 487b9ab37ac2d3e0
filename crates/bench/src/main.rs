//! Runs the Table 1 benchmark: simulate, train, evaluate, print the table and figure.
fn main() {}
