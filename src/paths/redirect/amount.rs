//! Amounts as Kubernetes writes them (`100m`, `64Mi`, `2`), to be compared. Pure.

/// An amount in its base unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub(super) struct Amount(pub(super) f64);

const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

impl Amount {
    /// Reads one; `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // A number with an exponent (`1e3`) has no suffix.
        if let Ok(number) = text.parse::<f64>() {
            return Some(Self(number)).filter(|amount| amount.0.is_finite());
        }
        let (number, factor) =
            SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, factor)))?;
        number.parse::<f64>().ok().map(|number| Self(number * factor)).filter(|amount| amount.0.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_number_and_perhaps_a_suffix() {
        let cases =
            [("2", 2.0), ("100m", 0.1), ("64Mi", 67_108_864.0), ("1k", 1_000.0), ("1e3", 1_000.0), ("0.5", 0.5)];
        for (text, expected) in cases {
            let amount = Amount::parse(text).unwrap();
            assert!((amount.0 - expected).abs() < 1e-9, "{text}: {amount:?}");
        }
        for text in ["", "Mi", "x", "1x", "inf", "1 Gi"] {
            assert_eq!(Amount::parse(text), None, "{text}");
        }
    }
}
