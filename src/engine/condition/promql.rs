//! Which metrics a PromQL text names: a tolerant scanner, not a parser.
//!
//! It is only used to tell an author that a metric does not exist, so what it cannot read it leaves out: better no hint
//! than a wrong one. It knows comments, strings, ranges, label matchers (with `__name__="..."` and the quoted names of
//! Prometheus 3), functions, aggregations with their label lists, and keywords.

/// Metrics of one query that are looked up at the most.
const MAX_METRICS: usize = 16;

/// Words that stand where a metric could.
const KEYWORDS: [&str; 16] = [
    "and",
    "or",
    "unless",
    "atan2",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
    "inf",
    "nan",
    "start",
    "end",
];
/// Words before a list of labels in parentheses.
const LABEL_LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

#[derive(Debug, PartialEq)]
enum Token {
    /// A name, a keyword, a function, or a number with its unit.
    Word(String),
    /// A string without its quotes.
    Text(String),
    /// Any other character.
    Sign(char),
}

/// The metrics that `query` names, each once.
pub(super) fn metric_names(query: &str) -> Vec<String> {
    let tokens = tokens(query);
    let mut names = Vec::new();
    let mut i = 0;
    while let Some(token) = tokens.get(i) {
        i += 1;
        match token {
            Token::Sign('{') => i = matchers(&tokens, i, &mut names),
            Token::Sign('[') => i = after(&tokens, i, ']'),
            Token::Word(word) => {
                let lower = word.to_ascii_lowercase();
                let next = tokens.get(i);
                if LABEL_LISTS.contains(&lower.as_str()) && next == Some(&Token::Sign('(')) {
                    i = after(&tokens, i, ')');
                } else if !KEYWORDS.contains(&lower.as_str()) && is_name(word) && !is_call(next) {
                    add(&mut names, word);
                }
            }
            Token::Text(_) | Token::Sign(_) => {}
        }
    }
    names
}

/// A function or an aggregation: `rate(`, `sum by (`.
fn is_call(next: Option<&Token>) -> bool {
    match next {
        Some(Token::Sign(sign)) => *sign == '(',
        Some(Token::Word(word)) => ["by", "without"].contains(&word.to_ascii_lowercase().as_str()),
        Some(Token::Text(_)) | None => false,
    }
}

/// Reads label matchers up to their `}` and returns the place after it.
fn matchers(tokens: &[Token], begin: usize, names: &mut Vec<String>) -> usize {
    let end = after(tokens, begin, '}');
    let inside = tokens.get(begin..end).unwrap_or_default();
    for (i, token) in inside.iter().enumerate() {
        let at = |offset: usize| inside.get(i + offset);
        let before = i.checked_sub(1).and_then(|i| inside.get(i));
        match token {
            // {__name__="up"}
            Token::Word(word) if word == "__name__" && at(1) == Some(&Token::Sign('=')) => {
                if let Some(Token::Text(name)) = at(2) {
                    add(names, name);
                }
            }
            // {"my.metric", job="x"}: a string that stands alone
            Token::Text(name)
                if matches!(before, None | Some(Token::Sign(',')))
                    && matches!(at(1), None | Some(Token::Sign(',' | '}'))) =>
            {
                add(names, name);
            }
            Token::Word(_) | Token::Text(_) | Token::Sign(_) => {}
        }
    }
    end
}

/// The place after the next `sign`, or the end.
fn after(tokens: &[Token], begin: usize, sign: char) -> usize {
    let rest = tokens.get(begin..).unwrap_or_default();
    rest.iter().position(|token| *token == Token::Sign(sign)).map_or(tokens.len(), |found| begin + found + 1)
}

fn add(names: &mut Vec<String>, name: &str) {
    if names.len() < MAX_METRICS && !name.is_empty() && !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':')
}

fn tokens(query: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = query.chars().peekable();
    while let Some(first) = rest.next() {
        match first {
            '#' => while rest.next_if(|c| *c != '\n').is_some() {},
            '"' | '\'' | '`' => {
                let mut text = String::new();
                while let Some(c) = rest.next() {
                    match c {
                        _ if c == first => break,
                        '\\' if first != '`' => text.extend(rest.next()),
                        _ => text.push(c),
                    }
                }
                tokens.push(Token::Text(text));
            }
            // A digit begins a number or a duration; its unit belongs to it.
            _ if first.is_ascii_alphanumeric() || first == '_' || first == ':' => {
                let mut word = String::from(first);
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.')) {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
            _ if first.is_whitespace() => {}
            _ => tokens.push(Token::Sign(first)),
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_metrics_of_a_query_are_found_and_nothing_else() {
        let tutorial = r#"scalar(sum(rate(istio_requests_total{ source_app="productpage",response_code="500",
            reporter="destination",destination_app="reviews",destination_version!="v1"}[1m])))"#;
        let table: &[(&str, &[&str])] = &[
            (tutorial, &["istio_requests_total"]),
            ("up", &["up"]),
            ("1 - vector(0.5)", &[]),
            ("up offset 5m > bool 1e3", &["up"]),
            ("sum by (pod, job) (a) / on(x) group_left(y) sum(b) without (z)", &["a", "b"]),
            ("sum(rate(a[5m:30s])) or a # up\n and c", &["a", "c"]),
            (r#"{__name__="up", job=~"x|y"}"#, &["up"]),
            (r#"{__name__=~"up.*"}"#, &[]),
            (r#"{"my.metric", "label.x"="y", z='w'}"#, &["my.metric"]),
            (r#"label_replace(up, "a", "$1", "b", "(.*)")"#, &["up"]),
            ("job:requests:rate5m > 0x1F", &["job:requests:rate5m"]),
            ("up @ start() + down @ 1609746000", &["up", "down"]),
            ("time() - Inf + NaN", &[]),
            ("histogram_quantile(0.9, sum(rate(h_bucket[1m])) by (le))", &["h_bucket"]),
            (r#"a{x="\"} b{"} + `c{`"#, &["a"]),
            ("", &[]),
            ("a{", &["a"]),
        ];
        for (query, expected) in table {
            assert_eq!(metric_names(query), *expected, "{query}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_scanned_without_a_panic(query in "(?s).{0,200}") {
            prop_assert!(metric_names(&query).len() <= MAX_METRICS);
        }

        #[test]
        fn any_mixture_of_signs_is_scanned_without_a_panic(query in r#"[a{}\[\]()"'`=,~!# \\n_1.:]{0,60}"#) {
            prop_assert!(metric_names(&query).iter().all(|name| !name.is_empty()));
        }
    }
}
