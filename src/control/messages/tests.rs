//! Whatever comes never panics, what is said is understood, and so is what was recorded of other versions.

use glooshot_api::plan::Plan;
use proptest::prelude::*;

use super::*;

/// What a proxy of version 1 says, byte for byte as it was recorded.
const PROXY_1: &str = include_str!("recorded/proxy_1.json");
/// What a controller of version 1 says.
const CONTROLLER_1: &str = include_str!("recorded/controller_1.json");
/// What a version to come may say: fields and parts that nobody knows here.
const PROXY_NEXT: &str = include_str!("recorded/proxy_next.json");
/// The same of a controller.
const CONTROLLER_NEXT: &str = include_str!("recorded/controller_next.json");

const fn token(transitions: u64) -> FencingToken {
    FencingToken { lease_created: 1_764_000_000_000_000_000, transitions }
}

fn from_proxy() -> FromProxy {
    FromProxy {
        stamp: 12,
        echo: 7,
        token: Some("abc".to_owned()),
        trip: Some(TripPart { uid: "u".to_owned(), condition: 1, value: 0.5, age: Duration::from_millis(3) }),
        answer: Some(Answer { id: PlanId { fencing: token(3), generation: 9 }, refused: Some("no".to_owned()) }),
        state: Some(StatePart {
            ready: true,
            paused: false,
            accepted: 42,
            missing: vec![ServiceName { namespace: "bookinfo".to_owned(), name: "reviews".to_owned() }],
        }),
        counts: Some(CountsPart {
            uid: "u".to_owned(),
            conditions: vec![ConditionPart {
                condition: 1,
                tally: Tally { total: 10, errors: 5, below: 4, equal: 1 },
                latencies: vec![(3, 4), (200, 6)],
            }],
            injection: vec![InjectionStatus { requests: 10, aborted: 5, delayed: 0 }],
        }),
    }
}

#[test]
fn what_was_recorded_of_this_version_is_what_we_say_and_understand() {
    let message = FromProxy::decode(PROXY_1.trim().as_bytes()).unwrap();
    assert_eq!(message, from_proxy());
    assert_eq!(String::from_utf8(message.encode().unwrap()).unwrap(), PROXY_1.trim());
    let message = FromController::decode(CONTROLLER_1.trim().as_bytes()).unwrap();
    assert_eq!(String::from_utf8(message.encode().unwrap()).unwrap(), CONTROLLER_1.trim());
    let part = message.plan.unwrap();
    let plan: Plan = serde_json::from_str(part.plan.get()).unwrap();
    assert_eq!((PlanId::of(&plan), part.holds), (part.id, Duration::from_secs(5)));
    assert_eq!(message.renewal.unwrap().holds, Duration::from_millis(4_900));
    assert_eq!(message.others.unwrap().age, Duration::from_millis(120));
}

#[test]
fn what_a_version_to_come_says_beyond_what_we_know_is_ignored() {
    assert_eq!(FromProxy::decode(PROXY_NEXT.as_bytes()).unwrap(), from_proxy());
    let message = FromController::decode(CONTROLLER_NEXT.as_bytes()).unwrap();
    assert_eq!(message.renewal.unwrap().id, PlanId { fencing: token(3), generation: 9 });
    assert_eq!(message.others.unwrap().sums.len(), 1);
}

#[test]
fn a_plan_with_a_rule_that_we_do_not_know_is_not_understood_but_has_a_name() {
    let part = FromController::decode(CONTROLLER_NEXT.as_bytes()).unwrap().plan.unwrap();
    assert_eq!(part.id.generation, 9);
    let error = serde_json::from_str::<Plan>(part.plan.get()).unwrap_err().to_string();
    assert!(error.contains("unknown field `weekdays`"), "{error}");
}

