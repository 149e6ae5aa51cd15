use super::*;

fn read(toml: &str) -> Result<Rules, String> {
    #[derive(Deserialize)]
    struct File {
        rules: Rules,
    }
    toml::from_str::<File>(toml).map(|file| file.rules).map_err(|error| error.to_string())
}

fn rule(lines: &str) -> Rules {
    read(&format!("[[rules]]\n{lines}")).unwrap()
}

#[test]
fn rules_are_read_and_told_in_one_line() {
    let rules = read(
        r#"
        [[rules]]
        path = "response/body/created_at"
        route = "POST /orders*"
        as = "time"
        within = "5s"
        why = "the clock"

        [[rules]]
        path = "request/body/items/*/price"
        downstream = "inventory"
        operation = "POST /reserve/*"
        as = "tolerance"
        tolerance = 0.01

        [[rules]]
        path = "request/header/X-Key"
        as = "pattern"
        pattern = "^[0-9a-f]{8}$"

        [[rules]]
        path = "request/target/path/2"
        as = "generated"

        [[rules]]
        path = "response/body/**"
        as = "keyed"
        key = ["a", "b"]

        [[rules]]
        path = "request/params/1"
        downstream = "db:3306"
        operation = "INSERT orders"
        as = "ignore"
        "#,
    )
    .unwrap();
    assert_eq!(
        rules.iter().map(Rule::to_string).collect::<Vec<_>>(),
        [
            "response/body/created_at as time within 5s, in POST /orders*",
            "request/body/items/*/price as tolerance 0.01, to inventory, as POST /reserve/*",
            "request/header/X-Key as pattern ^[0-9a-f]{8}$",
            "request/target/path/2 as generated",
            "response/body/** as keyed a+b",
            "request/params/1 as ignore, to db:3306, as INSERT orders",
        ]
    );
    assert_eq!(rules.get(0).and_then(|rule| rule.text().why.as_deref()), Some("the clock"));
    let again = toml::to_string(&std::collections::BTreeMap::from([("rules", &rules)])).unwrap();
    assert_eq!(read(&again).unwrap(), rules);
}

