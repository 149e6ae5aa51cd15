//! JSON text as it grows: no spacing, fields in the order in which they are written.

/// The text of an object that is being written.
pub struct Object<'w> {
    out: &'w mut String,
    empty: bool,
}

impl<'w> Object<'w> {
    /// Write an object whose fields `fields` adds.
    pub fn write(out: &mut String, fields: impl FnOnce(&mut Object<'_>)) {
        out.push('{');
        fields(&mut Object { out, empty: true });
        out.push('}');
    }

    /// Add a field; its value is what is pushed to the text given back.
    pub fn field(&mut self, name: &str) -> &mut String {
        if !std::mem::take(&mut self.empty) {
            self.out.push(',');
        }
        string(self.out, name);
        self.out.push(':');
        self.out
    }

    /// Add a field that holds a string.
    pub fn string(&mut self, name: &str, value: &str) {
        string(self.field(name), value);
    }

    /// Add a field that holds a number.
    pub fn number(&mut self, name: &str, value: impl Into<i128>) {
        number(self.field(name), value);
    }

    /// Add a field that holds `true`, or nothing at all.
    pub fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.field(name).push_str("true");
        }
    }

    /// Add a field that holds an object.
    pub fn object(&mut self, name: &str, fields: impl FnOnce(&mut Object<'_>)) {
        Object::write(self.field(name), fields);
    }

    /// Add a field that holds a list.
    pub fn list<T>(&mut self, name: &str, items: impl IntoIterator<Item = T>, item: impl FnMut(&mut String, T)) {
        list(self.field(name), items, item);
    }
}

/// Write a list, each item by `item`.
pub fn list<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut item: impl FnMut(&mut String, T)) {
    out.push('[');
    for (index, value) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        item(out, value);
    }
    out.push(']');
}

/// Write a string.
pub fn string(out: &mut String, value: &str) {
    out.push_str(&serde_json::Value::from(value).to_string());
}

/// Write a number.
pub fn number(out: &mut String, value: impl Into<i128>) {
    out.push_str(&value.into().to_string());
}
