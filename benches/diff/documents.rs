//! Pairs of bodies of about 1 MiB.

use serde_json::{Value, json};

/// Two bodies to compare.
pub struct Pair {
    pub name: &'static str,
    pub content_type: &'static str,
    pub expected: String,
    pub actual: String,
}

/// How many objects make about 1 MiB.
const ORDERS: usize = 10_000;

/// All pairs.
pub fn all() -> Vec<Pair> {
    let orders: Vec<Value> = (0..ORDERS).map(order).collect();
    let json = |name, change: fn(&mut Vec<Value>)| {
        let mut others = orders.clone();
        change(&mut others);
        let text = |orders: &[Value]| json!({ "orders": orders }).to_string();
        Pair { name, content_type: "application/json", expected: text(&orders), actual: text(&others) }
    };
    let lines = |step: usize| {
        let line = |number| {
            format!(
                "<li class=\"order\">order {number} of {}</li>\n",
                if usize::is_multiple_of(number, step) { "Ann" } else { "Bob" }
            )
        };
        (0..25_000).map(line).collect::<String>()
    };
    vec![
        json("the same", |_| {}),
        json("10 changed values", |orders| {
            orders.iter_mut().step_by(ORDERS / 10).for_each(|order| order["total"] = json!("9.99"));
        }),
        json("a changed value in each of 10,000 objects", |orders| {
            orders.iter_mut().for_each(|order| order["total"] = json!("9.99"));
        }),
        json("one object inserted among 10,000", |orders| orders.insert(ORDERS / 3, order(ORDERS))),
        json("100 inserted, 100 removed", |orders| {
            for place in (0..ORDERS).step_by(ORDERS / 100) {
                orders.remove(place);
                orders.insert((place + 40).min(orders.len()), order(ORDERS + place));
            }
        }),
        json("in reversed order", |orders| orders.reverse()),
        Pair {
            name: "text of 25,000 lines, one in 7 changed",
            content_type: "text/html",
            expected: lines(1),
            actual: lines(7),
        },
    ]
}

fn order(number: usize) -> Value {
    json!({
        "id": number, "customer": format!("customer-{}", number * 7_919 % 1_000), "paid": number.is_multiple_of(3),
        "total": number as f64 * 1.25, "items": [number % 10, number % 7], "note": null,
    })
}
