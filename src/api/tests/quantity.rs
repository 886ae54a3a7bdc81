//! Durations as Go reads them, floats as Go prints them, percentages within their bounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use glooshot_api::quantity::{ComparisonOperator, DurationError, GoDuration, Percent, go_float};
use proptest::prelude::*;

fn parse(text: &str) -> Result<GoDuration, DurationError> {
    text.parse()
}

#[test]
fn durations_are_read_as_go_reads_them() {
    // The right-hand side is what Go's time.ParseDuration gives, in nanoseconds.
    for (text, nanoseconds) in [
        ("600s", Some(600_000_000_000)),
        ("1m30s", Some(90_000_000_000)),
        ("250ms", Some(250_000_000)),
        ("1.5s", Some(1_500_000_000)),
        (".5s", Some(500_000_000)),
        ("1.s", Some(1_000_000_000)),
        ("1h2m3.5s", Some(3_723_500_000_000)),
        ("0", Some(0)),
        ("+5s", Some(5_000_000_000)),
        ("-0s", Some(0)),
        ("-0", Some(0)),
        ("1us", Some(1_000)),
        ("1\u{b5}s", Some(1_000)),
        ("1\u{3bc}s", Some(1_000)),
        ("1ns", Some(1)),
        ("0.3ns", Some(0)),
        ("1.9999999999s", Some(1_999_999_999)),
        ("2562047h47m16.854775807s", Some(9_223_372_036_854_775_807)),
        ("9223372036854775807ns", Some(9_223_372_036_854_775_807)),
        ("00001s", Some(1_000_000_000)),
        ("0.100000000000000000000000001h", Some(360_000_000_000)),
        ("1h1h", Some(7_200_000_000_000)),
        ("0.9223372036854775808h", Some(3_320_413_933_267)),
        ("1.0000000000000000000000000000000000000s", Some(1_000_000_000)),
        ("2562047h47m16.854775808s", None),
        ("9223372036854775808ns", None),
        ("99999999999999999999h", None),
        ("3000000h", None),
        ("", None),
        ("5", None),
        ("s", None),
        ("1x", None),
        ("1 s", None),
        ("1s ", None),
        ("1m 30s", None),
        ("1d", None),
        ("1e3s", None),
        (".s", None),
        ("1.2.3s", None),
        ("+", None),
        ("-", None),
        ("--1s", None),
        ("1S", None),
        ("1Ms", None),
        ("\u{663}s", None),
    ] {
        assert_eq!(parse(text).ok().map(GoDuration::get), nanoseconds.map(Duration::from_nanos), "{text:?}");
    }
}

