//! YAML as kubectl prints it: keys in alphabetical order, lists not indented, quotes only where they are needed.
//!
//! The quotes follow go-yaml, so that what we print can be compared with what `kubectl get -o yaml` prints: double quotes around a
//! text that YAML 1.1 would read as a number, a boolean or a time, single quotes around one that begins like syntax.

use std::{fmt::Write as _, sync::LazyLock};

use regex::Regex;
use serde_json::{Map, Number, Value};

/// One document, without a `---` line.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => write_map(&mut out, map, 0),
        Value::Array(list) if !list.is_empty() => write_list(&mut out, list, 0),
        leaf => {
            write_leaf(&mut out, leaf, 0);
            out.push('\n');
        }
    }
    out
}

/// The lines of a map, each behind `indent` spaces.
fn write_map(out: &mut String, map: &Map<String, Value>, indent: usize) {
    let mut entries: Vec<(&String, &Value)> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    for (i, (key, value)) in entries.into_iter().enumerate() {
        // The first line of a map in a list stands behind the dash.
        if i > 0 || !out.ends_with("- ") {
            spaces(out, indent);
        }
        write_text(out, key, None);
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                write_map(out, inner, indent + 2);
            }
            Value::Array(inner) if !inner.is_empty() => {
                out.push('\n');
                write_list(out, inner, indent);
            }
            leaf => {
                out.push(' ');
                write_leaf(out, leaf, indent);
                out.push('\n');
            }
        }
    }
}

/// The lines of a list, each behind `indent` spaces.
fn write_list(out: &mut String, list: &[Value], indent: usize) {
    for (i, value) in list.iter().enumerate() {
        if i > 0 || !out.ends_with("- ") {
            spaces(out, indent);
        }
        out.push_str("- ");
        match value {
            Value::Object(inner) if !inner.is_empty() => write_map(out, inner, indent + 2),
            Value::Array(inner) if !inner.is_empty() => write_list(out, inner, indent + 2),
            leaf => {
                write_leaf(out, leaf, indent);
                out.push('\n');
            }
        }
    }
}

fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

/// A value on one line, except for a text of several lines, which stands `indent + 2` spaces deep.
fn write_leaf(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_text(out, text, Some(indent)),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

/// A number; a float without a fraction as an integer, since JSON makes no difference and kubectl shows none.
fn write_number(out: &mut String, number: &Number) {
    // Writing to a String cannot fail.
    let _ = match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => write!(out, "{float:.0}"),
        _ => write!(out, "{number}"),
    };
}

/// A text: as it is, quoted, or, where `block` gives the indentation, as a literal block of lines.
fn write_text(out: &mut String, text: &str, block: Option<usize>) {
    let unprintable =
        text.chars().any(|c| c != '\n' && (c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')));
    match block {
        _ if unprintable => write_escaped(out, text),
        Some(indent) if text.contains('\n') && !text.starts_with([' ', '\n']) => write_block(out, text, indent + 2),
        _ if text.contains('\n') || looks_typed(text) => write_escaped(out, text),
        _ if looks_like_syntax(text) => {
            let _ = write!(out, "'{}'", text.replace('\'', "''"));
        }
        _ => out.push_str(text),
    }
}

/// A literal block; its header says what becomes of the line ends behind it.
fn write_block(out: &mut String, text: &str, indent: usize) {
    let body = text.trim_end_matches('\n');
    out.push_str(match text.len() - body.len() {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    let lines = text.strip_suffix('\n').unwrap_or(text);
    for line in lines.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            spaces(out, indent);
            out.push_str(line);
        }
    }
}

/// In double quotes, with escapes.
fn write_escaped(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        let _ = match c {
            '"' => write!(out, "\\\""),
            '\\' => write!(out, "\\\\"),
            '\n' => write!(out, "\\n"),
            '\t' => write!(out, "\\t"),
            '\r' => write!(out, "\\r"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                write!(out, "\\u{:04x}", u32::from(c))
            }
            c => write!(out, "{c}"),
        };
    }
    out.push('"');
}

/// Whether YAML 1.1 would read the plain text as something other than a string.
fn looks_typed(text: &str) -> bool {
    /// Numbers in every base, sexagesimals, infinities, `.nan`, and times.
    static TYPED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(concat!(
            r"^(?:[-+]?(?:0x[0-9a-fA-F_]+|0b[01_]+|0o[0-7_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?",
            r"|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9_]+)(?:[eE][-+]?[0-9]+)?|\.(?i:inf))|\.(?i:nan)",
            r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?)$"
        ))
        .ok()
    });
    const WORDS: [&str; 12] = ["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "<<"];
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)) || TYPED.as_ref().is_none_or(|typed| typed.is_match(text))
}

/// Whether the plain text would be read as YAML syntax.
fn looks_like_syntax(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next().unwrap_or(' ');
    let second_is_blank = chars.next().is_none_or(|c| c == ' ');
    matches!(
        first,
        ' ' | ',' | '[' | ']' | '{' | '}' | '#' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' | '='
    ) || matches!(first, '-' | '?' | ':') && second_is_blank
        || text.starts_with("---")
        || text.starts_with("...")
        || text.contains(": ")
        || text.contains(" #")
        || text.ends_with([' ', ':'])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::manifest::values;

    #[test]
    fn quotes_are_where_kubectl_puts_them() {
        let printed = document(&json!({
            "comparison_operator": ">", "threshold": "0.01", "value": "NaN", "failure_type": "value_exceeded_threshold",
            "timeFinished": "2019-06-10T16:08:39.869280871Z", "name": "0-1560182904805162499", "flag": "yes", "empty": "",
            "colon": "a: b", "percentage": 100.0, "share": 0.45160204631125467, "none": [], "nothing": {}, "window": "1m",
        }));
        assert_eq!(
            printed,
            "colon: 'a: b'\ncomparison_operator: '>'\nempty: \"\"\nfailure_type: value_exceeded_threshold\nflag: \"yes\"\n\
             name: 0-1560182904805162499\nnone: []\nnothing: {}\npercentage: 100\nshare: 0.45160204631125467\n\
             threshold: \"0.01\"\ntimeFinished: \"2019-06-10T16:08:39.869280871Z\"\nvalue: NaN\nwindow: 1m\n"
        );
    }

    #[test]
    fn lists_are_not_indented_and_maps_in_them_follow_the_dash() {
        let printed = document(&json!({"a": [{"b": 1, "c": [[1, 2], []]}, "x"], "d": {"e": [true, null]}}));
        assert_eq!(printed, "a:\n- b: 1\n  c:\n  - - 1\n    - 2\n  - []\n- x\nd:\n  e:\n  - true\n  - null\n");
    }

    #[test]
    fn a_text_of_several_lines_is_a_block() {
        assert_eq!(document(&json!({"q": "one\ntwo\n", "r": "a\n\nb"})), "q: |\n  one\n  two\nr: |-\n  a\n\n  b\n");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            (-1e6..1e6f64).prop_map(Value::from),
            "[ -~]{0,12}".prop_map(Value::from),
            "[-+.:0-9eETZxNnaAIif_#'\" \n\t>|]{0,10}".prop_map(Value::from),
            "\\PC{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[ -~]{1,8}", inner, 1..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_the_same(value in any_value()) {
            let value = json!({ "it": value });
            let printed = document(&value);
            let back = values(&printed).map_err(|e| TestCaseError::fail(format!("{e}\n{printed}")))?;
            let [back] = back.as_slice() else { return Err(TestCaseError::fail(printed)) };
            // Integral floats come back as integers: compare what is printed.
            prop_assert_eq!(document(back), document(&value), "{}", printed);
        }
    }
}
