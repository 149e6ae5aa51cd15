//! The tables of tests/matrix.

#[path = "../../tests/matrix/expected.rs"]
pub mod expected;
#[path = "../../tests/matrix/mutants.rs"]
pub mod mutants;
#[path = "../../tests/matrix/nginx.rs"]
pub mod nginx;
#[path = "../../tests/matrix/shop.rs"]
pub mod shop;
#[path = "../../tests/matrix/streams.rs"]
pub mod streams;
#[path = "../../tests/matrix/verdaccio.rs"]
pub mod verdaccio;