#[test]
fn every_list_and_text_has_a_bound() {
    let long = || "x".repeat(MAX_TEXT + 1);
    let name = ServiceName { namespace: String::new(), name: long() };
    let table: [(&str, FromProxy); 7] = [
        ("token", FromProxy { token: Some("x".repeat(MAX_TOKEN + 1)), ..FromProxy::default() }),
        (
            "uid",
            FromProxy { counts: Some(CountsPart { uid: long(), ..CountsPart::default() }), ..FromProxy::default() },
        ),
        (
            "conditions",
            FromProxy {
                counts: Some(CountsPart { conditions: vec![ConditionPart::default(); 17], ..CountsPart::default() }),
                ..FromProxy::default()
            },
        ),
        (
            "faults",
            FromProxy {
                counts: Some(CountsPart { injection: vec![InjectionStatus::default(); 17], ..CountsPart::default() }),
                ..FromProxy::default()
            },
        ),
        (
            "buckets",
            FromProxy {
                counts: Some(CountsPart {
                    conditions: vec![ConditionPart {
                        latencies: vec![(0, 1); BUCKETS + 1],
                        ..ConditionPart::default()
                    }],
                    ..CountsPart::default()
                }),
                ..FromProxy::default()
            },
        ),
        (
            "name",
            FromProxy {
                state: Some(StatePart { missing: vec![name], ..StatePart::default() }),
                ..FromProxy::default()
            },
        ),
        (
            "callers",
            FromProxy {
                state: Some(StatePart {
                    missing: vec![ServiceName { namespace: String::new(), name: String::new() }; MAX_CALLERS + 1],
                    ..StatePart::default()
                }),
                ..FromProxy::default()
            },
        ),
    ];
    for (what, message) in table {
        let error = FromProxy::decode(&message.encode().unwrap()).unwrap_err().to_string();
        assert!(error.contains(what), "{what}: {error}");
    }
}

#[test]
fn the_largest_reports_fit_into_a_message() {
    let condition = ConditionPart {
        condition: 15,
        tally: Tally { total: u64::MAX, errors: u64::MAX, below: u64::MAX, equal: u64::MAX },
        latencies: (0u16..).take(BUCKETS).map(|bucket| (bucket, u32::MAX)).collect(),
    };
    let name = ServiceName { namespace: "n".repeat(63), name: "s".repeat(63) };
    let message = FromProxy {
        counts: Some(CountsPart {
            uid: "u".repeat(MAX_TEXT),
            conditions: vec![condition; MAX_CONDITIONS],
            injection: vec![InjectionStatus { requests: u64::MAX, aborted: u64::MAX, delayed: u64::MAX }; MAX_FAULTS],
        }),
        state: Some(StatePart { missing: vec![name; MAX_CALLERS], ..StatePart::default() }),
        ..from_proxy()
    };
    let bytes = message.encode().unwrap();
    assert!(bytes.len() <= MAX_FROM_PROXY, "{} bytes", bytes.len());
    assert_eq!(FromProxy::decode(&bytes).unwrap(), message);
}

#[test]
fn a_reason_is_cut_between_two_letters() {
    let answer = Answer::refused(PlanId::default(), &"ä".repeat(MAX_TEXT));
    assert_eq!(answer.refused.unwrap().len(), MAX_TEXT);
}

prop_compose! {
    fn tally()(total in any::<u64>(), errors in any::<u64>(), below in any::<u64>(), equal in any::<u64>()) -> Tally {
        Tally { total, errors, below, equal }
    }
}

prop_compose! {
    fn condition()(
        condition in any::<u16>(),
        tally in tally(),
        latencies in prop::collection::vec(any::<(u16, u32)>(), 0..20),
    ) -> ConditionPart {
        ConditionPart { condition, tally, latencies }
    }
}

proptest! {
    #[test]
    fn what_a_proxy_says_is_understood_as_it_was_said(
        stamp in any::<u64>(),
        echo in any::<u64>(),
        token in prop::option::of("[ -~]{0,40}"),
        uid in "\\PC{0,20}",
        value in -1e300f64..1e300,
        age in any::<u32>().prop_map(|n| Duration::from_nanos(u64::from(n) * 1_000)),
        conditions in prop::collection::vec(condition(), 0..16),
        generation in any::<u64>(),
        lease_created in any::<i64>(),
    ) {
        let fencing = FencingToken { lease_created, transitions: generation };
        let message = FromProxy {
            stamp,
            echo,
            token,
            trip: Some(TripPart { uid: uid.clone(), condition: 3, value, age }),
            answer: Some(Answer { id: PlanId { fencing, generation }, refused: None }),
            state: None,
            counts: Some(CountsPart { uid, conditions, injection: Vec::new() }),
        };
        prop_assert_eq!(FromProxy::decode(&message.encode().unwrap()).unwrap(), message);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = FromProxy::decode(&bytes);
        let _ = FromController::decode(&bytes);
    }

    #[test]
    fn no_change_of_good_bytes_makes_a_decoder_panic(
        which in 0usize..4,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = [PROXY_1, CONTROLLER_1, PROXY_NEXT, CONTROLLER_NEXT][which].as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = FromProxy::decode(&bytes);
        if let Ok(FromController { plan: Some(part), .. }) = FromController::decode(&bytes) {
            let _ = serde_json::from_str::<Plan>(part.plan.get()).map(|plan| plan.check());
        }
    }
}
