//! What an evaluation costs.

fn main() {
    divan::main();
}
