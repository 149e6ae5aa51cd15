//! Values of other protocols than HTTP.

use regress_protocols::Value;

use super::{Places, text};

/// `old` with what `new` has at these places: members by name, items by number as long as there are as many, what is inside of
/// a text put into it. `None` where they cannot be put into it.
pub fn value(old: &Value, new: &Value, places: &Places) -> Option<Value> {
    if places.is_empty() {
        return Some(old.clone());
    }
    if places.are_whole() {
        return Some(new.clone());
    }
    match (old, new) {
        (Value::Map(olds), Value::Map(news)) => {
            let mut members = Vec::with_capacity(olds.len());
            for (name, old) in olds {
                let below = places.below(name);
                match news.iter().find(|(other, _)| other == name) {
                    Some((_, new)) => members.push((name.clone(), value(old, new, &below)?)),
                    None if below.are_whole() => {}
                    None => members.push((name.clone(), old.clone())),
                }
            }
            let is_added = |name: &str| olds.iter().all(|(other, _)| other != name) && places.below(name).are_whole();
            members.extend(news.iter().filter(|(name, _)| is_added(name)).cloned());
            Some(Value::Map(members))
        }
        (Value::List(olds), Value::List(news)) if olds.len() == news.len() => {
            let items = olds.iter().zip(news).enumerate();
            let items: Option<Vec<Value>> = items.map(|(at, (old, new))| value(old, new, &places.at(at))).collect();
            items.map(Value::List)
        }
        (Value::Text(old), Value::Text(new)) => Some(Value::Text(text(old, new, places)?)),
        _ => None,
    }
}
