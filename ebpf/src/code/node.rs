//! Where Node.js can say in which context it works.

use object::ReadRef;

use super::{Elf, ProbePoint};

/// `crypto.timingSafeEqual(cell, cell)` ends in OpenSSL's `CRYPTO_memcmp`, which does nothing but compare, and is in the program
/// itself in the builds of nodejs.org. Where it is in a library (as Debian builds Node.js) everything that uses OpenSSL calls it,
/// and it is left alone. `napi_create_object` is what native add-ons need.
pub(crate) fn cell<'data>(elf: &Elf<'data, impl ReadRef<'data>>) -> Option<ProbePoint> {
    let [Some(compare), Some(_)] = elf.functions(["CRYPTO_memcmp", "napi_create_object"]) else { return None };
    elf.probe("node_cell_told", compare)
}
