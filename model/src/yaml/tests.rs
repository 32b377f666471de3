use serde_json::json;

use super::*;

fn one(text: &str) -> Document {
    let mut documents = parse(text, &Limits::default()).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0)
}

fn refused(text: &str) -> Error {
    parse(text, &Limits::default()).expect_err(text)
}

fn at(document: &Document, path: &str) -> Option<(usize, usize)> {
    document.place(Path::parse(path).segments()).map(|place| (place.line, place.column))
}

const CONFIG: &str = "\
# a comment
spec:
  services:
    - name: web
      env: { A: 1.10, B: 0x1F, C: yes, D: \"1.10\", E: ~ }
      ports:
        - port: 8080
    - name: ü # two
      path: \"é\"
      entry: x
";

#[test]
fn keys_and_values_know_their_places() {
    let document = one(CONFIG);
    let table = [
        ("spec", Some((2, 1))),
        ("spec.services", Some((3, 3))),
        ("spec.services[0]", Some((4, 7))),
        ("spec.services[0].env.B", Some((5, 23))),
        ("spec.services[0].ports[0].port", Some((7, 11))),
        ("spec.services[1].path", Some((9, 7))),
        ("spec.services[1].nothing", None),
        ("spec.services[2]", None),
    ];
    for (path, place) in table {
        assert_eq!(at(&document, path), place, "{path}");
    }
    let nearest = document.nearest_place(Path::parse("spec.services[1].nothing.deep").segments());
    assert_eq!(nearest, Some(Place { line: 8, column: 7 }));
    assert_eq!(Document::without_places(document.value).nearest_place(&["spec".into()]), None);
}

#[test]
fn plain_scalars_keep_their_source_text() {
    let document = one(CONFIG);
    let source = |name: &str| document.source(Path::parse(&format!("spec.services[0].env.{name}")).segments());
    assert_eq!(
        [source("A"), source("B"), source("C"), source("D"), source("E")],
        [Some("1.10"), Some("0x1F"), Some("yes"), None, Some("~")]
    );
    assert_eq!(
        document.value["spec"]["services"][0]["env"],
        json!({"A": 1.1, "B": 31, "C": "yes", "D": "1.10", "E": null})
    );
}

#[test]
fn json_is_read_with_places_and_source_texts_too() {
    let text = "{\n  \"a\": [1, 1.10, \"\\ud83d\\ude00\", \"é\", true],\n  \"b\": {\"c\": null}}\n";
    let document = parse_json(text, &Limits::default()).expect("is JSON");
    assert_eq!(document.value, json!({"a": [1, 1.1, "😀", "é", true], "b": {"c": null}}));
    assert_eq!(at(&document, "a[1]"), Some((2, 12)));
    assert_eq!(at(&document, "b.c"), Some((3, 9)));
    assert_eq!(document.source(Path::parse("a[1]").segments()), Some("1.10"));
}

#[test]
fn json_that_does_not_parse_says_where() {
    let table = [
        ("", (1, 1), "ends too early"),
        ("{\"a\": 1,}", (1, 9), "a key in double quotes"),
        ("{\"a\" 1}", (1, 6), "`:`"),
        ("{\"a\": 1 \"b\": 2}", (1, 9), "`,` or the end"),
        ("[1\n,]", (2, 2), "a JSON value"),
        ("[1}", (1, 3), "`,` or the end"),
        ("{a: 1}", (1, 2), "a key in double quotes"),
        ("{\"a\": nope}", (1, 7), "found `nope`"),
        ("{\"a\": \"open}", (1, 7), "not closed"),
        ("{\"a\": \"\\x\"}", (1, 7), "escape"),
        ("{\"a\": 1e400}", (1, 7), "found `1e400`"),
        ("{\"a\": 01}", (1, 7), "found `01`"),
        ("{\"a\": NaN}", (1, 7), "found `NaN`"),
        ("[1] 2", (1, 5), "more text"),
        ("{\"a\": 1, \"a\": 2}", (1, 10), "already, on line 1, column 2"),
        ("{\"a\": \"x\\u0000\"}", (1, 7), "U+0000"),
        ("[", (1, 2), "ends too early"),
    ];
    for (text, (line, column), says) in table {
        let error = parse_json(text, &Limits::default()).expect_err(text);
        assert_eq!(error.place, Place { line, column }, "{text}: {error}");
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
}

#[test]
fn bad_texts_are_refused_with_their_place() {
    let table = [
        ("a: [1, 2", 1, "Syntax"),
        ("a: b: c", 1, "Syntax"),
        ("a: 1\n\tb: 2", 1, "Syntax"),
        ("a: *nobody", 1, "Syntax"),
        ("a: 1\nb: 2\na: 3", 3, "DuplicateKey"),
        ("x:\n  1: a", 2, "Key"),
        ("true: a", 1, "Key"),
        (": a", 1, "Key"),
        ("? [a]\n: b", 1, "Key"),
        ("a: .inf", 1, "NotFinite"),
        ("a:\n - .nan", 2, "NotFinite"),
        ("a: 1e400", 1, "NotFinite"),
        ("a: \"x\\0\"", 1, "Character(0)"),
        ("a: x\0", 1, "Character(0)"),
        ("ab: \u{1b}[1m", 1, "Character(27)"),
        ("a: &x [*x]", 1, "Recursive"),
        ("a: !secret b", 1, "Tag"),
        ("a: !!int b", 1, "Tag"),
        ("<<: 5", 1, "Merge"),
    ];
    for (text, line, problem) in table {
        let error = refused(text);
        assert_eq!(error.place.line, line, "{text:?}: {error}");
        assert!(format!("{:?}", error.problem).starts_with(problem), "{text:?}: {error:?}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_place() {
    let place = |line, column| Place { line, column };
    assert_eq!(decode(b"a: 1\nb: \xC3("), Err(Error::new(place(2, 4), Problem::NotUtf8)));
    for bytes in [b"\xFF\xFEa\0".as_slice(), b"\xFE\xFF\0a", b"a\0:\0", b"\0a\0:"] {
        assert_eq!(decode(bytes), Err(Error::new(place(1, 1), Problem::Encoding("UTF-16"))), "{bytes:?}");
    }
    assert_eq!(decode(b"\xFF\xFE\0\0a\0\0\0"), Err(Error::new(place(1, 1), Problem::Encoding("UTF-32"))));
    assert_eq!(decode("a: ü".as_bytes()), Ok("a: ü"));
    assert_eq!(one("\u{feff}a: 1").value, json!({"a": 1}));
}

#[test]
fn a_hundred_thousand_levels_are_refused_without_using_the_stack() {
    const LEVELS: usize = 100_000;
    let block = "- ".repeat(LEVELS) + "x";
    let table = [
        ("[".repeat(LEVELS) + &"]".repeat(LEVELS), "flow lists"),
        ("{a: ".repeat(LEVELS) + "1" + &"}".repeat(LEVELS), "flow mappings"),
        ("[\n".repeat(LEVELS), "flow lists on lines"),
        (block, "block lists"),
        ("? ".repeat(LEVELS), "keys of keys"),
    ];
    for (text, name) in table {
        let error = refused(&text);
        let deep = matches!(error.problem, Problem::TooDeep { limit: 100 } | Problem::Key(_));
        assert!(deep, "{name}: {error}");
    }
    for text in ["[".repeat(LEVELS), "{\"a\":".repeat(LEVELS)] {
        let error = parse_json(&text, &Limits::default()).expect_err("too deep");
        assert_eq!(error.problem, Problem::TooDeep { limit: 100 });
    }
    let allowed = "[".repeat(100) + &"]".repeat(100);
    assert!(parse(&allowed, &Limits::default()).is_ok());
    assert!(parse_json(&allowed, &Limits::default()).is_ok());
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut lists = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        lists += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    assert!(matches!(refused(&lists).problem, Problem::Expansion { .. }), "{}", refused(&lists));

    // Few values, much text.
    let text = format!("a: &a {}\nb: [{}]", "x".repeat(100_000), vec!["*a"; 100].join(", "));
    assert!(matches!(refused(&text).problem, Problem::Expansion { .. }));

    // Anchors within one another, each of which would keep all of the text.
    let nested =
        format!("{}{}{}", (0..50).map(|i| format!("&a{i} [")).collect::<String>(), "x".repeat(100_000), "]".repeat(50));
    assert!(matches!(refused(&nested).problem, Problem::Expansion { .. }));

    // Deep only once expanded.
    let mut deep = format!("a0: &a0 {}{}\n", "[".repeat(50), "]".repeat(50));
    deep += "a1: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[ *a0 ]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n";
    assert!(matches!(refused(&deep).problem, Problem::TooDeep { .. }), "{}", refused(&deep));
}

#[test]
fn aliases_and_merges_within_bounds_are_expanded() {
    let document = one(
        "x-base: &base { image: a, env: &env { A: 1.10 } }\nweb:\n  <<: *base\n  image: b\n  more: [*env, *env]\nall:\n  <<: [{a: 1}, {a: 2, b: 3}]\n  c: 4\n",
    );
    assert_eq!(document.value["web"], json!({"image": "b", "more": [{"A": 1.1}, {"A": 1.1}], "env": {"A": 1.1}}));
    assert_eq!(document.value["all"], json!({"c": 4, "a": 1, "b": 3}));
    assert_eq!(document.source(Path::parse("web.more[1].A").segments()), Some("1.10"));
    assert_eq!(at(&document, "web.more[1]"), Some((5, 16)));
}

#[test]
fn size_is_bounded_before_anything_is_built() {
    let limits = Limits { bytes: 100, depth: 3, nodes: 10, documents: 2 };
    let problem = |text: &str| parse(text, &limits).expect_err(text).problem;
    assert_eq!(problem(&"a".repeat(101)), Problem::TooLarge { limit: 100 });
    assert_eq!(problem("[[[[]]]]"), Problem::TooDeep { limit: 3 });
    assert_eq!(problem("[1,2,3,4,5,6,7,8,9,0]"), Problem::TooManyNodes { limit: 10 });
    assert_eq!(problem("--- a\n--- b\n--- c\n"), Problem::TooManyDocuments { limit: 2 });
    assert!(parse("[1,2,3,4,5,6,7,8,9]", &limits).is_ok());
}

#[test]
fn documents_without_content_are_left_out() {
    for text in ["", "\n", "# only a comment\n", "---\n", "---\n---\n...\n"] {
        assert_eq!(parse(text, &Limits::default()).expect(text).len(), 0, "{text:?}");
    }
    assert_eq!(parse("null", &Limits::default()).expect("reads").len(), 1);
    let two = parse("---\na: 1\n---\n---\nb: 2\n", &Limits::default()).expect("reads");
    assert_eq!(
        two.iter().map(|document| document.value.clone()).collect::<Vec<_>>(),
        [json!({"a": 1}), json!({"b": 2})]
    );
    assert_eq!(at(&two[1], "b"), Some((5, 1)));
}

#[test]
fn an_anchor_is_not_seen_from_the_next_document() {
    assert!(parse("a: &x 1\n---\nb: *x\n", &Limits::default()).is_err());
}

#[test]
fn what_is_written_reads_again() {
    let mut random = fastrand::Rng::with_seed(7);
    let words = [
        "",
        "yes",
        "0123",
        "0x1f",
        "1e3",
        "1_000",
        "~",
        "null",
        "a: b",
        "- x",
        "#",
        " lead",
        "multi\nline\n",
        "\"",
        "'",
        "é",
        ".inf",
        "<<",
        "2026-11-24",
        "@x",
        "\t",
        "😀",
        "!t",
        "&a",
        "*a",
        "=",
        "012",
        "+1",
        "-.5",
        "0o7",
        "12:30",
    ];
    for _ in 0..300 {
        let value = random_value(&mut random, &words, 0);
        let text = to_string(&value).expect("serialises");
        let again = parse(&text, &Limits::default()).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(again.first().map_or(&Value::Null, |document| &document.value), &value, "{text}");
    }
}

fn random_value(random: &mut fastrand::Rng, words: &[&str], depth: usize) -> Value {
    let word = |random: &mut fastrand::Rng| words[random.usize(..words.len())].to_owned();
    match random.u8(..if depth > 4 { 5 } else { 8 }) {
        0 => Value::Null,
        1 => Value::Bool(random.bool()),
        2 => Value::from(random.i64(..)),
        3 => Value::from(f64::from(random.i32(..)) / 64.0),
        4 => Value::String(word(random)),
        5 => (0..random.usize(..4)).map(|_| random_value(random, words, depth + 1)).collect(),
        _ => (0..random.usize(..4)).map(|_| (word(random) + "k", random_value(random, words, depth + 1))).collect(),
    }
}

/// Cuts, doubles and swaps pieces of texts that parse.
fn mutated(random: &mut fastrand::Rng, seeds: &[&str]) -> String {
    const SIGNS: [&str; 24] = [
        "{", "}", "[", "]", ":", ": ", "- ", "\n", "  ", "\t", "'", "\"", "|", ">", "&a ", "*a", "!", "%", "---",
        "...", "? ", "#", ",", "\\u00",
    ];
    let mut text: Vec<char> = seeds[random.usize(..seeds.len())].chars().collect();
    for _ in 0..random.usize(1..8) {
        let at = random.usize(..=text.len());
        let end = (at + random.usize(..12)).min(text.len());
        match random.u8(..4) {
            0 => drop(text.drain(at..end)),
            1 => drop(text.splice(at..at, text[at..end].to_vec())),
            _ => drop(text.splice(at..at, SIGNS[random.usize(..SIGNS.len())].chars())),
        }
    }
    text.into_iter().collect()
}

#[test]
fn no_text_makes_the_parsers_panic() {
    const SEEDS: [&str; 4] = [
        CONFIG,
        "a: &a |\n  text\n   more\nb: >-\n  folded\n\n  text\nc: *a\nd: 'it''s'\n? e\n: [f, {g: h}, \"i\\n\"]\n",
        "%YAML 1.2\n--- !!map\na: !!str 1\n...\n---\n- - - x\n  - y\n",
        "{\"a\": [1, 2.5e3, \"x\\u0041\\ud83d\\ude00\"], \"b\": {\"c\": null, \"d\": [true, false]}}",
    ];
    let mut random = fastrand::Rng::with_seed(42);
    let limits = Limits { nodes: 2000, ..Limits::default() };
    for _ in 0..20_000 {
        let text = mutated(&mut random, &SEEDS);
        let _ = parse(&text, &limits);
        let _ = parse_json(&text, &limits);
    }
}
