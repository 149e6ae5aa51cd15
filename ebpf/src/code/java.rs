//! Where Java can say in which context it works.

use object::ReadRef;

use super::{Elf, ProbePoint};

/// `Deflater.setDictionary(cell)` ends in this method of the JDK's `libzip.so`, with the address of the cell.
pub(crate) fn cell<'data>(elf: &Elf<'data, impl ReadRef<'data>>) -> Option<ProbePoint> {
    let [set_dictionary] = elf.functions(["Java_java_util_zip_Deflater_setDictionaryBuffer"]);
    elf.probe("java_cell_told", set_dictionary?)
}
