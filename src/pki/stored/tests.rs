//! What is written can be read again, what was changed by anybody is refused, and a whole rotation goes through.

use std::time::Duration;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn names() -> Vec<String> {
    vec!["glooshot.glooshot.svc".to_owned()]
}

fn today() -> SystemTime {
    SystemTime::UNIX_EPOCH + 20_000 * DAY
}

fn new() -> Pki {
    Pki::new(&names(), &Rule::default(), today()).unwrap()
}

#[test]
fn what_is_written_can_be_read_again() {
    let pki = new();
    assert_eq!(Pki::parse(&pki.to_bytes().unwrap()).unwrap(), pki);
    assert_eq!(pki.leaf.names, names());
    assert_eq!(pki.leaf.life.not_after, today() + 30 * DAY);
}

/// A change of what is written down.
type Change<'a> = &'a dyn Fn(&mut serde_json::Value);

#[test]
fn what_does_not_belong_together_is_refused() {
    let (one, other) = (new(), new());
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value: serde_json::Value = serde_json::from_slice(&one.to_bytes().unwrap()).unwrap();
        change(&mut value);
        Pki::parse(&serde_json::to_vec(&value).unwrap()).unwrap_err().to_string()
    };
    let pem = |pair: &Pair| pair.certificate.clone();
    let table: [(&str, Change<'_>); 9] = [
        ("unknown field", &|v| v["more"] = 1.into()),
        ("form is 2", &|v| v["form"] = 2.into()),
        ("0 authorities", &|v| v["authorities"] = serde_json::json!([])),
        ("4 authorities", &|v| v["authorities"] = vec![v["authorities"][0].clone(); 4].into()),
        ("not the one of its certificate", &|v| v["leaf"]["key"] = other.leaf.pair.key.clone().into()),
        ("none of the authorities signed", &|v| v["leaf"] = serde_json::to_value(&other.leaf.pair).unwrap()),
        ("no authority", &|v| v["authorities"][0] = v["leaf"].clone()),
        ("is an authority", &|v| v["leaf"] = v["authorities"][0].clone()),
        ("several certificates", &|v| v["leaf"]["certificate"] = (pem(&one.leaf.pair) + &pem(&other.leaf.pair)).into()),
    ];
    for (expected, change) in table {
        let error = with(change);
        assert!(error.contains(expected), "{expected}: {error}");
    }
    assert!(Pki::parse(b"").is_err());
    assert!(Pki::parse(&vec![b' '; MAX_BYTES + 1]).unwrap_err().to_string().contains("64 KiB"));
}

#[test]
fn a_leaf_never_outlives_its_authority() {
    let authority = Authority::make(&Rule::default(), today()).unwrap();
    let leaf = authority.sign(&names(), &Rule::default(), today() + 350 * DAY).unwrap();
    assert_eq!(leaf.life.not_after, authority.life.not_after);
}

#[test]
fn nobody_gets_a_certificate_without_a_name() {
    assert!(matches!(Pki::new(&[], &Rule::default(), today()), Err(PkiError::Names { .. })));
}

#[test]
fn three_years_pass_with_an_authority_that_everybody_knows_at_every_moment() {
    let rule = Rule::default();
    let mut pki = new();
    let mut steps = Vec::new();
    let mut now = today();
    while now < today() + 3 * 365 * DAY {
        now += DAY;
        let due = pki.due(&names(), &rule, now);
        if due == Due::Nothing {
            continue;
        }
        let before = pki.clone();
        pki = pki.after(due, &names(), &rule, now).unwrap();
        assert_eq!(Pki::parse(&pki.to_bytes().unwrap()).unwrap(), pki);
        // The leaf that is replaced, and the one that replaces it, are both believed by the bundle before and after.
        if matches!(due, Due::RenewLeaf { .. }) {
            assert_eq!(before.bundle(), pki.bundle());
        }
        steps.push(due);
    }
    assert!(!steps.contains(&Due::StartAnew));
    let authorities = steps.iter().filter(|due| **due == Due::AddAuthority).count();
    assert_eq!(authorities, steps.iter().filter(|due| **due == Due::DropOldest).count());
    assert_eq!(authorities, 4, "one every 244 days");
}

#[test]
fn a_key_is_never_printed() {
    let pki = new();
    let line = pki.leaf.pair.key.lines().nth(1).unwrap();
    assert!(!format!("{pki:?}").contains(line));
}