#[test]
fn what_says_nothing_sensible_is_refused_with_a_hint() {
    for (lines, told) in [
        (
            r#"path = "body/a"
as = "ignore""#,
            "rule 1 (body/a): the path does not begin with `response/` or `request/`; write a path as reports",
        ),
        (r#"path = "response/bodi""#, "missing field `as`"),
        (
            r#"path = "response/bodi"
as = "ignore""#,
            "\"bodi\" is no part of a message; there are status, header, trailer, body, end, stream; write",
        ),
        (
            r#"path = "request/status"
as = "ignore""#,
            "\"status\" is no part of a message; there are method, target, header, trailer, body, end, order; write",
        ),
        (
            r#"path = "request/order"
as = "type""#,
            "of the order of calls nothing can be said but that it does not matter; write path = \"request/order\"",
        ),
        (
            r#"path = "request/order/0"
as = "ignore""#,
            "of the order of calls nothing can be said",
        ),
        (
            r#"path = "response/stream"
as = "unordered""#,
            "of when events are sent nothing can be said but that it does not matter; write path = \"response/stream\"",
        ),
        (
            r#"path = "response/order"
as = "ignore""#,
            "\"order\" is no part of a message; there are status",
        ),
        (
            r#"path = "response/body"
as = "skip""#,
            "as = \"skip\" is unknown; there are ignore, unordered, keyed, tolerance, time, pattern, type, generated; write",
        ),
        (
            r#"path = "response/body"
as = "ignore"
downstream = "x""#,
            "`downstream` goes only with a path that begins with `request/`; take it out",
        ),
        (
            r#"path = "response/body"
as = "ignore"
key = "x""#,
            "`key` goes only with as = \"keyed\", not with as = \"ignore\"; take it out",
        ),
        (
            r#"path = "response/body/id"
as = "generated"
pattern = "x""#,
            "`pattern` goes only with as = \"pattern\", not with as = \"generated\"; take it out",
        ),
        (
            r#"path = "request/order"
as = "generated""#,
            "of the order of calls nothing can be said",
        ),
        (
            r#"path = "response/body"
as = "keyed""#,
            "`keyed` needs the `key`; write key = \"id\"",
        ),
        (
            r#"path = "response/body"
as = "keyed"
key = []"#,
            "`keyed` needs the `key`",
        ),
        (
            r#"path = "response/body"
as = "tolerance""#,
            "`tolerance` needs a number; write tolerance = 0.01",
        ),
        (
            r#"path = "response/body"
as = "tolerance"
tolerance = "-1%""#,
            "\"-1%\" is no tolerance; write",
        ),
        (
            r#"path = "response/body"
as = "tolerance"
tolerance = "x""#,
            "\"x\" is no tolerance; write",
        ),
        (
            r#"path = "response/body"
as = "time"
within = "5 parsecs""#,
            "\"5 parsecs\" is no length of time; write a number and ms, s, m, h or d",
        ),
        (
            r#"path = "response/body"
as = "pattern"
pattern = "(""#,
            "\"(\" is not a pattern: error: unclosed group; write a regular expression",
        ),
        (
            r#"path = "response/body"
as = "pattern"
pattern = "(\\w{1000}){1000}""#,
            "is not a pattern",
        ),
        (
            r#"path = "response/body"
as = "pattern""#,
            "`pattern` needs a regular expression",
        ),
        (
            r#"path = "response/body"
as = "ignore"
wy = "x""#,
            "unknown field `wy`",
        ),
    ] {
        let error = read(&format!("[[rules]]\n{lines}")).unwrap_err();
        assert!(error.contains(told), "{error}\nlacks\n{told}");
    }
    let deep = format!("path = \"response/body{}\"\nas = \"ignore\"", "/a".repeat(100));
    assert!(read(&format!("[[rules]]\n{deep}")).unwrap_err().contains("more than 64 steps"));
    let large = "path = \"response/body\"\nas = \"pattern\"\npattern = \"(a{1000}){1000}\"";
    let error = read(&format!("[[rules]]\n{large}")).unwrap_err();
    assert!(error.contains("is not a pattern: ") && error.contains("size"), "{error}");
}

#[test]
fn rules_are_selected_by_route_downstream_and_operation() {
    let route = "path = \"response/body\"\nas = \"ignore\"\nroute = \"POST /orders*\"";
    assert_eq!(rule(route).for_response("POST /orders/7").indexes(), [0]);
    assert!(rule(route).for_response("GET /orders").is_empty());
    assert!(rule(route).for_request(Some("POST /orders"), "x", "GET /").is_empty());
    let call =
        "path = \"request/body\"\nas = \"ignore\"\nroute = \"POST *\"\ndownstream = \"inv*\"\noperation = \"GET *\"";
    assert_eq!(rule(call).for_request(Some("POST /"), "inventory", "GET /x").indexes(), [0]);
    assert!(rule(call).for_request(Some("GET /"), "inventory", "GET /x").is_empty());
    assert!(rule(call).for_request(None, "inventory", "GET /x").is_empty());
    assert!(rule(call).for_request(Some("POST /"), "prices", "GET /x").is_empty());
    assert!(rule(call).for_request(Some("POST /"), "inventory", "PUT /x").is_empty());
    let any = "path = \"request/body\"\nas = \"ignore\"";
    assert_eq!(rule(any).for_request(None, "inventory", "GET /x").indexes(), [0]);
    assert!(rule(any).for_response("POST /").is_empty());
}

#[test]
fn places_are_walked_step_by_step() {
    let selects = |path: &str, steps: &[Step<'_>]| {
        let rules = rule(&format!("path = \"response/{path}\"\nas = \"ignore\""));
        let applied = rules.for_response("GET /");
        let place = steps.iter().fold(applied.root(), |place, step| place.step(*step));
        place.rules().count() == 1
    };
    let [body, a, b] = ["body", "a", "b"].map(Step::Name);
    assert!(selects("body/a", &[body, a]));
    assert!(!selects("body/a", &[body]));
    assert!(!selects("body/a", &[body, a, b]));
    assert!(selects("body/*/b", &[body, Step::Index(3), b]));
    assert!(selects("body/*/b", &[body, Step::Item, b]));
    assert!(!selects("body/*/b", &[body, b]));
    assert!(selects("body/3", &[body, Step::Index(3)]));
    assert!(!selects("body/3", &[body, Step::Item]));
    assert!(selects("body/3", &[body, Step::Name("3")]));
    for steps in [&[body][..], &[body, a], &[body, a, b, Step::Item]] {
        assert!(selects("body/**", steps));
        assert!(selects("**", steps));
    }
    assert!(selects("**/b", &[body, a, b]));
    assert!(selects("**/b", &[body, b]));
    assert!(!selects("**/b", &[body, b, a]));
    assert!(selects("**/a/**/b", &[body, a, a, Step::Item, b]));
    assert!(selects("body/a~1b~0~01", &[body, Step::Name("a/b~~1")]));
    assert!(selects("header/X-Key", &[Step::Name("header"), Step::Name("x-key")]));
}

#[test]
fn a_rule_may_say_that_the_order_of_a_call_does_not_matter() {
    let of = |lines: &str| rule(lines).for_request(Some("POST /orders"), "audit", "POST /log").of_order();
    assert_eq!(of("path = \"request/order\"\nas = \"unordered\"\ndownstream = \"audit\""), Some(0));
    assert_eq!(of("path = \"request/order\"\nas = \"ignore\"\nroute = \"POST *\"\noperation = \"POST /l*\""), Some(0));
    assert_eq!(of("path = \"request/**\"\nas = \"ignore\""), Some(0));
    assert_eq!(of("path = \"request/order\"\nas = \"ignore\"\ndownstream = \"stock\""), None);
    assert_eq!(of("path = \"request/body/order\"\nas = \"ignore\""), None);
    assert_eq!(of("path = \"response/**\"\nas = \"ignore\""), None);
}

#[test]
fn a_rule_may_say_that_it_does_not_matter_when_events_are_sent() {
    let of = |lines: &str| rule(lines).for_response("GET /prices").of_stream();
    assert_eq!(of("path = \"response/stream\"\nas = \"ignore\""), Some(0));
    assert_eq!(of("path = \"response/**\"\nas = \"ignore\"\nroute = \"GET *\""), Some(0));
    assert_eq!(of("path = \"response/stream\"\nas = \"ignore\"\nroute = \"POST *\""), None);
    assert_eq!(of("path = \"response/body/stream\"\nas = \"ignore\""), None);
}