#[test]
fn what_is_wrong_with_a_duration_is_said_with_the_right_form() {
    for (text, message) in [
        ("", "a duration must not be empty; write for example \"30s\""),
        ("100", "\"100\" has no unit; write for example \"100ms\" or \"100s\""),
        ("5d", "unknown unit \"d\" in \"5d\"; the units are ns, us, ms, s, m and h, as in \"1m30s\""),
        ("-5s", "\"-5s\" is negative; a duration counts forward, as in \"30s\""),
        ("soon", "\"soon\" is not a duration; write for example \"600s\", \"1m30s\" or \"250ms\""),
        ("3000000h", "\"3000000h\" is too long for a duration"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn durations_are_printed_in_seconds_with_as_many_digits_as_they_need() {
    for (text, printed) in [
        ("10m", "600s"),
        ("500ms", "0.500s"),
        ("1.5us", "0.000001500s"),
        ("3us", "0.000003s"),
        ("0", "0s"),
        ("1h0.25s", "3600.250s"),
    ] {
        assert_eq!(parse(text).unwrap().to_string(), printed);
    }
}

#[test]
fn a_duration_is_a_text_and_never_a_number() {
    let error = serde_json::from_str::<GoDuration>("600").unwrap_err().to_string();
    assert!(error.contains("a duration in quotes with a unit, such as \"600s\""), "{error}");
    assert_eq!(serde_json::to_string(&GoDuration::from_secs(30)).unwrap(), "\"30s\"");
}

#[test]
fn floats_are_printed_as_go_prints_them() {
    // The right-hand side is what Go's %v gives.
    for (value, printed) in [
        (50.0, "50"),
        (0.01, "0.01"),
        (100_000.0, "100000"),
        (1_000_000.0, "1e+06"),
        (123_456.0, "123456"),
        (1_234_567.0, "1.234567e+06"),
        (123_456_789.0, "1.23456789e+08"),
        (1e-5, "1e-05"),
        (0.0001, "0.0001"),
        (0.000_123_45, "0.00012345"),
        (123_456.789, "123456.789"),
        (1_234_567.5, "1.2345675e+06"),
        (1e20, "1e+20"),
        (1e21, "1e+21"),
        (999_999.0, "999999"),
        (999_999.9, "999999.9"),
        (-2.5, "-2.5"),
        (0.0, "0"),
        (-0.0, "-0"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
        (0.451_602_046_311_254_67, "0.45160204631125467"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        (-1e-7, "-1e-07"),
        (1e100, "1e+100"),
    ] {
        assert_eq!(go_float(value), printed);
    }
}

#[test]
fn a_percentage_lies_above_0_up_to_100() {
    for bad in [0.0, -0.0, -1.0, 100.000_001, 101.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        Percent::try_from(bad).unwrap_err();
        serde_json::from_str::<Percent>(&bad.to_string()).unwrap_err();
    }
    for good in [f64::MIN_POSITIVE, 0.001, 50.0, 100.0] {
        assert_eq!(Percent::try_from(good).unwrap().get(), good);
    }
    assert_eq!(Percent::ALL.of_two_to_the_64(), 1 << 64);
    assert_eq!(Percent::try_from(50.0).unwrap().of_two_to_the_64(), 1 << 63);
    assert_eq!(Percent::try_from(0.1).unwrap().of_two_to_the_64(), 18_446_744_073_709_552);
}

#[test]
fn nan_trips_no_operator_and_equality_is_equality() {
    for operator in ComparisonOperator::ALL {
        assert!(!operator.trips(f64::NAN, 1.0) && !operator.trips(1.0, f64::NAN), "{operator}");
        assert_eq!(serde_json::to_string(&operator).unwrap(), format!("\"{operator}\""));
    }
    let tripped = |value: f64| ComparisonOperator::ALL.map(|operator| operator.trips(value, 1.0));
    //                          ==     >      <      >=     <=
    assert_eq!(tripped(0.5), [false, false, true, false, true]);
    assert_eq!(tripped(1.0), [true, false, false, true, true]);
    assert_eq!(tripped(f64::INFINITY), [false, true, false, true, false]);
}

proptest! {
    #[test]
    fn a_duration_reads_back_as_it_was_printed(nanoseconds in 0..=i64::MAX as u64) {
        let duration = GoDuration::from(Duration::from_nanos(nanoseconds));
        prop_assert_eq!(parse(&duration.to_string()), Ok(duration));
        let json = serde_json::to_string(&duration).unwrap();
        prop_assert_eq!(serde_json::from_str::<GoDuration>(&json).unwrap(), duration);
    }

    #[test]
    fn the_parts_of_a_duration_add_up(hours in 0..1_000u64, minutes in 0..10_000u64, millis in 0..10_000_000u64) {
        let sum = Duration::from_secs(hours * 3600 + minutes * 60) + Duration::from_millis(millis);
        prop_assert_eq!(parse(&format!("{hours}h{minutes}m{millis}ms")).unwrap().get(), sum);
    }

    #[test]
    fn no_text_makes_reading_a_duration_panic(text in "\\PC{0,40}") {
        let _ = parse(&text);
    }

    #[test]
    fn a_printed_float_reads_back_the_same(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
        prop_assert_eq!(go_float(value).parse::<f64>().unwrap(), value);
    }

    #[test]
    fn a_larger_percentage_is_a_larger_share(a in 0.000_001..100.0f64, b in 0.000_001..100.0f64) {
        let share = |value| Percent::try_from(value).unwrap().of_two_to_the_64();
        prop_assert_eq!(a < b, share(a) < share(b));
        prop_assert!(share(a) <= 1 << 64);
    }
}
